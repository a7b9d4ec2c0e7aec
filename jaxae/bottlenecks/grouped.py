"""Product quantization: the channels in groups (heads), each coded separately."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.bottlenecks.stacks import in_another_stack, require_lookup, with_mask
from jaxae.bottlenecks.tokens import require_input, unpadded
from jaxae.types import Bottleneck, Code


def grouped(bottleneck: Bottleneck, n: int, *, shared: bool = False) -> Bottleneck:
    """The last axis of `h` in n equal groups, each coded by the base, with the latents concatenated.

    Gradients are the base's, group by group; penalty, rate and terms are sums over groups.

    Args:
      bottleneck: base bottleneck, with `lookup`.
      n: number of groups, at least 1; must divide the width of `h`.
      shared: whether all groups share one base, as further tokens, instead of one base per group.

    Returns:
      A `Bottleneck` with `lookup`; symbols are `[B, ..., n]` (the base's symbols with a last axis for groups).
      Parameters and state have a leading axis for groups, unless shared.

    Raises:
      ValueError: n < 1, a base without `lookup`; from `init` and `apply` a width that n does not divide.

    Source: Jégou, Douze and Schmid 2011, "Product Quantization for Nearest Neighbor Search"; heads: Yang et al. 2023,
    "HiFi-Codec", group-residual quantization.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.grouped(bottlenecks.vector_quantizer(8), 2)
      >>> h = jax.random.normal(jax.random.key(0), (4, 5, 6))
      >>> params, state = layer.init(jax.random.key(1), h)
      >>> code, _ = layer.apply(params, state, jax.random.key(2), h)
      >>> code.latent.shape, code.symbols.shape
      ((4, 5, 6), (4, 5, 2))
    """
    base_lookup, base_sample = require_lookup("grouped", bottleneck), bottleneck.sample
    if n < 1:
        raise ValueError(f"grouped: n must be at least 1, got {n}")

    def split_groups(h):
        """`h` split into groups `[B, ..., n, D / n]`; only the shape where `h` is abstract."""
        if h.shape[-1] % n:
            raise ValueError(f"grouped: {n} groups do not divide a width of {h.shape[-1]}")
        shape = (*h.shape[:-1], n, h.shape[-1] // n)
        return h.reshape(shape) if hasattr(h, "reshape") else jax.ShapeDtypeStruct(shape, h.dtype)

    def base_input(h):
        groups = split_groups(h)
        return groups if shared else jax.ShapeDtypeStruct((*groups.shape[:-2], groups.shape[-1]), groups.dtype)

    def group_keys(rng):
        return None if rng is None else jax.random.split(rng, n)

    def init(rng, h, condition=None):
        require_input("grouped", h)
        if shared:
            return bottleneck.init(rng, base_input(h), condition)
        return jax.vmap(lambda key: bottleneck.init(key, base_input(h), condition))(group_keys(rng))

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded("grouped", h, condition)
        groups = split_groups(h)
        if shared:
            if mask is not None:
                condition = with_mask("grouped", condition, jnp.broadcast_to(mask[..., None], groups.shape[:-1]))
            # groups become one more axis of tokens for the shared base
            code, state = bottleneck.apply(params, state, rng, groups, condition)
            symbols = jax.tree.map(lambda s: jnp.moveaxis(s, h.ndim - 1, -1), code.symbols)
            return code._replace(latent=code.latent.reshape(*h.shape[:-1], -1), symbols=symbols, posterior=None), state

        def group(group_params, group_state, key, group_rows):
            code, updated_state = bottleneck.apply(group_params, group_state, key, group_rows, condition)
            return code._replace(posterior=None), updated_state

        # groups are mapped, not concatenated: each has its own parameters and state
        axes = (0, 0, None if rng is None else 0, -2)
        code, state = jax.vmap(group, axes)(params, state, group_keys(rng), groups)
        # axis 0 is that of the groups
        sums = {key: jax.tree.map(lambda a: a.sum(0), getattr(code, key)) for key in ("penalty", "rate", "terms")}
        symbols = jax.tree.map(lambda s: jnp.moveaxis(s, 0, -1), code.symbols)
        return Code(joined(code.latent), symbols=symbols, **sums), state

    def joined(latents):
        latents = jnp.moveaxis(latents, 0, -2)
        # groups side by side in the order in which the width was split
        return latents.reshape(*latents.shape[:-2], -1)

    def lookup(params, state, symbols, condition=None):
        if any(np.shape(ids)[-1:] != (n,) for ids in jax.tree.leaves(symbols)):
            shapes = [np.shape(ids) for ids in jax.tree.leaves(symbols)]
            raise ValueError(f"grouped: symbols need a last axis of {n} groups, got {shapes}")
        read = []
        for i in range(n):
            base_arrays = (params, state) if shared else jax.tree.map(lambda a, i=i: a[i], (params, state))
            read.append(base_lookup(*base_arrays, jax.tree.map(lambda s, i=i: s[..., i], symbols), condition))
        return jnp.concatenate(read, -1)

    def sample(params, state, rng, h, condition=None):
        assert base_sample is not None
        draw = base_sample
        if shared:
            drawn = base_sample(params, state, rng, base_input(h), condition)
            return drawn.reshape(*h.shape[:-1], -1)
        return joined(jax.vmap(lambda p, s, k: draw(p, s, k, base_input(h), condition))(params, state, group_keys(rng)))

    return Bottleneck(init, apply, base_sample and sample, lookup, bottleneck.num_codes, in_another_stack(bottleneck))
