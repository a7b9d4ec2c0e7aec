"""Multi-scale quantization: coarse maps of symbols first; each scale codes the residual of the coarser ones."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from jaxae.bottlenecks.stacks import (
    in_another_stack,
    level_latent,
    require_gradient,
    require_lookup,
    stacked_latent,
    summed,
)
from jaxae.bottlenecks.tokens import mask_of
from jaxae.numerics import as_whole
from jaxae.types import Bottleneck, Code


def multi_scale(bottleneck: Bottleneck, sizes: Sequence[int], *, shared: bool = True) -> Bottleneck:
    """A map `h [B, H, W, D]` as a sum of coded maps of rising resolution.

    At each scale the residual of `h` is resized to `size x size` (area average), coded, resized back (linear) and
    subtracted. The gradient is that of the base's estimator once, at the end, as in `residual`: with straight-through
    the Jacobian of latent to input is the identity. Penalty, rate and terms are sums over scales.

    Args:
      bottleneck: base bottleneck, with `lookup`.
      sizes: sides of the maps, rising, at least 1; the last should be the side of `h`, which must be square then.
      shared: whether all scales share one base, whose state passes from scale to scale (see `residual`).

    Returns:
      A `Bottleneck` with `lookup`; symbols are a tuple of `[B, size, size]`, coarse to fine. Unless shared, params and
      state are tuples with one entry a scale. It has `sample` where the base has. A token mask is refused, since each
      scale has different tokens.

    Raises:
      ValueError: no sizes, sizes that do not rise or are below 1, a base without `lookup` or one that `residual`
        refuses for its gradient; from `apply` an `h` that is no map, or smaller than the last size; a base that changes
        the width; a condition with "mask".

    Source: Tian et al. 2024, "Visual Autoregressive Modeling", algorithms 1 and 2, without its convolutions.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.multi_scale(bottlenecks.vector_quantizer(8), (1, 2, 4))
      >>> h = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
      >>> params, state = layer.init(jax.random.key(1), h)
      >>> code, state = layer.apply(params, state, jax.random.key(2), h)
      >>> [s.shape for s in code.symbols]
      [(3, 1, 1), (3, 2, 2), (3, 4, 4)]
    """
    base_lookup, base_sample = require_lookup("multi_scale", bottleneck), bottleneck.sample
    require_gradient("multi_scale", bottleneck)
    if (
        not isinstance(sizes, Sequence | np.ndarray)
        or np.ndim(sizes) != 1
        or any(as_whole(size) is None for size in sizes)
    ):
        raise ValueError(f"multi_scale: sizes must be whole numbers, such as (1, 2, 4, 8); got {sizes!r}")
    sizes = tuple(int(size) for size in sizes)
    if not sizes or sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes)):
        raise ValueError(f"multi_scale: sizes must rise and be at least 1, such as (1, 2, 4, 8); got {sizes}")

    def check(h, condition):
        if len(h.shape) != 4 or min(h.shape[1:3]) < sizes[-1]:
            raise ValueError(f"multi_scale: h must be a map [B, H, W, D] of at least {sizes[-1]} a side, got {h.shape}")
        if mask_of(condition) is not None:
            raise ValueError('multi_scale: condition["mask"] has no meaning here: each scale has its own tokens')

    def scale_input(h, size):
        return jax.ShapeDtypeStruct((h.shape[0], size, size, h.shape[-1]), jnp.float32)

    def init(rng, h, condition=None):
        check(h, condition)
        if shared:
            return bottleneck.init(rng, scale_input(h, sizes[-1]), condition)
        keys = jax.random.split(rng, len(sizes))
        scale_init = [
            bottleneck.init(key, scale_input(h, size), condition) for key, size in zip(keys, sizes, strict=True)
        ]
        return tuple(params for params, _ in scale_init), tuple(state for _, state in scale_init)

    def apply(params, state, rng, h, condition=None):
        check(h, condition)
        h = h.astype(jnp.float32)
        keys = [None] * len(sizes) if rng is None else jax.random.split(rng, len(sizes))
        total, codes, states = jnp.zeros_like(h), [], []
        for i, size in enumerate(sizes):
            # antialias: downsizing averages over the area instead of sampling points
            residual = jax.image.resize(h - stop_gradient(total), scale_input(h, size).shape, "linear", antialias=True)
            arrays = (params, state) if shared else (params[i], state[i])
            code, new_state = bottleneck.apply(*arrays, keys[i], residual, condition)
            # without gradient to `h`: the one at the end is the only one of the latent
            latent = level_latent("multi_scale", bottleneck, *arrays, code, residual, condition)
            # a shared base is updated by one scale before the next reads it
            state = new_state if shared else state
            total = total + _upsampled(latent, h.shape[1:3])
            codes.append(code)
            states.append(new_state)
        symbols = tuple(code.symbols for code in codes)
        # `split` has used the numbers below
        latent = stacked_latent(bottleneck, None if rng is None else jax.random.fold_in(rng, len(sizes)), total, h)
        return Code(latent, symbols=symbols, **summed(codes)), state if shared else tuple(states)

    def lookup(params, state, symbols, condition=None):
        if len(symbols) != len(sizes):
            raise ValueError(f"multi_scale: symbols must be a tuple of {len(sizes)} maps, got {len(symbols)}")
        total = jnp.float32(0)
        for i, ids in enumerate(symbols):
            read = base_lookup(params if shared else params[i], state if shared else state[i], ids, condition)
            # without h the finest map is the size of the last scale
            total = total + _upsampled(read, 2 * (sizes[-1],))
        return total

    def sample(params, state, rng, h, condition=None):
        assert base_sample is not None
        keys = jax.random.split(rng, len(sizes))
        total = jnp.float32(0)
        for i, size in enumerate(sizes):
            base_arrays = (params, state) if shared else (params[i], state[i])
            total = total + _upsampled(
                base_sample(*base_arrays, keys[i], scale_input(h, size), condition), h.shape[1:3]
            )
        return total

    num_codes = None if bottleneck.num_codes is None else (bottleneck.num_codes,) * len(sizes)
    return Bottleneck(init, apply, base_sample and sample, lookup, num_codes, in_another_stack(bottleneck))


def _upsampled(latent, sides):
    return jax.image.resize(latent, (latent.shape[0], *sides, latent.shape[-1]), "linear")
