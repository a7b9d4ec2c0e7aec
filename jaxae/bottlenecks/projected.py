"""Codes in a low-dimensional space: project down, code, project up."""

import jax
import jax.numpy as jnp

from jaxae.bottlenecks.tokens import require_input, unpadded
from jaxae.types import Bottleneck, Estimator


def projected(bottleneck: Bottleneck, width: int) -> Bottleneck:
    """The base codes `h D`, `width` wide; the latent is `code U`, as wide as `h`. Both matrices learn.

    Fewer codes fill a narrow space, so that large codebooks are used completely (factorised codes). Bases of a fixed
    width (`fsq`, `lfq`, `bsq`) can then follow any encoder.

    Args:
      bottleneck: any `Bottleneck`.
      width: width of the space that the base codes, at least 1.

    Returns:
      A `Bottleneck`; params are a dict with "down", "inner" and "up". `sample` and `lookup` exist where the base has
      them.

    Raises:
      ValueError: width < 1.

    Source: Yu et al. 2022, "Vector-quantized Image Modeling with Improved VQGAN", section 3.2.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.projected(bottlenecks.fsq((5, 5, 5)), 3)
      >>> params, state = layer.init(jax.random.key(0), jnp.zeros((2, 64)))
      >>> layer.apply(params, state, None, jnp.ones((2, 64)))[0].latent.shape
      (2, 64)
    """
    if width < 1:
        raise ValueError(f"projected: width must be at least 1, got {width}")

    def base_input(h):
        return jax.ShapeDtypeStruct((*h.shape[:-1], width), jnp.float32)

    def init(rng, h, condition=None):
        require_input("projected", h)
        down_rng, base_rng, up_rng = jax.random.split(rng, 3)
        base_params, state = bottleneck.init(base_rng, base_input(h), condition)
        # the base may change the width, so the shape of its latent decides that of `up`
        code, _ = jax.eval_shape(
            lambda p, s, x, c: bottleneck.apply(p, s, None, x, c), base_params, state, base_input(h), condition
        )
        # variance 1 / fan-in keeps the size of tokens in both projections
        normal = jax.nn.initializers.lecun_normal()
        up = normal(up_rng, (code.latent.shape[-1], h.shape[-1]))
        return {"down": normal(down_rng, (h.shape[-1], width)), "inner": base_params, "up": up}, state

    def project_up(params, latent):
        return _product(latent, params["up"])

    def apply(params, state, rng, h, condition=None):
        # padding is replaced before the product, whose gradient to "down" a NaN would reach
        h, _ = unpadded("projected", h, condition, params["down"].shape[0])
        projected_h = _product(h, params["down"])
        code, state = bottleneck.apply(params["inner"], state, rng, projected_h, condition)
        return code._replace(latent=project_up(params, code.latent)), state

    def sample(params, state, rng, h, condition=None):
        assert bottleneck.sample is not None
        return project_up(params, bottleneck.sample(params["inner"], state, rng, base_input(h), condition))

    def lookup(params, state, symbols, condition=None):
        assert bottleneck.lookup is not None
        return project_up(params, bottleneck.lookup(params["inner"], state, symbols, condition))

    # "up" learns through the latent alone, so that no stack of constants may stand around it
    has_sample, has_lookup = bottleneck.sample and sample, bottleneck.lookup and lookup
    return Bottleneck(init, apply, has_sample, has_lookup, bottleneck.num_codes, Estimator("projected"))


def _product(a, matrix):
    return jnp.matmul(a, matrix, precision=jax.lax.Precision.HIGHEST)
