"""The importance-weighted bound on the log-likelihood."""

import math

import jax
from jax import Array

from jaxae.objectives.elbo import init_model, negative_log_likelihood
from jaxae.types import Autoencoder, Batch, Objective


def log_weights(model: Autoencoder, params, state, keys: Array, batch: Batch) -> tuple:
    """`log p(x, z) - log q(z|x)` for one latent per key, with the output and the state of the first.

    Args:
      model: an `Autoencoder` whose code has a rate.
      params: the model's own.
      state: the model's own.
      keys: typed keys of any shape; one latent each. The encoder runs once: it does not depend on the key.
      batch: B rows.

    Returns:
      `(log_weights [*keys.shape, B] nats, Output, state)`; of a stateful bottleneck the first sample's state is kept,
      or running averages would be frozen (or counted many times).

    Raises:
      ValueError: the bottleneck has no rate.
    """

    def one(key):
        output, new = model.apply(params, state, key, batch.x, batch.condition)
        if output.code.rate is None:
            raise ValueError("a multi-sample bound needs a bottleneck with a rate, log q(z|x) - log p(z)")
        return -negative_log_likelihood(model, batch, output) - output.code.rate, (output, new)

    weights, first = jax.vmap(one)(keys.reshape(-1))
    output, new = jax.tree.map(lambda a: a[0], first)
    return weights.reshape(*keys.shape, -1), output, new


def iwae(model: Autoencoder, num_samples: int, num_averages: int = 1) -> Objective:
    """`-log mean_k exp(log p(x, z_k) - log q(z_k|x))`, averaged over `num_averages` independent bounds.

    Args:
      model: an `Autoencoder` whose code has a rate.
      num_samples: K, latents inside the logarithm.
      num_averages: M, bounds that are averaged (above 1: MIWAE).

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
        weights, output, inner = log_weights(model, params["model"], state["model"], keys, batch)
        bound = (jax.nn.logsumexp(weights, 1) - math.log(num_samples)).mean(0)
        return -bound, (output, {**state, "model": inner}, {"bound": bound})

    return Objective(init_model(model), apply)
