"""Reconstruction, and a latent that survives a second pass through the model."""

import math

from jax import Array

from jaxae import objectives, presets
from jaxae.numerics import as_number, sum_per_example
from jaxae.testing import check_objective
from jaxae.types import Autoencoder, Batch, Objective, Output


def cycle(model: Autoencoder, weight: float = 0.1) -> Objective:
    """`-log p(x|z) + penalty + weight * |encode(x_hat) - z|^2`: what is decoded has the latent that it came from.

    Args:
      model: an `Autoencoder` with latents `[B, ...]`.
      weight: factor of the squared distance, above 0; nats for each unit of it.

    Returns:
      An `Objective` with the metrics of `objectives.elbo` and "cycle", the distance without its weight.

    Raises:
      ValueError: weight is not above 0 and finite.

    Example:
      >>> model, _ = presets.ae((5,), latent_size=2)
      >>> objective = cycle(model, weight=0.5)
    """
    if (number := as_number(weight)) is not None and not 0 < number < math.inf:
        raise ValueError(f"cycle: weight must be above 0 and finite, got {weight}")

    def distance(params, state, rng, batch: Batch, output: Output) -> Array:
        rebuilt = model.likelihood.mean(output.prediction)
        again = model.encode(params, state, rebuilt, batch.condition)
        return sum_per_example((again.latent - output.code.latent) ** 2)

    return objectives.penalized(objectives.elbo(model), "cycle", distance, weight)


def test_cycle_keeps_the_contract():
    check_objective(cycle(presets.ae((5,), latent_size=2)[0]))
