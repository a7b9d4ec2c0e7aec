"""Rows left out before a training: the parts that come of it."""

import numpy as np
import pytest

from jaxae.cleaning import cleaned
from jaxae.data import Dataset
from jaxae.data.protocols import pollute
from jaxae.data.splits import split


@pytest.fixture(scope="module")
def polluted():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 3)).astype(np.float32)
    labels = (np.arange(900) % 3 == 0).astype(np.int64)
    x[labels == 1] += 9
    clean = split(_dataset(x, labels), "no", dev=0.1)
    return pollute(clean, 0.1, 0, ("train", "validation"))


def _dataset(x, labels):
    return Dataset("rows", x[90:], labels[90:], x[:90], labels[:90], ("no", "yes"))


def test_neighbours_leave_the_anomalies_out_and_validation_keeps_its_size(polluted):
    parts, left_out = cleaned(polluted, "neighbours", 0.1, view=lambda rows: rows, judge=lambda rows: None)
    count = len(polluted.train.x) + len(polluted.validation.x)
    assert len(left_out) == round(0.15 * count)
    assert polluted.train.labels.sum() > 20
    assert parts.train.labels.sum() == parts.validation.labels.sum() == 0
    # scores in units of held-out rows read the last rows: no parameter may have seen them
    assert len(parts.validation.x) == len(polluted.validation.x)
    before = set(polluted.train.rows) | set(polluted.validation.rows)
    after = [*parts.train.rows, *parts.validation.rows]
    assert len(set(after)) == len(after) == round(0.85 * count)
    assert set(after) | set(left_out) == before


def test_refined_leaves_out_what_a_model_of_the_others_scores_highest(polluted):
    def judge(rows):
        centre = np.median(rows, 0)
        return lambda others: ((others - centre) ** 2).sum(1)

    parts, left_out = cleaned(polluted, "refined", 0.1, view=lambda rows: rows, judge=judge)
    count = len(polluted.train.x) + len(polluted.validation.x)
    assert abs(len(left_out) - 0.1 * count) <= 3
    assert parts.train.labels.sum() + parts.validation.labels.sum() <= 2  # each fold leaves out its own tenth


def test_an_unknown_method_is_refused(polluted):
    with pytest.raises(ValueError, match="no method 'hope' of cleaning; there are neighbours, refined"):
        cleaned(polluted, "hope", 0.1, view=lambda rows: rows, judge=lambda rows: None)
