"""Cleaning by cross-fitting: who judges whom, how many rows go, and that outliers do."""

import numpy as np
import pytest

from jaxae.cleaning import refined


def distance_from_mean(rows):
    return lambda other: np.abs(other - rows.mean(0)).sum(1)


def test_outliers_go_and_their_number_is_the_contaminations():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(180, 3)), rng.normal(8, 1, size=(20, 3))])
    kept, scores = refined(x, distance_from_mean, 0.1)
    assert (~kept).sum() == 20
    assert (~kept)[180:].mean() >= 0.9
    assert scores[180:].min() > np.median(scores[:180])
    again, _ = refined(x, distance_from_mean, 0.1)
    np.testing.assert_array_equal(kept, again)
    everything, _ = refined(x, distance_from_mean, 0.0)
    assert everything.all()


def test_no_model_judges_rows_it_was_fitted_to():
    calls = []

    def fit(rows):
        seen = set(rows[:, 0].tolist())

        def score(other):
            calls.append((len(seen), len(other)))
            assert not seen & set(other[:, 0].tolist())
            return other[:, 0]

        return score

    kept, _ = refined(np.arange(90.0)[:, None], fit, 0.3, rounds=3, folds=3)
    assert len(calls) == 9
    assert all(size == 30 for _, size in calls)
    assert calls[0][0] == 60  # the first round reads everything
    assert calls[-1][0] < 60
    assert (~kept).sum() == 27


def test_what_it_refuses():
    x = np.zeros((3, 1))
    with pytest.raises(ValueError, match="3 rows are too few for 2 folds"):
        refined(x, distance_from_mean, 0.1)
    for options in ({"contamination": 1.0}, {"contamination": 0.1, "rounds": 0}, {"contamination": 0.1, "folds": 1}):
        with pytest.raises(ValueError, match=r"(contamination|rounds|folds) must"):
            refined(np.zeros((30, 1)), distance_from_mean, **options)
