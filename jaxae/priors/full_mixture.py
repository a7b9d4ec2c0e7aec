"""A mixture of normals with full covariances."""

import jax
import jax.numpy as jnp

from jaxae.numerics import LOG_2PI, require_whole
from jaxae.types import Prior


def full_mixture(num_components: int) -> Prior:
    """`p(z) = sum_k w_k N(z; mean_k, factor_k factor_k')`, its factors lower triangular.

    The parameters are a dict: `logits [K]`, `mean [K, D]`, `factor [K, D, D]` (entries above the diagonal are not
    read, and the diagonal is taken by its absolute value). `fit_mixture(..., covariance="full")` fits them.

    Args:
      num_components: number of components K, at least 1.

    Raises:
      ValueError: num_components < 1.

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", section 9.2; after training a regularised
    autoencoder: Ghosh et al. 2020, section 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.priors import full_mixture
      >>> prior, z = full_mixture(4), jnp.zeros((5, 2))
      >>> params = prior.init(jax.random.key(0), z)
      >>> prior.log_prob(params, z).shape, prior.sample(params, jax.random.key(1), z).shape
      ((5,), (5, 2))
    """
    require_whole("full_mixture", num_components=num_components)
    if num_components < 1:
        raise ValueError(f"full_mixture: num_components must be at least 1, got {num_components}")

    def rows(latent):
        return latent.reshape(latent.shape[0], -1)

    def init(rng, latent, condition=None):
        size = jax.eval_shape(rows, latent).shape[1]
        return {
            "logits": jnp.zeros(num_components),
            "mean": jax.random.normal(rng, (num_components, size)),
            "factor": jnp.tile(jnp.eye(size)[None], (num_components, 1, 1)),
        }

    def lower(factor):
        size = factor.shape[-1]
        # a diagonal away from 0 keeps the covariance invertible
        diagonal = jnp.maximum(jnp.abs(jnp.diagonal(factor)), 1e-6)
        return jnp.where(jnp.eye(size, dtype=bool), diagonal[None], jnp.tril(factor))

    def log_prob(params, latent, condition=None):
        z = rows(latent)

        def component(mean, factor):
            factor = lower(factor)
            # with C = L L^T: (z - m)^T C^-1 (z - m) = |L^-1 (z - m)|^2 and log det C = 2 sum log diag L
            e = jax.scipy.linalg.solve_triangular(factor, (z - mean[None]).T, lower=True)
            return -0.5 * ((e**2).sum(0) + z.shape[1] * LOG_2PI) - jnp.log(jnp.diagonal(factor)).sum()

        log_densities = jax.vmap(component)(params["mean"], params["factor"])
        return jax.nn.logsumexp(log_densities + jax.nn.log_softmax(params["logits"])[:, None], 0)

    def sample(params, rng, latent, condition=None):
        component_rng, noise_rng = jax.random.split(rng)
        shape = jax.eval_shape(rows, latent).shape
        k = jax.random.categorical(component_rng, params["logits"], shape=shape[:1])
        factors = jax.vmap(lower)(params["factor"])[k]
        # L e has covariance L L^T
        drawn = jnp.einsum("bij,bj->bi", factors, jax.random.normal(noise_rng, shape))
        return (params["mean"][k] + drawn).reshape(latent.shape)

    return Prior(init, log_prob, sample)
