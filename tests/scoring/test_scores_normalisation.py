"""Scores in units of held-out normals, by hand and with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import scoring
from jaxae.scoring.scores import held_out
from jaxae.scoring.scores.normalisation import complexity_normalised, energy, normalised, roughness
from jaxae.types import Batch, Scorer

RNG = np.random.default_rng(0)
X = np.float32(RNG.gamma(2.0, size=(50, 6)) * np.array([1, 10, 0.1, 1, 1, 0]))
NEW = np.float32(RNG.gamma(2.0, size=(7, 6)))
# what it has seen in fit, and squares as its map
SQUARES = Scorer(
    lambda params, state, reference: {"seen": reference.x},
    lambda fitted, rng, batch: (batch.x**2).mean(-1),
    lambda fitted, rng, batch: batch.x**2,
)


def test_each_element_is_divided_by_its_held_out_mean(monkeypatch):
    monkeypatch.setattr(held_out, "CHUNK", 4)
    scorer = normalised(SQUARES, held_out=13, floor=0.2)
    fitted = scorer.fit({}, {}, Batch(X))
    np.testing.assert_array_equal(fitted["base"]["seen"], X[:37])  # the base never sees the held-out rows
    mean = (X[37:].astype(np.float64) ** 2).mean(0)
    divisor = np.maximum(mean, 0.2 * mean.mean())
    np.testing.assert_allclose(scorer.map(fitted, None, Batch(NEW)), NEW**2 / divisor, rtol=1e-5)
    np.testing.assert_allclose(scorer.apply(fitted, None, Batch(NEW)), (NEW**2 / divisor).mean(-1), rtol=1e-5)
    largest = normalised(SQUARES, held_out=13, floor=0.2, fraction=0.3)
    expected = np.sort(NEW**2 / divisor, -1)[:, -2:].mean(-1)
    np.testing.assert_allclose(largest.apply(fitted, None, Batch(NEW)), expected, rtol=1e-5)


def test_weights_and_masks_of_the_held_out_rows_count():
    weight = RNG.integers(0, 2, 50).astype(np.float32)
    mask = RNG.integers(0, 2, X.shape).astype(np.float32)
    spoilt = np.where((mask > 0) & (weight[:, None] > 0), X, np.nan)
    counts = (mask * weight[:, None])[40:]
    mean = (np.nan_to_num(spoilt[40:]) ** 2 * counts).sum(0) / counts.sum(0)
    for chunk in (3, 100):
        got = held_out.mean_in_chunks(
            lambda batch: batch.x**2, Batch(spoilt[40:], mask=mask[40:], weight=weight[40:]), chunk
        )
        np.testing.assert_allclose(got, mean, rtol=1e-5)
    scorer = normalised(SQUARES, floor=1e-3)
    fitted = scorer.fit({}, {}, Batch(spoilt, mask=mask, weight=weight))
    assert bool(jnp.isfinite(fitted["divisor"]).all())
    got = scorer.apply(fitted, None, Batch(NEW, mask=jnp.asarray(mask[:7])))
    expected = (NEW**2 / fitted["divisor"][None] * mask[:7]).sum(-1) / np.maximum(mask[:7].sum(-1), 1)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_complexity_regression_is_numpys():
    scorer = complexity_normalised(SQUARES, held_out=30)
    rows = X[20:].astype(np.float64)
    complexity = np.log1p((rows**2).sum(-1))
    slope, intercept = np.polyfit(complexity, np.log((rows**2).mean(-1)), 1)
    fitted = scorer.fit({}, {}, Batch(X))
    np.testing.assert_allclose(fitted["slope"], slope, rtol=1e-4)
    usual = np.exp(intercept + slope * np.log1p((np.asarray(NEW) ** 2).sum(-1)))
    np.testing.assert_allclose(scorer.apply(fitted, None, Batch(NEW)), (NEW**2).mean(-1) / usual, rtol=1e-4)
    # the map keeps its mean
    np.testing.assert_allclose(
        scorer.map(fitted, None, Batch(NEW)).mean(-1), scorer.apply(fitted, None, Batch(NEW)), rtol=1e-5
    )


def test_a_falling_regression_and_equal_complexities_divide_by_a_constant():
    for measure in (lambda batch: -energy(batch), lambda batch: jnp.ones(batch.x.shape[0])):
        scorer = complexity_normalised(SQUARES, measure)
        fitted = scorer.fit({}, {}, Batch(X))
        ratio = SQUARES.apply({}, None, Batch(NEW)) / scorer.apply(fitted, None, Batch(NEW))
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    weighted = complexity_normalised(SQUARES, held_out=30).fit({}, {}, Batch(X, weight=jnp.ones(50).at[20:35].set(0)))
    alone = complexity_normalised(SQUARES, held_out=15).fit({}, {}, Batch(X))
    np.testing.assert_allclose(weighted["slope"], alone["slope"], rtol=1e-4)


def test_measures_by_numpy():
    images = np.float32(RNG.uniform(size=(3, 4, 5, 2)))
    np.testing.assert_allclose(energy(Batch(images)), np.log1p((images**2).sum((1, 2, 3))), rtol=1e-5)
    squares = [(np.diff(images, axis=a) ** 2).sum((1, 2, 3)) for a in (1, 2)]
    np.testing.assert_allclose(roughness(Batch(images)), np.log1p(sum(squares)), rtol=1e-5)
    with pytest.raises(ValueError, match="use energy"):
        roughness(Batch(NEW))


@pytest.mark.parametrize("combinator", [normalised, complexity_normalised])
def test_through_the_detector(combinator):
    scorer = scoring.prepared(combinator(SQUARES), lambda rng, batch: batch._replace(x=batch.x / 2))
    detect = scoring.detector(scorer, scoring.thresholds.quantile(0.9), with_map=True)
    fitted = detect.fit({}, {}, X, X[:20])
    verdict = jax.jit(detect.apply)(fitted, NEW)
    direct = scorer.apply(scorer.fit({}, {}, Batch(X)), None, Batch(NEW))
    np.testing.assert_allclose(verdict.score, direct, rtol=1e-4)
    assert verdict.map.shape == NEW.shape


def test_wrong_arguments():
    with pytest.raises(ValueError, match="this scorer has none"):
        normalised(SQUARES._replace(map=None))
    with pytest.raises(ValueError, match="floor must be above 0 and finite; got 0"):
        normalised(SQUARES, floor=0)
    with pytest.raises(ValueError, match="give fit a reference"):
        complexity_normalised(SQUARES).fit({}, {}, None)
    with pytest.raises(ValueError, match="rows on both sides; got 50 of 50"):
        normalised(SQUARES, held_out=50).fit({}, {}, Batch(X))
    with pytest.raises(ValueError, match="got None of 4"):
        normalised(SQUARES).fit({}, {}, Batch(X[:4]))
