"""The uniform distribution on the unit sphere."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxae.types import Prior


def hypersphere() -> Prior:
    """`p(z) = 1 / area` on `|z| = 1` in D dimensions, `area = 2 pi^(D/2) / Gamma(D/2)`, for each token separately.

    The density is per area, not per volume. It is the same for every latent; whether a latent lies on the sphere is not
    checked.

    Source: Davidson et al. 2018, "Hyperspherical Variational Auto-Encoders", section 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.priors import hypersphere
      >>> drawn = hypersphere().sample((), jax.random.key(0), jnp.zeros((4, 3)))
      >>> bool(jnp.allclose((drawn**2).sum(-1), 1, rtol=1e-5))
      True
    """

    def log_prob(params, latent, condition=None):
        size, tokens = latent.shape[-1], math.prod(latent.shape[1:-1])
        log_area = math.log(2) + size / 2 * math.log(math.pi) - gammaln(size / 2)
        # each token has its own sphere: log-densities add up
        return jnp.full(latent.shape[0], -tokens * log_area)

    def sample(params, rng, latent, condition=None):
        drawn = jax.random.normal(rng, latent.shape)
        # a standard normal has no preferred direction: its direction is uniform
        return drawn * jax.lax.rsqrt((drawn**2).sum(-1, keepdims=True))

    return Prior(lambda rng, latent, condition=None: (), log_prob, sample)
