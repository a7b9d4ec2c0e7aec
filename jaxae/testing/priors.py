"""The contract of a prior, over continuous latents or over symbols."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.testing.properties import (
    Compiled,
    abstract,
    differ,
    keys,
    require,
    require_alike,
    require_equal,
    require_finite,
    require_shape,
)
from jaxae.types import Gaussian, Prior, PyTree

DRAWS = 20_000


def check_prior(
    prior: Prior,
    condition: PyTree | None = None,
    *,
    num_codes: int | None = None,
    support: str = "line",
    params: PyTree | None = None,
    follows: bool = True,
) -> None:
    """Refuse a prior that breaks its contract.

    - `log_prob` is `[B]`, compiles in one trace, and integrates to 1: over the line, the circle, or all symbols;
    - `sample` is shaped as what it is given, follows the density, and gives other draws for another key;
    - `init` reads only the shape of the latent;
    - `kl`, where there is one, is the mean of `log q - log p` under the posterior.

    Args:
      prior: what is checked.
      condition: `[1, ...]` what it is told, the same for every draw; or None.
      num_codes: K, for a prior over symbols 0..K-1; None: continuous latents.
      support: of a continuous prior with latents `[B, D]`: "line" (D = 1) or "circle" (D = 2, of length 1).
      params: parameters; None: those of `init`.
      follows: whether draws follow `log_prob`; False where they do so only by approximation.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae import priors
      >>> from jaxae.testing import check_prior
      >>> check_prior(priors.standard_normal())
      >>> check_prior(priors.unigram(3), num_codes=3)
    """
    points, cell = _points(num_codes, support)

    def repeated(count):
        return jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], count, 0), condition)

    first, second, third = keys(3)
    one = jax.tree.map(lambda leaf: leaf[:1], (points, condition))
    init = jax.jit(lambda key: prior.init(key, abstract(one[0]), abstract(one[1])))
    require_alike(init(first), jax.eval_shape(prior.init, first, *one), "init reads values of the latent:")
    params = init(first) if params is None else params
    log_prob = Compiled(lambda p, z: prior.log_prob(p, z, repeated(len(points))), "log_prob")
    nats = log_prob(params, points)
    require_equal(log_prob(params, points), nats, "log_prob must be deterministic, but it")
    require_shape(nats, (len(points),), "log_prob")
    mass = np.exp(np.asarray(nats, np.float64)) * cell
    require(abs(mass.sum() - 1) < 1e-3, f"log_prob: the density must integrate to 1, got {mass.sum():.6g}")
    like = jax.ShapeDtypeStruct((DRAWS, *points.shape[1:]), points.dtype)
    sample = Compiled(lambda p, key: prior.sample(p, key, like, repeated(DRAWS)), "sample")
    drawn = sample(params, second)
    require_alike(drawn, like, "sample")
    require(differ(drawn, sample(params, third)), "sample ignores its seed: two keys give the same draws")
    if follows:
        _check_moments(np.asarray(points, np.float64), mass, np.asarray(drawn, np.float64))
    if prior.kl is not None:
        _check_kl(prior, params, repeated, second)
    log_prob.require_pure(params, points)


def _points(num_codes, support):
    """Where the density is summed, and how much each point stands for."""
    if num_codes is not None:
        return jnp.array(list(itertools.product(range(num_codes), repeat=2)), jnp.int32), 1.0
    if support == "circle":
        angle = jnp.linspace(0, 2 * jnp.pi, 400, endpoint=False)
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1), 2 * np.pi / 400
    if support != "line":
        raise ValueError(f'check_prior: the support is "line" or "circle", not {support!r}')
    return jnp.linspace(-30, 30, 6001)[:, None], 0.01


def _check_moments(points, mass, drawn):
    for power in (1, 2):
        wanted, found = (mass[:, None] * points**power).sum(0), (drawn**power).mean(0)
        error = 5 * np.sqrt(np.maximum((mass[:, None] * points ** (2 * power)).sum(0) - wanted**2, 1e-12) / len(drawn))
        require(
            (np.abs(found - wanted) < error + 1e-3).all(),
            f"sample must follow log_prob: moment {power} of its draws is {found}, of the density {wanted}",
        )


def _check_kl(prior, params, repeated, key):
    mean, log_variance = jnp.array([[0.7]]), jnp.array([[-0.8]])
    found = prior.kl(params, Gaussian(mean, log_variance), repeated(1))
    require_shape(found, (1, 1), "kl")
    require_finite(found, "kl")
    z = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, (DRAWS, 1))
    log_q = -0.5 * ((z - mean) ** 2 / jnp.exp(log_variance) + log_variance + jnp.log(2 * jnp.pi))
    gaps = np.asarray(log_q[:, 0] - prior.log_prob(params, z, repeated(DRAWS)), np.float64)
    wanted, error = gaps.mean(), 5 * gaps.std() / np.sqrt(DRAWS)
    require(
        abs(float(found[0, 0]) - wanted) < error + 1e-3,
        f"kl must be the mean of log q - log p, {wanted:.4g}; got {float(found[0, 0]):.4g}",
    )
