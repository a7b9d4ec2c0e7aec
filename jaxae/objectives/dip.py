"""DIP-VAE: the moments of the aggregate posterior are pulled towards the prior's."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import as_number, of_whole_batch, weight_of, weighted_mean
from jaxae.objectives.posterior import normal_posterior
from jaxae.types import Batch, Output, Penalty


def dip(variant: str = "ii", diagonal: ArrayLike | None = None) -> Penalty:
    """A penalty: `sum_{i != j} C_ij^2 + diagonal * sum_i (C_ii - 1)^2`, C a covariance over the batch.

    Variant "i": C is that of the posteriors' means. Variant "ii": the mean of the posteriors' variances is added, so
    that C is the covariance of the aggregate posterior itself.

    The published weights are `weight = lambda_od` and `diagonal = lambda_d / lambda_od`: 10 for "i", 1 for "ii".

    Args:
      variant: "i" or "ii".
      diagonal: weight of the diagonal beside the rest; None: as published.

    Returns:
      `(params, state, rng, batch, output) -> scalar` for `penalized`; needs a normal posterior.

    Raises:
      ValueError: an unknown variant, a negative weight, or (when called) a posterior that is not normal.

    Source: Kumar, Sattigeri and Balakrishnan 2018, "Variational Inference of Disentangled Latent Concepts from
    Unlabeled Observations", equations 6 and 7.

    Example:
      >>> from jaxae import objectives, presets
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> objective = objectives.penalized(objectives.elbo(model), "dip", objectives.dip("i"), weight=10.0)
    """
    if variant not in ("i", "ii"):
        raise ValueError(f'dip: the variant is "i" or "ii", not {variant!r}')
    ratio = (10.0 if variant == "i" else 1.0) if diagonal is None else diagonal
    if (number := as_number(ratio)) is not None and not number >= 0:
        raise ValueError(f"dip: diagonal must be 0 or more, got {diagonal}")

    def penalty(params, state, rng, batch: Batch, output: Output) -> Array:
        _, mean, log_variance = normal_posterior(output.code)
        weight = weight_of(batch, output.code.penalty)
        centred = mean - weighted_mean(mean, weight)[None]
        covariance = weighted_mean(centred[:, :, None] * centred[:, None, :], weight)
        if variant == "ii":
            covariance = covariance + jnp.diag(weighted_mean(jnp.exp(log_variance), weight))
        variances = jnp.diagonal(covariance)
        return (covariance**2).sum() - (variances**2).sum() + ratio * ((variances - 1) ** 2).sum()

    return of_whole_batch(penalty)
