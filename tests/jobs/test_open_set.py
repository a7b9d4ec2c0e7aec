"""The open-set job on a small table, and what it refuses."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import jobs, recipes, scoring
from jaxae.data import load
from jaxae.settings import OpenSetSettings, ScoreSettings
from jaxae.types import Batch


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four blobs in five dimensions, labelled 0..3, with a test part."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 90)
    x = (rng.normal(size=(360, 5)) + 6 * np.eye(4, 5)[y]).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    test = np.arange(360) % 3 == 0
    np.savez(path, x_train=x[~test], y_train=y[~test], x_test=x[test], y_test=y[test])
    return str(path)


def test_run_folder_holds_decisions_that_the_saved_detector_repeats(table, tmp_path):
    lines = []
    settings = OpenSetSettings(known=("3", "1"), data=table, epochs=25)
    folder = jobs.open_set(settings, tmp_path / "run", echo=lines.append)
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["auroc"] > 0.85
    assert figures["closed_set_accuracy"] > 0.95
    assert figures["oscr"] <= figures["closed_set_accuracy"]
    assert "OSCR" in lines[-1]
    rows = list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))
    assert len(rows) == 120
    assert {row["decision"] for row in rows} == {"1", "3", "unknown"}
    assert {row["truth"] for row in rows} == {"0", "1", "2", "3"}
    for row in rows:
        assert (row["decision"] == "unknown") == (float(row["confidence"]) <= float(row["lambda"]))
        assert (row["label"] == "1") == (row["truth"] in "02")
    right = np.mean([row["decision"] == row["truth"] for row in rows if row["label"] == "0"])
    np.testing.assert_allclose(figures["known_decided_right"], right)
    loaded = scoring.load_detector(folder / "detector")
    verdict = loaded.apply(load(table).x_test)
    assert [loaded.card["classes"][a] for a in verdict.action] == [row["decision"] for row in rows]
    assert (folder / "report.html").is_file()
    again = jobs.score(folder, ScoreSettings(table, part="test"), tmp_path / "again.csv")
    assert list(csv.DictReader(again.read_text().splitlines())) == rows


def test_classifier_of_images_learns_its_auxiliary_task_too():
    images = jax.ShapeDtypeStruct((4, 28, 28, 1), jnp.uint8)
    labels = jax.ShapeDtypeStruct((4, 1), jnp.int32)
    for auxiliary, outputs in {"none": 2, "spliced": 3, "turned": 8}.items():
        recipe = recipes.build_classifier((28, 28, 1), 1200, 2, auxiliary=auxiliary)
        assert recipe.num_steps == 1000

        def shape(x, labels, recipe=recipe):
            params, state = recipe.objective.init(jax.random.key(0), Batch(x, labels))
            return recipe.objective.apply(params, state, jax.random.key(1), Batch(x, labels), 0)[1][0].prediction

        assert jax.eval_shape(shape, images, labels).shape == (4, outputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"known": ("1",)}, "1 known class is nothing to tell apart"),
        ({"known": ("1", "9")}, "no class '9'"),
        ({"score": "sureness"}, "no score 'sureness'; there are max_softmax"),
        ({"auxiliary": "mirrored"}, "no auxiliary 'mirrored'; there are spliced, turned, none"),
        ({"cost": (1.0, -1.0, 0.0)}, "costs must be finite"),
        ({"anomaly_rate": 1.0}, r"anomaly_rate must lie in"),
        ({"rule": ("recall", 2.0)}, "rate must lie in"),
    ],
)
def test_what_cannot_work_is_said_before_training(table, tmp_path, changes, message):
    settings = OpenSetSettings(**{"known": ("1", "3"), "data": table, **changes})
    with pytest.raises(ValueError, match=message):
        jobs.open_set(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
