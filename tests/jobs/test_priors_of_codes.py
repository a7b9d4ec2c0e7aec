"""`jaxae train-prior` and `jaxae sample` on a run with discrete codes, as a user meets them."""

import json
import shutil

import numpy as np
import pytest


@pytest.fixture(scope="module")
def run(images, tmp_path_factory, jaxae):
    out = tmp_path_factory.mktemp("runs") / "vq"
    sizes = ("--set", "num_codes=8", "--set", "num_tokens=3", "--set", "code_size=4")
    jaxae("train", "--data", images, "--model", "vq_vae", *sizes, "--epochs", 60, "--out", out)
    (out / "examples.npz").unlink()  # or each report draws them anew
    return out


@pytest.fixture(scope="module")
def prior(run, jaxae):
    small = ("--set", "width=16", "--set", "depth=1", "--set", "heads=2", "--epochs", 600)
    printed = jaxae("train-prior", run, "--by-class", *small).output
    return run / "prior", printed, small


def images_of(path):
    with np.load(path, allow_pickle=False) as file:
        return file["images"]


def altered(run, folder, deal=None, **config):
    """What a run says of itself, changed in places, without its checkpoints."""
    folder.mkdir()
    shutil.copy(run / "deal.npz", folder)
    for name, changes in (("config.json", config), ("deal.json", deal or {})):
        (folder / name).write_text(json.dumps({**json.loads((run / name).read_text()), **changes}))
    return folder


def brighter_right(images):
    return images[:, :, 3:].mean((1, 2, 3)) > images[:, :, :3].mean((1, 2, 3))


def test_without_a_prior_codes_are_drawn_alike_and_it_says_so(run, tmp_path, jaxae, refused):
    assert "no prior was trained" in jaxae("sample", run, "-n", 5, "--out", tmp_path / "g.png").output
    assert images_of(tmp_path / "g.npz").shape == (5, 6, 6, 1)
    assert "needs a prior of `jaxae train-prior`" in refused("sample", run, "--temperature", 0.5)
    assert not (run / "prior").exists()


def test_train_prior_writes_its_figures(prior, run, jaxae):
    folder, printed, _ = prior
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["codes"] == 3
    assert figures["nats_uniform"] == pytest.approx(3 * np.log(8))
    assert figures["nats"] < figures["nats_unigram"] < figures["nats_uniform"]  # the class tells the half
    parts = [figures[f"bits_per_dimension_{name}"] for name in ("codes", "decoder", "total")]
    assert parts[0] == pytest.approx(figures["nats"] / 36 / np.log(2), rel=1e-5)
    assert parts[2] == pytest.approx(parts[0] + parts[1], rel=1e-5)
    assert "bits per dimension" in printed
    assert json.loads(jaxae("info", run).output)["prior"] == figures
    assert "validation_loss" in (folder / "metrics.jsonl").read_text()
    assert images_of(run / "samples.npz").shape == (64, 6, 6, 1)


def test_samples_are_of_the_class_that_was_asked_for(prior, run, tmp_path, jaxae, refused):
    for name, right in (("left", 0), ("right", 1)):
        flags = ("--score",) if right else ()
        result = jaxae("sample", run, "-n", 40, "--label", name, *flags, "--out", tmp_path / f"{name}.png")
        assert "autoregressive" in result.output
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert abs(brighter_right(images_of(tmp_path / f"{name}.npz")).mean() - right) < 0.1
    figures = json.loads((tmp_path / "right.json").read_text())
    assert figures["number"] < 40  # as many as the test part has of the class
    assert 0 <= figures["floor"]["frechet"] < figures["generated"]["frechet"]
    assert "Fréchet distance" in result.output
    assert "there are left, right" in refused("sample", run, "--label", "top")
    jaxae("sample", run, "-n", 8, "--top-k", 1, "--label", "left", "--noise", "--out", tmp_path / "g.png")
    noisy = images_of(tmp_path / "g.npz")
    # unlabelled images give no feature space
    assert "--score needs at least 20 images" in refused("sample", run, "-n", 9, "--score")
    assert "--score needs images with labels" in refused(
        "sample", altered(run, tmp_path / "u", {"label_names": None}), "--score"
    )
    assert noisy.std(0).mean() == pytest.approx(1, abs=0.2)  # greedy codes are all the same, the noise is not


def test_resume_gives_the_same_prior_and_other_settings_are_refused(prior, run, jaxae, refused):
    folder, _, small = prior
    samples, figures = images_of(run / "samples.npz"), json.loads((folder / "metrics.json").read_text())
    assert "already holds a run of `jaxae train-prior`" in refused("train-prior", run, "--by-class", *small)
    jaxae("train-prior", run, "--by-class", *small, "--resume")
    again = json.loads((folder / "metrics.json").read_text())
    assert {**again, "seconds": 0} == {**figures, "seconds": 0}
    np.testing.assert_array_equal(images_of(run / "samples.npz"), samples)
    assert "by_class = True, now it is False" in refused("train-prior", run, *small, "--resume")


def test_another_prior_takes_its_place_and_a_stale_one_is_refused(prior, run, tmp_path, jaxae, refused):
    jaxae("train-prior", run, "--prior", "unigram", "--overwrite")
    drawn = jaxae("sample", run, "-n", 4, "--out", tmp_path / "g.png")
    assert "codes from the unigram prior" in drawn.output
    assert "knows no classes" in refused("sample", run, "--label", "left")
    path = run / "prior" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_step": 1}))
    assert "train it anew" in refused("sample", run)
    (run / "prior" / "metrics.json").unlink()
    assert "was not finished" in refused("sample", run)


def test_what_cannot_have_a_prior_is_one_line(run, tmp_path, refused):
    vae = altered(run, tmp_path / "vae", model="vae", options={})
    assert "those of vae are continuous" in refused("sample", vae, "--top-k", 3)
    assert "does not exist" in refused("train-prior", tmp_path / "nothing")
    assert "there is no prior 'mixture' to train over the codes of vq_vae" in refused(
        "train-prior", run, "--prior", "mixture"
    )
    assert "there is no prior 'pixel'" in refused("train-prior", run, "--prior", "pixel", "--overwrite")
    assert "has no option layers" in refused("train-prior", run, "--set", "layers=3", "--overwrite")
