"""Product quantization: the channels in groups (heads), each coded on its own."""

import jax
import jax.numpy as jnp

from jaxae.bottlenecks.stacks import require_lookup, with_mask
from jaxae.bottlenecks.tokens import unpadded
from jaxae.types import Bottleneck, Code


def grouped(bottleneck: Bottleneck, n: int, *, shared: bool = False) -> Bottleneck:
    """The last axis of `h` in n equal groups, each through the base; their latents side by side.

    Gradients are the base's, group by group; penalty, rate and terms are sums over groups.

    Args:
      bottleneck: the base, with `lookup`.
      n: groups, at least 1; must divide the width of `h`.
      shared: one base for all groups, which are then tokens of it, instead of one each.

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
    base_lookup, base_sample = require_lookup("grouped", bottleneck)
    if n < 1:
        raise ValueError(f"grouped: n must be at least 1, got {n}")

    def part(h):
        """`h` cut, or its shape alone where it is abstract."""
        if h.shape[-1] % n:
            raise ValueError(f"grouped: {n} groups do not divide a width of {h.shape[-1]}")
        shape = (*h.shape[:-1], n, h.shape[-1] // n)
        return h.reshape(shape) if hasattr(h, "reshape") else jax.ShapeDtypeStruct(shape, h.dtype)

    def one(h):
        cut = part(h)
        return cut if shared else jax.ShapeDtypeStruct((*cut.shape[:-2], cut.shape[-1]), cut.dtype)

    def each(rng):
        return None if rng is None else jax.random.split(rng, n)

    def init(rng, h, condition=None):
        if shared:
            return bottleneck.init(rng, one(h), condition)
        return jax.vmap(lambda key: bottleneck.init(key, one(h), condition))(each(rng))

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded("grouped", h, condition)
        cut = part(h)
        if shared:
            if mask is not None:
                condition = with_mask("grouped", condition, jnp.broadcast_to(mask[..., None], cut.shape[:-1]))
            code, state = bottleneck.apply(params, state, rng, cut, condition)
            symbols = jax.tree.map(lambda s: jnp.moveaxis(s, h.ndim - 1, -1), code.symbols)
            return code._replace(latent=code.latent.reshape(*h.shape[:-1], -1), symbols=symbols, posterior=None), state

        def group(inner, own, key, rows):
            code, new = bottleneck.apply(inner, own, key, rows, condition)
            return code._replace(posterior=None), new

        axes = (0, 0, None if rng is None else 0, -2)
        code, state = jax.vmap(group, axes)(params, state, each(rng), cut)
        sums = {key: jax.tree.map(lambda a: a.sum(0), getattr(code, key)) for key in ("penalty", "rate", "terms")}
        symbols = jax.tree.map(lambda s: jnp.moveaxis(s, 0, -1), code.symbols)
        return Code(joined(code.latent), symbols=symbols, **sums), state

    def joined(latents):
        latents = jnp.moveaxis(latents, 0, -2)
        return latents.reshape(*latents.shape[:-2], -1)

    def lookup(params, state, symbols, condition=None):
        if any(ids.shape[-1] != n for ids in jax.tree.leaves(symbols)):
            shapes = [ids.shape for ids in jax.tree.leaves(symbols)]
            raise ValueError(f"grouped: symbols need a last axis of {n} groups, got {shapes}")
        read = []
        for i in range(n):
            own = (params, state) if shared else jax.tree.map(lambda a, i=i: a[i], (params, state))
            read.append(base_lookup(*own, jax.tree.map(lambda s, i=i: s[..., i], symbols), condition))
        return jnp.concatenate(read, -1)

    def sample(params, state, rng, h, condition=None):
        if shared:
            drawn = base_sample(params, state, rng, one(h), condition)
            return drawn.reshape(*h.shape[:-1], -1)
        return joined(jax.vmap(lambda p, s, k: base_sample(p, s, k, one(h), condition))(params, state, each(rng)))

    return Bottleneck(init, apply, sample, lookup, bottleneck.num_codes)
