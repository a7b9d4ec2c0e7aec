"""Likelihoods of pixels: masses that sum to one, densities that integrate to one, scipy beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxae import likelihoods


def test_the_bins_of_a_logistic_mixture_sum_to_one_and_are_scipys():
    rng = np.random.default_rng(0)
    weights, means, scales = rng.dirichlet([1, 1, 1]), rng.uniform(-0.2, 1.2, 3), np.array([0.003, 0.05, 0.5])
    raw = 7 * np.arctanh(np.log(scales) / 7)
    one = np.concatenate([np.log(weights), means, raw])
    levels = np.arange(256) / 255
    log_prob = likelihoods.logistic_mixture(3).log_prob(
        jnp.asarray(levels, jnp.float32)[:, None], jnp.asarray(np.tile(one, (256, 1)), jnp.float32)
    )[:, 0]
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, np.float64)).sum(), 1, rtol=1e-5)
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    mass = sum(w * np.diff(stats.logistic.cdf(edges, m, s)) for w, m, s in zip(weights, means, scales, strict=True))
    seen = mass > 1e-9  # below it scipy's difference of two numbers near 1 is not exact
    np.testing.assert_allclose(log_prob[seen], np.log(mass[seen]), rtol=2e-3, atol=2e-3)


def test_a_logistic_mixtures_channels_are_laid_out_in_blocks():
    one, two = jnp.arange(3.0)[None] / 3, 1 - jnp.arange(3.0)[None] / 3
    single = likelihoods.logistic_mixture(1)
    x = jnp.array([[0.2, 0.7]])
    both = single.log_prob(x, jnp.stack([one, two], -1).reshape(1, 6))
    alone = [single.log_prob(x[:, i : i + 1], p) for i, p in enumerate((one, two))]
    np.testing.assert_allclose(both, jnp.concatenate(alone, -1), rtol=1e-6)


@pytest.mark.parametrize("logit", [-30.0, -2.0, -0.0999, 1e-4, 0.0, 0.1001, 0.31, 5.0])
def test_a_continuous_bernoulli_integrates_to_one_and_has_its_mean(logit):
    one = likelihoods.continuous_bernoulli()
    exact = np.float64(logit)

    def density(x):
        return np.exp(exact * x) * (1.0 if exact == 0 else exact / np.expm1(exact))

    x = np.linspace(0, 1, 7, dtype=np.float32)
    found = one.log_prob(jnp.asarray(x), jnp.full(7, logit))
    np.testing.assert_allclose(found, np.log(density(x.astype(float))), rtol=2e-6, atol=2e-6)
    mean, _ = integrate.quad(lambda x: x * density(x), 0, 1)
    np.testing.assert_allclose(one.mean(jnp.float32(logit)), mean, rtol=1e-5)


def test_a_continuous_bernoullis_gradient_is_smooth_where_the_series_ends():
    one = likelihoods.continuous_bernoulli()
    slope = jax.jit(jax.vmap(jax.grad(lambda logit: one.log_prob(jnp.float32(0.3), logit))))
    # d/dl log p = x - mean(l)
    logits = jnp.array([-0.1001, -0.0999, -1e-6, 0.0, 1e-6, 0.0999, 0.1001, 40.0])
    np.testing.assert_allclose(slope(logits), 0.3 - one.mean(logits), atol=2e-5)


def test_pixel_levels_are_those_of_bytes():
    levels = likelihoods.pixel_levels(256)
    logits = jax.random.normal(jax.random.key(0), (256, 256))
    found = levels.log_prob(jnp.arange(256.0)[:, None] / 255, logits)
    np.testing.assert_allclose(found[:, 0], jnp.diagonal(jax.nn.log_softmax(logits)), rtol=1e-6)
    assert bool(jnp.isnan(levels.log_prob(jnp.full((1, 1), 1.1), logits[:1])).all())
    sharp = 50 * jax.nn.one_hot(jnp.array([[51]]), 256)[:, 0]
    np.testing.assert_allclose(levels.mean(sharp), [[0.2]], rtol=1e-5)


def test_sizes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="at least 1 component"):
        likelihoods.logistic_mixture(0)
    with pytest.raises(ValueError, match="at least 2"):
        likelihoods.pixel_levels(1)
