"""The normal prior: standard, or with a mean and variance that a network computes from the condition."""

import jax
import jax.numpy as jnp

from jaxae.networks.stateful import AnyNetwork, require_stateless
from jaxae.numerics import bounded_log_variance, normal_log_prob, sum_per_example
from jaxae.types import Gaussian, Prior


def standard_normal() -> Prior:
    """`p(z) = N(0, I)`, with the closed-form KL of a diagonal normal posterior.

    `KL = (exp(v) + mean^2 - 1 - v) / 2` per element, `v` the posterior's log-variance, in nats.

    Source: Kingma and Welling 2014, appendix B.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.priors import standard_normal
      >>> from jaxae.types import Gaussian
      >>> standard_normal().kl((), Gaussian(jnp.array([[1.0]]), jnp.array([[0.0]]))).tolist()
      [[0.5]]
    """
    # zeros for mean and log-variance: the general functions then give N(0, 1)
    return _normal(lambda rng, condition: (), lambda params, shape, condition: Gaussian(*jnp.zeros((2, *shape))))


def conditional_normal(network: AnyNetwork) -> Prior:
    """`p(z | c) = N(mean(c), variance(c))`, both computed from the condition by a network.

    Args:
      network: network from `condition` to `[B, ..., 2 D]`: mean and log-variance (bounded smoothly to ±10).

    Source: Sohn, Lee and Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative
    Models".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks, priors
      >>> prior = priors.conditional_normal(networks.mlp(8, 4))
      >>> labels, latent = jnp.eye(3), jnp.zeros((3, 2))
      >>> params = prior.init(jax.random.key(0), latent, labels)
      >>> prior.sample(params, jax.random.key(1), latent, labels).shape
      (3, 2)
    """
    network = require_stateless("conditional_normal", network)

    def read(params, shape, condition):
        if condition is None:
            raise ValueError("conditional_normal needs a condition: set Batch.condition (labels, a context)")
        mean, raw = jnp.split(network.apply(params, condition), 2, -1)
        return Gaussian(mean, bounded_log_variance(raw))

    return _normal(lambda rng, condition: network.init(rng, condition), read)


def _normal(init, read) -> Prior:
    def log_prob(params, latent, condition=None):
        return sum_per_example(normal_log_prob(latent, *read(params, latent.shape, condition)))

    def sample(params, rng, latent, condition=None):
        p = read(params, latent.shape, condition)
        return p.mean + jnp.exp(0.5 * p.log_variance) * jax.random.normal(rng, latent.shape)

    def kl(params, posterior, condition=None):
        p = read(params, posterior.mean.shape, condition)
        # KL of two normals: (log(s_p^2 / s_q^2) - 1 + s_q^2 / s_p^2 + (m_q - m_p)^2 / s_p^2) / 2
        ratio = jnp.exp(posterior.log_variance - p.log_variance)
        distance = (posterior.mean - p.mean) ** 2 * jnp.exp(-p.log_variance)
        return 0.5 * (p.log_variance - posterior.log_variance - 1 + ratio + distance)

    return Prior(lambda rng, latent, condition=None: init(rng, condition), log_prob, sample, kl)
