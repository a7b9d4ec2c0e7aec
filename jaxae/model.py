"""Encoder, bottleneck, decoder and likelihood composed into an autoencoder."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxae.bottlenecks import nested
from jaxae.bottlenecks.tokens import without_padding
from jaxae.files.messages import shown
from jaxae.networks import AnyNetwork
from jaxae.networks.stateful import Pair
from jaxae.numerics.arguments import check_arguments
from jaxae.types import Autoencoder, Bottleneck, Likelihood, Output


def autoencoder(
    encoder: AnyNetwork, bottleneck: Bottleneck, decoder: AnyNetwork, likelihood: Likelihood
) -> Autoencoder:
    """The composition of four parts; every preset is a choice of them.

    Args:
      encoder: network `x -> h`; a `Network`, or a `StatefulNetwork` (batch norm, dropout).
      bottleneck: bottleneck `h -> Code`.
      decoder: network `latent -> prediction` of either kind, with `likelihood.num_params` channels for each data
        channel.
      likelihood: likelihood that reads the prediction.

    Returns:
      An `Autoencoder`. `init` accepts abstract shapes or a batch; its params are a dict with "encoder",
      "bottleneck" and "decoder". `sample` and `lookup` are None where the bottleneck has none. The state is the
      bottleneck's; where a network has state, a dict with "networks" and "bottleneck", and `decode` needs it.

    Raises:
      ValueError: (from `init`) the prediction's shape does not fit the data and the likelihood; (from `decode`) a
        network has state, and none was given.

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

    nested_parts = nested(encoder, bottleneck, decoder)  # an autoencoder without its likelihood
    pair = Pair.of(encoder, decoder)

    def init(rng, x, condition=None):
        params, state = nested_parts.init(rng, x, condition)
        coded, _ = jax.eval_shape(lambda p, s, x, c: nested_parts.apply(p, s, None, x, c), params, state, x, condition)
        _check_prediction(x, coded.latent, likelihood)
        return params, state

    def code(params, state, rng, x, condition):
        """The code, the parts of the state that the decoder reads, and the new state of encoder and bottleneck."""
        parts = pair.opened(state, rng)
        encoder_rng, inner_rng, _ = parts.keys
        # a NaN in padded tokens would reach the gradients of the encoder's parameters
        x = without_padding(x, condition)
        h, encoder_state = pair.encoder.apply(_of(params, "encoder"), parts.encoder, encoder_rng, x, condition)
        coded, bottleneck_state = bottleneck.apply(_of(params, "bottleneck"), parts.inner, inner_rng, h, condition)
        return coded, parts, (encoder_state, bottleneck_state)

    def apply(params, state, rng, x, condition=None):
        coded, parts, (encoder_state, bottleneck_state) = code(params, state, rng, x, condition)
        prediction, decoder_state = pair.decoder.apply(
            _of(params, "decoder"), parts.decoder, parts.keys[2], coded.latent, condition
        )
        return Output(coded, prediction), pair.closed(state, encoder_state, bottleneck_state, decoder_state)

    def encode(params, state, x, condition=None):
        return code(params, state, None, x, condition)[0]

    def decode(params, latent, condition=None, state=None):
        if pair.stateful and state is None:
            raise ValueError("a network has state: decode needs the model's, decode(params, latent, condition, state)")
        return pair.decoder.apply(_of(params, "decoder"), pair.opened(state, None).decoder, None, latent, condition)[0]

    def sample(params, state, rng, x, condition=None):
        assert bottleneck.sample is not None
        parts = pair.opened(state, None)
        like = jax.eval_shape(
            lambda p, s, x, c: pair.encoder.apply(p, s, None, x, c)[0], params["encoder"], parts.encoder, x, condition
        )
        return bottleneck.sample(params["bottleneck"], parts.inner, rng, like, condition)

    def lookup(params, state, symbols, condition=None):
        assert bottleneck.lookup is not None
        return bottleneck.lookup(params["bottleneck"], pair.opened(state, None).inner, symbols, condition)

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


def _of(params: Any, part: str) -> Any:
    """The parameters of one part, or a ValueError where these are not a model's."""
    if not isinstance(params, Mapping) or part not in params:
        raise ValueError(f"params must be those of the model, a dict with the key {part}; got {shown(params)}")
    return params[part]


def _check_prediction(x, prediction, likelihood):
    if not hasattr(x, "shape"):
        return  # x is a tree: the prediction is compared with the objective's target instead
    expected = (*x.shape[:-1], x.shape[-1] * likelihood.num_params)
    # a masked autoencoder reads fewer tokens than it predicts: only the last axis is sure to agree
    if len(x.shape) != len(prediction.shape) or expected[-1] != prediction.shape[-1]:
        raise ValueError(
            f"the decoder gives {prediction.shape}, but x {x.shape} with {likelihood.num_params} parameter(s) per "
            f"channel needs {expected}: change the decoder's output size"
        )


check_arguments(__name__)
