"""Named recipes: each a few lines over the parts, returning a model and its objective.

Every preset is called with one example's shape and takes its parts as keywords. The objective reads what the data
room delivers: pixels 0..255 (uint8) are scaled to 0..1 inside it, floating values pass through.
"""

import math

from jaxae import bottlenecks, likelihoods, objectives, transforms
from jaxae.model import autoencoder
from jaxae.networks import default_decoder, default_encoder
from jaxae.objectives.elbo import Weight
from jaxae.transforms import Transform
from jaxae.types import Autoencoder, Likelihood, Network, Objective, Prior


def ae(
    shape: tuple[int, ...],
    *,
    latent_size: int = 32,
    encoder: Network | None = None,
    decoder: Network | None = None,
    likelihood: Likelihood | None = None,
    transform: Transform | None = None,
) -> tuple[Autoencoder, Objective]:
    """A plain autoencoder: squared error through a narrow latent.

    Args:
      shape: one example's, without the batch: `(28, 28, 1)` for an image, `(21,)` for a table's row.
      latent_size: width of the latent.
      encoder: `x -> [B, latent_size]`; None: `networks.default_encoder`.
      decoder: `latent -> prediction`; None: `networks.default_decoder`.
      likelihood: None: normal with scale 1, half the squared error.
      transform: in front of the objective; None: `transforms.scale_uint8`.

    Returns:
      `(Autoencoder, Objective)`.

    Raises:
      ValueError: a shape or size that is no positive whole number.

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.ae((28, 28, 1), latent_size=16)
    """
    model = _model(
        shape, latent_size, 1, bottlenecks.identity(), encoder, decoder, likelihood or likelihoods.gaussian()
    )
    return model, objectives.prepared(objectives.elbo(model), transform or transforms.scale_uint8())


def denoising_ae(
    shape: tuple[int, ...],
    *,
    latent_size: int = 32,
    corruption: Transform | None = None,
    encoder: Network | None = None,
    decoder: Network | None = None,
    likelihood: Likelihood | None = None,
    transform: Transform | None = None,
) -> tuple[Autoencoder, Objective]:
    """An autoencoder that rebuilds the uncorrupted example from a corrupted one.

    Args:
      shape: one example's, without the batch.
      latent_size: width of the latent.
      corruption: what the encoder sees in training; None: `transforms.gaussian_noise(0.3)`, in the unit of the
        scaled data.
      encoder: as in `ae`.
      decoder: as in `ae`.
      likelihood: as in `ae`.
      transform: scaling, before the corruption; None: `transforms.scale_uint8`.

    Returns:
      `(Autoencoder, Objective)`.

    Raises:
      ValueError: a shape or size that is no positive whole number.

    Source: Vincent et al. 2010, "Stacked Denoising Autoencoders".

    Example:
      >>> from jaxae import presets, transforms
      >>> model, objective = presets.denoising_ae((28, 28, 1), corruption=transforms.salt_and_pepper(0.2))
    """
    model, _ = ae(shape, latent_size=latent_size, encoder=encoder, decoder=decoder, likelihood=likelihood)
    steps = transforms.chain(transform or transforms.scale_uint8(), corruption or transforms.gaussian_noise(0.3))
    return model, objectives.prepared(objectives.elbo(model), steps)


def vae(
    shape: tuple[int, ...],
    *,
    latent_size: int = 32,
    beta: Weight = 1.0,
    prior: Prior | None = None,
    free_bits: float = 0.0,
    encoder: Network | None = None,
    decoder: Network | None = None,
    likelihood: Likelihood | None = None,
    transform: Transform | None = None,
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder; with `beta` a beta-VAE or, given a schedule, a KL warm-up.

    Args:
      shape: one example's, without the batch.
      latent_size: width of the latent.
      beta: weight of the KL, a number or a schedule `step -> number`.
      prior: `p(z)`; None: the standard normal.
      free_bits: nats per latent dimension without charge.
      encoder: `x -> [B, 2 * latent_size]`; None: `networks.default_encoder`.
      decoder: as in `ae`.
      likelihood: None: normal with scale 0.1 for images, about the error of a good reconstruction of pixels in
        0..1, and 0.5 for standardised tables. For binarised images pass `likelihoods.bernoulli()` and a
        `transform` that binarises.
      transform: as in `ae`.

    Returns:
      `(Autoencoder, Objective)`.

    Raises:
      ValueError: a shape or size that is no positive whole number.

    Source: Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; Higgins et al. 2017, "beta-VAE".

    Example:
      >>> from jaxae import likelihoods, presets, transforms
      >>> binary = transforms.chain(transforms.scale_uint8(), transforms.binarise())
      >>> model, objective = presets.vae((28, 28, 1), likelihood=likelihoods.bernoulli(), transform=binary)
    """
    likelihood = likelihood or likelihoods.gaussian(0.1 if len(shape) == 3 else 0.5)
    layer = bottlenecks.gaussian(prior, free_bits=free_bits)
    model = _model(shape, latent_size, 2, layer, encoder, decoder, likelihood)
    return model, objectives.prepared(objectives.elbo(model, beta), transform or transforms.scale_uint8())


def vq_vae(
    shape: tuple[int, ...],
    *,
    num_codes: int = 512,
    num_tokens: int = 16,
    code_size: int = 16,
    learn: str = "ema",
    axis_name: str | None = None,
    encoder: Network | None = None,
    decoder: Network | None = None,
    likelihood: Likelihood | None = None,
    transform: Transform | None = None,
) -> tuple[Autoencoder, Objective]:
    """An autoencoder whose latent is a short sequence of codes from a learned book.

    Args:
      shape: one example's, without the batch.
      num_codes: codes in the book.
      num_tokens: codes per example.
      code_size: width of a code.
      learn: "ema" or "gradient"; see `bottlenecks.vector_quantizer`.
      axis_name: the mapped axis, under `pmap` or `shard_map` alone.
      encoder: `x -> [B, tokens, code_size]`; None: `networks.default_encoder`, its output cut into tokens.
      decoder: `[B, tokens, code_size] -> prediction`; None: `networks.default_decoder` on the joined tokens.
      likelihood: as in `ae`.
      transform: as in `ae`.

    Returns:
      `(Autoencoder, Objective)`.

    Raises:
      ValueError: a shape or size that is no positive whole number.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.vq_vae((28, 28, 1), num_codes=256)
    """
    _check(shape, num_tokens=num_tokens, code_size=code_size)
    likelihood = likelihood or likelihoods.gaussian()
    model = autoencoder(
        encoder or _cut(default_encoder(shape, num_tokens * code_size), num_tokens),
        bottlenecks.vector_quantizer(num_codes, learn=learn, commitment=0.25, axis_name=axis_name),
        decoder or _joined(default_decoder(shape, likelihood.num_params)),
        likelihood,
    )
    return model, objectives.prepared(objectives.elbo(model), transform or transforms.scale_uint8())


PRESETS = {"ae": ae, "denoising_ae": denoising_ae, "vae": vae, "vq_vae": vq_vae}
"""Name to preset: what the command line and the contract tests read."""


def _model(shape, latent_size, blocks, bottleneck, encoder, decoder, likelihood) -> Autoencoder:
    _check(shape, latent_size=latent_size)
    return autoencoder(
        encoder or default_encoder(shape, blocks * latent_size),
        bottleneck,
        decoder or default_decoder(shape, likelihood.num_params),
        likelihood,
    )


def _cut(network: Network, num_tokens: int) -> Network:
    def apply(params, x, condition=None):
        y = network.apply(params, x, condition)
        return y.reshape(y.shape[0], num_tokens, -1)

    return Network(network.init, apply)


def _joined(network: Network) -> Network:
    def flat(z):
        shape = (z.shape[0], math.prod(z.shape[1:]))
        return z.reshape(shape) if hasattr(z, "reshape") else type(z)(shape, z.dtype)

    return Network(
        lambda rng, z, condition=None: network.init(rng, flat(z), condition),
        lambda params, z, condition=None: network.apply(params, flat(z), condition),
    )


def _check(shape, **sizes):
    if not shape or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(f"a preset takes one example's shape, such as (28, 28, 1) or (21,); got {shape}")
    for name, value in sizes.items():
        if int(value) != value or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value}")
