"""`jaxae train` and `jaxae sample`: a recipe trained in a run folder, and what its decoder makes of the prior."""

import math
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxae import __version__, recipes, report, runs
from jaxae.checkpoint import checkpoints
from jaxae.data import Dataset, batches, load
from jaxae.data.splits import split
from jaxae.numerics import as_batch
from jaxae.recipes import Recipe
from jaxae.train import build_step, evaluator, fit, init_state, metrics_log
from jaxae.transforms import Standardisation
from jaxae.types import Batch, TrainState

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
      from jaxae.training import Settings, train
      folder = train(Settings(model="vae", epochs=20))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    dataset = load(settings.data, label_column=settings.label_column)
    rows, held_out, normal = _rows(dataset, settings)
    recipe, folder, _ = begin("train", settings, dataset, rows, out, resume, overwrite, normal=list(normal))
    echo(f"{dataset.name} · {settings.model} · train {len(rows)} · validation {len(held_out)}")
    state = fit_recipe(recipe, rows, held_out, folder, settings.seed, settings.tensorboard)
    summary = {"steps": int(state.step), "seconds": time.monotonic() - started}
    runs.write_json(folder / "metrics.json", summary)
    params, inner = state.params["model"], state.state["model"]
    write_examples(
        folder / "examples.npz", recipe, params, inner, held_out[:12], kind=np.full(len(held_out[:12]), "held out")
    )
    if recipe.model.sample is not None:
        drawn = _draw(recipe, state, 64, jax.random.key(settings.seed), rows[:1])
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
    rows, held_out = as_batch(x), as_batch(validation)
    count = len(rows.x)
    batch_size = min(recipe.batch_size, count)  # rows may have been left out since the recipe was made
    state = _initial(recipe, seed, jax.tree.map(lambda leaf: leaf[:batch_size], rows))
    kept = checkpoints(folder / "checkpoints")
    try:
        if kept.latest() is not None:
            state = kept.restore(state)
        step = int(state.step)
        log = metrics_log(folder / "metrics.jsonl", step, folder / "tensorboard" if tensorboard else None)
        evaluate = evaluator(recipe.objective, held_out, recipe.num_steps) if len(held_out.x) else None
        result = fit(
            build_step(recipe.objective, recipe.optimizer),
            state,
            batches.shuffled(count, batch_size, seed),
            recipe.num_steps,
            data=jax.device_put(rows),
            chunk=max(1, math.ceil(recipe.num_steps / CHUNKS)),
            validation=evaluate,
            patience=PATIENCE if evaluate else None,
            checkpoints=kept,
            log=log,
        )
    finally:
        kept.close()
    return result.best


def sample(
    run: str | os.PathLike, number: int = 64, seed: int = 0, out: str | os.PathLike | None = None
) -> pathlib.Path:
    """Draw examples from a trained model's prior.

    Args:
      run: folder of a run of `train` (or of `detect`).
      number: how many.
      seed: of the draw.
      out: a picture (images) or a `.csv` (tables, in the data's own units); None: in the run folder.

    Returns:
      The file written.

    Raises:
      ValueError: no run is there, it has no checkpoint, or its model has no prior to draw from.
    """
    folder = pathlib.Path(run)
    config = runs.read_config(folder)
    if "shape" not in config:
        raise ValueError(f"{folder} does not say what its model reads: its config has no shape")
    recipe, example = _rebuild(folder, config)
    if recipe.model.sample is None:
        raise ValueError(
            f"{config['model']} has no prior to draw from: train vae or vq_vae (`jaxae train --model vae`)"
        )
    state = _initial(recipe, 0, example)
    kept = checkpoints(folder / "checkpoints")
    try:
        found = kept.best(state)
        state = kept.restore(state) if found is None else found[0]
    finally:
        kept.close()
    drawn = _draw(recipe, state, number, jax.random.key(seed), example)
    if drawn.ndim == 4:
        out = pathlib.Path(out or folder / "figures" / "samples.png")
        out.parent.mkdir(parents=True, exist_ok=True)
        return report.sample_grid(out, drawn)
    out = pathlib.Path(out or folder / "samples.csv")
    with np.load(folder / "standardise.npz", allow_pickle=False) as units:
        drawn = drawn * units["scale"] + units["mean"]
    names = config.get("features") or [f"x{i}" for i in range(drawn.shape[1])]
    runs.write_csv(out, names, drawn.tolist())
    return out


def write_examples(path, recipe: Recipe, params, state, x: np.ndarray, fitted: Any = None, **columns) -> None:
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
    batch = Batch(x)
    scaled = recipe.scaling(None, batch)

    def reconstruct(params, state, x):
        output, _ = recipe.model.apply(params, state, None, x)
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


def _initial(recipe: Recipe, seed: int, x: np.ndarray | Batch) -> TrainState:
    # compiled whole: one by one, the initialisers' many small operations would each be compiled
    initial = jax.jit(lambda rng, batch: init_state(recipe.objective, recipe.optimizer, rng, batch))
    return initial(jax.random.key(seed), as_batch(x))


def _rebuild(folder, config):
    standardisation = None
    if (folder / "standardise.npz").is_file():
        with np.load(folder / "standardise.npz", allow_pickle=False) as saved:
            standardisation = Standardisation(saved["mean"], saved["scale"])
    shape = tuple(config["shape"])
    recipe = recipes.build(
        config["model"],
        shape,
        config["rows"],
        standardisation=standardisation,
        epochs=config["epochs"],
        options=config["options"],
        view=config.get("view", "pixels"),
    )
    return recipe, np.zeros((recipe.batch_size, *shape), config["dtype"])


def _rows(dataset, settings):
    """Training rows, held-out rows and the classes: all of the train part, or the normal classes alone."""
    if settings.normal is not None:
        parts = split(dataset, settings.normal, settings.seed, calibration=0, dev=0)
        return parts.train.x, parts.validation.x, parts.normal
    order = np.random.default_rng([settings.seed, 0x7EA1]).permutation(len(dataset.x_train))
    held_out = min(max(1, len(order) // 10), 2000)
    if len(order) < 2:
        raise ValueError(f"{dataset.name} has {len(order)} training rows: at least 2 are needed")
    return dataset.x_train[np.sort(order[held_out:])], dataset.x_train[order[:held_out]], ()


def _draw(recipe, state, number, rng, example):
    model, params = recipe.model, state.params["model"]
    like = jax.ShapeDtypeStruct((number, *example.shape[1:]), np.float32)

    def draw(params, inner, rng):
        return model.likelihood.mean(model.decode(params, model.sample(params, inner, rng, like)))

    return np.asarray(jax.jit(draw)(params, state.state["model"], rng))
