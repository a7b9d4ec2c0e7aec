"""Latents on the sphere: densities and divergences against hand values, SciPy and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from jaxae import bottlenecks
from jaxae.bottlenecks.power_spherical import PowerSpherical, kl_to_uniform

KEY = jax.random.key


def posterior(size, concentration, rows=1):
    return PowerSpherical(jnp.tile(jnp.eye(size)[1], (rows, 1)), jnp.full(rows, concentration))


def numbers(size, concentration, rows):
    """Channels of an encoder that name this posterior."""
    raw = 8.0 * np.arctanh(np.log(concentration / size) / 8.0)
    return jnp.concatenate([posterior(size, 1.0, rows).mean, jnp.full((rows, 1), raw)], -1)


@pytest.mark.parametrize("k", [0.5, 9.0, 400.0])
def test_kl_in_three_dimensions_by_hand(k):
    # there the normaliser is 2^(2 + k) pi / (1 + k), and digamma(2 + k) - digamma(1 + k) = 1 / (1 + k)
    np.testing.assert_allclose(kl_to_uniform(posterior(3, k)), np.log1p(k) - k / (1 + k), rtol=1e-5)


@pytest.mark.parametrize(("size", "k"), [(2, 3.0), (5, 0.2), (5, 60.0), (12, 2000.0), (40, 25.0)])
def test_kl_equals_an_integral_over_the_cosine(size, k):
    # the cosine t of a uniform direction has density (1 - t^2)^((D - 3) / 2) / B((D - 1) / 2, 1 / 2); t = cos a
    area = special.beta((size - 1) / 2, 0.5)

    def weight(a):
        return np.sin(a) ** (size - 2) / area

    peak = {"points": [0.0, 0.05, 0.2, 1.0], "limit": 500}
    total = integrate.quad(lambda a: np.exp(k * np.log((1 + np.cos(a)) / 2)) * weight(a), 0, np.pi, **peak)[0]

    def divergence(a):
        log_ratio = k * np.log((1 + np.cos(a)) / 2) - np.log(total)
        return np.exp(log_ratio) * log_ratio * weight(a)

    expected = integrate.quad(divergence, 0, np.pi - 1e-6, **peak)[0]
    np.testing.assert_allclose(kl_to_uniform(posterior(size, k)), expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "k"), [(2, 3.0), (6, 40.0), (20, 0.5), (20, 5000.0)])
def test_draws_lie_on_the_sphere_about_the_mean_and_their_rate_has_the_kl_for_its_mean(size, k):
    rows = 20_000
    layer = bottlenecks.power_spherical()
    code, _ = layer.apply((), (), KEY(3), numbers(size, k, rows))
    np.testing.assert_allclose((code.latent**2).sum(-1), 1, rtol=1e-5)
    alpha, beta = (size - 1) / 2 + k, (size - 1) / 2
    np.testing.assert_allclose(code.latent.mean(0), jnp.eye(size)[1] * (alpha - beta) / (alpha + beta), atol=0.02)
    np.testing.assert_allclose(code.penalty[0], kl_to_uniform(posterior(size, k))[0], rtol=1e-3)
    error = code.rate.std() / np.sqrt(rows)
    np.testing.assert_allclose(code.rate.mean(), code.penalty[0], atol=5 * float(error) + 1e-4)


def test_draws_carry_the_gradient_of_their_mean_to_the_concentration():
    size, k = 4, 6.0

    def mean_cosine(raw):
        h = numbers(size, k, 50_000).at[:, -1].set(raw)
        return bottlenecks.power_spherical().apply((), (), KEY(5), h)[0].latent[:, 1].mean()

    raw = float(numbers(size, k, 1)[0, -1])
    # E t = k / (2 beta + k), d k / d raw = k (1 - tanh(raw / 8)^2)
    expected = 3 / (3 + k) ** 2 * k * (1 - np.tanh(raw / 8) ** 2)
    np.testing.assert_allclose(jax.jit(jax.grad(mean_cosine))(raw), expected, rtol=0.03)


def test_without_a_direction_the_first_axis_and_no_nan():
    def total(h):
        code, _ = bottlenecks.power_spherical().apply((), (), None, h)
        return code.latent.sum() + code.penalty.sum()

    h = jnp.zeros((2, 4))
    assert bottlenecks.power_spherical().apply((), (), None, h)[0].latent[0].tolist() == [1, 0, 0]
    assert bool(jnp.isfinite(jax.grad(total)(h)).all())


def test_nan_stays_nan():
    h = jnp.ones((2, 4)).at[0, 1].set(jnp.nan)
    code, _ = bottlenecks.power_spherical().apply((), (), KEY(0), h)
    assert bool(jnp.isnan(code.latent[0]).all())
    assert bool(jnp.isfinite(code.latent[1]).all())


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="not 2 channels"):
        bottlenecks.power_spherical().init(KEY(0), jnp.zeros((3, 2)))
