"""A bottleneck inside an encoder and a decoder: the step of which hierarchies are made."""

import jax

from jaxae.networks import identity
from jaxae.types import Bottleneck, Network


def nested(encoder: Network, bottleneck: Bottleneck, decoder: Network = identity) -> Bottleneck:
    """Code the encoder's output with `bottleneck`, hand on the decoder's: an autoencoder without its likelihood.

    Gradients, symbols, rate and penalty are those of the inner bottleneck; the latent is what the decoder makes of
    its latent. `sample` and `lookup` exist where the inner bottleneck has them.

    Args:
      encoder: reads `h` (and the condition).
      bottleneck: any `Bottleneck`.
      decoder: reads the inner latent (and the condition).

    Returns:
      A `Bottleneck`; its params are a dict with "encoder", "bottleneck" and "decoder".

    Source: Razavi, van den Oord and Vinyals 2019, "Generating Diverse High-Fidelity Images with VQ-VAE-2".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, networks
      >>> narrow = bottlenecks.nested(networks.mlp(2), bottlenecks.vector_quantizer(8), networks.mlp(6))
      >>> params, state = narrow.init(jax.random.key(0), jnp.zeros((4, 6)))
      >>> narrow.apply(params, state, None, jnp.ones((4, 6)))[0].latent.shape
      (4, 6)
    """

    def init(rng, h, condition=None):
        encoder_rng, bottleneck_rng, decoder_rng = jax.random.split(rng, 3)
        encoder_params = encoder.init(encoder_rng, h, condition)
        h = jax.eval_shape(encoder.apply, encoder_params, h, condition)
        inner, state = bottleneck.init(bottleneck_rng, h, condition)
        code, _ = jax.eval_shape(lambda p, s, h, c: bottleneck.apply(p, s, None, h, c), inner, state, h, condition)
        return {
            "encoder": encoder_params,
            "bottleneck": inner,
            "decoder": decoder.init(decoder_rng, code.latent, condition),
        }, state

    def decode(params, latent, condition):
        return decoder.apply(params["decoder"], latent, condition)

    def apply(params, state, rng, h, condition=None):
        h = encoder.apply(params["encoder"], h, condition)
        code, state = bottleneck.apply(params["bottleneck"], state, rng, h, condition)
        return code._replace(latent=decode(params, code.latent, condition)), state

    def sample(params, state, rng, h, condition=None):
        assert bottleneck.sample is not None
        h = jax.eval_shape(encoder.apply, params["encoder"], h, condition)
        return decode(params, bottleneck.sample(params["bottleneck"], state, rng, h, condition), condition)

    def lookup(params, state, symbols, condition=None):
        assert bottleneck.lookup is not None
        return decode(params, bottleneck.lookup(params["bottleneck"], state, symbols, condition), condition)

    return Bottleneck(init, apply, bottleneck.sample and sample, bottleneck.lookup and lookup, bottleneck.num_codes)
