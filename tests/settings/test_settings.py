"""Settings: every field described, of its type and within its limits; the command line's options made from them."""

import math

import numpy as np
import pytest
from click.testing import CliRunner

from jaxae import settings
from jaxae.cli import main
from jaxae.presets import PRESETS
from jaxae.recipes import RULES, SCORES
from jaxae.settings import Named, Within, annotation, checked, described

COMMANDS = {
    "detect": settings.DetectSettings,
    "open-set": settings.OpenSetSettings,
    "train": settings.TrainSettings,
    "calibrate": settings.CalibrateSettings,
    "score": settings.ScoreSettings,
    "sample": settings.SampleSettings,
    "train-prior": settings.TrainPriorSettings,
}
FLAGS = {"options": "--set", "labels": "--label", "rule": "--rule"}


def help_of(command):
    return " ".join(CliRunner().invoke(main, [command, "--help"]).output.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_field_is_described_and_is_an_option_with_that_text(command):
    kind, shown = COMMANDS[command], help_of(command)
    texts = described(kind)
    assert list(texts) == list(kind._fields)
    for name, text in texts.items():
        assert text.endswith("."), name
        assert FLAGS.get(name, f"--{name.replace('_', '-')}") in shown, name
        if name not in ("cost", "normal"):  # texts that an option says for two fields, or in other words
            words = text.replace("`", "").replace("None:", "Default:").split()
            assert words[-2] in shown, name


def test_help_names_every_member_of_a_table():
    shown = help_of("detect")
    for name in (*PRESETS, *SCORES, *RULES):
        assert name in shown, name


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=list(COMMANDS))
def test_every_value_is_held_to_its_type_and_limit(kind):
    required = {"known": ("a", "b")} if "known" in kind._fields else {}
    base = kind(**required)
    assert checked(base) == base
    for name in kind._fields:
        with pytest.raises(ValueError, match=f"^{name} must be "):
            checked(base._replace(**{name: object()}))
        _, limit = annotation(kind, name)
        if isinstance(limit, Within):
            for odd in (limit.low - 1, limit.high + 1, math.nan):
                if not math.isinf(odd):
                    with pytest.raises(ValueError, match=name):
                        checked(base._replace(**{name: odd if math.isnan(odd) else type(limit.low)(odd)}))
        if isinstance(limit, Named):
            with pytest.raises(ValueError, match=f"there is no {name} 'hope'; there are "):
                checked(base._replace(**{name: "hope"}))
            assert checked(base._replace(**{name: limit.names()[0]}))


def test_numpy_scalars_and_lists_become_pythons_own():
    made = checked(settings.DetectSettings(seed=np.int64(3), certify=np.float32(0.5), cost=[np.float64(2), 1]))
    assert (made.seed, made.certify, made.cost) == (3, 0.5, (2.0, 1))
    assert type(made.seed) is int
    assert type(made.certify) is float


def test_ranges_say_which_ends_they_hold():
    assert [Within(0, 1).holds(v) for v in (0, 1)] == [True, True]
    assert [Within(0, 1, open=True).holds(v) for v in (0, 0.5, 1)] == [False, True, False]
    assert [Within(0, 1, open_high=True).holds(v) for v in (0, 1)] == [True, False]
    assert [str(w) for w in (Within(0, 1), Within(0, 1, open=True), Within(0, 1, open_high=True))] == [
        "[0, 1]",
        "(0, 1)",
        "[0, 1)",
    ]


def test_a_setting_of_another_type_is_one_line_on_the_command_line():
    for flags in (("--epochs", "many"), ("--epochs", "99999999999999999999"), ("--seed", "-1"), ("--certify", "x")):
        result = CliRunner().invoke(main, ["detect", *flags])
        assert result.exit_code == 2
        assert len(result.stderr.strip().splitlines()) == 1
