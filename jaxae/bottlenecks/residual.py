"""Residual quantization: each level codes the residual of the levels before it."""

import math

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
    with_mask,
)
from jaxae.bottlenecks.tokens import DROPPED, unpadded
from jaxae.numerics import as_number
from jaxae.types import Bottleneck, Code


def residual(
    bottleneck: Bottleneck,
    depth: int,
    *,
    shared: bool = False,
    scale: float = 1.0,
    least: int | None = None,
) -> Bottleneck:
    """`latent = sum_l scale^l q_l` with `q_l` the code of `(h - latent so far) / scale^l`; level 0 first.

    The gradient is that of the base's estimator once, at the end, from `h` to the sum of the levels: with
    straight-through the Jacobian of latent to input is the identity, whatever the base's own is; with "rotation" it is
    the rotation and scaling of `h` to the sum; with "directional" the length of that step is differentiated, which
    moves the codes of all levels. Each level's penalty reads its own residual, in which the levels before are
    constants; penalty, rate and terms are sums over levels.

    Args:
      bottleneck: base bottleneck, with `lookup`; its latent is shaped like its input.
      depth: number of levels, at least 1.
      shared: whether all levels share one base instead of one per level. Its state passes from level to level: with a
        key and a base that keeps statistics, the symbols of later levels belong to codebooks between the state that is
        passed in and the state that is returned.
      scale: factor of each level relative to the one before, a power of 2 (other factors round, so that lookup would
        differ from the latent in bits); below 1 for bases with bounded latents (`fsq`, `lfq`, `bsq`), whose levels
        would otherwise have the same range.
      least: least number of levels under quantize dropout, in calls with a key: each example keeps its first n levels,
        n uniform in [least, depth]; the others add nothing and update no statistics. None: no dropout.

    Returns:
      A `Bottleneck` with `lookup`; symbols are `[B, ..., depth]` (the base's symbols with a last axis for levels), the
      symbol of a dropped level is -2, which `lookup` ignores. Set the symbols of later levels to -2 to decode the first
      n alone. Parameters and state have a leading axis for levels, unless shared. It has `sample` where the base has.

    Raises:
      ValueError: depth < 1, least not in [1, depth], a scale that is no power of 2, a base without `lookup`, or one
        whose gradient a sum of latents has not (estimator "gumbel"; `projected` and `nested`, which belong around
        `residual`); from `apply` a base that changes the width.

    Source: Zeghidour et al. 2021, "SoundStream", section III-C, with its quantize dropout; Lee et al. 2022,
    "Autoregressive Image Generation using Residual Quantization"; the directional estimator of the sum: Vali et al.
    2025, "DiVeQ", as in vector-quantize-pytorch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.residual(bottlenecks.vector_quantizer(8), depth=3)
      >>> h = jax.random.normal(jax.random.key(0), (4, 5, 2))
      >>> params, state = layer.init(jax.random.key(1), h)
      >>> layer.apply(params, state, jax.random.key(2), h)[0].symbols.shape
      (4, 5, 3)
    """
    base_lookup, base_sample = require_lookup("residual", bottleneck), bottleneck.sample
    require_gradient("residual", bottleneck)
    if as_number(scale) is None:
        raise ValueError(f"residual: scale must be a power of 2, such as 0.5 or 0.25, got {scale!r}")
    if depth < 1:
        raise ValueError(f"residual: depth must be at least 1, got {depth}")
    if least is not None and not 1 <= least <= depth:
        raise ValueError(f"residual: least must be in [1, depth = {depth}], got {least}")
    if not 0 < scale < math.inf or math.frexp(scale)[0] != 0.5:
        raise ValueError(f"residual: scale must be a power of 2, such as 0.5 or 0.25, got {scale}")
    # powers of 2: products and quotients with them are exact
    factors = jnp.float32(scale) ** jnp.arange(depth)

    def init(rng, h, condition=None):
        if shared:
            return bottleneck.init(rng, h, condition)
        return jax.vmap(lambda key: bottleneck.init(key, h, condition))(jax.random.split(rng, depth))

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded("residual", h, condition)
        level_rng, drop_rng = (None, None) if rng is None else jax.random.split(rng)
        # quantize dropout belongs to training: without a key all levels are used
        num_kept = None
        if least is not None and drop_rng is not None:
            num_kept = jax.random.randint(drop_rng, h.shape[:1], least, depth + 1)

        def level(carry, xs):
            total, shared_state = carry
            i, factor, key, level_params, level_state = xs
            level_condition, is_kept = condition, None
            if num_kept is not None:
                is_kept = num_kept > i
                tokens = jnp.broadcast_to(_broadcastable(is_kept, h)[..., 0], h.shape[:-1])
                level_condition = with_mask("residual", condition, tokens if mask is None else tokens & (mask > 0))
            # a constant, so that each level's penalty treats the levels before it as constants
            level_input = (h - stop_gradient(total)) / factor
            base_params, base_state = (params, shared_state) if shared else (level_params, level_state)
            code, new_state = bottleneck.apply(base_params, base_state, key, level_input, level_condition)
            # without gradient to `h`: the one at the end is the only one of the latent
            scaled_latent = factor * level_latent(
                "residual", bottleneck, base_params, base_state, code, level_input, condition
            )
            symbols = code.symbols
            if is_kept is not None:
                scaled_latent = jnp.where(_broadcastable(is_kept, scaled_latent), scaled_latent, 0.0)
                symbols = jax.tree.map(lambda s: jnp.where(_broadcastable(is_kept, s), s, DROPPED), symbols)
            carry_out = (total + scaled_latent, new_state) if shared else (total + scaled_latent, shared_state)
            return carry_out, (code._replace(latent=None, symbols=symbols, posterior=None), () if shared else new_state)

        keys = None if level_rng is None else jax.random.split(level_rng, depth)
        base_arrays = (None, None) if shared else (params, state)
        xs = (jnp.arange(depth), factors, keys, *base_arrays)
        # a scan, so that the compiled program does not grow with the depth
        (total, final_state), (codes, states) = jax.lax.scan(level, (jnp.zeros_like(h), state if shared else ()), xs)
        # `None` and dicts of terms pass through tree.map
        sums = {key: jax.tree.map(lambda a: a.sum(0), getattr(codes, key)) for key in ("penalty", "rate", "terms")}
        symbols = jax.tree.map(lambda s: jnp.moveaxis(s, 0, -1), codes.symbols)
        # 2: `split` has used 0 and 1 above
        latent = stacked_latent(bottleneck, None if rng is None else jax.random.fold_in(rng, 2), total, h)
        return Code(latent, symbols=symbols, **sums), final_state if shared else states

    def level_arrays(params, state, i):
        return (params, state) if shared else jax.tree.map(lambda a: a[i], (params, state))

    def lookup(params, state, symbols, condition=None):
        if any(np.shape(ids)[-1:] != (depth,) for ids in jax.tree.leaves(symbols)):
            shapes = [np.shape(ids) for ids in jax.tree.leaves(symbols)]
            raise ValueError(f"residual: symbols need a last axis of {depth} levels, got {shapes}")
        total = jnp.float32(0)
        for i in range(depth):
            ids = jax.tree.map(lambda s, i=i: s[..., i], symbols)
            dropped = jax.tree.map(lambda s: s == DROPPED, ids)
            valid_ids = jax.tree.map(lambda s, d: jnp.where(d, 0, s), ids, dropped)
            latent = base_lookup(*level_arrays(params, state, i), valid_ids, condition)
            total = total + jnp.where(_broadcastable(jax.tree.leaves(dropped)[0], latent), 0.0, factors[i] * latent)
        return total

    def sample(params, state, rng, h, condition=None):
        assert base_sample is not None
        total = 0.0
        for i, key in enumerate(jax.random.split(rng, depth)):
            base_params, base_state = level_arrays(params, state, i)
            total = total + factors[i] * base_sample(base_params, base_state, key, h, condition)
        return total

    return Bottleneck(init, apply, base_sample and sample, lookup, bottleneck.num_codes, in_another_stack(bottleneck))


def _broadcastable(a, b):
    return a.reshape(*a.shape, *(1,) * (b.ndim - a.ndim))
