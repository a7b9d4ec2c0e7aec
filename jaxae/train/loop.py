"""The loop: chunks of batches, each scanned in one compiled call."""

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.types import PyTree, TrainState


class Fit(NamedTuple):
    """What training gives.

    Attributes:
      state: after the last step.
      best: the state of the least validation loss; without validation, `state`.
      history: one dict a chunk: "step", the means over the chunk's steps, "validation_..." where validated.
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
      step: from `build_step`.
      state: where to start; it is copied, and stays usable.
      batches: `batches[i]` is a host batch (an array, a `Batch`, Grain's `MapDataset`) or, with `data`, row indices.
      num_steps: the step to end at.
      data: arrays that live on the device, `[N, ...]`; bytes stay bytes.
      chunk: steps in one compiled call; validation, log and checkpoints come after each.
      validation: `state -> {"loss": ...}`, e.g. an `evaluator` over held-out normals.
      patience: chunks without a lower validation loss before training stops; None: never.
      checkpoints: from `jaxae.checkpoint.checkpoints`; saved before the first step and after each chunk.
      log: called with each entry of the history.
      progress: a progress bar; None: on a terminal or in a notebook.

    Returns:
      `Fit(state, best, history)`; after a resume the history holds this call's chunks alone.

    Raises:
      NonFiniteError: a loss or a parameter is NaN or infinite; the last finite state is the latest checkpoint.
      ValueError: chunk, num_steps or patience below 1, or patience without validation.

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
        raise ValueError(f"fit: patience {patience} needs a validation function to be impatient about")
    run = _compiled(step)
    state = jax.tree.map(jnp.copy, state)  # the loop gives its state's memory away
    best, best_loss, best_step = _best_before(checkpoints, state)
    if checkpoints is not None and checkpoints.latest() is None:
        checkpoints.save(state, None)
    history = []
    now = int(state.step)
    with _bar(progress, now, num_steps) as bar:
        while now < num_steps and not _out_of_patience(now, best_step, chunk, patience):
            end = min(num_steps, (now // chunk + 1) * chunk)
            stack = jax.tree.map(lambda *rows: np.stack(rows), *(batches[i] for i in range(now, end)))
            state, metrics, finite = run(state, stack, data)
            entry = {"step": end, **_means(jax.device_get(metrics), now, bool(finite))}
            if validation is not None:
                entry |= {f"validation_{name}": value for name, value in validation(state).items()}
                if entry["validation_loss"] < best_loss:
                    best, best_loss, best_step = jax.tree.map(jnp.copy, state), entry["validation_loss"], end
            if checkpoints is not None:
                checkpoints.save(state, entry.get("validation_loss"))
            if log is not None:
                log(entry)
            history.append(entry)
            bar.update(end - now)
            bar.set_postfix_str(f"loss {entry['loss']:.4g}")
            now = end
    if checkpoints is not None:
        checkpoints.wait()
    return Fit(state, state if best is None else best, history)


def _compiled(step):
    def run(state, stack, data):
        def one(state, batch):
            rows = batch if data is None else jax.tree.map(lambda leaf: leaf[batch], data)
            return step(state, rows)

        state, metrics = jax.lax.scan(one, state, stack)
        leaves = [
            leaf for leaf in jax.tree.leaves((state.params, state.state)) if jnp.issubdtype(leaf.dtype, jnp.inexact)
        ]
        return state, metrics, jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()

    return jax.jit(run, donate_argnums=0)


def _means(metrics, start, finite):
    bad = np.flatnonzero(~np.isfinite(metrics["loss"]))
    if bad.size:
        i = int(bad[0])
        terms = [f"{name} {v[i]}" for name, v in sorted(metrics.items()) if name != "loss" and not np.isfinite(v[i])]
        raise NonFiniteError(
            f"the loss is {metrics['loss'][i]} at step {start + i} ({', '.join(terms) or 'every term is finite'}): "
            "the last finite state is the latest checkpoint; try a smaller learning rate or clipped gradients"
        )
    if not finite:
        raise NonFiniteError(
            f"a parameter is no longer finite after step {start + len(metrics['loss']) - 1}, though the loss is: "
            "the last finite state is the latest checkpoint; try a smaller learning rate or clipped gradients"
        )
    return {name: float(np.mean(values, dtype=np.float64)) for name, values in metrics.items()}


def _best_before(checkpoints, state):
    """What an interrupted run had reached, so that patience counts on where it stopped."""
    found = None if checkpoints is None else checkpoints.best(state)
    if found is None:
        return None, math.inf, int(state.step)
    best, loss = found
    return best, loss, int(best.step)


def _out_of_patience(now, best_step, chunk, patience):
    return patience is not None and now - best_step >= patience * chunk


def _bar(progress, now, num_steps):
    from tqdm.auto import tqdm

    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=num_steps, initial=now, disable=not progress, unit="step", leave=False)
