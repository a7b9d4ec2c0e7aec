"""Two bottlenecks, one above the other: the lower one codes what it sees and what the upper one said."""

import jax
import jax.numpy as jnp

from jaxae.bottlenecks.stacks import charged
from jaxae.types import Bottleneck, Code


def hierarchical(top: Bottleneck, local: Bottleneck, conditional: bool = False) -> Bottleneck:
    """`top` codes `h`; `local` codes `h` beside top's latent; the latent is both, side by side.

    With `top = nested(encoder, quantizer, decoder)`, whose encoder halves the map and whose decoder doubles it again,
    and `local = projected(quantizer, width)`, this is VQ-VAE-2's hierarchy; it nests, for more levels.

    Args:
      top: reads `h [B, ..., D]`; its latent must have the same axes before the last.
      local: reads `[h, top's latent]`, joined along the last axis.
      conditional: local's condition is top's latent instead of the model's: a ladder VAE, whose lower prior
        `gaussian(priors.conditional_normal(...))` is told what was coded above it.

    Returns:
      A `Bottleneck`; params, state and symbols are pairs, top first; penalty, rate and terms are sums. `sample` and
      `lookup` exist where both have them.

    Raises:
      ValueError: from `init` and `apply`, top's latent has other axes than `h`.

    Source: Razavi, van den Oord and Vinyals 2019, "Generating Diverse High-Fidelity Images with VQ-VAE-2", section 3.1;
    a prior that reads the level above: Sønderby et al. 2016, "Ladder Variational Autoencoders".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, networks
      >>> top = bottlenecks.nested(networks.mlp(2), bottlenecks.vector_quantizer(4), networks.mlp(3))
      >>> layer = bottlenecks.hierarchical(top, bottlenecks.vector_quantizer(8))
      >>> h = jax.random.normal(jax.random.key(0), (5, 6))
      >>> params, state = layer.init(jax.random.key(1), h)
      >>> code, state = layer.apply(params, state, jax.random.key(2), h)
      >>> code.latent.shape, [s.shape for s in code.symbols]
      ((5, 12), [(5,), (5,)])
    """

    def beside(h, latent):
        if latent.shape[:-1] != h.shape[:-1]:
            raise ValueError(
                f"hierarchical: top's latent {latent.shape} must have the axes of h {h.shape} but for the last: "
                "let its decoder undo what its encoder did to the map"
            )
        return jnp.concatenate([h.astype(jnp.float32), latent], -1)

    def told(condition, above):
        return above if conditional else condition

    def halves(rng):
        return (None, None) if rng is None else jax.random.split(rng)

    def init(rng, h, condition=None):
        top_rng, local_rng = jax.random.split(rng)
        params, state = top.init(top_rng, h, condition)
        above = jax.eval_shape(lambda p, s, h, c: top.apply(p, s, None, h, c)[0].latent, params, state, h, condition)
        joined = jax.eval_shape(beside, jax.ShapeDtypeStruct(h.shape, h.dtype), above)
        below, below_state = local.init(local_rng, joined, told(condition, above))
        return (params, below), (state, below_state)

    def apply(params, state, rng, h, condition=None):
        top_rng, local_rng = halves(rng)
        above, top_state = top.apply(params[0], state[0], top_rng, h, condition)
        below, local_state = local.apply(
            params[1], state[1], local_rng, beside(h, above.latent), told(condition, above.latent)
        )
        latent = jnp.concatenate([above.latent, below.latent], -1)
        symbols = (above.symbols, below.symbols)
        code = Code(latent, symbols=None if any(s is None for s in symbols) else symbols, **charged([above, below]))
        return code, (top_state, local_state)

    def sample(params, state, rng, h, condition=None):
        assert top.sample is not None
        assert local.sample is not None
        top_rng, local_rng = jax.random.split(rng)
        above = top.sample(params[0], state[0], top_rng, h, condition)
        like = jax.eval_shape(beside, jax.ShapeDtypeStruct(h.shape, h.dtype), above)
        return jnp.concatenate([above, local.sample(params[1], state[1], local_rng, like, told(condition, above))], -1)

    def lookup(params, state, symbols, condition=None):
        assert top.lookup is not None
        assert local.lookup is not None
        above = top.lookup(params[0], state[0], symbols[0], condition)
        return jnp.concatenate([above, local.lookup(params[1], state[1], symbols[1], told(condition, above))], -1)

    sizes = (top.num_codes, local.num_codes) if top.num_codes and local.num_codes else None
    both_sample, both_lookup = top.sample and local.sample, top.lookup and local.lookup
    return Bottleneck(init, apply, both_sample and sample, both_lookup and lookup, sizes)
