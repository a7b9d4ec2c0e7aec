"""Fused scores against NumPy's ranks and medians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import genpareto

from jaxae import scoring
from jaxae.scoring.scores.fusion import fused
from jaxae.types import Batch, Scorer

RNG = np.random.default_rng(0)
X = np.float32(RNG.gamma(2.0, size=(150, 2)))
NEW = np.float32(RNG.gamma(2.0, size=(40, 2)) * np.array([1, 3]))


def column(i, change=lambda s: s):
    return Scorer(lambda params, state, reference: {"seen": reference.x}, lambda f, rng, batch: change(batch.x[:, i]))


def scores(scorer, new=NEW, reference=X, weight=None):
    @jax.jit
    def run(reference, new):
        fitted = scorer.fit({}, {}, reference)
        return scorer.apply(fitted, None, Batch(new)), fitted

    got, fitted = run(Batch(reference, weight=weight), new)
    return np.asarray(got), fitted


def by_numpy(held_out, new):
    held_out, new = held_out.astype(np.float64), new.astype(np.float64)
    n, ordered = len(held_out), np.sort(held_out)
    count = (ordered[None] >= new[:, None]).sum(-1)
    start = next(i for i in range(n) if n - i <= 0.1 * n)
    u = ordered[start]
    at = (1 + n - start) / (1 + n)
    mean_excess = (ordered[ordered > u] - u).mean()
    tail = at * genpareto(0.5, loc=u, scale=mean_excess).sf(new)
    return -np.log(np.where(new >= u, tail, (1 + count) / (1 + n)))


def test_ranks_and_tail_equal_numpy_and_scipy():
    got, fitted = scores(fused(column(0), column(1), held_out=50))
    expected = (by_numpy(X[100:, 0], NEW[:, 0]) + by_numpy(X[100:, 1], NEW[:, 1])) / 2
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    np.testing.assert_array_equal(fitted["members"][0]["seen"], X[:100])


def test_robust_z_is_numpys():
    got, _ = scores(fused(column(0), column(1), held_out=50, by="z"))
    middle = np.median(X[100:], 0)
    z = (NEW - middle) / (1.4826 * np.median(np.abs(X[100:] - middle), 0))
    np.testing.assert_allclose(got, z.mean(-1), rtol=1e-4, atol=1e-5)


def test_ranks_are_invariant_under_increasing_changes():
    below = NEW[(np.sort(X[75:], 0)[-8] > NEW).all(-1)]
    assert len(below) > 5
    plain, _ = scores(fused(column(0), column(1), held_out=75), below)
    changed, _ = scores(fused(column(0, jnp.exp), column(1, lambda s: s**3 - 7), held_out=75), below)
    np.testing.assert_allclose(changed, plain, rtol=1e-5)
    scaled, _ = scores(fused(column(0, lambda s: 9 * s - 4), column(1, lambda s: s / 8), held_out=75))
    np.testing.assert_allclose(scaled, scores(fused(column(0), column(1), held_out=75))[0], rtol=1e-3)


def test_no_score_saturates_and_none_decreases():
    new = np.float32(np.concatenate([np.linspace(0, 20, 400), [1e3, 1e6]]))[:, None]
    for reference in (X[:, :1], np.ones_like(X[:, :1]), np.round(X[:, :1])):
        got, _ = scores(fused(column(0)), new, reference)
        assert np.isfinite(got).all()
        assert (np.diff(got) >= 0).all()
        assert got[-1] > got[-2] > got[-3]


def test_rows_of_weight_0_do_not_count():
    weight = RNG.integers(0, 2, 50).astype(np.float32)
    every = np.concatenate([np.ones(100, np.float32), weight])
    kept = np.concatenate([X[:100], X[100:][weight > 0]])
    for by in ("rank", "z"):
        some, _ = scores(fused(column(0), column(1), held_out=50, by=by), weight=every)
        alone, _ = scores(fused(column(0), column(1), held_out=int(weight.sum()), by=by), reference=kept)
        np.testing.assert_allclose(some, alone, rtol=1e-4, atol=1e-5)


def test_through_the_detector():
    scorer = fused(column(0), column(1))
    detect = scoring.detector(scorer, scoring.thresholds.quantile(0.9))
    fitted = detect.fit({}, {}, X, X[:20])
    np.testing.assert_allclose(jax.jit(detect.apply)(fitted, NEW).score, scores(scorer)[0], rtol=1e-5)


def test_wrong_arguments():
    with pytest.raises(ValueError, match='at least one scorer and by "rank", "z" or "log"; got 0'):
        fused()
    with pytest.raises(ValueError, match="got 1 and 'mean'"):
        fused(column(0), by="mean")
