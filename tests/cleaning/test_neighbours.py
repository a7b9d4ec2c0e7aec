"""Cleaning by neighbours, beside scikit-learn's neighbours."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxae.cleaning.neighbours import kept_by_neighbours


def _rows(count=300, anomalies=30):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    x[:anomalies] = 0.5 * x[:anomalies] + 6
    return x


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_equals_rounds_of_scikit_learns_neighbours(rounds):
    x, k, share = _rows(), 12, 0.1
    kept = np.ones(len(x), bool)
    for _ in range(rounds):
        # a kept row is its own nearest neighbour, at column 0
        distance = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x[kept]).kneighbors(x)[0]
        kth = distance[np.arange(len(x)), np.where(kept, k, k - 1)]
        score = kth**2 / (1 + np.sum(x**2, axis=1)) ** 0.25
        kept = np.ones(len(x), bool)
        kept[np.argsort(-score, kind="stable")[:45]] = False
    ours, scores = kept_by_neighbours(x, share, k=k, exponent=0.25, rounds=rounds)
    np.testing.assert_array_equal(ours, kept)
    # a row whose listed neighbours were all left out has the last one's distance, not scikit-learn's
    np.testing.assert_allclose(scores[kept], score[kept], rtol=1e-4)


def test_an_anomaly_among_its_like_is_found_when_k_is_more_than_these():
    x = _rows()
    few, _ = kept_by_neighbours(x, 0.1, k=5, spare=1.0)
    enough, _ = kept_by_neighbours(x, 0.1, k=40, spare=1.0)
    assert few[:30].mean() > 0.5
    assert not enough[:30].any()


def test_without_contamination_all_rows_are_kept():
    kept, _ = kept_by_neighbours(_rows(), 0.0)
    assert kept.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contamination": 1.0}, r"contamination must lie in \[0, 1\); got 1.0"),
        ({"contamination": 0.1, "spare": 0.5}, r"spare must lie in \[1, inf\); got 0.5"),
        ({"contamination": 0.1, "rounds": 0}, "rounds must be at least 1; got 0"),
        ({"contamination": 0.1, "k": 255}, "255 neighbours are too many for 300 rows of which 45 are left out"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        kept_by_neighbours(_rows(), **options)
