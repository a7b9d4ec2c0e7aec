"""The loop: chunks of batches, each scanned in one compiled call."""

import contextlib
import functools
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.numerics import as_whole
from jaxae.train.ensemble import MEMBER_IS_FINITE
from jaxae.train.step import require_batch
from jaxae.types import Batch, PyTree, TrainState


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
      step: train step, `(state, batch) -> (state, metrics)`, from `build_step`, `ensemble.build_step` or
        `parallel.jit_step`. With several hosts every process calls `fit` with the same arguments; process 0 alone logs
        and shows progress.
      state: `TrainState` to start from; it is copied and stays usable.
      batches: `batches[i]` is a host batch (an array, a `Batch`, Grain's `MapDataset`) or, with `data`, row numbers;
        all have one shape. What is read once in order, such as a generator, has no batch i and is refused.
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
      ValueError: chunk, num_steps or patience below 1, patience without validation, checkpoints ahead of the state,
        batches that end before the last step or differ in shape, batches that are neither arrays nor `Batch`, or row
        numbers that are no whole numbers in `0..N - 1`.

    Warns:
      RuntimeWarning: a member of an ensemble is left behind, since its loss or its parameters are not finite.

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
    for name, value in {"chunk": chunk, "num_steps": num_steps, "patience": patience}.items():
        if (name, value) != ("patience", None) and ((whole := as_whole(value)) is None or whole < 1):
            raise ValueError(f"fit: {name} must be a whole number >= 1, got {value}")
    if patience is not None and validation is None:
        raise ValueError(f"fit: patience {patience} needs a validation function")
    if not isinstance(state, TrainState):
        raise ValueError(f"fit: the state is a TrainState, from init_state; got a {type(state).__name__}")
    now = int(state.step)
    num_rows = _num_rows(data)
    _check_batches(batches, now, num_steps)
    place = getattr(step, "place", None)
    if place is not None and jax.process_count() > 1:
        # a compiled chunk takes arrays that span the hosts, or none
        state, data = place((state, data))
    state = jax.tree.map(jnp.copy, state)  # the loop donates its state's buffers
    first_process = jax.process_index() == 0
    history = []
    # chunks end at multiples of `chunk`, so that a resumed run makes the same chunks
    ends = [*range((now // chunk + 1) * chunk, num_steps, chunk), num_steps] if now < num_steps else []
    stack = _stacked(batches, now, ends[0], num_rows, place) if ends else None
    # after the first batches are read: what they are refused for leaves no checkpoint behind
    best, best_loss, best_step = _start(checkpoints, state)
    told = set()
    with _bar(progress if first_process else False, now, num_steps) as bar, _written(checkpoints):
        for i, end in enumerate(ends):
            if _out_of_patience(now, best_step, chunk, patience):
                break
            state, metrics, finite = _chunk(step, state, stack, data)
            # the next rows are read while the device works
            stack = _stacked(batches, end, ends[i + 1], num_rows, place) if i + 1 < len(ends) else None
            # one transfer to the host per chunk
            metrics, finite = jax.device_get((metrics, finite))
            members = metrics.pop(MEMBER_IS_FINITE, None)
            _require_finite(state, finite, metrics, now)
            _tell_of_members(members, now, told)
            entry = {"step": end, **{name: float(np.mean(v, dtype=np.float64)) for name, v in metrics.items()}}
            if validation is not None:
                entry |= {f"validation_{name}": value for name, value in validation(_on_this_host(state)).items()}
                _require_finite_loss(entry, "validation_loss", f"in the validation after step {end - 1}")
                if entry["validation_loss"] < best_loss:
                    best, best_loss, best_step = jax.tree.map(jnp.copy, state), entry["validation_loss"], end
            # log before checkpoint: a resume drops lines after its checkpoint, but could not restore a missing one
            if log is not None and first_process:
                log(entry)
            if checkpoints is not None:
                checkpoints.save(state, entry.get("validation_loss"))
            history.append(entry)
            bar.update(end - now)
            bar.set_postfix_str(f"loss {entry['loss']:.4g}")
            now = end
    return Fit(state, state if best is None else best, history)


def _stacked(batches, start, end, num_rows, place):
    """Batches `start..end - 1` as one, their leaves `[steps, B, ...]`."""
    read = []
    for i in range(start, end):
        try:
            batch = batches[i]
        except (IndexError, KeyError):
            raise ValueError(
                f"fit: there is no batches[{i}]: the steps up to {end} read one batch each, so the index has to go on, "
                "as that of data.batches.shuffled does"
            ) from None
        if num_rows is None:
            require_batch("fit", batch)  # as it is to a step of the caller's own
        read.append(batch if num_rows is None else _row_numbers(batch, i, num_rows))
    first = jax.tree.map(np.shape, read[0])
    for i, batch in enumerate(read[1:], start + 1):
        if jax.tree.map(np.shape, batch) != first:
            raise ValueError(_ragged(start, read[0], i, batch))
    if place is not None and jax.process_count() > 1:
        # an array that spans the hosts is stacked by jax; others every process has whole
        def joined(*rows):
            spans = any(isinstance(leaf, jax.Array) and not leaf.is_fully_addressable for leaf in rows)
            return jnp.stack(rows) if spans else np.stack(rows)

        return place(jax.tree.map(joined, *read))
    return jax.tree.map(lambda *rows: np.stack(rows), *read)


def _ragged(start, first, i, batch):
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(b)] for b in (first, batch)]
    return (
        f"fit: batches must have one shape, but batches[{start}] has {shapes[0]} and batches[{i}] {shapes[1]}: leave a "
        "smaller last batch out, or pad it with rows of weight 0"
    )


def _check_batches(batches, now, num_steps):
    """Before anything is trained or written: can batch i be read, and are there enough of them?"""
    kind = type(batches).__name__
    if isinstance(batches, Mapping | Batch) or not hasattr(type(batches), "__getitem__"):
        raise ValueError(
            f"fit: batches[i] must be batch i, for every step i; a {kind} has none: take a list, "
            "data.batches.shuffled or Grain's MapDataset, and collect what is read once, in order, in a list"
        )
    if now >= num_steps or not hasattr(batches, "__len__") or len(batches) >= num_steps:
        return
    try:
        batches[num_steps - 1]
    except (IndexError, KeyError):
        raise ValueError(
            f"fit: {num_steps} steps read batches[0] to batches[{num_steps - 1}], but there are {len(batches)}: repeat "
            "them, or take fewer steps"
        ) from None


def _num_rows(data):
    """Number of rows that row numbers refer to; None where batches are rows themselves."""
    if data is None:
        return None
    leaves = jax.tree.leaves(require_batch("fit: data", data))
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(counts) > 1:
        raise ValueError(f"fit: the arrays of data must have the same number of rows, got {sorted(counts)}")
    return counts.pop()


def _row_numbers(rows, i, num_rows):
    dtype = getattr(rows, "dtype", None)
    if not isinstance(rows, list) and (dtype is None or np.ndim(rows) == 0):
        raise ValueError(f"fit: with data, batches[{i}] must be an array of row numbers, got a {type(rows).__name__}")
    # whole numbers alone: bools would select rows 0 and 1, floats nothing; a number out of range would be clamped
    rows = np.asarray(rows)
    if not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"fit: with data, batches[{i}] must hold row numbers, whole numbers, got {rows.dtype}")
    if rows.size == 0:
        raise ValueError(f"fit: batches[{i}] holds no row number")
    if rows.min() < 0 or rows.max() >= num_rows:
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(f"fit: batches[{i}] names row {wrong}, but data has rows 0..{num_rows - 1}")
    return rows


def _on_this_host(state):
    """Arrays that span hosts, as arrays of this host: an evaluator's rows are on it alone."""
    return jax.tree.map(
        lambda leaf: leaf if leaf.is_fully_addressable else leaf.addressable_data(0), state, is_leaf=_is_key
    )


def _is_key(leaf):
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _tell_of_members(members, start, told):
    """Warn once of each member of an ensemble that did not take a step."""
    if members is None:
        return
    for number in sorted(set(np.flatnonzero(~members.all(0)).tolist()) - told):
        told.add(number)
        step = start + int(np.argmin(members[:, number]))
        warnings.warn(
            f"member {number} of the ensemble is left behind at step {step}: its loss or its parameters are not "
            f"finite; it keeps the state before that step, and {int(members[-1].sum())} of {members.shape[1]} go on",
            RuntimeWarning,
            stacklevel=3,
        )


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
    if checkpoints is not None and not hasattr(checkpoints, "latest"):
        raise ValueError("fit: checkpoints must be what jaxae.checkpoint.checkpoints gives, or None")
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
