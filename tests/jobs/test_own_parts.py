"""Parts of somebody else's by name: `package.module:function`, kept in the config and found again."""

import json
import sys

import numpy as np
import pytest

from jaxae.recipes import own_function

MODULE = """
import flax.linen as nn
from jaxae import bottlenecks, networks, presets, scoring
from jaxae.types import Scorer


def wide(shape, transform=None, *, latent_size: int = 3):
    return presets.vae(shape, latent_size=latent_size, transform=transform)


def halves():
    return bottlenecks.fsq((3, 3))


def largest(model):
    base = scoring.reconstruction(model, "l2")
    return Scorer(base.fit, lambda fitted, rng, batch: base.map(fitted, rng, batch).max(-1))


def share(value=0.2):
    return scoring.thresholds.quantile(1 - value)


class Normed(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
        return nn.Dense(self.width)(nn.Dropout(0.1, deterministic=not train)(nn.relu(x)))


def normed(shape, transform=None):
    encoder, decoder = networks.from_linen(Normed(4)), networks.from_linen(Normed(shape[-1]))
    return presets.vae(shape, latent_size=2, encoder=encoder, decoder=decoder, transform=transform)


def broken(shape, transform=None):
    raise KeyError("no such thing")


def number(*arguments):
    return 3


constant = 5
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_parts"
    sys.modules.pop("my_parts", None)


@pytest.fixture
def table(tmp_path, rows, csv):
    x, labels = rows(160, 40)
    return csv(tmp_path / "t.csv", x, labels=labels)


def score_column(path):
    header, *lines = path.read_text().splitlines()
    return [line.split(",")[header.split(",").index("score")] for line in lines]


def test_model_bottleneck_score_and_rule_are_found_by_name(mine, table, jaxae, tmp_path):
    base = ("detect", "--data", table, "--label-column", "kind", "--normal", "ok", "--epochs", 2)
    own = ("--score", f"{mine}:largest", "--rule", f"{mine}:share=0.4")
    codes = ("--model", "ae", "--bottleneck", f"{mine}:halves", "--set", "latent_size=2")
    jaxae(*base, *codes, *own, "--out", tmp_path / "own")
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    assert config["bottleneck"] == f"{mine}:halves"
    assert config["score"] == f"{mine}:largest"
    assert config["rule"] == [f"{mine}:share", 0.4]
    metrics = json.loads((tmp_path / "own" / "metrics.json").read_text())
    calibration = np.load(tmp_path / "own" / "dev.npz")["calibration"]
    assert metrics["threshold"] == pytest.approx(np.quantile(calibration, 0.6, method="linear"), rel=1e-5)
    jaxae(*base, "--model", "ae", "--set", "latent_size=2", *own, "--out", tmp_path / "plain")
    jaxae(*base, *codes, "--rule", f"{mine}:share=0.4", "--out", tmp_path / "l2")
    different = {name: score_column(tmp_path / name / "scores.csv") for name in ("own", "plain", "l2")}
    assert different["own"] != different["plain"]  # the bottleneck matters
    assert different["own"] != different["l2"]  # and so does the score


def test_what_was_saved_by_name_is_read_again_by_every_command(mine, table, jaxae, refused, tmp_path):
    run = tmp_path / "run"
    jaxae("train", "--data", table, "--label-column", "kind", "--model", f"{mine}:wide", "--epochs", 2, "--out", run)
    jaxae("sample", run, "-n", 5)
    assert len((run / "samples.csv").read_text().splitlines()) == 6
    assert "has no option depth; it has latent_size" in refused(
        "train",
        "--data",
        table,
        "--label-column",
        "kind",
        "--model",
        f"{mine}:wide",
        "--set",
        "depth=2",
        "--out",
        tmp_path / "x",
    )
    detect = tmp_path / "detect"
    flags = ("--normal", "ok", "--epochs", 2, "--model", f"{mine}:wide", "--score", f"{mine}:largest")
    jaxae("detect", "--data", table, "--label-column", "kind", *flags, "--out", detect)
    sys.modules.pop("my_parts")
    (tmp_path / "my_parts.py").rename(tmp_path / "elsewhere.txt")
    # a detector is a program: neither scoring nor another threshold needs the code of its parts
    jaxae("score", "--detector", detect, "--data", table, "--part", "test", "--out", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == (detect / "scores.csv").read_text()
    jaxae("calibrate", detect, "--max-false-alarm-rate", 0.2, "--out", tmp_path / "d")
    line = refused("sample", run, "-n", 5)
    assert "there is no module my_parts on the Python path" in line


def test_a_model_with_batch_norm_and_dropout_is_trained_scored_and_drawn_from(mine, table, jaxae, tmp_path):
    base = ("--data", table, "--label-column", "kind", "--model", f"{mine}:normed", "--epochs", 2)
    jaxae("detect", *base, "--normal", "ok", "--out", tmp_path / "detect")
    again = ("score", "--detector", tmp_path / "detect", "--data", table, "--part", "test", "--out", tmp_path / "s.csv")
    jaxae(*again)
    assert (tmp_path / "s.csv").read_text() == (tmp_path / "detect" / "scores.csv").read_text()
    jaxae("train", *base, "--out", tmp_path / "train")
    jaxae("sample", tmp_path / "train", "-n", 3)
    assert len((tmp_path / "train" / "samples.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--model", "my_parts:nothing"), "my_parts has no function nothing"),
        (("--model", "my_parts:constant"), "my_parts has no function constant"),
        (("--model", "my_parts:broken"), "my_parts:broken failed: KeyError: 'no such thing'"),
        (("--model", "my_parts:number"), "my_parts:number failed: TypeError"),
        (("--model", "nowhere:model"), "there is no module nowhere on the Python path"),
        (("--model", ":f"), "names no function: give package.module:function"),
        (("--score", "my_parts:number"), "my_parts:number returned int, where Scorer is needed"),
        (("--rule", "my_parts:number"), "my_parts:number returned int, where Threshold is needed"),
        (("--model", "ae", "--bottleneck", "my_parts:number"), "returned int, where Bottleneck is needed"),
        (("--model", "ae", "--bottleneck", "hope"), "there is no bottleneck 'hope'"),
        (("--model", "vae", "--bottleneck", "fsq"), "vae has no option bottleneck"),
        (("--score", "hope"), "there is no score 'hope'"),
        (("--score", "surprisal"), "this model's latent is continuous"),
        (("--score", "ssim"), "the score ssim is for images"),
    ],
)
def test_what_a_name_cannot_stand_for_is_one_line(flags, words, mine, table, refused, tmp_path):
    command = ("detect", "--data", table, "--label-column", "kind", "--normal", "ok", "--out", tmp_path / "r")
    assert words in refused(*command, *flags)
    assert not (tmp_path / "r").exists()


def test_a_module_that_fails_on_import_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "halfway.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "wrong.py").write_text("raise RuntimeError('first\\nsecond')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="halfway needs nothing_of_that_name, which is not installed"):
        own_function("halfway:f")
    with pytest.raises(ValueError, match=r"wrong cannot be imported: RuntimeError: first$"):
        own_function("wrong:f")
