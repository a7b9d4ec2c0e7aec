"""Bounds on a model whose evidence is known: a linear map of a normal latent, with normal noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxae import bottlenecks, likelihoods, objectives
from jaxae.generation import active_units, kl_per_dimension
from jaxae.model import autoencoder
from jaxae.types import Batch, Gaussian, Network

KEY = jax.random.key
W, S = 1.5, 0.8
X = np.array([[-2.0], [0.1], [3.0]], np.float32)
EVIDENCE = stats.norm.logpdf(X[:, 0], 0, np.sqrt(W**2 + S**2))


def linear_model(exact):
    """x = W z + S noise; the encoder gives the exact posterior, or the prior whatever x."""
    variance = S**2 / (W**2 + S**2) if exact else 1.0
    slope = W / (W**2 + S**2) if exact else 0.0
    raw = 10 * np.arctanh(np.log(variance) / 10)  # the bottleneck bounds what it reads

    def encode(params, x, condition=None):
        return jnp.concatenate([slope * x, jnp.full_like(x, raw)], -1)

    nothing = lambda rng, x, condition=None: ()  # noqa: E731
    decoder = Network(nothing, lambda params, z, condition=None: W * z)
    return autoencoder(Network(nothing, encode), bottlenecks.gaussian(), decoder, likelihoods.gaussian(S))


def value(objective, rng=None):
    rng = KEY(0) if rng is None else rng
    params, state = objective.init(KEY(0), Batch(jnp.asarray(X)))
    return jax.jit(lambda rng: objective.apply(params, state, rng, Batch(jnp.asarray(X)), 0)[0])(rng)


def ciwae(model):
    return objectives.combined([objectives.iwae(model, 1, 4), objectives.iwae(model, 4)], [0.5, 0.5])


BOUNDS = {
    "elbo": lambda m: objectives.iwae(m, 1),
    "iwae": lambda m: objectives.iwae(m, 7),
    "miwae": lambda m: objectives.iwae(m, 3, 2),
    "ciwae": ciwae,
}


@pytest.mark.parametrize("make", BOUNDS.values(), ids=BOUNDS)
def test_with_the_exact_posterior_every_bound_is_the_evidence(make):
    np.testing.assert_allclose(-value(make(linear_model(exact=True))), EVIDENCE, rtol=1e-5)


def test_with_a_poor_posterior_more_samples_come_closer():
    model = linear_model(exact=False)
    one, many = -value(objectives.iwae(model, 1, 4000)), -value(objectives.iwae(model, 50_000))
    # E_{N(0,1)} log N(x; W z, S^2), by hand: what a single sample bounds it by
    single = stats.norm.logpdf(X[:, 0], 0, S) - W**2 / (2 * S**2)
    np.testing.assert_allclose(one, single, rtol=0.1)
    np.testing.assert_allclose(many, EVIDENCE, atol=0.1)


def test_a_held_capacity_charges_the_distance_of_the_kl_from_it():
    model = linear_model(exact=True)
    mean, variance = X[:, 0] * W / (W**2 + S**2), S**2 / (W**2 + S**2)
    kl = (variance + mean**2 - 1 - np.log(variance)) / 2
    charged = value(objectives.elbo(model, 3.0, capacity=1.0)) - value(objectives.elbo(model, 0.0))
    np.testing.assert_allclose(charged, 3 * np.abs(kl - 1), rtol=1e-4)


def test_units_in_use_and_the_kl_of_each_dimension():
    mean = np.array([[0.0, 1.0, 0.05], [0.0, -1.0, -0.05], [9.0, 9.0, 9.0]])
    log_variance = np.log([[1.0, 0.25, 1.0]] * 3)
    posterior = Gaussian(jnp.asarray(mean, jnp.float32), jnp.asarray(log_variance, jnp.float32))
    weight = jnp.array([1.0, 1.0, 0.0])
    assert active_units(posterior, weight=weight).tolist() == [False, True, False]
    expected = [0, (0.25 + 1 - 1 - np.log(0.25)) / 2, 0.05**2 / 2]
    np.testing.assert_allclose(kl_per_dimension(posterior, weight), expected, rtol=1e-5, atol=1e-7)
