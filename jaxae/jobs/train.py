"""`jaxae train`: a recipe trained in a run folder, without a decision."""

import os
import pathlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxae import recipes, report, runs
from jaxae.data import Dataset, load
from jaxae.data.splits import split
from jaxae.jobs import dealing, diagnosis, fitting
from jaxae.jobs.dealing import Dealt, Fresh
from jaxae.jobs.latent_walks import walks
from jaxae.jobs.trained import num_trained
from jaxae.presets import CONDITIONAL
from jaxae.runs import deal as deals
from jaxae.settings import TrainSettings, checked
from jaxae.train import code_monitor, countable
from jaxae.types import Batch

# images that a run's report shows
DRAWN = 64


def train(
    settings: TrainSettings | None = None,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Train a model on the train part of the data.

    Args:
      settings: what to do; None: a VAE of the bundled sample.
      out: the run folder; None: the first free `runs/train-N`.
      resume: whether to continue the run in `out` from its last checkpoint, on the rows that it dealt.
      overwrite: whether to replace the run in `out`.
      echo: takes lines for the user; None: silent.

    Returns:
      The run folder; `runs.ENTRIES` says what it holds.

    Raises:
      ValueError: settings or data that cannot work, in one line, before anything is trained or written.

    Example:
      ```python
      from jaxae import jobs
      folder = jobs.train(jobs.TrainSettings(model="vae", epochs=20))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    settings = checked(TrainSettings() if settings is None else settings)
    dataset = load(settings.data, label_column=settings.label_column)
    dealt = dealing.dealt_rows("train", settings, dataset, partial(_fresh, settings, dataset), out, resume)
    dealing.require_usable(dealt.parts, dataset.feature_names)
    settings, rows, validation = conditioned(settings, dealt)
    standardisation = dealing.standardisation_of(dealt, out if resume else None)
    recipe = recipes.build(
        settings.model,
        rows.x.shape[1:],
        num_trained(dealt.deal),
        standardisation=standardisation,
        epochs=settings.epochs,
        options=settings.options,
        bottleneck=settings.bottleneck,
    )
    fitting.require_trainable(recipe, "train", settings.model, rows)
    facts = {"normal": dealt.deal.normal}
    folder, _ = fitting.claim("train", settings, dealt, standardisation, out, resume, overwrite, **facts)
    echo(f"{dataset.name} · {settings.model} · train {len(rows.x)} · validation {len(validation.x)}")
    fitting.warn_of_grey(recipe, rows.x)

    model = fitting.fit_recipe(recipe, rows, validation, folder, settings.seed, settings.tensorboard)
    summary: dict[str, Any] = {"steps": model.step, "seconds": time.monotonic() - started}
    if countable(recipe.model.num_codes):
        summary["codes"] = code_monitor(recipe.objective, validation.x, recipe.model.num_codes)(model.best)
    summary["validation"] = diagnosis.validation_figures(folder / "metrics.jsonl", model.step)
    posterior = diagnosis.posterior_figures(model, validation)
    if posterior is not None:
        summary["posterior"] = posterior
    diagnosis.warn(posterior, summary["validation"])
    runs.write_json(folder / "metrics.json", summary)
    first = jax.tree.map(lambda leaf: leaf[:12], validation)
    fitting.write_examples(folder / "examples.npz", model, first, kind=np.full(len(first.x), "held out"))
    if (walked := walks(model, validation)) is not None:
        runs.write_arrays(folder / "walks.npz", **walked)
    if recipe.model.sample is not None:
        labels = None if rows.condition is None else np.resize(np.unique(rows.condition), DRAWN)
        runs.write_arrays(folder / "samples.npz", images=model.draw(DRAWN, settings.seed, labels=labels))
    page = report.render(folder)
    echo(f"{model.step} steps\n\n{page}  ({time.monotonic() - started:.0f} s)")
    return folder


def conditioned(settings: TrainSettings, dealt: Dealt) -> tuple[TrainSettings, Batch, Batch]:
    """The rows, with their labels for the models that read them, whose number then is an option of the model.

    Raises:
      ValueError: the model reads labels and the data has none.
    """
    parts, names = dealt.parts, dealt.deal.label_names
    if settings.model not in CONDITIONAL:
        return settings, Batch(parts.train.x), Batch(parts.validation.x)
    if parts.train.classes is None or names is None:
        raise ValueError(f"{settings.model} reads labels, and the data has none: choose another model")
    train, validation = (
        Batch(part.x, condition=np.asarray(part.classes, np.int32)) for part in (parts.train, parts.validation)
    )
    return settings._replace(options={"num_classes": len(names), **settings.options}), train, validation


def _fresh(settings: TrainSettings, dataset: Dataset) -> Fresh:
    """Train and validation of the normal classes, or of all rows."""
    nothing = np.empty(0, np.int64)
    train_rows, test_rows = deals.source_rows(dataset)
    if settings.normal is not None:
        parts = split(dataset, settings.normal, settings.seed, calibration=0, dev=0)
        rows = deals.of_splits(parts, dataset)
        return Fresh({name: rows[name] for name in ("train", "validation", "test")}, parts.normal, nothing)
    order = np.random.default_rng([settings.seed, 0x7EA1]).permutation(len(dataset.x_train))
    if len(order) < 2:
        raise ValueError(f"{dataset.name} has {len(order)} training rows: at least 2 are needed")
    held_out = min(max(1, len(order) // 10), 2000)
    rows = {"train": train_rows[np.sort(order[held_out:])], "validation": train_rows[order[:held_out]]}
    return Fresh({**rows, "test": test_rows}, (), nothing)
