"""Rows left out before a training: the parts that come of it."""

import numpy as np
import pytest

from jaxae import recipes
from jaxae.data import Dataset
from jaxae.data.protocols import pollute
from jaxae.data.splits import split
from jaxae.jobs.pollution import cleaned_splits


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
    recipe = recipes.build("ae", (3,), len(polluted.train.x), contamination=0.1, robust="neighbours")
    said = []
    cleaned = cleaned_splits(polluted, recipe, "neighbours", 0.1, 0, said.append)
    count = len(polluted.train.x) + len(polluted.validation.x)
    assert said == [f"{round(0.15 * count)} of {count} rows left out as suspected anomalies"]
    assert polluted.train.labels.sum() > 20
    assert cleaned.train.labels.sum() == cleaned.validation.labels.sum() == 0
    # scores in units of held-out rows read the last rows: no parameter may have seen them
    assert len(cleaned.validation.x) == len(polluted.validation.x)
    before = set(polluted.train.rows) | set(polluted.validation.rows)
    after = [*cleaned.train.rows, *cleaned.validation.rows]
    assert len(set(after)) == len(after) == round(0.85 * count)
    assert set(after) <= before


@pytest.mark.parametrize(("how", "share"), [("trimmed", 0.1), ("neighbours", 0.0), ("refined", 0.0)])
def test_otherwise_nothing_is_done(polluted, how, share):
    recipe = recipes.build("ae", (3,), 100)
    assert cleaned_splits(polluted, recipe, how, share, 0, print) is polluted
