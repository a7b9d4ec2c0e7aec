"""Encoder, bottleneck, decoder and likelihood composed into an autoencoder."""

import jax

from jaxae.bottlenecks import nested
from jaxae.types import Autoencoder, Bottleneck, Likelihood, Network, Output


def autoencoder(encoder: Network, bottleneck: Bottleneck, decoder: Network, likelihood: Likelihood) -> Autoencoder:
    """The composition of four parts; every model of the literature here is a choice of them.

    Args:
      encoder: `x -> h`.
      bottleneck: `h -> Code`.
      decoder: `latent -> prediction`, with `likelihood.num_params` channels for each data channel.
      likelihood: reads the prediction.

    Returns:
      An `Autoencoder`. `init` accepts abstract shapes or a batch; its params are a dict with "encoder",
      "bottleneck" and "decoder". `sample` and `lookup` are None where the bottleneck has none.

    Raises:
      ValueError: (from `init`) the prediction's shape does not fit the data and the likelihood.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, likelihoods, networks
      >>> from jaxae.model import autoencoder
      >>> model = autoencoder(networks.mlp(8, 2), bottlenecks.identity(), networks.mlp(8, 5), likelihoods.gaussian())
      >>> x = jnp.ones((3, 5))
      >>> params, state = model.init(jax.random.key(0), x)
      >>> model.encode(params, state, x).latent.shape
      (3, 2)
    """

    inner = nested(encoder, bottleneck, decoder)  # an autoencoder without its likelihood

    def init(rng, x, condition=None):
        params, state = inner.init(rng, x, condition)
        coded, _ = jax.eval_shape(lambda p, s, x, c: inner.apply(p, s, None, x, c), params, state, x, condition)
        _check_prediction(x, coded.latent, likelihood)
        return params, state

    def code(params, state, rng, x, condition):
        h = encoder.apply(params["encoder"], x, condition)
        return bottleneck.apply(params["bottleneck"], state, rng, h, condition)

    def decode(params, latent, condition=None):
        return decoder.apply(params["decoder"], latent, condition)

    def apply(params, state, rng, x, condition=None):
        c, state = code(params, state, rng, x, condition)
        return Output(c, decode(params, c.latent, condition)), state

    def encode(params, state, x, condition=None):
        return code(params, state, None, x, condition)[0]

    def sample(params, state, rng, x, condition=None):
        assert bottleneck.sample is not None
        h = jax.eval_shape(encoder.apply, params["encoder"], x, condition)
        return bottleneck.sample(params["bottleneck"], state, rng, h, condition)

    def lookup(params, state, symbols, condition=None):
        assert bottleneck.lookup is not None
        return bottleneck.lookup(params["bottleneck"], state, symbols, condition)

    return Autoencoder(
        init=init,
        apply=apply,
        encode=encode,
        decode=decode,
        sample=sample if bottleneck.sample is not None else None,
        lookup=lookup if bottleneck.lookup is not None else None,
        likelihood=likelihood,
        num_codes=bottleneck.num_codes,
    )


def _check_prediction(x, prediction, likelihood):
    if not hasattr(x, "shape"):
        return  # a structured x: the objective's target decides
    expected = (*x.shape[:-1], x.shape[-1] * likelihood.num_params)
    # a masked autoencoder reads fewer tokens than it predicts: only the last axis is sure to agree
    if len(x.shape) != len(prediction.shape) or expected[-1] != prediction.shape[-1]:
        raise ValueError(
            f"the decoder gives {prediction.shape}, but x {x.shape} with {likelihood.num_params} parameter(s) per "
            f"channel needs {expected}: change the decoder's output size"
        )
