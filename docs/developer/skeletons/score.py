"""How far a latent lies from the middle of the reference, each dimension in units of its own spread."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae import presets
from jaxae.numerics import as_number, mean_per_example
from jaxae.testing import check_scorer
from jaxae.types import Autoencoder, Batch, PyTree, Scorer


def latent_deviation(model: Autoencoder, coverage: float = 0.5) -> Scorer:
    """`mean_d |z_d - median_d| / width_d`, width the range that holds `coverage` of the reference's latents.

    Args:
      model: an `Autoencoder` with latents `[B, ...]`.
      coverage: share of the reference between the two quantiles whose distance is the unit, in (0, 1).

    Returns:
      A `Scorer` without a map; `fit` reads the reference, training normals.

    Raises:
      ValueError: coverage is outside (0, 1); from `fit`, there is no reference.

    Example:
      >>> scorer = latent_deviation(presets.ae((5,), latent_size=2)[0], coverage=0.9)
    """
    if (number := as_number(coverage)) is not None and not 0 < number < 1:
        raise ValueError(f"latent_deviation: coverage must be in (0, 1), got {coverage}")

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        if reference is None:
            raise ValueError("latent_deviation needs a reference: pass training normals to fit")
        latent = model.encode(params, state, reference.x, reference.condition).latent
        low, middle, high = (jnp.quantile(latent, q, axis=0) for q in ((1 - coverage) / 2, 0.5, (1 + coverage) / 2))
        # a dimension that never moves would divide by 0
        width = jnp.maximum(high - low, 1e-6)
        return {"params": params, "state": state, "middle": middle, "width": width}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        latent = model.encode(fitted["params"], fitted["state"], batch.x, batch.condition).latent
        return mean_per_example(jnp.abs(latent - fitted["middle"][None]) / fitted["width"][None])

    return Scorer(fit, apply)


def test_latent_deviation_keeps_the_contract():
    model, _ = presets.ae((5,), latent_size=2)
    x = jax.random.normal(jax.random.key(0), (32, 5))
    check_scorer(latent_deviation(model), *model.init(jax.random.key(1), x), Batch(x), anomalies=9 * x)
