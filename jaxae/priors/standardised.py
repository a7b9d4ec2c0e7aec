"""A prior over latents of any scale, which are standardised to mean 0 and standard deviation 1."""

import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

from jaxae.types import Prior


def standardised(prior: Prior, mean: Array, scale: Array) -> Prior:
    """`p(z) = p_base((z - mean) / scale) / prod_d scale_d`; mean and scale are parameters without a gradient.

    Args:
      prior: prior over the standardised latents.
      mean: `[..., D]`, mean of the latents that the prior is fitted to; broadcastable to one latent.
      scale: `[..., D]`, standard deviation of those latents, above 0; broadcastable to one latent.

    Returns:
      A `Prior`; its params are a dict with "prior", "mean" and "scale". An optimizer with weight decay would shrink the
      last two: use one without.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import priors
      >>> prior = priors.standardised(priors.standard_normal(), jnp.array([5.0]), jnp.array([2.0]))
      >>> params = prior.init(jax.random.key(0), jnp.zeros((3, 1)))
      >>> [round(float(p), 4) for p in jnp.exp(prior.log_prob(params, jnp.array([[5.0], [7.0]])))]  # of N(5, 2^2)
      [0.1995, 0.121]
    """

    def init(rng, latent, condition=None):
        shape = latent.shape[1:]
        # among the parameters, so that a saved prior holds its own standardisation
        fixed = {"mean": jnp.broadcast_to(mean, shape), "scale": jnp.broadcast_to(scale, shape)}
        return {"prior": prior.init(rng, latent, condition), **fixed}

    def log_prob(params, latent, condition=None):
        mean, scale = stop_gradient(params["mean"]), stop_gradient(params["scale"])
        log_density = prior.log_prob(params["prior"], (latent - mean[None]) / scale[None], condition)
        # change of variables: |det d((z - m) / s) / dz| = 1 / prod s
        return log_density - jnp.log(scale).sum()

    def sample(params, rng, latent, condition=None):
        drawn = prior.sample(params["prior"], rng, latent, condition)
        return params["mean"][None] + params["scale"][None] * drawn

    return Prior(init, log_prob, sample)
