"""Steps that every training job shares: the deal of its rows, its folder, its training."""

import dataclasses
import math
import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxae import __version__, likelihoods, recipes, runs
from jaxae.checkpoint import checkpoints
from jaxae.data import Dataset, Splits, batches, load
from jaxae.jobs.trained import Trained, as_trained, saved_standardisation
from jaxae.numerics import as_batch
from jaxae.presets import CONDITIONAL
from jaxae.recipes import Recipe
from jaxae.runs import deal as deals
from jaxae.runs.deal import Deal
from jaxae.train import build_step, code_monitor, countable, evaluator, fit, init_state, metrics_log
from jaxae.transforms import Standardisation
from jaxae.types import Batch, Objective, PyTree, TrainState

# compiled calls of a whole training: each ends with validation, a line in the log and a checkpoint
CHUNKS = 20
# chunks without a lower validation loss before training stops
PATIENCE = 5
# beyond it the square of a standardised value may overflow float32
LARGEST = 1e18
# a column is said to hold outliers where its largest deviation is so many times the middle one
FAR = 1e6


class Dealt(NamedTuple):
    """A data set with its deal.

    Attributes:
      deal: who reads which row.
      parts: the rows themselves.
      taught: `[n, ...]` known anomalies that the model is taught.
      rows: part name to where its rows are in the source now.
    """

    deal: Deal
    parts: Splits
    taught: np.ndarray
    rows: dict[str, np.ndarray]


class Fresh(NamedTuple):
    """How the rows of a run that starts are dealt.

    Attributes:
      parts: part name to row numbers of the source.
      normal: names of the normal (or learnt) classes.
      taught: row numbers of known anomalies.
    """

    parts: dict[str, np.ndarray]
    normal: tuple[str, ...]
    taught: np.ndarray


def dealt_rows(
    command: str,
    settings: Any,
    dataset: Dataset,
    fresh: Callable[[], Fresh],
    out: str | os.PathLike | None,
    resume: bool,
) -> Dealt:
    """The rows of a run: dealt now, or as the run to resume dealt them.

    Args:
      command: of the command line.
      settings: with `data`, `label_column` and perhaps `group_duplicates`.
      dataset: what `data.load` gave for them.
      fresh: deals the rows of a run that starts.
      out: the run folder, or None.
      resume: whether the run in `out` is continued.

    Raises:
      ValueError: there is no run to resume, it is another command's, or its rows are not in the source any more.
    """
    if resume and out is None:
        raise ValueError("--resume continues the run in --out: say which")
    if resume and (pathlib.Path(out or "") / "config.json").is_file():
        before = runs.read_config(out or "")["command"]
        if before != command:
            raise ValueError(f"{out} is a run of `jaxae {before}`, which `jaxae {command}` cannot resume")
    if resume and out is not None and deals.has_deal(out):
        deal = deals.read(out)
        found = deals.match(deal, dataset)
        if isinstance(found, str):
            raise ValueError(f"{settings.data} is not what the run in {out} was started with: {found}")
        return _with_rows(deal, dataset, found)
    if resume and out is not None and (pathlib.Path(out) / "checkpoints").is_dir():
        deals.read(out)  # says that there is none, and what to do
    rows = fresh()
    deal = deals.record(
        settings.data,
        dataset,
        rows.parts,
        normal=rows.normal,
        label_column=settings.label_column,
        taught=rows.taught,
        grouped=getattr(settings, "group_duplicates", False),
    )
    as_it_is = deals.Match(np.arange(len(deal.digests)), np.empty(0, np.int64), False)
    return _with_rows(deal, dataset, as_it_is)


def _with_rows(deal: Deal, dataset: Dataset, found: deals.Match) -> Dealt:
    taught, _ = deals.rows_at(dataset, found.rows[deal.taught])
    rows = {name: found.rows[numbers] for name, numbers in deal.parts.items()}
    return Dealt(deal, deals.dealt(deal, dataset, found), taught, rows)


def read_source(run: str | os.PathLike, deal: Deal) -> tuple[Dataset, deals.Match]:
    """A run's source, read again and recognised by its content.

    Args:
      run: the run folder, for messages.
      deal: its deal.

    Raises:
      ValueError: the source is not where the run recorded it, or its rows changed.

    Warns:
      UserWarning: rows were added, or stand in another order.
    """
    spec = deal.spec
    if deal.path is not None and not pathlib.Path(spec).expanduser().exists():
        if not pathlib.Path(deal.path).exists():
            raise ValueError(
                f"{spec} ({deal.path}) is where the run {run} recorded its data, and there is no such file now: "
                "`jaxae calibrate --data` gives another path; other commands need it there"
            )
        spec = deal.path
    grouped = deal.groups is not None
    dataset = load(spec, label_column=deal.label_column, group_duplicates=grouped)
    found = deals.match(deal, dataset)
    if isinstance(found, str):
        raise ValueError(f"{spec} is not what the run {run} read: {found}")
    warn_of_match(spec, found)
    return dataset, found


def warn_of_match(spec: str, found: deals.Match) -> None:
    """Say where a source has rows that its run did not read, or has them in another order."""
    if found.moved:
        warnings.warn(f"{spec}: its rows stand in another order than the run read them; they are matched", stacklevel=3)
    if len(found.new):
        warnings.warn(f"{spec}: {len(found.new)} rows are new since the run", stacklevel=3)


def standardisation_of(dealt: Dealt, out: str | os.PathLike | None) -> Standardisation | None:
    """Mean and scale of a table's training rows: as the run to resume wrote them, or from the rows."""
    path = None if out is None else pathlib.Path(out) / runs.STANDARDISATION
    if path is not None and deals.has_deal(path.parent) and dealt.deal.left_out is not None:
        return saved_standardisation(path.parent)  # cleaning has taken rows out since
    return recipes.standardise(dealt.parts.train.x)


def require_usable(parts: Splits, names: tuple[str, ...] | None) -> None:
    """Look at a table's rows that must be normal before anything is trained on them.

    Raises:
      ValueError: a value beyond `LARGEST`, such as a fill value for what is missing.

    Warns:
      UserWarning: a column whose largest deviation is a million times its middle one.
    """
    if parts.train.x.ndim != 2:
        return
    for name in ("train", "validation", "calibration"):
        x = getattr(parts, name).x
        far = np.argwhere(np.abs(x) > LARGEST)
        if len(far):
            row, column = far[0]
            raise ValueError(
                f"{_column(names, column)}: {len(far)} values of the rows for {name} lie beyond {LARGEST:g}, the first "
                f"is {x[row, column]:g}: a fill value for what is missing? drop or replace such rows"
            )
    x = parts.train.x.astype(np.float64)
    deviation = np.abs(x - np.median(x, 0))
    middle = np.median(deviation, 0)
    ratio = np.divide(deviation.max(0), middle, out=np.zeros(x.shape[1]), where=middle > 0)
    for column in np.flatnonzero(ratio > FAR)[:3]:
        value = x[deviation[:, column].argmax(), column]
        warnings.warn(
            f"{_column(names, column)}: a training row holds {value:g}, {ratio[column]:.1g} times as far from the "
            "median as the middle row: all others become alike once the column is standardised",
            stacklevel=3,
        )


def _column(names: tuple[str, ...] | None, column: int | np.integer) -> str:
    return f"column {column}" if names is None else f"column {names[column]!r}"


def require_trainable(recipe: Recipe, command: str, model: str, rows: Batch) -> None:
    """Trace a step on the shapes of a batch, so that what cannot work is said before a folder is claimed.

    Raises:
      ValueError: the model reads labels that this command does not give, or its parts do not fit the rows.
    """
    if model in CONDITIONAL and rows.condition is None:
        raise ValueError(
            f"{model} reads labels, which `jaxae {command}` does not give to a model: train it with `jaxae train "
            f"--model {model}` on labelled data, or choose another model"
        )
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((recipe.batch_size, *leaf.shape[1:]), leaf.dtype), rows)
    step = build_step(recipe.objective, recipe.optimizer)
    try:
        state = jax.eval_shape(
            lambda rng, batch: init_state(recipe.objective, recipe.optimizer, rng, batch), jax.random.key(0), batch
        )
        jax.eval_shape(step, state, batch)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{model} cannot be trained on these rows: {(str(error).splitlines() or [''])[0]}") from error


def claim(
    command: str,
    settings: Any,
    dealt: Dealt,
    standardisation: Standardisation | None,
    out: str | os.PathLike | None,
    resume: bool,
    overwrite: bool,
    **facts: Any,
) -> tuple[pathlib.Path, dict[str, Any]]:
    """Claim the run folder and write the settings and the deal.

    Args:
      command: of the command line; names the folder where `out` is None.
      settings: the command's.
      dealt: the rows.
      standardisation: of a table's columns, or None.
      out: the folder; None: the first free `runs/command-N`.
      resume: whether the run in `out` is continued.
      overwrite: whether the run in `out` is replaced.
      **facts: go into the config, over the settings of the same name.

    Returns:
      The folder, and what its config.json says.

    Raises:
      ValueError: as `runs.start`.
    """
    config = {"command": command, "version": __version__, **settings._asdict(), **facts}
    out = runs.next_free("runs", command) if out is None else out
    folder = runs.start(out, config, resume=resume, overwrite=overwrite)
    if not deals.has_deal(folder):
        deals.write(folder, dealt.deal)
        if standardisation is not None:
            runs.write_arrays(folder / runs.STANDARDISATION, **standardisation._asdict())
    return folder, config


def warn_of_grey(recipe: Recipe, rows: np.ndarray) -> None:
    """Say where a likelihood of black and white is given grey pixels."""
    if recipe.model.likelihood.binary:
        likelihoods.warn_of_grey(recipe.model.likelihood, recipe.scaling(None, Batch(rows[:1000])).x)


@dataclasses.dataclass(frozen=True)
class Training:
    """How long and where an objective is trained.

    Attributes:
      batch_size: rows of a step, at most.
      num_steps: steps of the whole training.
      folder: where `checkpoints/` and `metrics.jsonl` are written.
      seed: seed for initialisation, order and noise.
      tensorboard: whether TensorBoard events are written too.
      num_codes: sizes of the codebooks of a model with discrete codes, whose use is logged as well; else None.
    """

    batch_size: int
    num_steps: int
    folder: pathlib.Path
    seed: int
    tensorboard: bool = False
    num_codes: PyTree | None = None


def fit_recipe(
    recipe: Recipe,
    rows: np.ndarray | Batch,
    validation: np.ndarray | Batch,
    folder: pathlib.Path,
    seed: int,
    tensorboard: bool = False,
) -> Trained:
    """Train a recipe on rows that live on the device, from the folder's last checkpoint if it has one.

    Args:
      recipe: from `recipes.build`.
      rows: training rows, as they are stored (pixels as bytes); or a `Batch` of them, with targets.
      validation: held-out rows, alike, that choose the best state; may be empty.
      folder: the run folder; `checkpoints/` and `metrics.jsonl` are written there.
      seed: seed for initialisation, order and noise.
      tensorboard: whether TensorBoard events are written too.

    Returns:
      The model of the least validation loss.

    Raises:
      ValueError: a loss that is not finite, or checkpoints of another model.
    """
    how = Training(recipe.batch_size, recipe.num_steps, folder, seed, tensorboard, recipe.model.num_codes)
    state = fit_objective(recipe.objective, recipe.optimizer, rows, validation, how)
    return as_trained(recipe, state, as_batch(rows).x.shape[1:])


def fit_objective(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    rows: np.ndarray | Batch,
    validation: np.ndarray | Batch,
    how: Training,
) -> TrainState:
    """`fit_recipe` of any objective: twenty chunks, the best state kept, an early stop.

    Args:
      objective: what is minimised.
      optimizer: any optax transformation.
      rows: training rows.
      validation: held-out rows, may be empty.
      how: budget and folder.

    Returns:
      The state of the least validation loss.

    Raises:
      ValueError: a loss that is not finite, or checkpoints of another model.
    """
    train, held_out = as_batch(rows), as_batch(validation)
    count = len(train.x)
    batch_size = min(how.batch_size, count)  # rows may have been left out since the recipe was made
    state = _initial(objective, optimizer, how.seed, jax.tree.map(lambda leaf: leaf[:batch_size], train))
    saved = checkpoints(how.folder / "checkpoints")
    try:
        if saved.latest() is not None:
            state = saved.restore(state)
        events = how.folder / "tensorboard" if how.tensorboard else None
        evaluate = None
        if len(held_out.x):
            evaluate = _validation(objective, held_out, how.num_steps, how.num_codes)
        result = fit(
            build_step(objective, optimizer),
            state,
            batches.shuffled(count, batch_size, how.seed),
            how.num_steps,
            data=jax.device_put(train),
            chunk=max(1, math.ceil(how.num_steps / CHUNKS)),
            validation=evaluate,
            patience=PATIENCE if evaluate else None,
            checkpoints=saved,
            log=metrics_log(how.folder / "metrics.jsonl", int(state.step), events),
        )
    finally:
        saved.close()
    return result.best


def _validation(objective, held_out, num_steps, num_codes):
    evaluate = evaluator(objective, held_out, num_steps)
    if not countable(num_codes):
        return evaluate
    monitor = code_monitor(objective, held_out, num_codes)
    return lambda state: {**evaluate(state), **monitor(state)}


def _initial(objective: Objective, optimizer: optax.GradientTransformation, seed: int, x: Batch) -> TrainState:
    # compiled whole: one by one, the initialisers' many small operations would each be compiled
    initial = jax.jit(lambda rng, batch: init_state(objective, optimizer, rng, batch))
    return initial(jax.random.key(seed), x)


def write_examples(path, model: Trained, rows: np.ndarray | Batch, fitted: Any = None, **columns) -> None:
    """Keep rows with their reconstruction and error map for the figures.

    Args:
      path: the `.npz` to write.
      model: whose reconstructions they are.
      rows: `[n, ...]` as they are stored.
      fitted: the scorer's arrays; None: fitted without a reference.
      **columns: `[n]` facts to keep beside them.
    """
    batch = as_batch(rows)
    scorer = model.recipe.scorer
    scaled = jnp.asarray(model.recipe.scaling(None, batch).x)
    reconstruction = model.reconstruct(batch)
    if scorer.map is None:
        error = (np.asarray(scaled) - reconstruction) ** 2
    else:
        arrays = scorer.fit(model.params, model.state, None) if fitted is None else fitted
        error = jax.jit(scorer.map)(arrays, jax.random.key(0), batch)
    runs.write_arrays(
        path, input=_drawable(scaled), reconstruction=_drawable(reconstruction), map=_drawable(error), **columns
    )


def _drawable(values) -> np.ndarray:
    """Rows as they are; images of many channels, which no picture has, as their channels' mean."""
    values = np.asarray(values, np.float32)
    return values.mean(-1, keepdims=True) if values.ndim == 4 and values.shape[-1] > 3 else values
