"""Bounds on a likelihood that is known in closed form; surprisal counted by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jaxae import bottlenecks, likelihoods, networks, scoring
from jaxae.model import autoencoder
from jaxae.numerics import sum_per_example
from jaxae.scoring.scores.likelihood import bound
from jaxae.scoring.scores.surprisal import surprisal
from jaxae.types import Autoencoder, Batch, Code, Network

RNG = np.random.default_rng(0)
W, NOISE = np.array([1.0, -0.5, 2.0]), 0.7
X = np.float32(RNG.normal(size=(5, 3)) * 2)
KEY = jax.random.key


def linear_model(shift):
    """p(z) = N(0, 1), p(x|z) = N(W z, NOISE^2): the posterior is normal, and the encoder's off by `shift`."""
    precision = 1 + W @ W / NOISE**2
    to_mean = jnp.asarray(W / NOISE**2 / precision, jnp.float32)
    # the bottleneck bounds log-variances by 10 tanh(raw / 10)
    raw = 10 * np.arctanh(-np.log(precision) / 10)

    def encode(params, x, condition=None):
        mean = x @ to_mean[:, None] + shift
        return jnp.concatenate([mean, jnp.full_like(mean, raw)], -1)

    encoder = Network(lambda rng, x, condition=None: (), encode)
    decoder = Network(
        lambda rng, z, condition=None: (), lambda params, z, condition=None: z * jnp.asarray(W, jnp.float32)[None]
    )
    return autoencoder(encoder, bottlenecks.gaussian(), decoder, likelihoods.gaussian(NOISE))


EXACT = -multivariate_normal(np.zeros(3), np.outer(W, W) + NOISE**2 * np.eye(3)).logpdf(X.astype(np.float64))


def bounds(shift, *arguments):
    model = linear_model(shift)
    scorer = bound(model, *arguments)
    fitted = jax.jit(lambda rng: scorer.fit(*model.init(rng, X)))(KEY(0))
    return np.asarray(jax.jit(scorer.apply)(fitted, KEY(1), Batch(X)))


def test_with_the_true_posterior_every_bound_is_the_likelihood():
    for arguments in ((), (7,), (20, 3)):
        np.testing.assert_allclose(bounds(0.0, *arguments), EXACT, rtol=1e-4)


def test_with_another_posterior_more_samples_tighten_the_bound():
    gap = 0.5 * 0.15**2 * (1 + W @ W / NOISE**2)  # the KL between the two posteriors
    np.testing.assert_allclose(bounds(0.15, 1, 2000), EXACT + gap, atol=0.06)
    np.testing.assert_allclose(bounds(0.15, 2000), EXACT, atol=0.06)


def test_memory_does_not_grow_with_the_samples():
    model = autoencoder(networks.mlp(16), bottlenecks.gaussian(), networks.mlp(5000), likelihoods.gaussian())
    scorer = bound(model, 4000)
    x = jax.ShapeDtypeStruct((8, 5000), jnp.float32)
    fitted = jax.eval_shape(lambda: scorer.fit(*model.init(KEY(0), x)))
    memory = jax.jit(scorer.apply).lower(fitted, KEY(0), Batch(x)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * 8 * 5000 * 4000 / 50


def test_bounds_through_the_detector_use_one_key():
    model = linear_model(0.3)
    detect = scoring.detector(bound(model, 5), scoring.thresholds.quantile(0.5), seed=3)
    fitted = detect.fit(*model.init(KEY(0), X), None, X)
    scores = jax.jit(detect.apply)(fitted, X).score
    np.testing.assert_allclose(jax.jit(detect.apply)(fitted, X[::-1]).score[::-1], scores, rtol=1e-5)


def symbolic_model(tree=False):
    def encode(params, state, x, condition=None):
        symbols = x.astype(jnp.int32)
        return Code(x, sum_per_example(x), symbols=(symbols, symbols[:, 0]) if tree else symbols)

    return Autoencoder(None, None, encode, None, None, None, likelihoods.gaussian())


def counted(rows, new, num, smoothing):
    counts = np.stack([np.bincount(column, minlength=num) for column in rows.reshape(len(rows), -1).T]) + smoothing
    p = counts / counts.sum(-1, keepdims=True)
    flat = new.reshape(len(new), -1)
    return -np.log(p[np.arange(flat.shape[1]), flat]).reshape(new.shape)


def test_surprisal_is_numpys():
    rows, new = RNG.integers(0, 4, (60, 2, 3)), RNG.integers(0, 5, (9, 2, 3))  # symbol 4 is never seen
    nats = counted(rows, new, 5, 0.5)
    scorer = surprisal(symbolic_model(), 5, smoothing=0.5)
    fitted = scorer.fit((), (), Batch(np.float32(rows)))
    batch = Batch(jnp.asarray(new, jnp.float32))
    np.testing.assert_allclose(scorer.map(fitted, None, batch), nats, rtol=1e-5)
    np.testing.assert_allclose(scorer.apply(fitted, None, batch), nats.sum((1, 2)), rtol=1e-5)

    pooled = surprisal(symbolic_model(), 5, smoothing=0.5, per_position=False)
    got = pooled.map(pooled.fit((), (), Batch(np.float32(rows))), None, batch)
    # smoothing is added once, to all positions together
    n = np.bincount(rows.ravel(), minlength=5) + 0.5
    np.testing.assert_allclose(got, -np.log(n / n.sum())[new], rtol=1e-5)

    weight = RNG.integers(0, 2, 60).astype(np.float32)
    some = scorer.fit((), (), Batch(np.float32(rows), weight=weight))
    nats = counted(rows[weight > 0], new, 5, 0.5)
    np.testing.assert_allclose(scorer.apply(some, None, batch), nats.sum((1, 2)), rtol=1e-5)

    several = surprisal(symbolic_model(tree=True), 5, smoothing=0.5)
    both = several.fit((), (), Batch(np.float32(rows)))
    nats = counted(rows, new, 5, 0.5)
    np.testing.assert_allclose(several.apply(both, None, batch), nats.sum((1, 2)) + nats[:, 0].sum(-1), rtol=1e-5)
    assert several.map(both, None, batch).shape == (9, 9)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="num_samples must be at least 1; got 0"):
        bound(linear_model(0.0), 0)
    with pytest.raises(ValueError, match="give it a key"):
        bound(linear_model(0.0)).apply({"params": (), "state": ()}, None, Batch(X))
    with pytest.raises(ValueError, match="num_symbols must be at least 2; got 1"):
        surprisal(symbolic_model(), 1)
    with pytest.raises(ValueError, match="smoothing must be above 0 and finite; got 0"):
        surprisal(symbolic_model(), 2, smoothing=0)
    plain = autoencoder(networks.identity, bottlenecks.identity(), networks.identity, likelihoods.gaussian())
    fitted = {"params": {"encoder": (), "bottleneck": (), "decoder": ()}, "state": ()}
    with pytest.raises(ValueError, match="no symbols"):
        surprisal(plain, 2).fit(fitted["params"], (), Batch(X))
    with pytest.raises(ValueError, match="with a rate"):
        bound(plain).apply(fitted, KEY(0), Batch(X))
