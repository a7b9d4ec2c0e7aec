"""Negative bounds on the log-likelihood as scores, for models with a prior and a posterior of latents."""

import math

import jax
from jax import Array

from jaxae.networks import evaluated
from jaxae.numerics import require_count
from jaxae.objectives.iwae import log_weights
from jaxae.scoring.scores.reconstruction import fit_model
from jaxae.types import Autoencoder, Batch, PyTree, Scorer

# number of latents per example that are decoded at a time
CHUNK = 16


def bound(model: Autoencoder, num_samples: int = 1, num_averages: int = 1) -> Scorer:
    """The negative bound on `log p(x)`, nats: `-mean_m log mean_k p(x, z_mk) / q(z_mk | x)`.

    `num_samples` 1 is the negative ELBO, more samples tighten the bound (importance weighting). `num_averages` reduces
    its variance. A score takes `num_samples * num_averages` passes of the decoder, 16 at a time.

    Args:
      model: an `Autoencoder` whose code has a rate, `log q(z|x) - log p(z)`, such as one with a gaussian bottleneck.
      num_samples: number of latents K inside the logarithm.
      num_averages: number of bounds M that are averaged.

    Raises:
      ValueError: a number below 1; in `apply`, no key to draw with, or a bottleneck without a rate.

    Source: Kingma and Welling 2014; Burda, Grosse and Salakhutdinov 2016, equation 8.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets
      >>> from jaxae.scoring import bound
      >>> from jaxae.types import Batch
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> scorer = bound(model, num_samples=20)
      >>> fitted = scorer.fit(*model.init(jax.random.key(0), jnp.ones((3, 5))))
      >>> scorer.apply(fitted, jax.random.key(1), Batch(jnp.ones((3, 5)))).shape
      (3,)
    """
    num_samples, num_averages = require_count("num_samples", num_samples), require_count("num_averages", num_averages)
    total = num_samples * num_averages
    size = min(CHUNK, total)
    chunks = -(-total // size)

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        if rng is None:
            raise ValueError("a bound draws latents: give it a key instead of None")
        keys = jax.random.split(rng, (chunks, size))
        # the key is for the latents: dropout stays off
        state = evaluated(fitted["state"])
        chunk_weights = jax.lax.map(lambda k: log_weights(model, fitted["params"], state, k, batch)[0], keys)
        # the last chunk may hold more latents than are needed
        weights = chunk_weights.reshape(chunks * size, -1)[:total].reshape(num_averages, num_samples, -1)
        # log mean exp over K in a stable form: logsumexp - log K
        return -(jax.nn.logsumexp(weights, 1) - math.log(num_samples)).mean(0)

    return Scorer(fit_model, apply)
