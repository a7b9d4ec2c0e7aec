"""Few rows: what can be known is refused before training, and what was trained gets its report."""

import json

import numpy as np
import pytest

from jaxae import recipes
from jaxae.jobs.fitting import require_trainable
from jaxae.presets import CONDITIONAL, PRESETS
from jaxae.types import Batch


@pytest.mark.parametrize("count", [3, 12])
def test_a_handful_of_images_is_trained_and_reported(count, jaxae, tmp_path):
    """One row is held out: there is no second one to interpolate to."""
    x = np.random.default_rng(0).integers(0, 255, (count + 2, 5, 5, 1), np.uint8)
    np.savez(tmp_path / "few.npz", x_train=x[:count], x_test=x[count:])
    flags = ("--model", "vae", "--set", "latent_size=2", "--epochs", 1)
    jaxae("train", "--data", tmp_path / "few.npz", *flags, "--out", tmp_path / "r", notes=True)
    with np.load(tmp_path / "r" / "walks.npz") as walks:
        assert walks["traversals"].shape == (2, 9, 5, 5, 1)
        assert "interpolations" not in walks.files
    page = (tmp_path / "r" / "report.html").read_text()
    assert "What each latent changes" in page or "One latent after the other" in page
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["posterior"]["latents"] == 2


def test_columns_with_any_name_are_trained_and_reported(rows, csv, jaxae, tmp_path):
    x, labels = rows(120, 30)
    data = csv(tmp_path / "odd.csv", x, ("cost $_{ of $", "<b>&", "ö"), labels)
    flags = ("--label-column", "kind", "--normal", "ok", "--epochs", 1, "--set", "latent_size=2")
    jaxae("detect", "--data", data, *flags, "--out", tmp_path / "r", notes=True)
    assert (tmp_path / "r" / "figures" / "features.png").stat().st_size > 1000


def built(name, shape):
    """The recipe, or the words that refuse it."""
    try:
        return recipes.build(name, shape, 100)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_trains_or_is_refused_before_a_folder_is_claimed(name):
    """On rows of a table and on images: a fault would otherwise come to light when the folder is claimed already."""
    for shape in ((6,), (8, 8, 1)):
        recipe = built(name, shape)
        if isinstance(recipe, str):
            assert len(recipe.splitlines()) == 1
            continue
        rows = Batch(np.zeros((100, *shape), np.float32))
        if name in CONDITIONAL:
            with pytest.raises(ValueError, match=r"reads labels, which `jaxae detect` does not give"):
                require_trainable(recipe, "detect", name, rows)
            rows = rows._replace(condition=np.zeros(100, np.int32))
        require_trainable(recipe, "train", name, rows)


def test_parts_that_do_not_fit_the_rows_are_refused_in_one_line():
    recipe = recipes.build("ae", (6,), 100)
    with pytest.raises(ValueError, match=r"^ae cannot be trained on these rows: [^\n]+$"):
        require_trainable(recipe, "train", "ae", Batch(np.zeros((100, 6), "datetime64[s]").view(np.int64)[:, :3]))
