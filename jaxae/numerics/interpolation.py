"""Interpolation between two latents, on the line and on the arc."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae.numerics.arguments import check_arguments


def linear(first: Float[Array, "*D"], second: Float[Array, "*D"], steps: int = 8) -> Float[Array, "S *D"]:
    """Points on the line between two latents, both ends included.

    Args:
      first: the latent at t = 0.
      second: the latent at t = 1, of the same shape.
      steps: number of points S.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.interpolation import linear
      >>> linear(jnp.zeros(1), jnp.ones(1), steps=3).tolist()
      [[0.0], [0.5], [1.0]]
    """
    t = jnp.linspace(0, 1, steps).reshape(-1, *(1 for _ in first.shape))
    return (1 - t) * first[None] + t * second[None]


def spherical(first: Float[Array, " D"], second: Float[Array, " D"], steps: int = 8) -> Float[Array, "S D"]:
    """Points on the arc between two latents: `(sin((1 - t) a) first + sin(t a) second) / sin a`, a the angle between.

    The norm stays that of samples of a standard normal prior; on the line between two samples it falls. Parallel and
    opposite latents are joined by the line.

    Args:
      first: the latent at t = 0.
      second: the latent at t = 1.
      steps: number of points S.

    Source: Shoemake 1985, "Animating rotation with quaternion curves"; for latents White 2016, "Sampling Generative
    Networks".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.interpolation import spherical
      >>> spherical(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), steps=3).round(3).tolist()
      [[1.0, 0.0], [0.707..., 0.707...], [0.0, 1.0]]
    """
    # rounding may put the cosine of parallel latents beyond 1, where arccos is NaN
    length = jnp.linalg.norm(first) * jnp.linalg.norm(second)
    angle = jnp.arccos(jnp.clip(first @ second / jnp.maximum(length, 1e-12), -1, 1))
    t = jnp.linspace(0, 1, steps)[:, None]
    # sin((1 - t) a) / sin a and sin(t a) / sin a: weights that keep the point on the arc
    sine = jnp.sin(angle)
    arc = (jnp.sin((1 - t) * angle) * first[None] + jnp.sin(t * angle) * second[None]) / jnp.where(sine > 0, sine, 1)
    # near 0 and pi both numerator and sine vanish: their quotient keeps no digits
    return jnp.where(sine > 1e-4, arc, linear(first, second, steps))


check_arguments(__name__)
