"""However much a user gives, a message is one line of bounded length."""

import subprocess
import sys

import numpy as np
import pytest

from jaxae import data, presets, recipes, scoring, settings
from jaxae.data.splits import split
from jaxae.files.messages import first_line, listed, shown
from jaxae.scoring import thresholds
from jaxae.types import Scorer

MANY = [[float(i), 1.0] for i in range(4000)]
LONG = "x" * 20_000


def detector(tmp_path):
    norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
    detect = scoring.detector(norm, thresholds.conformal(0.25))
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    scoring.save_detector(tmp_path / "d", detect, detect.fit({}, {}, None, x), x[:1], platforms=("cpu",))
    return scoring.load_detector(tmp_path / "d")


def many_classes(tmp_path):
    x = np.arange(6000, dtype=np.float32).reshape(3000, 2)
    np.savez(tmp_path / "c.npz", x=x, y=[f"class {i % 1000}" for i in range(3000)])
    return data.load(str(tmp_path / "c.npz"))


GIVEN = {
    "a list of rows": lambda tmp: detector(tmp).apply(MANY),
    "a dict of arrays": lambda tmp: detector(tmp).apply({f"a{i}": np.ones((2, 3)) for i in range(900)}),
    "arrays of many lengths": lambda tmp: scoring.score_batches(lambda x: x, [np.ones(i + 1) for i in range(900)]),
    "a class of many": lambda tmp: split(many_classes(tmp), ["another"]),
    "a long class": lambda tmp: split(many_classes(tmp), [LONG]),
    "a long model": lambda tmp: recipes.build(LONG, (5,), 100),
    "a long score": lambda tmp: recipes.named_score(LONG, presets.ae((5,))[0], (5,)),
    "a long setting": lambda tmp: settings.checked(settings.TrainSettings(model=LONG)),
    "many settings": lambda tmp: settings.checked(settings.TrainSettings(seed=MANY)),
    "a large setting": lambda tmp: settings.checked(settings.TrainSettings(seed=10**4000)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_given_is_not_repeated_at_length(name, tmp_path):
    with pytest.raises(ValueError) as error:
        GIVEN[name](tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000, len(str(error.value))


def test_a_list_of_rows_is_told_to_be_an_array(tmp_path):
    with pytest.raises(ValueError, match=r"and 7992 more without rows: a list\? numpy\.asarray makes an array of it$"):
        detector(tmp_path).apply(MANY)


def test_values_are_shown_in_a_line():
    assert len(shown(LONG)) == 60
    assert len(shown({f"{i}": LONG for i in range(100)})) == 60
    assert shown(np.ones((3, 4), np.float32)) == "float32[3, 4]"
    assert shown("two\nlines") == "'two\\nlines'"
    assert listed(["a"]) == "a"
    assert listed(range(100), 2) == "0, 1 and 98 more"
    assert len(listed([LONG] * 100)) < 600
    assert len(first_line(ValueError(LONG))) == 200


@pytest.mark.parametrize("option", ["--cost", "--rule", "--set", "--model", "--known-anomalies", "--data"])
def test_options_are_not_repeated_at_length(option):
    command = [sys.executable, "-m", "jaxae.cli", "detect", option, LONG]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr) < 2200
    assert len(ended.stderr.splitlines()) == 1
