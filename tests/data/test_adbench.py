"""The two protocols of ADBench: what is in each half, and what the seed decides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxae.data import adbench


def table(num, anomalies):
    return np.arange(num, dtype=np.int64)[:, None], (np.arange(num) % num >= num - anomalies).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 300), st.integers(0, 40), st.integers(0, 3))
def test_clean_halves_are_disjoint_and_complete(normals, anomalies, seed):
    x, y = table(normals + anomalies, anomalies)
    halves = adbench.clean_split(x, y, seed)
    rows = np.concatenate([halves.train, halves.test])[:, 0]
    assert sorted(rows.tolist()) == list(range(normals + anomalies))
    assert len(halves.train) == round(normals / 2)
    np.testing.assert_array_equal(halves.labels, y[halves.test[:, 0].astype(int)])
    assert (y[halves.train[:, 0].astype(int)] == 0).all()
    assert halves.train.dtype == np.float64
    np.testing.assert_array_equal(halves.test, adbench.clean_split(x, y, seed).test)


def test_clean_shuffles_by_seed_and_cuts():
    x, y = table(60_000, 600)
    first, second = adbench.clean_split(x, y, 0), adbench.clean_split(x, y, 1)
    assert len(first.train) + len(first.test) == 50_000
    assert len(np.unique(np.concatenate([first.train, first.test]))) == 50_000
    assert not np.array_equal(first.train, second.train)
    assert first.train.max() > 50_000


def test_published_takes_the_file_order():
    x, y = table(2001, 100)  # 1901 normals: half of them goes to the even number, 950
    halves = adbench.published_split(x, y, seed=3)
    np.testing.assert_array_equal(halves.train[:, 0], np.arange(950))
    np.testing.assert_array_equal(halves.test[:, 0], np.arange(950, 2001))
    np.testing.assert_array_equal(halves.labels, np.arange(950, 2001) >= 1901)
    assert len(adbench.published_split(x[:1803], y[:1803]).train) == 902  # 901.5


def test_published_fills_small_tables_with_copies_and_cuts_large_ones():
    x, y = table(200, 20)
    halves = adbench.published_split(x, y, seed=1)
    assert len(halves.train) + len(halves.test) == 1000
    drawn = np.random.RandomState(1).choice(200, 1000, replace=True)
    normal = drawn[drawn < 180]
    np.testing.assert_array_equal(halves.train[:, 0], normal[: len(halves.train)])
    assert np.isin(halves.train, halves.test).mean() > 0.5  # its fault: test rows have been trained on
    large = adbench.published_split(*table(50_001, 50), seed=2)
    assert len(np.unique(np.concatenate([large.train, large.test]))) == 50_000


def test_errors_have_numbers():
    with pytest.raises(ValueError, match=r"got \(3,\) and \(3,\)"):
        adbench.clean_split(np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"0 \(normal\) or 1 \(anomaly\); got \[0, 2\]"):
        adbench.published_split(np.ones((2, 1)), np.array([0, 2]))
    with pytest.raises(ValueError, match="at least 2 normals; got 1 in 3 rows"):
        adbench.clean_split(np.ones((3, 1)), np.array([0, 1, 1]))
