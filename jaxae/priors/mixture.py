"""A mixture of diagonal normals as the prior."""

import jax
import jax.numpy as jnp

from jaxae.numerics import bounded_log_variance, normal_log_prob, require_whole, sum_per_example
from jaxae.types import Prior


def mixture(num_components: int) -> Prior:
    """`p(z) = sum_k w_k N(z; mean_k, variance_k)`, all learned with the model.

    The parameters are a dict: `logits [K]`, `mean [K, ..., D]`, `log_variance [K, ..., D]`. The KL has no
    closed form; the penalty of `bottlenecks.gaussian` is then the sampled `log q(z|x) - log p(z)`.

    Args:
      num_components: number of components K, at least 1.

    Raises:
      ValueError: num_components < 1.

    Source: Dilokthanakul et al. 2016, "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders"; the plain mixture is the MoG baseline of Tomczak and Welling 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.priors import mixture
      >>> prior = mixture(4)
      >>> latent = jnp.zeros((5, 2))
      >>> params = prior.init(jax.random.key(0), latent)
      >>> prior.log_prob(params, latent).shape, prior.sample(params, jax.random.key(1), latent).shape
      ((5,), (5, 2))
    """
    require_whole("mixture", num_components=num_components)
    if num_components < 1:
        raise ValueError(f"mixture: num_components must be at least 1, got {num_components}")

    def init(rng, latent, condition=None):
        shape = (num_components, *latent.shape[1:])
        return {
            "logits": jnp.zeros(num_components),
            # different from the start: equal components would get equal gradients for ever
            "mean": jax.random.normal(rng, shape),
            "log_variance": jnp.zeros(shape),
        }

    def log_prob(params, latent, condition=None):
        def component(mean, raw):
            return sum_per_example(normal_log_prob(latent, mean[None], bounded_log_variance(raw)[None]))

        log_densities = jax.vmap(component)(params["mean"], params["log_variance"])
        # log sum_k w_k N_k, in logs
        return jax.nn.logsumexp(log_densities + jax.nn.log_softmax(params["logits"])[:, None], 0)

    def sample(params, rng, latent, condition=None):
        component_rng, noise_rng = jax.random.split(rng)
        # ancestral sampling: a component, then its normal
        k = jax.random.categorical(component_rng, params["logits"], shape=(latent.shape[0],))
        scale = jnp.exp(0.5 * bounded_log_variance(params["log_variance"][k]))
        return params["mean"][k] + scale * jax.random.normal(noise_rng, latent.shape)

    return Prior(init, log_prob, sample)
