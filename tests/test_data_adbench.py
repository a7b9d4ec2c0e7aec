import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxae.data import adbench


def table(rows, anomalies):
    # the row's own number is its only feature, anomalies come last, as in the sorted files
    return np.arange(float(rows))[:, None], np.arange(rows) >= rows - anomalies


def test_published_split_keeps_the_order_of_the_file():
    x, y = table(1500, 100)
    halves = adbench.published_split(x, y)
    np.testing.assert_array_equal(halves.train[:, 0], np.arange(700))
    np.testing.assert_array_equal(halves.test[:, 0], np.arange(700, 1500))
    assert halves.labels.tolist() == [0] * 700 + [1] * 100
    np.testing.assert_array_equal(adbench.published_split(x, y, 3).test, halves.test)


def test_published_split_fills_small_tables_with_the_legacy_generator():
    x, y = table(100, 10)
    halves = adbench.published_split(x, y, seed=4)
    drawn = np.random.RandomState(4).choice(100, 1000, replace=True)
    normals = drawn[drawn < 90]
    np.testing.assert_array_equal(halves.train[:, 0], normals[: len(normals) // 2])
    assert len(halves.train) + len(halves.test) == 1000
    # the fault of this protocol: test rows have been trained on
    assert np.isin(halves.test[halves.labels == 0], halves.train).mean() > 0.9


@pytest.mark.parametrize("split", [adbench.published_split, adbench.clean_split])
def test_large_tables_are_cut_without_repeats(split):
    x, y = table(60_000, 1000)
    halves = split(x, y, 1)
    rows = np.concatenate([halves.train, halves.test])[:, 0]
    assert len(rows) == len(np.unique(rows)) == 50_000
    assert (halves.test[halves.labels == 1] >= 59_000).all() and (halves.train < 59_000).all()


@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_clean_split_uses_every_row_once(normals, anomalies, seed):
    x, y = table(normals + anomalies, anomalies)
    halves = adbench.clean_split(x, y, seed)
    assert sorted(np.concatenate([halves.train, halves.test])[:, 0]) == x[:, 0].tolist()
    assert len(halves.train) == normals // 2 and halves.labels.sum() == anomalies
    assert (halves.train < normals).all()
    np.testing.assert_array_equal(halves.labels, halves.test[:, 0] >= normals)
    np.testing.assert_array_equal(adbench.clean_split(x, y, seed).train, halves.train)


def test_clean_split_shuffles():
    x, y = table(500, 50)
    first, second = adbench.clean_split(x, y, 0).train, adbench.clean_split(x, y, 1).train
    assert not np.array_equal(np.sort(first, 0), np.sort(second, 0))
    assert first.max() > 400


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones(4), np.zeros(4), r"\(4,\) and \(4,\)"),
        (np.ones((4, 2)), np.zeros(3), r"\(4, 2\) and \(3,\)"),
        (np.ones((4, 2)), np.array([0, 0, 1, 2]), r"\[0, 1, 2\]"),
        (np.ones((4, 2)), np.array([0, 1, 1, 1]), "got 1 in 4"),
    ],
)
def test_bad_tables_are_refused(x, y, message):
    for split in (adbench.published_split, adbench.clean_split):
        with pytest.raises(ValueError, match=message):
            split(x, y)
