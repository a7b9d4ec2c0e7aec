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
    """A variational autoencoder that weighs the total correlation by `beta` and the rest of the KL by 1.

    Args:
      shape: shape of one example, without the batch.
      beta: weight of the total correlation; 1 is the ELBO.
      estimator: estimator of the total correlation, "weighted" or "stratified", see `objectives.total_correlation`.
      num_rows: number of training rows; needed for "stratified".
      **parts: shared keywords, see `Parts`.

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
    """A variational autoencoder that penalises a critic's estimate of the total correlation.

    Args:
      shape: shape of one example, without the batch.
      gamma: weight of the total correlation, a number or a schedule `step -> number`.
      critic: network `[B, D] -> [B, 1]`; None: an MLP with three layers of 256.
      **parts: shared keywords, see `Parts`.

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
    """A variational autoencoder with a penalty that moves the aggregate posterior's covariance to the identity.

    Args:
      shape: shape of one example, without the batch.
      variant: covariance that is penalised, "i" (of the posteriors' means) or "ii" (of the aggregate posterior).
      weight: weight of the squared off-diagonal entries, a number or a schedule `step -> number`.
      diagonal: weight of the diagonal relative to the other entries; None: the published value.
      **parts: shared keywords, see `Parts`.

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
    """A variational autoencoder with a smaller KL weight and a discrepancy to the prior: more informative latents.

    The loss is `nll + (1 - alpha) KL + (alpha + scale - 1) MMD`.

    Args:
      shape: shape of one example, without the batch.
      alpha: share of the KL that is removed; 1 leaves only the discrepancy.
      scale: weight lambda of the divergence between the aggregate posterior and the prior.
      **parts: shared keywords, see `Parts`.

    Source: Zhao, Song and Ermon 2019, "InfoVAE: Balancing Learning and Inference in Variational Autoencoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.info_vae((28, 28, 1), alpha=0.9)
    """
    model = variational(shape, bottlenecks.gaussian(), **parts)
    penalty = objectives.mmd(objectives.prior_draws(model))
    objective = objectives.penalized(objectives.elbo(model, 1 - alpha), "mmd", penalty, alpha + scale - 1)
    return model, scaled(objective, parts)
