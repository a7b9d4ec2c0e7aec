"""The loop: chunks of batches, each scanned in one compiled call."""

import contextlib
import functools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.types import PyTree, TrainState


class Fit(NamedTuple):
    """The result of training.

    Attributes:
      state: the `TrainState` after the last step.
      best: the `TrainState` with the least validation loss; without validation, `state`.
      history: one dict a chunk: "step", metrics averaged over the chunk's steps, "validation_..." with validation.
    """

    state: TrainState
    best: TrainState
    history: list[dict[str, float | int]]


class NonFiniteError(ValueError):
    """A loss or a parameter became NaN or infinite; the message names the step and the term."""


def fit(
    step: Callable,
    state: TrainState,
    batches: Any,
    num_steps: int,
    *,
    data: PyTree | None = None,
    chunk: int = 50,
    validation: Callable[[TrainState], dict[str, float | int]] | None = None,
    patience: int | None = None,
    checkpoints: Any = None,
    log: Callable[[dict[str, float | int]], Any] | None = None,
    progress: bool | None = None,
) -> Fit:
    """Train from `state.step` to `num_steps`.

    Batch i is `batches[i]`, a pure function of i, and chunks end at multiples of `chunk`: a run that is resumed
    from a checkpoint takes the same steps on the same rows, to the same bits, as one that was never stopped.

    Args:
      step: train step, `(state, batch) -> (state, metrics)`, from `build_step`.
      state: `TrainState` to start from; it is copied and stays usable.
      batches: `batches[i]` is a host batch (an array, a `Batch`, Grain's `MapDataset`) or, with `data`, row indices.
      num_steps: value of `state.step` at which training ends.
      data: arrays `[N, ...]` on the device that the row indices of `batches` refer to; uint8 stays uint8.
      chunk: number of steps in one compiled call; validation, log and checkpoints follow each chunk.
      validation: `state -> {"loss": ...}`, e.g. an `evaluator` over held-out normals.
      patience: number of chunks without a lower validation loss after which training stops; None: no early stop.
      checkpoints: `Checkpoints` from `jaxae.checkpoint.checkpoints`; saved before the first step and after each chunk.
      log: function that is called with each entry of the history, such as `metrics_log`.
      progress: whether to show a progress bar; None shows it on a terminal or in a notebook.

    Returns:
      `Fit(state, best, history)`; after a resume the history holds this call's chunks alone.

    Raises:
      NonFiniteError: a loss or a parameter is NaN or infinite; the last finite state is the latest checkpoint.
      ValueError: chunk, num_steps or patience below 1, patience without validation, or checkpoints ahead of the
        state.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets, train
      >>> from jaxae.data.batches import shuffled
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> optimizer, x = optax.adam(1e-3), jnp.ones((8, 5))
      >>> state = train.init_state(objective, optimizer, jax.random.key(0), x)
      >>> result = train.fit(train.build_step(objective, optimizer), state, shuffled(8, 4), 6, data=x, chunk=3)
      >>> int(result.state.step), [entry["step"] for entry in result.history]
      (6, [3, 6])
    """
    if min(chunk, num_steps) < 1 or (patience is not None and patience < 1):
        raise ValueError(f"fit: chunk, num_steps and patience must be >= 1, got {chunk}, {num_steps}, {patience}")
    if patience is not None and validation is None:
        raise ValueError(f"fit: patience {patience} needs a validation function")
    state = jax.tree.map(jnp.copy, state)  # the loop donates its state's buffers
    now = int(state.step)
    best, best_loss, best_step = _start(checkpoints, state)
    history = []
    # chunks end at multiples of `chunk`, so that a resumed run makes the same chunks
    ends = [*range((now // chunk + 1) * chunk, num_steps, chunk), num_steps] if now < num_steps else []
    stack = _stacked(batches, now, ends[0]) if ends else None
    with _bar(progress, now, num_steps) as bar, _written(checkpoints):
        for i, end in enumerate(ends):
            if _out_of_patience(now, best_step, chunk, patience):
                break
            state, metrics, finite = _chunk(step, state, stack, data)
            # the next rows are read while the device works
            stack = _stacked(batches, end, ends[i + 1]) if i + 1 < len(ends) else None
            # one transfer to the host per chunk
            metrics, finite = jax.device_get((metrics, finite))
            _require_finite(state, finite, metrics, now)
            entry = {"step": end, **{name: float(np.mean(v, dtype=np.float64)) for name, v in metrics.items()}}
            if validation is not None:
                entry |= {f"validation_{name}": value for name, value in validation(state).items()}
                _require_finite_loss(entry, "validation_loss", f"in the validation after step {end - 1}")
                if entry["validation_loss"] < best_loss:
                    best, best_loss, best_step = jax.tree.map(jnp.copy, state), entry["validation_loss"], end
            # log before checkpoint: a resume drops lines after its checkpoint, but could not restore a missing one
            if log is not None:
                log(entry)
            if checkpoints is not None:
                checkpoints.save(state, entry.get("validation_loss"))
            history.append(entry)
            bar.update(end - now)
            bar.set_postfix_str(f"loss {entry['loss']:.4g}")
            now = end
    return Fit(state, state if best is None else best, history)


def _stacked(batches, start, end):
    return jax.tree.map(lambda *rows: np.stack(rows), *(batches[i] for i in range(start, end)))


@contextlib.contextmanager
def _written(checkpoints):
    try:
        yield
    finally:  # the last finite state is on disk before an error about a later one is raised
        if checkpoints is not None:
            checkpoints.wait()


# static in the step function: continuing with the same step reuses the compiled program
@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _chunk(step, state, stack, data):
    def scan_step(state, batch):
        step_batch = batch if data is None else jax.tree.map(lambda leaf: leaf[batch], data)
        return step(state, step_batch)

    # one compiled program for a chunk: no host round trip between its steps
    state, metrics = jax.lax.scan(scan_step, state, stack)
    return state, metrics, jnp.array([jnp.isfinite(leaf).all() for _, leaf in _floating(state)])


def _floating(state):
    leaves = jax.tree.leaves_with_path({"params": state.params, "state": state.state})
    return [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def _require_finite(state, finite, metrics, start):
    """Raise for the first step of a chunk whose loss is not finite, or else for a parameter that is not."""
    bad = np.flatnonzero(~np.isfinite(metrics["loss"]))
    if bad.size:
        i = int(bad[0])
        _require_finite_loss(
            {name: float(values[i]) for name, values in metrics.items()}, "loss", f"at step {start + i}"
        )
    if not finite.all():
        path, _ = _floating(state)[int(np.argmin(finite))]
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        end = start + len(metrics["loss"])
        raise NonFiniteError(f"{name} is no longer finite after step {end - 1}, though the loss still is{_ADVICE}")


def _require_finite_loss(metrics, name, where):
    if math.isfinite(metrics[name]):
        return
    bad = [f"{term} {value}" for term, value in metrics.items() if term != name and not math.isfinite(value)]
    terms = ", ".join(bad) or "every term of it is finite"
    raise NonFiniteError(f"the loss is {metrics[name]} {where} ({terms}){_ADVICE}")


_ADVICE = (
    ": where checkpoints are kept, the latest is of the last finite state; try a smaller learning rate or clipped "
    "gradients, and look for extreme values in the data"
)


def _start(checkpoints, state):
    """Best state, loss and step of an interrupted run, so that patience continues; saves the first checkpoint."""
    if checkpoints is None:
        return None, math.inf, int(state.step)
    latest = checkpoints.latest()
    if latest is not None and latest > int(state.step):
        raise ValueError(
            f"fit: the checkpoints are of step {latest}, ahead of the state's step {int(state.step)}: "
            "restore the state from them, or give an empty folder"
        )
    best_checkpoint = checkpoints.best(state)
    checkpoints.save(state, None)  # does nothing if this step is saved already
    if best_checkpoint is None:
        return None, math.inf, int(state.step)
    best, loss = best_checkpoint
    return best, loss, int(best.step)


def _out_of_patience(now, best_step, chunk, patience):
    return patience is not None and now - best_step >= patience * chunk


def _bar(progress, now, num_steps):
    from tqdm.auto import tqdm

    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=num_steps, initial=now, disable=not progress, unit="step", leave=False)
