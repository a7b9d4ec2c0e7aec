"""Two bottlenecks in a hierarchy: the local one codes the input beside the latent of the top one."""

import jax
import jax.numpy as jnp

from jaxae.bottlenecks.stacks import in_another_stack, summed
from jaxae.bottlenecks.tokens import mask_of
from jaxae.types import Bottleneck, Code


def hierarchical(top: Bottleneck, local: Bottleneck, conditional: bool = False) -> Bottleneck:
    """`top` codes `h`; `local` codes `h` concatenated with top's latent; the latent is both, concatenated.

    With `top = nested(encoder, quantizer, decoder)`, whose encoder halves the map and whose decoder doubles it again,
    and `local = projected(quantizer, width)`, this is VQ-VAE-2's hierarchy; it nests, for more levels.

    Args:
      top: bottleneck that reads `h [B, ..., D]`; its latent must have the same axes before the last.
      local: bottleneck that reads `[h, top's latent]`, concatenated along the last axis.
      conditional: whether local's condition is top's latent instead of the model's condition: a ladder VAE, whose lower
        prior `gaussian(priors.conditional_normal(...))` reads the latent above it.

    Returns:
      A `Bottleneck`; params, state and symbols are pairs, top first; penalty, rate and terms are sums. `sample` and
      `lookup` exist where both have them.

    Raises:
      ValueError: from `init` and `apply`, top's latent has other axes than `h`, or a token mask with `conditional`.

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

    def concatenated(h, latent):
        if latent.shape[:-1] != h.shape[:-1]:
            raise ValueError(
                f"hierarchical: top's latent {latent.shape} must have the axes of h {h.shape} but for the last: "
                "let its decoder undo what its encoder did to the map"
            )
        # local reads the input and not a residual: what top codes well, local can ignore
        return jnp.concatenate([h.astype(jnp.float32), latent], -1)

    def local_condition(condition, above):
        if conditional and mask_of(condition) is not None:
            raise ValueError(
                'hierarchical: conditional=True gives local the latent of top as its condition, so condition["mask"] '
                "would not reach it: leave the mask out, or take conditional=False"
            )
        return above if conditional else condition

    def split_rng(rng):
        return (None, None) if rng is None else jax.random.split(rng)

    def init(rng, h, condition=None):
        top_rng, local_rng = jax.random.split(rng)
        params, state = top.init(top_rng, h, condition)
        above = jax.eval_shape(lambda p, s, h, c: top.apply(p, s, None, h, c)[0].latent, params, state, h, condition)
        # only shapes are known before training: init passes abstract arrays through both levels
        joined = jax.eval_shape(concatenated, jax.ShapeDtypeStruct(h.shape, h.dtype), above)
        below, below_state = local.init(local_rng, joined, local_condition(condition, above))
        return (params, below), (state, below_state)

    def apply(params, state, rng, h, condition=None):
        top_rng, local_rng = split_rng(rng)
        above, top_state = top.apply(params[0], state[0], top_rng, h, condition)
        below, local_state = local.apply(
            params[1], state[1], local_rng, concatenated(h, above.latent), local_condition(condition, above.latent)
        )
        latent = jnp.concatenate([above.latent, below.latent], -1)
        symbols = (above.symbols, below.symbols)
        # symbols of one level alone could not be decoded: both levels need them
        code = Code(latent, symbols=None if any(s is None for s in symbols) else symbols, **summed([above, below]))
        return code, (top_state, local_state)

    def sample(params, state, rng, h, condition=None):
        assert top.sample is not None
        assert local.sample is not None
        top_rng, local_rng = jax.random.split(rng)
        above = top.sample(params[0], state[0], top_rng, h, condition)
        local_input = jax.eval_shape(concatenated, jax.ShapeDtypeStruct(h.shape, h.dtype), above)
        return jnp.concatenate(
            [above, local.sample(params[1], state[1], local_rng, local_input, local_condition(condition, above))], -1
        )

    def lookup(params, state, symbols, condition=None):
        assert top.lookup is not None
        assert local.lookup is not None
        above = top.lookup(params[0], state[0], symbols[0], condition)
        return jnp.concatenate(
            [above, local.lookup(params[1], state[1], symbols[1], local_condition(condition, above))], -1
        )

    sizes = (top.num_codes, local.num_codes) if top.num_codes and local.num_codes else None
    has_sample, has_lookup = top.sample and local.sample, top.lookup and local.lookup
    estimator = in_another_stack(top) or in_another_stack(local)
    return Bottleneck(init, apply, has_sample and sample, has_lookup and lookup, sizes, estimator)
