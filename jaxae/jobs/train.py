"""`jaxae train`: a recipe trained in a run folder, and read back from there."""

import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxae import __version__, likelihoods, recipes, report, runs
from jaxae.checkpoint import checkpoints
from jaxae.data import Dataset, batches, load
from jaxae.data.splits import split
from jaxae.jobs import diagnosis
from jaxae.jobs.walks import walks
from jaxae.numerics import as_batch
from jaxae.presets import CONDITIONAL
from jaxae.recipes.autoencoder import Recipe
from jaxae.train import build_step, code_monitor, countable, evaluator, fit, init_state, metrics_log
from jaxae.types import Batch, Objective, PyTree, TrainState

# compiled calls of a whole training: each ends with validation, a line in the log and a checkpoint
CHUNKS = 20
# chunks without a lower validation loss before training stops
PATIENCE = 5


class Settings(NamedTuple):
    """What a model is trained with; the command line's options, by the same names.

    Attributes:
      data: where the data is, see `data.load`.
      normal: names of the classes to train on; None: all rows.
      model: key of `presets.PRESETS`.
      seed: of the split, initialisation, order and noise.
      epochs: passes over the training rows; None: by their number.
      options: keywords of the preset.
      label_column: of a table.
      tensorboard: write events too.
    """

    data: str = "fashion-sample"
    normal: tuple[str, ...] | None = None
    model: str = "vae"
    seed: int = 0
    epochs: int | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  never written to
    label_column: str | None = None
    tensorboard: bool = False


def train(
    settings: Settings,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Train a model on the train part of the data.

    Args:
      settings: what to do.
      out: the run folder; None: the first free `runs/train-N`.
      resume: continue the run in `out` from its last checkpoint.
      overwrite: replace the run in `out`.
      echo: takes lines for the user; None: silent.

    Returns:
      The run folder: `config.json`, `metrics.json`, `metrics.jsonl`, `checkpoints/`, `figures/`, `report.html`.

    Raises:
      ValueError: settings or data that cannot work, in one line, before anything is trained.

    Example:
      ```python
      from jaxae.jobs.train import Settings, train
      folder = train(Settings(model="vae", epochs=20))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    dataset = load(settings.data, label_column=settings.label_column)
    train_rows, validation, normal = rows_of(dataset, settings.normal, settings.seed)
    rows, held_out = train_rows.x, validation.x
    settings, train_rows, validation = _conditioned(settings, train_rows, validation)
    facts: dict[str, Any] = {"normal": list(normal)}
    if settings.model in CONDITIONAL:
        facts["classes"] = list(dataset.label_names or ())  # a label is a place in it
    recipe, folder, _ = begin("train", settings, dataset, rows, out, resume, overwrite, **facts)
    echo(f"{dataset.name} · {settings.model} · train {len(rows)} · validation {len(held_out)}")
    state = fit_recipe(recipe, train_rows, validation, folder, settings.seed, settings.tensorboard)
    summary = {"steps": int(state.step), "seconds": time.monotonic() - started}
    if countable(recipe.model.num_codes):
        summary["codes"] = code_monitor(recipe.objective, held_out, recipe.model.num_codes)(state)
    params, inner = state.params["model"], state.state["model"]
    summary["validation"] = diagnosis.validation_figures(folder / "metrics.jsonl", int(state.step))
    if (posterior := diagnosis.posterior_figures(recipe, params, inner, validation)) is not None:
        summary["posterior"] = posterior
    diagnosis.warn(posterior, summary["validation"])
    runs.write_json(folder / "metrics.json", summary)
    first = jax.tree.map(lambda leaf: leaf[:12], validation)
    write_examples(folder / "examples.npz", recipe, params, inner, first, kind=np.full(len(first.x), "held out"))
    if (walked := walks(recipe, params, inner, validation)) is not None:
        runs.write_arrays(folder / "walks.npz", **walked)
    if recipe.model.sample is not None:
        drawn = _draw(recipe, state, 64, jax.random.key(settings.seed), train_rows)
        runs.write_arrays(folder / "samples.npz", images=drawn)
    page = report.render(folder)
    echo(f"{int(state.step)} steps\n\n{page}  ({time.monotonic() - started:.0f} s)")
    return folder


class Run(NamedTuple):
    """A run that may start: everything that could be wrong with its settings has been looked at.

    Attributes:
      recipe: the model, its objective and its optimizer.
      folder: the claimed run folder, `config.json` in it.
      config: what that file says.
    """

    recipe: Recipe
    folder: pathlib.Path
    config: dict[str, Any]


def begin(
    command: str,
    settings: Any,
    dataset: Dataset,
    rows: np.ndarray,
    out: str | os.PathLike | None,
    resume: bool,
    overwrite: bool,
    recipe: dict[str, Any] | None = None,
    **facts: Any,
) -> Run:
    """Build the recipe for the training rows, then claim the run folder.

    Args:
      command: of the command line; names the folder where `out` is None.
      settings: the command's `Settings`; `model`, `epochs` and `options` (and `contamination`, `robust` and `view`,
        where there are any) choose the recipe.
      dataset: where the rows come from.
      rows: `[N, ...]` training rows, as they are stored.
      out: the folder; None: the first free `runs/command-N`.
      resume: continue the run in `out`.
      overwrite: replace the run in `out`.
      recipe: more keywords of `recipes.build`.
      **facts: go into the config, over the settings of the same name.

    Raises:
      ValueError: as `recipes.build` and `runs.start`.
    """
    standardisation = recipes.standardise(rows)
    more = {n: getattr(settings, n) for n in ("contamination", "robust", "view") if hasattr(settings, n)}
    built = recipes.build(
        settings.model,
        rows.shape[1:],
        len(rows),
        standardisation=standardisation,
        epochs=settings.epochs,
        options=settings.options,
        **more,
        **(recipe or {}),
    )
    likelihood = built.model.likelihood
    if likelihood.binary:
        likelihoods.warn_of_grey(likelihood, built.scaling(None, Batch(rows[:1000])).x)
    config = {
        "command": command,
        "version": __version__,
        **settings._asdict(),
        "dataset": dataset.name,
        "shape": list(rows.shape[1:]),
        "rows": len(rows),
        "dtype": str(rows.dtype),
        "features": dataset.feature_names,
        **facts,
    }
    out = runs.next_free("runs", command) if out is None else out
    folder = runs.start(out, config, resume=resume, overwrite=overwrite)
    if standardisation is not None:
        runs.write_arrays(folder / "standardise.npz", **standardisation._asdict())
    return Run(built, folder, config)


def fit_recipe(
    recipe: Recipe,
    x: np.ndarray | Batch,
    validation: np.ndarray | Batch,
    folder: pathlib.Path,
    seed: int,
    tensorboard: bool = False,
) -> TrainState:
    """Train a recipe on rows that live on the device, from the folder's last checkpoint if it has one.

    Args:
      recipe: from `recipes.build`.
      x: training rows, as they are stored (pixels as bytes); or a `Batch` of them, with targets.
      validation: held-out rows, alike, for the choice of the best state; may be empty.
      folder: the run folder; `checkpoints/` and `metrics.jsonl` are written there.
      seed: of initialisation, order and noise.
      tensorboard: write events too.

    Returns:
      The state of the least validation loss.

    Raises:
      ValueError: a loss that is not finite, or checkpoints of another model.
    """
    return fit_objective(
        recipe.objective,
        recipe.optimizer,
        recipe.batch_size,
        recipe.num_steps,
        x,
        validation,
        folder,
        seed,
        tensorboard,
        recipe.model.num_codes,
    )


def fit_objective(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    num_steps: int,
    x: np.ndarray | Batch,
    validation: np.ndarray | Batch,
    folder: pathlib.Path,
    seed: int,
    tensorboard: bool = False,
    num_codes: PyTree | None = None,
) -> TrainState:
    """`fit_recipe` of an objective that is no preset's: twenty chunks, the best state kept, an early stop.

    Args:
      objective: what is minimised.
      optimizer: any optax transformation.
      batch_size: rows a step, at most.
      num_steps: of the whole training.
      x: as for `fit_recipe`, as are the others.
      validation: held-out rows.
      folder: where checkpoints and the log are written.
      seed: of initialisation, order and noise.
      tensorboard: write events too.
      num_codes: of a model with discrete codes: their use is logged as well.

    Returns:
      The state of the least validation loss.

    Raises:
      ValueError: a loss that is not finite, or checkpoints of another model.
    """
    rows, held_out = as_batch(x), as_batch(validation)
    count = len(rows.x)
    batch_size = min(batch_size, count)  # rows may have been left out since the recipe was made
    state = _initial(objective, optimizer, seed, jax.tree.map(lambda leaf: leaf[:batch_size], rows))
    kept = checkpoints(folder / "checkpoints")
    try:
        if kept.latest() is not None:
            state = kept.restore(state)
        step = int(state.step)
        log = metrics_log(folder / "metrics.jsonl", step, folder / "tensorboard" if tensorboard else None)
        evaluate = _validation(objective, held_out, num_steps, num_codes) if len(held_out.x) else None
        result = fit(
            build_step(objective, optimizer),
            state,
            batches.shuffled(count, batch_size, seed),
            num_steps,
            data=jax.device_put(rows),
            chunk=max(1, math.ceil(num_steps / CHUNKS)),
            validation=evaluate,
            patience=PATIENCE if evaluate else None,
            checkpoints=kept,
            log=log,
        )
    finally:
        kept.close()
    return result.best


def _validation(objective, held_out, num_steps, num_codes):
    evaluate = evaluator(objective, held_out, num_steps)
    if not countable(num_codes):
        return evaluate
    monitor = code_monitor(objective, held_out, num_codes)
    return lambda state: {**evaluate(state), **monitor(state)}


def _conditioned(settings, rows: Batch, validation: Batch):
    """Labels travel to the models that read them alone; their number is an option of these."""
    if settings.model not in CONDITIONAL:
        return settings, rows._replace(condition=None), validation._replace(condition=None)
    labels, held_out = rows.condition, validation.condition
    if labels is None or held_out is None:
        raise ValueError(f"{settings.model} reads labels, and the data has none: choose another model")
    options = {"num_classes": int(max(labels.max(), held_out.max(initial=0))) + 1, **(settings.options or {})}
    rows = rows._replace(condition=labels.astype(np.int32))
    return settings._replace(options=options), rows, validation._replace(condition=held_out.astype(np.int32))


def write_examples(path, recipe: Recipe, params, state, x: np.ndarray | Batch, fitted: Any = None, **columns) -> None:
    """Keep rows with their reconstruction and error map for the figures.

    Args:
      path: the `.npz` to write.
      recipe: whose model and score they are.
      params: the model's.
      state: the model's.
      x: `[n, ...]` rows as they are stored.
      fitted: the scorer's arrays; None: fitted without a reference.
      **columns: `[n]` facts to keep beside them.
    """
    batch = as_batch(x)
    scaled = recipe.scaling(None, batch)

    def reconstruct(params, state, x):
        output, _ = recipe.model.apply(params, state, None, x, batch.condition)
        return recipe.model.likelihood.mean(output.prediction)

    arrays = recipe.scorer.fit(params, state, None) if fitted is None else fitted
    assert recipe.scorer.map is not None
    runs.write_arrays(
        path,
        input=_drawable(scaled.x),
        reconstruction=_drawable(jax.jit(reconstruct)(params, state, scaled.x)),
        map=_drawable(jax.jit(recipe.scorer.map)(arrays, jax.random.key(0), batch)),
        **columns,
    )


def _drawable(values) -> np.ndarray:
    """Rows as they are; images of many channels, which no picture has, as their channels' mean."""
    values = np.asarray(values, np.float32)
    return values.mean(-1, keepdims=True) if values.ndim == 4 and values.shape[-1] > 3 else values


def _initial(
    objective: Objective, optimizer: optax.GradientTransformation, seed: int, x: np.ndarray | Batch
) -> TrainState:
    # compiled whole: one by one, the initialisers' many small operations would each be compiled
    initial = jax.jit(lambda rng, batch: init_state(objective, optimizer, rng, batch))
    return initial(jax.random.key(seed), as_batch(x))


def rows_of(dataset: Dataset, normal: Sequence[str] | None, seed: int) -> tuple[Batch, Batch, tuple[str, ...]]:
    """The rows that a run trains on, those it holds out, and the names of the classes: all, or the normal alone.

    Args:
      dataset: from `data.load`.
      normal: names of classes; None: all rows of the train part.
      seed: of the split.

    Returns:
      Two batches, their rows as they are stored, their condition the class of each (None without labels).

    Raises:
      ValueError: there are too few rows, or there is no such class.
    """
    if normal is not None:
        parts = split(dataset, normal, seed, calibration=0, dev=0)
        train, held_out = (Batch(part.x, condition=part.classes) for part in (parts.train, parts.validation))
        return train, held_out, parts.normal
    order = np.random.default_rng([seed, 0x7EA1]).permutation(len(dataset.x_train))
    if len(order) < 2:
        raise ValueError(f"{dataset.name} has {len(order)} training rows: at least 2 are needed")
    held_out = min(max(1, len(order) // 10), 2000)
    rows = Batch(dataset.x_train, condition=dataset.y_train)
    chosen = np.sort(order[held_out:]), order[:held_out]
    train, validation = (jax.tree.map(lambda leaf, rows=each: leaf[rows], rows) for each in chosen)
    return train, validation, ()


def _draw(recipe, state, number, rng, rows: Batch):
    model, params = recipe.model, state.params["model"]
    like = jax.ShapeDtypeStruct((number, *rows.x.shape[1:]), np.float32)
    labels = None if rows.condition is None else np.resize(np.unique(rows.condition), number)

    def draw(params, inner, rng):
        latent = model.sample(params, inner, rng, like, labels)
        return model.likelihood.mean(model.decode(params, latent, labels))

    return np.asarray(jax.jit(draw)(params, state.state["model"], rng))
