"""Pollution: as many anomalies as asked for, from the train part alone, and nothing lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxae.data import Dataset, protocols, splits


def parts(seed=0, anomalies=200, certify=0.0):
    x = np.arange(400 + anomalies, dtype=np.float32)[:, None]
    y = np.repeat([0, 1], [400, anomalies])
    test = -1 - np.arange(50, dtype=np.float32)[:, None]
    data = Dataset("toy", x, y, test, np.arange(50) % 2, ("good", "bad"), (0,))
    return splits.split(data, seed=seed, certify=certify)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 0.25),
    st.integers(0, 3),
    st.sets(st.sampled_from(["train", "validation", "calibration"]), min_size=1),
)
def test_rows_move_from_dev_and_none_is_lost(fraction, seed, polluted):
    clean = parts(certify=0.1)
    made = protocols.pollute(clean, fraction, seed, tuple(polluted))
    for name in protocols.POLLUTABLE:
        before, after = getattr(clean, name), getattr(made, name)
        count = round(fraction / (1 - fraction) * len(before.x)) if name in polluted else 0
        assert after.labels.sum() == count
        assert len(after.x) == len(before.x) + count
        np.testing.assert_array_equal(after.x[:, 0], after.rows)
        np.testing.assert_array_equal(after.labels, after.classes)
        np.testing.assert_array_equal(np.sort(after.rows[after.labels == 0]), np.sort(before.rows))
    everything = [*protocols.POLLUTABLE, "dev", "certify"]
    rows = np.concatenate([getattr(made, name).rows for name in everything])
    assert sorted(rows) == list(range(600))
    np.testing.assert_array_equal(made.test.x, clean.test.x)
    np.testing.assert_array_equal(made.certify.rows, clean.certify.rows)
    again = protocols.pollute(clean, fraction, seed, tuple(polluted))
    np.testing.assert_array_equal(again.train.rows, made.train.rows)


def test_polluted_rows_are_spread():
    places = np.flatnonzero(np.asarray(protocols.pollute(parts(), 0.25).train.labels))
    assert places.min() < 60
    assert places.max() > 260


def test_errors_have_numbers():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\), got 1"):
        protocols.pollute(parts(), 1.0)
    with pytest.raises(ValueError, match="no part dev to pollute; there are train, validation, calibration"):
        protocols.pollute(parts(), 0.1, parts=["dev"])
    with pytest.raises(ValueError, match=r"takes 60 anomalies \(60 for train\); dev has 20"):
        protocols.pollute(parts(anomalies=20), 0.2)
