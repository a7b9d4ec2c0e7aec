"""The estimated share of anomalies: by hand, by simulation, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxae.scoring.metrics.contamination import contamination


def test_by_hand():
    clean = jnp.arange(10.0)
    unlabelled = jnp.array([0.0, 1, 2, 3, 4, 5, 6, 20, 21, 22])
    # the 0.8-quantile of 0..9 is 7.2: 8 of 10 clean and 7 of 10 unlabelled scores lie below
    found = contamination(unlabelled, clean)
    np.testing.assert_allclose(found.share, 1 - 7 / 8, rtol=1e-6)
    deviation = np.sqrt(0.3 / (10 * 0.7) + 0.2 / (10 * 0.8))
    z = stats.norm.ppf(0.975)
    np.testing.assert_allclose(found.high, 1 - 7 / 8 * np.exp(-z * deviation), rtol=1e-5)
    assert found.low == 0


def test_the_interval_covers_as_often_as_it_says():
    def once(key):
        a, b, c = jax.random.split(key, 3)
        normals = jax.random.gamma(a, 4.0, (900,))
        anomalies = 30 + jax.random.normal(b, (100,))
        return contamination(jnp.concatenate([normals, anomalies]), jax.random.gamma(c, 4.0, (500,)), 0.9)

    found = jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(0), 1000))
    covered = ((found.low <= 0.1) & (found.high >= 0.1)).mean()
    assert 0.87 < covered < 0.93
    assert abs(found.share.mean() - 0.1) < 0.01


def test_extremes_and_errors():
    clean = jnp.arange(50.0)
    everything = contamination(clean + 1000, clean)
    assert everything.share == 1
    assert 0.75 < everything.low < everything.high == 1
    with pytest.raises(ValueError, match=r"confidence must lie strictly between 0 and 1; got 95"):
        contamination(clean, clean, confidence=95)
    with pytest.raises(ValueError, match="clean scores: 1 of 2 are NaN"):
        contamination(clean, jnp.array([1.0, jnp.nan]))
