"""How the gradient passes a choice of code: the value is the code's, bit for bit, whichever is taken."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.bottlenecks.nearest import map_rows, squared_distances
from jaxae.numerics import straight_through


def rotation(codes: Float[Array, "N D"], tokens: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """The codes, with the gradient of the rotation and scaling that takes each token to its code, held constant.

    `(|c| / |e|) (e - 2 (r . e) r + 2 (u . e) v)` with `u = e / |e|`, `v = c / |c|`, `r = (u + v) / |u + v|`: unlike
    straight-through, the gradient depends on where in its cell a token lies. Where a token, its code or `u + v` is 0
    there is no such rotation, and the gradient is straight-through.

    Args:
      codes: the value.
      tokens: what the gradient goes to.

    Source: Fifty et al. 2024, "Restructuring Vector Quantization with the Rotation Trick", section 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.estimators import rotation
      >>> code, token = jnp.array([[0.0, 2.0]]), jnp.array([[1.0, 0.0]])
      >>> jax.jacobian(lambda e: rotation(code, e)[0])(token)[:, 0].round(3).tolist()
      [[0.0, -2.0], [2.0, 0.0]]
    """
    e, c = stop_gradient(tokens), stop_gradient(codes)
    size, reach = jnp.linalg.norm(e, axis=-1, keepdims=True), jnp.linalg.norm(c, axis=-1, keepdims=True)
    u, v = e / jnp.where(size > 0, size, 1.0), c / jnp.where(reach > 0, reach, 1.0)
    between = jnp.linalg.norm(u + v, axis=-1, keepdims=True)
    r = (u + v) / jnp.where(between > 0, between, 1.0)

    def along(axis):
        return (axis * tokens).sum(-1, keepdims=True)

    turned = tokens - 2 * along(r) * r + 2 * along(u) * v
    defined = (size > 0) & (reach > 0) & (between > 1e-6)
    soft = jnp.where(defined, reach / jnp.where(size > 0, size, 1.0) * turned, tokens)
    return straight_through(codes, soft)


def directional(
    codes: Float[Array, "N D"],
    tokens: Float[Array, "N D"],
    rng: Array | None = None,
    variance: ArrayLike = 5e-3,
) -> Float[Array, "N D"]:
    """The codes, with the gradient of `e + |c - e| d` to tokens e and codes c, the direction d held constant.

    `d` is `c - e` plus normal noise with a key, scaled to length 1: quantization seen as a step of a length that is
    differentiated into a direction that is not. Codes learn by the loss itself. Where a token is its code the gradient
    is straight-through.

    Args:
      codes: the value.
      tokens: of the same shape.
      rng: a key for the noise; None: without.
      variance: of the noise, >= 0.

    Source: Vali et al. 2025, "DiVeQ: Differentiable Vector Quantization Using the Reparameterization Trick". There the
    value is the expression itself; here it is the code, bit for bit. The variance is vector-quantize-pytorch's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.estimators import directional
      >>> code, token = jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2))
      >>> (25 * jax.jacobian(lambda c: directional(c, token)[0])(code)[:, 0]).round().astype(int).tolist()
      [[9, 12], [12, 16]]
    """
    step = codes - tokens
    square = (step**2).sum(-1, keepdims=True)
    moved = square > 0
    length = jnp.sqrt(jnp.where(moved, square, 1.0))
    noise = 0.0 if rng is None else jnp.sqrt(variance) * jax.random.normal(rng, codes.shape)
    towards = stop_gradient(step + noise)
    size = jnp.linalg.norm(towards, axis=-1, keepdims=True)
    direction = towards / jnp.where(size > 0, size, 1.0)
    return straight_through(stop_gradient(codes), tokens + jnp.where(moved, length * direction, 0.0))


def gumbel(
    rng: Array,
    tokens: Float[Array, "N D"],
    codebook: Float[Array, "K D"],
    temperature: ArrayLike,
) -> tuple[Array, Float[Array, "N D"]]:
    """Draws a code with probability `softmax(-|token - code|^2)`; the gradient is the relaxed draw's, to both.

    The relaxed draw is `softmax((-|token - code|^2 + Gumbel noise) / temperature) . codebook`, made in chunks of tokens
    and made again in the backward pass, so that no tokens-by-codes matrix is kept.

    Args:
      rng: a key.
      tokens: finite.
      codebook: the codes.
      temperature: above 0.

    Returns:
      `(ids [N] int32, latent [N, D])`.

    Source: Jang, Gu and Poole 2017, "Categorical Reparameterization with Gumbel-Softmax".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.estimators import gumbel
      >>> ids, latent = gumbel(jax.random.key(0), jnp.array([[90.0]]), jnp.array([[0.0], [100.0]]), 1.0)
      >>> ids.tolist(), latent.tolist()
      ([1], [[100.0]])
    """

    @jax.checkpoint
    def chunk(rows, keys):
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (codebook.shape[0],)))(keys)
        logits = noise - squared_distances(rows, codebook)
        soft = jnp.matmul(jax.nn.softmax(logits / temperature, -1), codebook, precision=jax.lax.Precision.HIGHEST)
        return jnp.argmax(logits, -1).astype(jnp.int32), soft

    ids, soft = map_rows(chunk, codebook.shape[0], tokens, jax.random.split(rng, tokens.shape[0]))
    return ids, straight_through(codebook[ids], soft)
