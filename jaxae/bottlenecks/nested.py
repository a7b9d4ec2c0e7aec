"""A bottleneck between an encoder and a decoder: the building block of hierarchies."""

import jax

from jaxae.bottlenecks.tokens import require_input, without_padding
from jaxae.networks import AnyNetwork, identity
from jaxae.networks.stateful import Pair
from jaxae.types import Bottleneck, Estimator


def nested(encoder: AnyNetwork, bottleneck: Bottleneck, decoder: AnyNetwork = identity) -> Bottleneck:
    """Code the encoder's output with `bottleneck` and decode its latent: an autoencoder without a likelihood.

    Gradients, symbols, rate and penalty are those of the inner bottleneck; the latent is the decoder's output.
    `sample` and `lookup` exist where the inner bottleneck has them.

    Args:
      encoder: network that reads `h` (and the condition), with or without state.
      bottleneck: inner bottleneck, which reads the encoder's output.
      decoder: network that reads the inner latent (and the condition), with or without state.

    Returns:
      A `Bottleneck`; its params are a dict with "encoder", "bottleneck" and "decoder". Its state is the bottleneck's;
      where a network has state a dict with "networks" and "bottleneck".

    Source: Razavi, van den Oord and Vinyals 2019, "Generating Diverse High-Fidelity Images with VQ-VAE-2".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, networks
      >>> narrow = bottlenecks.nested(networks.mlp(2), bottlenecks.vector_quantizer(8), networks.mlp(6))
      >>> params, state = narrow.init(jax.random.key(0), jnp.zeros((4, 6)))
      >>> narrow.apply(params, state, None, jnp.ones((4, 6)))[0].latent.shape
      (4, 6)
    """

    pair = Pair.of(encoder, decoder)

    def init(rng, h, condition=None):
        require_input("nested", h)
        encoder_rng, bottleneck_rng, decoder_rng = jax.random.split(rng, 3)
        encoder_params, encoder_state = pair.encoder.init(encoder_rng, h, condition)
        h = encoded(encoder_params, encoder_state, h, condition)
        bottleneck_params, state = bottleneck.init(bottleneck_rng, h, condition)
        code, _ = jax.eval_shape(
            lambda p, s, h, c: bottleneck.apply(p, s, None, h, c), bottleneck_params, state, h, condition
        )
        decoder_params, decoder_state = pair.decoder.init(decoder_rng, code.latent, condition)
        params = {"encoder": encoder_params, "bottleneck": bottleneck_params, "decoder": decoder_params}
        return params, pair.closed(None, encoder_state, state, decoder_state)

    def encoded(params, state, h, condition):
        """Shape and dtype of the encoder's output."""
        return jax.eval_shape(lambda p, s, h, c: pair.encoder.apply(p, s, None, h, c)[0], params, state, h, condition)

    def apply(params, state, rng, h, condition=None):
        parts = pair.opened(state, rng)
        encoder_rng, inner_rng, decoder_rng = parts.keys
        require_input("nested", h)
        # a NaN in padding would reach the gradients of the encoder's parameters
        h = without_padding(h, condition)
        h, encoder_state = pair.encoder.apply(params["encoder"], parts.encoder, encoder_rng, h, condition)
        code, bottleneck_state = bottleneck.apply(params["bottleneck"], parts.inner, inner_rng, h, condition)
        latent, decoder_state = pair.decoder.apply(
            params["decoder"], parts.decoder, decoder_rng, code.latent, condition
        )
        return code._replace(latent=latent), pair.closed(state, encoder_state, bottleneck_state, decoder_state)

    def decode(params, state, latent, condition):
        return pair.decoder.apply(params["decoder"], pair.opened(state, None).decoder, None, latent, condition)[0]

    def sample(params, state, rng, h, condition=None):
        assert bottleneck.sample is not None
        parts = pair.opened(state, None)
        h = encoded(params["encoder"], parts.encoder, h, condition)
        return decode(params, state, bottleneck.sample(params["bottleneck"], parts.inner, rng, h, condition), condition)

    def lookup(params, state, symbols, condition=None):
        assert bottleneck.lookup is not None
        bottleneck_state = pair.opened(state, None).inner
        return decode(
            params, state, bottleneck.lookup(params["bottleneck"], bottleneck_state, symbols, condition), condition
        )

    # encoder and decoder learn through the latent, so that no stack of constants may stand around them
    has_sample, has_lookup = bottleneck.sample and sample, bottleneck.lookup and lookup
    return Bottleneck(init, apply, has_sample, has_lookup, bottleneck.num_codes, Estimator("nested"))
