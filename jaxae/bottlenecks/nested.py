"""A bottleneck inside an encoder and a decoder: the step of which hierarchies are made."""

import jax

from jaxae.networks import AnyNetwork, identity
from jaxae.networks.stateful import Pair
from jaxae.types import Bottleneck


def nested(encoder: AnyNetwork, bottleneck: Bottleneck, decoder: AnyNetwork = identity) -> Bottleneck:
    """Code the encoder's output with `bottleneck`, hand on the decoder's: an autoencoder without its likelihood.

    Gradients, symbols, rate and penalty are those of the inner bottleneck; the latent is what the decoder makes of
    its latent. `sample` and `lookup` exist where the inner bottleneck has them.

    Args:
      encoder: reads `h` (and the condition); with or without state, as the decoder.
      bottleneck: any `Bottleneck`.
      decoder: reads the inner latent (and the condition).

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
        encoder_rng, bottleneck_rng, decoder_rng = jax.random.split(rng, 3)
        encoder_params, encoder_state = pair.encoder.init(encoder_rng, h, condition)
        h = encoded(encoder_params, encoder_state, h, condition)
        inner, state = bottleneck.init(bottleneck_rng, h, condition)
        code, _ = jax.eval_shape(lambda p, s, h, c: bottleneck.apply(p, s, None, h, c), inner, state, h, condition)
        decoder_params, decoder_state = pair.decoder.init(decoder_rng, code.latent, condition)
        params = {"encoder": encoder_params, "bottleneck": inner, "decoder": decoder_params}
        return params, pair.closed(None, encoder_state, state, decoder_state)

    def encoded(params, state, h, condition):
        """The shape of what the encoder gives."""
        return jax.eval_shape(lambda p, s, h, c: pair.encoder.apply(p, s, None, h, c)[0], params, state, h, condition)

    def apply(params, state, rng, h, condition=None):
        parts = pair.opened(state, rng)
        encoder_rng, inner_rng, decoder_rng = parts.keys
        h, encoder_state = pair.encoder.apply(params["encoder"], parts.encoder, encoder_rng, h, condition)
        code, inner = bottleneck.apply(params["bottleneck"], parts.inner, inner_rng, h, condition)
        latent, decoder_state = pair.decoder.apply(
            params["decoder"], parts.decoder, decoder_rng, code.latent, condition
        )
        return code._replace(latent=latent), pair.closed(state, encoder_state, inner, decoder_state)

    def decode(params, state, latent, condition):
        return pair.decoder.apply(params["decoder"], pair.opened(state, None).decoder, None, latent, condition)[0]

    def sample(params, state, rng, h, condition=None):
        assert bottleneck.sample is not None
        parts = pair.opened(state, None)
        h = encoded(params["encoder"], parts.encoder, h, condition)
        return decode(params, state, bottleneck.sample(params["bottleneck"], parts.inner, rng, h, condition), condition)

    def lookup(params, state, symbols, condition=None):
        assert bottleneck.lookup is not None
        inner = pair.opened(state, None).inner
        return decode(params, state, bottleneck.lookup(params["bottleneck"], inner, symbols, condition), condition)

    return Bottleneck(init, apply, bottleneck.sample and sample, bottleneck.lookup and lookup, bottleneck.num_codes)
