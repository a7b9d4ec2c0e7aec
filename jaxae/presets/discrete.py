"""Autoencoders whose latent is a sequence of codes."""

from typing import Unpack

from jaxae import bottlenecks, likelihoods, objectives
from jaxae.model import autoencoder
from jaxae.networks import AnyNetwork, around, default_decoder, default_encoder
from jaxae.presets.parts import Networks, check, joined, require_known, scaled
from jaxae.types import Autoencoder, Objective


def vq_vae(
    shape: tuple[int, ...],
    *,
    num_codes: int = 512,
    num_tokens: int = 16,
    code_size: int = 16,
    learn: str = "ema",
    axis_name: str | None = None,
    **parts: Unpack[Networks],
) -> tuple[Autoencoder, Objective]:
    """An autoencoder whose latent is a short sequence of codes from a learned book.

    Args:
      shape: one example's, without the batch.
      num_codes: codes in the book.
      num_tokens: codes per example.
      code_size: width of a code.
      learn: "ema" or "gradient"; see `bottlenecks.vector_quantizer`.
      axis_name: the mapped axis of a step of one's own; None: that of the train step, if it has one.
      **parts: `Networks`; the encoder is `x -> [B, tokens, code_size]`, the decoder reads that.

    Raises:
      ValueError: a shape or size that is no positive whole number.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.vq_vae((28, 28, 1), num_codes=256)
    """
    check(shape, num_tokens=num_tokens, code_size=code_size)
    require_known(parts, Networks.__optional_keys__)
    likelihood = parts.get("likelihood") or likelihoods.gaussian()
    model = autoencoder(
        parts.get("encoder") or _cut(default_encoder(shape, num_tokens * code_size), num_tokens),
        bottlenecks.vector_quantizer(num_codes, learn=learn, commitment=0.25, axis_name=axis_name),
        parts.get("decoder") or joined(default_decoder(shape, likelihood.num_params)),
        likelihood,
    )
    return model, scaled(objectives.elbo(model), parts)


def _cut(network: AnyNetwork, num_tokens: int) -> AnyNetwork:
    return around(network, after=lambda y: y.reshape(y.shape[0], num_tokens, -1))
