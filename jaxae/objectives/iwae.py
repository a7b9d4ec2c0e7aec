"""The importance-weighted bound on the log-likelihood."""

import math

import jax
from jax import Array

from jaxae.numerics import rows_weighing
from jaxae.objectives.elbo import init_model, negative_log_likelihood
from jaxae.types import Autoencoder, Batch, Objective


def log_weights(model: Autoencoder, params, state, keys: Array, batch: Batch) -> tuple:
    """`log p(x, z) - log q(z|x)` for one latent per key, with the output and the state of the first.

    Args:
      model: an `Autoencoder` whose code has a rate.
      params: parameters of the model.
      state: state of the model.
      keys: typed keys of any shape, one for each latent. The encoder does not depend on the key and runs once.
      batch: batch of B rows.

    Returns:
      `(log_weights [*keys.shape, B] nats, Output, state)`; the state is that of the first sample, as moving averages
      would otherwise never update, or count every sample.

    Raises:
      ValueError: the bottleneck has no rate.
    """

    def sample_weight(key):
        with rows_weighing(batch.weight):
            output, new_state = model.apply(params, state, key, batch.x, batch.condition)
        if output.code.rate is None:
            raise ValueError("a multi-sample bound needs a bottleneck with a rate, log q(z|x) - log p(z)")
        # log p(x|z) + log p(z) - log q(z|x)
        return -negative_log_likelihood(model, batch, output) - output.code.rate, (output, new_state)

    weights, outputs = jax.vmap(sample_weight)(keys.reshape(-1))
    # output and state of the first sample stand for all
    output, new_state = jax.tree.map(lambda a: a[0], outputs)
    return weights.reshape(*keys.shape, -1), output, new_state


def iwae(model: Autoencoder, num_samples: int, num_averages: int = 1) -> Objective:
    """`-log mean_k exp(log p(x, z_k) - log q(z_k|x))`, averaged over `num_averages` independent bounds.

    Args:
      model: an `Autoencoder` whose code has a rate.
      num_samples: number of latents K inside the logarithm.
      num_averages: number of bounds M that are averaged (above 1: MIWAE).

    Returns:
      An `Objective`; its metric "bound" is the bound itself, nats, `[B]`.

    Raises:
      ValueError: num_samples or num_averages below 1, or (from apply) a bottleneck without a rate.

    Source: Burda, Grosse and Salakhutdinov 2016, equation 8; Rainforth et al. 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, likelihoods, networks, objectives
      >>> from jaxae.model import autoencoder
      >>> from jaxae.numerics import as_batch
      >>> model = autoencoder(networks.mlp(8, 4), bottlenecks.gaussian(), networks.mlp(8, 5), likelihoods.gaussian())
      >>> objective = objectives.iwae(model, num_samples=5)
      >>> params, state = objective.init(jax.random.key(0), as_batch(jnp.ones((3, 5))))
      >>> objective.apply(params, state, jax.random.key(1), as_batch(jnp.ones((3, 5))), 0)[0].shape
      (3,)
    """
    if num_samples < 1 or num_averages < 1:
        raise ValueError(f"iwae: num_samples and num_averages must be at least 1, got {num_samples} and {num_averages}")

    def apply(params, state, rng, batch, step):
        keys = jax.random.split(rng, (num_averages, num_samples))
        weights, output, model_state = log_weights(model, params["model"], state["model"], keys, batch)
        # log mean exp over K in a stable form: logsumexp - log K
        bound = (jax.nn.logsumexp(weights, 1) - math.log(num_samples)).mean(0)
        return -bound, (output, {**state, "model": model_state}, {"bound": bound})

    return Objective(init_model(model), apply)
