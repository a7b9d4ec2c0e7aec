"""The bottleneck of a hyperspherical autoencoder: a posterior on the unit sphere, concentrated about its mean."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import betaln, digamma, gammaln

from jaxae.bottlenecks.directions import unit
from jaxae.bottlenecks.tokens import refuse_mask, require_input
from jaxae.numerics import bounded_log_variance, sum_per_example
from jaxae.priors.hypersphere import hypersphere
from jaxae.types import Bottleneck, Code

_LOG_BOUND = 8.0  # bound of log(concentration / D)


class PowerSpherical(NamedTuple):
    """A distribution on the unit sphere, `p(z) ~ (1 + mean . z) ** concentration`.

    Attributes:
      mean: `[B, ..., D]`, a unit vector: the mode, and the direction of the mean.
      concentration: `[B, ...]`, exponent of the density, above 0.
    """

    mean: Array
    concentration: Array


def power_spherical() -> Bottleneck:
    """`q(z|x) ~ (1 + mean . z) ** concentration` on the unit sphere in D dimensions, the prior uniform on it.

    The last axis of `h` holds D numbers whose direction is the mean, and one for the concentration, `D exp(a)` with a
    bounded smoothly to ±8. `rng=None` gives the mean. A zero vector has the direction of the first axis.

    Its shape is close to that of the von Mises-Fisher distribution of the first hyperspherical autoencoders, without
    Bessel functions or rejection: a draw is a beta variate along the mean and a uniform direction orthogonal to it,
    differentiable in both parameters, and the KL has a closed form.

    `penalty` is the KL in nats, in closed form. `rate` is the sampled `log q(z|x) - log p(z)`.

    Returns:
      A `Bottleneck` without parameters; the latent is `[B, ..., D]` with norm 1 along the last axis, and
      `Code.posterior` is a `PowerSpherical`.

    Raises:
      ValueError: (from `init` and `apply`) `h` has fewer than 3 channels, D would be below 2; (from `apply`) a mask of
        tokens in the condition.

    Source: De Cao and Aziz 2020, "The Power Spherical distribution"; Davidson et al. 2018, "Hyperspherical Variational
    Auto-Encoders".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.power_spherical()
      >>> h = jnp.array([[3.0, 4.0, 0.0]])
      >>> layer.apply((), (), None, h)[0].latent.round(3).tolist()
      [[0.6000000238418579, 0.800000011920929]]
    """
    prior = hypersphere()

    def init(rng, h, condition=None):
        _check(h)
        return (), ()

    def apply(params, state, rng, h, condition=None):
        refuse_mask("power_spherical", h, condition)
        posterior = _posterior(h)
        latent, log_cosine = _draw(posterior, rng)
        log_q = posterior.concentration * log_cosine - _log_normaliser(posterior)
        rate = sum_per_example(log_q) - prior.log_prob((), latent)
        return Code(latent, sum_per_example(kl_to_uniform(posterior)), rate, None, posterior), state

    def sample(params, state, rng, h, condition=None):
        _check(h)
        return prior.sample((), rng, jax.ShapeDtypeStruct((*h.shape[:-1], h.shape[-1] - 1), jnp.float32))

    return Bottleneck(init, apply, sample)


def kl_to_uniform(posterior: PowerSpherical) -> Array:
    """`KL(q || uniform on the sphere)`, nats, `[B, ...]`.

    Args:
      posterior: the distribution q.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.power_spherical import PowerSpherical, kl_to_uniform
      >>> flat, sharp = jnp.array([1e-6]), jnp.array([100.0])
      >>> [round(float(kl_to_uniform(PowerSpherical(jnp.eye(3)[:1], k))[0]), 3) + 0.0 for k in (flat, sharp)]
      [0.0, 3.625]
    """
    size, k = posterior.mean.shape[-1], posterior.concentration
    # E log(1 + mean . z) = log 2 + digamma(alpha) - digamma(alpha + beta)
    mean_log_cosine = math.log(2) + _digamma_difference(_alpha(posterior), _beta(posterior))
    # area of the unit sphere in D dimensions: 2 pi^(D/2) / Gamma(D/2)
    log_area = math.log(2) + size / 2 * math.log(math.pi) - gammaln(size / 2)
    return k * mean_log_cosine - _log_normaliser(posterior) + log_area


def _beta(posterior):
    return (posterior.mean.shape[-1] - 1) / 2


def _alpha(posterior):
    return _beta(posterior) + posterior.concentration


def _log_normaliser(posterior):
    """`log of the integral of (1 + mean . z) ** concentration` over the sphere."""
    alpha, beta = _alpha(posterior), _beta(posterior)
    # 2^(alpha + beta) pi^beta Gamma(alpha) / Gamma(alpha + beta)
    return (alpha + beta) * math.log(2) + beta * math.log(math.pi) + betaln(alpha, beta) - gammaln(beta)


def _digamma_difference(alpha, beta):
    """`digamma(alpha) - digamma(alpha + beta)`; by its asymptotic series where alpha is large."""
    total = alpha + beta
    series = -jnp.log1p(beta / alpha) - 0.5 * beta / (alpha * total) - (1 / alpha**2 - 1 / total**2) / 12
    small = jnp.minimum(alpha, 20.0)
    return jnp.where(alpha > 20, series, digamma(small) - digamma(small + beta))


def _draw(posterior, rng):
    """`(z, log(1 + mean . z))`; without a key the mean."""
    mean, _ = posterior
    if rng is None:
        return mean, jnp.full(mean.shape[:-1], math.log(2), jnp.float32)
    along_rng, across_rng, tangent_rng = jax.random.split(rng, 3)
    alpha = _alpha(posterior)
    # a beta variate from two gamma variates, in logarithms: 1 - cosine keeps its digits near the mode
    # Beta(alpha, beta) is G_a / (G_a + G_b) of two gamma variates: its log-odds are the difference of their logs
    log_odds = jax.random.loggamma(along_rng, alpha) - jax.random.loggamma(
        across_rng, jnp.full(alpha.shape, _beta(posterior))
    )
    noise = jax.random.normal(tangent_rng, mean.shape)
    # normal noise without its component along the mean has a uniform direction in the tangent space
    tangent = noise - (noise * mean).sum(-1, keepdims=True) * mean
    # cosine = 2 t - 1 with t = sigmoid(log_odds), so 1 - cosine^2 = 4 t (1 - t)
    sine = jnp.exp(math.log(2) + 0.5 * (jax.nn.log_sigmoid(log_odds) + jax.nn.log_sigmoid(-log_odds)))
    latent = jnp.tanh(log_odds / 2)[..., None] * mean + sine[..., None] * _unit(tangent)
    return latent, math.log(2) + jax.nn.log_sigmoid(log_odds)


def _unit(x):
    is_zero = (x**2).sum(-1, keepdims=True) == 0
    return jnp.where(is_zero, jnp.zeros(x.shape[-1]).at[0].set(1.0), unit(x))


def _posterior(h):
    _check(h)
    h = h.astype(jnp.float32)
    size = h.shape[-1] - 1
    return PowerSpherical(_unit(h[..., :-1]), size * jnp.exp(bounded_log_variance(h[..., -1], _LOG_BOUND)))


def _check(h):
    require_input("power_spherical", h)
    if h.shape[-1] < 3:
        raise ValueError(
            f"power_spherical: h holds a direction of 2 numbers or more and a concentration, not {h.shape[-1]} channels"
        )
