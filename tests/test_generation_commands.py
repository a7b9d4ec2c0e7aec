"""`jaxae train-prior` and `jaxae sample` on a run with discrete codes, as a user meets them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from jaxae.cli import main


def jaxae(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def refused(*arguments):
    lines = jaxae(*arguments, code=2).stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("jaxae: ")
    return lines[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Bright left halves and bright right halves, two classes."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 260)
    x = rng.integers(0, 20, (260, 6, 6, 1), np.uint8)
    for image, right in zip(x, side, strict=True):
        image[:, 3 * right : 3 * right + 3] += 200
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    names = np.array(["left", "right"])[side]
    np.savez(path, x_train=x[:220], y_train=names[:220], x_test=x[220:], y_test=names[220:])
    return path


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "vq"
    sizes = ("--set", "num_codes=8", "--set", "num_tokens=3", "--set", "code_size=4")
    jaxae("train", "--data", images, "--model", "vq_vae", *sizes, "--epochs", 60, "--out", out)
    return out


@pytest.fixture(scope="module")
def prior(run):
    small = ("--set", "width=16", "--set", "depth=1", "--set", "heads=2")
    printed = jaxae("train-prior", run, "--by-class", "--epochs", 150, *small).output
    return run / "prior", printed, small


def images_of(path):
    with np.load(path, allow_pickle=False) as file:
        return file["images"]


def brighter_right(images):
    return images[:, :, 3:].mean((1, 2, 3)) > images[:, :, :3].mean((1, 2, 3))


def test_without_a_prior_codes_are_drawn_alike_and_it_says_so(run, tmp_path):
    assert "no prior was trained" in jaxae("sample", run, "-n", 5, "--out", tmp_path / "g.png").output
    assert images_of(tmp_path / "g.npz").shape == (5, 6, 6, 1)
    assert "needs a prior of `jaxae train-prior`" in refused("sample", run, "--temperature", 0.5)
    assert not (run / "prior").exists()


def test_train_prior_writes_its_figures(prior, run):
    folder, printed, _ = prior
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["codes"] == 3
    assert figures["nats_uniform"] == pytest.approx(3 * np.log(8))
    assert figures["nats"] < figures["nats_unigram"] < figures["nats_uniform"]  # the class tells the half
    parts = [figures[f"bits_per_dimension_{name}"] for name in ("codes", "decoder", "total")]
    assert parts[0] == pytest.approx(figures["nats"] / 36 / np.log(2), rel=1e-5)
    assert parts[2] == pytest.approx(parts[0] + parts[1], rel=1e-5)
    assert "bits per dimension" in printed
    assert (folder / "metrics.jsonl").is_file()
    assert "validation_loss" in (folder / "metrics.jsonl").read_text()
    assert images_of(run / "samples.npz").shape == (64, 6, 6, 1)


def test_samples_are_of_the_class_that_was_asked_for(prior, run, tmp_path):
    for name, right in (("left", 0), ("right", 1)):
        result = jaxae("sample", run, "-n", 40, "--label", name, "--out", tmp_path / f"{name}.png")
        assert "autoregressive" in result.output
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert abs(brighter_right(images_of(tmp_path / f"{name}.npz")).mean() - right) < 0.1
    assert "there are left, right" in refused("sample", run, "--label", "top")
    narrow = ("--top-k", 1, "--label", "left")
    drawn = [images_of(_sampled(run, tmp_path, *narrow, "--seed", seed)) for seed in (0, 1)]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-6)  # greedy: one and the same
    noisy = images_of(_sampled(run, tmp_path, *narrow, "--noise"))
    assert noisy.std() > drawn[0].std() + 0.1


def _sampled(run, folder, *flags):
    jaxae("sample", run, "-n", 8, *flags, "--out", folder / "s.png")
    return folder / "s.npz"


def test_resume_gives_the_same_prior_and_other_settings_are_refused(prior, run, tmp_path):
    folder, _, small = prior
    before, figures = images_of(_sampled(run, tmp_path)), json.loads((folder / "metrics.json").read_text())
    assert "already holds a run of `jaxae train-prior`" in refused("train-prior", run, "--by-class", *small)
    jaxae("train-prior", run, "--by-class", "--epochs", 150, *small, "--resume")
    again = json.loads((folder / "metrics.json").read_text())
    assert {**again, "seconds": 0} == {**figures, "seconds": 0}
    np.testing.assert_array_equal(images_of(_sampled(run, tmp_path)), before)
    assert "epochs = 150, now it is 2" in refused("train-prior", run, "--by-class", "--epochs", 2, *small, "--resume")


def test_other_priors_and_a_stale_one(prior, images, run, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(run, other)
    for name, flags in (("masked", ("--epochs", 2, *prior[2])), ("unigram", ())):
        jaxae("train-prior", other, "--prior", name, *flags, "--overwrite")
        assert name in jaxae("sample", other, "-n", 4, "--out", tmp_path / "g.png").output
    assert "knows no classes" in refused("sample", other, "--label", "left")
    config = json.loads((other / "prior" / "config.json").read_text())
    (other / "prior" / "config.json").write_text(json.dumps({**config, "model_step": 1}))
    assert "train it anew" in refused("sample", other)
    assert "uniform" not in jaxae("sample", other, "--uniform", "-n", 4, "--out", tmp_path / "g.png").output


def test_what_cannot_have_a_prior_is_one_line(images, run, tmp_path):
    jaxae("train", "--data", images, "--model", "vae", "--epochs", 1, "--out", tmp_path / "v")
    assert "the codes of vae" in refused("train-prior", tmp_path / "v")
    assert "continuous codes from its own prior" in refused("sample", tmp_path / "v", "--top-k", 3)
    assert "there is no prior 'pixel'" in refused("train-prior", run, "--prior", "pixel", "--overwrite")
    assert "has no option layers" in refused("train-prior", run, "--set", "layers=3", "--overwrite")
    assert "holds no run" in refused("train-prior", tmp_path)
    config = json.loads((tmp_path / "v" / "config.json").read_text())
    (tmp_path / "v" / "config.json").write_text(json.dumps({**config, "command": "detect"}))
    assert "`jaxae detect`: a prior is trained for one of `jaxae train`" in refused("train-prior", tmp_path / "v")
