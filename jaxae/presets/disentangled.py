"""Variational autoencoders with a term on the aggregate posterior: beta-TCVAE, FactorVAE, DIP-VAE, InfoVAE."""

from typing import Unpack

from jax.typing import ArrayLike

from jaxae import bottlenecks, networks, objectives
from jaxae.networks import AnyNetwork
from jaxae.objectives.elbo import Weight
from jaxae.presets.parts import Parts, scaled, variational
from jaxae.types import Autoencoder, Objective


def beta_tc_vae(
    shape: tuple[int, ...],
    *,
    beta: float = 6.0,
    estimator: str = "weighted",
    num_rows: int | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder whose total correlation is charged `beta` times, the rest of the KL once.

    Args:
      shape: one example's, without the batch.
      beta: of the total correlation; 1 is the ELBO.
      estimator: "weighted" or "stratified", see `objectives.total_correlation`.
      num_rows: training rows; "stratified" needs it.
      **parts: `Parts`.

    Source: Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.beta_tc_vae((64, 64, 1), latent_size=10, beta=4.0)
    """
    model = variational(shape, bottlenecks.gaussian(), **parts)
    penalty = objectives.total_correlation(num_rows, estimator)
    objective = objectives.penalized(objectives.elbo(model), "total_correlation", penalty, beta - 1)
    return model, scaled(objective, parts)


def factor_vae(
    shape: tuple[int, ...], *, gamma: Weight = 6.0, critic: AnyNetwork | None = None, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder whose total correlation a critic estimates.

    Args:
      shape: one example's, without the batch.
      gamma: weight of the total correlation, a number or a schedule.
      critic: `[B, D] -> [B, 1]`; None: an MLP of three layers of 256.
      **parts: `Parts`.

    Source: Kim and Mnih 2018, "Disentangling by Factorising".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.factor_vae((64, 64, 1), latent_size=10, gamma=35.0)
    """
    model = variational(shape, bottlenecks.gaussian(), **parts)
    critic = critic or networks.mlp(256, 256, 256, 1)
    return model, scaled(objectives.factor(objectives.elbo(model), critic, gamma), parts)


def dip_vae(
    shape: tuple[int, ...],
    *,
    variant: str = "ii",
    weight: Weight = 10.0,
    diagonal: ArrayLike | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder whose aggregate posterior is to have the identity as its covariance.

    Args:
      shape: one example's, without the batch.
      variant: "i" (of the posteriors' means) or "ii" (of the aggregate posterior).
      weight: of the squared entries beside the diagonal, a number or a schedule.
      diagonal: of the diagonal's, beside the others; None: as published.
      **parts: `Parts`.

    Source: Kumar, Sattigeri and Balakrishnan 2018, "Variational Inference of Disentangled Latent Concepts".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.dip_vae((64, 64, 1), latent_size=10, variant="i")
    """
    model = variational(shape, bottlenecks.gaussian(), **parts)
    penalty = objectives.dip(variant, diagonal)
    return model, scaled(objectives.penalized(objectives.elbo(model), "dip", penalty, weight), parts)


def info_vae(
    shape: tuple[int, ...], *, alpha: float = 0.5, scale: float = 100.0, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder that keeps more information in its latents, their distribution held by its discrepancy.

    The loss is `nll + (1 - alpha) KL + (alpha + scale - 1) MMD`.

    Args:
      shape: one example's, without the batch.
      alpha: how much of the KL is taken away; 1 leaves the discrepancy alone.
      scale: lambda, the weight of the divergence between the aggregate posterior and the prior.
      **parts: `Parts`.

    Source: Zhao, Song and Ermon 2019, "InfoVAE: Balancing Learning and Inference in Variational Autoencoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.info_vae((28, 28, 1), alpha=0.9)
    """
    model = variational(shape, bottlenecks.gaussian(), **parts)
    penalty = objectives.mmd(objectives.prior_draws(model))
    objective = objectives.penalized(objectives.elbo(model, 1 - alpha), "mmd", penalty, alpha + scale - 1)
    return model, scaled(objective, parts)
