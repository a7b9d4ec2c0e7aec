"""Symbols without learning: a frozen random projection and a frozen random codebook."""

import jax
import jax.numpy as jnp

from jaxae.bottlenecks import codebooks
from jaxae.bottlenecks.tokens import require_input, unpadded
from jaxae.bottlenecks.vector_quantizer import check_numbers, quantizer
from jaxae.types import Bottleneck


def random_projection(num_codes: int, width: int = 16) -> Bottleneck:
    """Tokens, standardised and projected at random, become the nearest random code by angle. Nothing is learned.

    The symbols are prediction targets for another model (masked speech and image modelling): similar tokens get the
    same symbol, and the codebook cannot collapse. The latent is the unit code `[B, ..., width]`; its gradient is
    straight-through to the projection.

    Args:
      num_codes: number of codes K, at least 2.
      width: width of the projection and of the codes, at least 1.

    Returns:
      A `Bottleneck` with `lookup`; projection and codebook are in its state; there are no parameters.
      `condition["mask"]` `[B, ...]` leaves padded tokens out.

    Raises:
      ValueError: num_codes < 2 or width < 1.

    Source: Chiu et al. 2022, "Self-supervised Learning with Random-projection Quantizer for Speech Recognition".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks import random_projection
      >>> layer = random_projection(8, width=2)
      >>> params, state = layer.init(jax.random.key(0), jnp.zeros((4, 5)))
      >>> code, _ = layer.apply(params, state, None, jax.random.normal(jax.random.key(1), (4, 5)))
      >>> code.latent.shape, code.symbols.shape
      ((4, 2), (4,))
    """
    check_numbers("random_projection", num_codes)
    if width < 1:
        raise ValueError(f"random_projection: width must be at least 1, got {width}")
    base = quantizer("random_projection", codebooks.frozen(num_codes), {}, cosine=True)
    assert base.lookup is not None
    assert base.sample is not None
    base_lookup, base_sample = base.lookup, base.sample

    def init(rng, h, condition=None):
        require_input("random_projection", h)
        matrix_rng, book_rng = jax.random.split(rng)
        # the paper's Xavier initialisation; its scale does not matter, as codes are chosen by angle
        matrix = jax.nn.initializers.glorot_normal()(matrix_rng, (h.shape[-1], width))
        _, state = base.init(book_rng, jax.ShapeDtypeStruct((*h.shape[:-1], width), jnp.float32))
        return {}, {"projection": matrix, "book": state}

    def apply(params, state, rng, h, condition=None):
        h, _ = unpadded("random_projection", h, condition, state["projection"].shape[0])
        projected = jnp.matmul(_standardised(h), state["projection"], precision=jax.lax.Precision.HIGHEST)
        return base.apply(params, state["book"], rng, projected, condition)[0], state

    def sample(params, state, rng, h, condition=None):
        return base_sample(params, state["book"], rng, h, condition)

    def lookup(params, state, symbols, condition=None):
        return base_lookup(params, state["book"], symbols, condition)

    return Bottleneck(init, apply, sample, lookup, num_codes)


def _standardised(h):
    centred = h - h.mean(-1, keepdims=True)
    # per token, as a layer norm: without batch statistics a token's symbol never depends on its batch
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
