"""Steps that every training job shares: the deal of its rows, its folder, its training."""

import dataclasses
import math
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxae import __version__, likelihoods, runs
from jaxae.checkpoint import checkpoints
from jaxae.data import batches
from jaxae.jobs.dealing import Dealt
from jaxae.jobs.trained import Trained, as_trained
from jaxae.numerics import as_batch
from jaxae.presets import CONDITIONAL
from jaxae.recipes import Recipe
from jaxae.runs import deal as deals
from jaxae.runs.contents import STANDARDISATION
from jaxae.scoring.detector.saving import require_free
from jaxae.train import build_step, code_monitor, countable, evaluator, fit, init_state, metrics_log
from jaxae.transforms import Standardisation
from jaxae.types import Batch, Objective, PyTree, TrainState

# compiled calls of a whole training: each ends with validation, a line in the log and a checkpoint
CHUNKS = 20
# chunks without a lower validation loss before training stops
PATIENCE = 5


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
    if resume and out is not None:
        require_free(pathlib.Path(out) / "detector")
    folder = runs.start(out, config, resume=resume, overwrite=overwrite)
    if not deals.has_deal(folder):
        deals.write(folder, dealt.deal)
        if standardisation is not None:
            runs.write_arrays(folder / STANDARDISATION, **standardisation._asdict())
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
    """Rows as they are; images of many channels, which no picture has, as their channels' mean.

    A value that overflowed stands as 1e30, whose sums and shares are still numbers.
    """
    values = np.clip(np.nan_to_num(np.asarray(values, np.float32), nan=1e30), -1e30, 1e30)
    return values.mean(-1, keepdims=True) if values.ndim == 4 and values.shape[-1] > 3 else values
