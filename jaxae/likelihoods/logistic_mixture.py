"""A mixture of logistic distributions, discretized to the levels of a pixel."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import bounded_log_variance, require_whole
from jaxae.types import Likelihood


def logistic_mixture(num_components: int = 10, num_levels: int = 256) -> Likelihood:
    """A discretized mixture of logistics for pixels in 0..1.

    Level `l` of `L` has the mass of `sum_k w_k Logistic(mean_k, scale_k)` between `(l - 1/2) / (L - 1)` and
    `(l + 1/2) / (L - 1)`; the tails below the first and above the last level count to those levels, so the L masses
    sum to 1. The prediction holds, in blocks: K logits of the weights, K means, K log-scales (bounded smoothly to ±7).

    Args:
      num_components: number of components K, at least 1.
      num_levels: number of levels L, at least 2.

    Returns:
      A `Likelihood` with 3 K parameters per data channel; log-probabilities of levels, in nats. Samples are levels.

    Raises:
      ValueError: num_components below 1, or num_levels below 2.

    Source: Salimans et al. 2017, "PixelCNN++", equation 2; channels are independent here.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> likelihood = likelihoods.logistic_mixture(2, num_levels=4)
      >>> levels = jnp.arange(4.0)[:, None] / 3
      >>> round(float(jnp.exp(likelihood.log_prob(levels, jnp.ones((4, 6)))).sum()), 5)
      1.0
    """
    require_whole("logistic_mixture", num_components=num_components, num_levels=num_levels)
    if num_components < 1 or num_levels < 2:
        raise ValueError(
            f"logistic_mixture: at least 1 component and 2 levels are needed, got {num_components} and {num_levels}"
        )
    top = num_levels - 1

    def read(prediction) -> tuple[Array, Array, Array]:
        """Log-weights, means and log-scales, `[..., C, K]` each."""
        blocks = prediction.astype(jnp.float32).reshape(*prediction.shape[:-1], 3, num_components, -1)
        logits, mean, raw = jnp.moveaxis(jnp.swapaxes(blocks, -1, -2), -3, 0)
        return jax.nn.log_softmax(logits), mean, bounded_log_variance(raw, 7.0)

    def log_prob(x, prediction):
        log_weights, mean, log_scale = read(prediction)
        x = jnp.round(x.astype(jnp.float32) * top)[..., None] / top
        rate = jnp.exp(-log_scale)
        # standardised upper and lower boundary of the level
        high, low = ((x - mean + side * 0.5 / top) * rate for side in (1, -1))
        # log(sigmoid(high) - sigmoid(low)) = log sigmoid(high) + log sigmoid(-low) + log(1 - exp(low - high))
        inside = jax.nn.log_sigmoid(high) + jax.nn.log_sigmoid(-low) + jnp.log(-jnp.expm1(-rate / top))
        # the first level has all mass below it, the last all mass above
        edges = jnp.where(x <= 0, jax.nn.log_sigmoid(high), jnp.where(x >= 1, jax.nn.log_sigmoid(-low), inside))
        return jax.nn.logsumexp(log_weights + edges, -1)

    def mean(prediction):
        """Mean of the mixture clipped to 0..1; the discretization changes it by at most half a level."""
        log_weights, centre, log_scale = read(prediction)
        return (jnp.exp(log_weights) * _clipped_mean(centre, jnp.exp(log_scale))).sum(-1)

    def sample(rng, prediction):
        component_rng, noise_rng = jax.random.split(rng)
        log_weights, centre, log_scale = read(prediction)
        k = jax.random.categorical(component_rng, log_weights)[..., None]
        centre, log_scale = (jnp.take_along_axis(a, k, -1)[..., 0] for a in (centre, log_scale))
        drawn = centre + jnp.exp(log_scale) * jax.random.logistic(noise_rng, centre.shape)
        # tails count to the outer levels, as in log_prob
        return jnp.round(jnp.clip(drawn, 0, 1) * top) / top

    return Likelihood(num_params=3 * num_components, log_prob=log_prob, mean=mean, sample=sample)


def _clipped_mean(centre: Array, scale: Array) -> Array:
    """The expectation of a logistic variable clipped to 0..1: `scale (softplus(c/s) - softplus((c - 1)/s))`."""
    return scale * (jax.nn.softplus(centre / scale) - jax.nn.softplus((centre - 1) / scale))
