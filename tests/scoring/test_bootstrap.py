"""Bootstrap intervals beside scipy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxae.scoring import metrics
from jaxae.scoring.metrics.bootstrap import bootstrap, resample


def mean(labels, scores, weight=None):
    weight = jnp.ones(scores.shape) if weight is None else weight
    return jnp.sum(weight * scores) / jnp.sum(weight)


@pytest.mark.parametrize(("method", "scipys"), [("percentile", "percentile"), ("bca", "BCa")])
def test_equals_scipys_but_for_the_draw(method, scipys):
    values = np.float32(np.random.default_rng(0).exponential(size=60))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=0.9, method=scipys, rng=np.random.default_rng(1)
    ).confidence_interval
    options = {"num": 4000, "confidence": 0.9, "method": method, "stratified": False}
    ours = jax.jit(lambda x: bootstrap(mean, jnp.zeros(60, int), x, jax.random.key(0), **options))(values)
    spread = values.std() / np.sqrt(60)
    np.testing.assert_allclose(ours.value, values.mean(), rtol=1e-5)
    assert abs(float(ours.low) - theirs.low) < 0.1 * spread
    assert abs(float(ours.high) - theirs.high) < 0.1 * spread


def test_rows_are_redrawn_within_their_stratum():
    strata = jnp.array([0, 2, 2, 0, 2, 2, 0])
    times = jax.vmap(resample, (0, None))(jax.random.split(jax.random.key(0), 3000), strata)
    for stratum, rows in ((0, 3), (2, 4)):
        own = np.asarray(times)[:, np.asarray(strata) == stratum]
        assert (own.sum(1) == rows).all()
        np.testing.assert_allclose(own.mean(0), 1, atol=0.07)
        np.testing.assert_allclose(own.var(0), 1 - 1 / rows, atol=0.1)


def test_padding_and_keys():
    rng = np.random.default_rng(0)
    labels, scores = np.arange(30) % 2, np.float32(rng.normal(size=30))
    scores = scores + labels
    key = jax.random.key(3)
    plain = bootstrap(metrics.auroc, labels, scores, key, num=300)
    compiled = jax.jit(lambda *data, weight=None: bootstrap(metrics.auroc, *data, key, num=300, weight=weight))
    again = compiled(labels, scores)
    np.testing.assert_allclose(plain, again, rtol=1e-6)
    assert plain.low < plain.value < plain.high
    padded = compiled(
        np.append(labels, [1, 1]),
        np.append(scores, [9.0, 9.0]).astype(np.float32),
        weight=np.append(np.ones(30, int), [0, 0]),
    )
    np.testing.assert_allclose(padded.value, plain.value, rtol=1e-6)
    np.testing.assert_allclose([padded.low, padded.high], [plain.low, plain.high], atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num": 1}, "num must be at least 2; got 1"),
        ({"confidence": 1.0}, "confidence must lie strictly between 0 and 1; got 1.0"),
        ({"method": "t"}, "method must be .* got 't'"),
        ({"weight": np.ones(3)}, r"one number of rows; got shapes \(4,\), \(4,\), \(3,\)"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(mean, np.array([0, 1, 0, 1]), np.ones(4, np.float32), jax.random.key(0), **options)
