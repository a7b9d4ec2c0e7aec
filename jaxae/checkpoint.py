"""Checkpoints of a training: Orbax, asynchronous, the best and the last are kept.

All that is known of Orbax stands in this file.
"""

import contextlib
import logging
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxae.types import TrainState


class Checkpoints(NamedTuple):
    """A folder of checkpoints, as functions.

    Attributes:
      save: `(state, validation_loss or None) -> None`; returns while the files are still being written. A step
        that is there already is left alone.
      restore: `(template, step=None) -> TrainState`, the latest by default; of the template only shapes and dtypes
        are read.
      best: `template -> (TrainState, loss)` of the least validation loss, or None.
      latest: `() -> step or None`.
      wait: `() -> None`, once everything is on disk.
      close: `() -> None`, after waiting.
    """

    save: Callable
    restore: Callable
    best: Callable
    latest: Callable
    wait: Callable
    close: Callable


def checkpoints(folder: str | os.PathLike) -> Checkpoints:
    """Open (or make) a folder of checkpoints.

    A checkpoint appears whole or not at all: it is written beside and renamed, so a run killed while saving, or a
    full disk, leaves the one before it in place.

    Args:
      folder: made if it is not there.

    Returns:
      `Checkpoints`.

    Raises:
      ValueError: (from restore) there is no checkpoint, it is damaged, or it is of another model.

    Example:
      >>> import tempfile, jax, jax.numpy as jnp, optax
      >>> from jaxae import checkpoint, presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> state = train.init_state(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     kept = checkpoint.checkpoints(folder)
      ...     kept.save(state, 0.25)
      ...     kept.wait()
      ...     print(int(kept.restore(state).step), kept.best(state)[1])
      ...     kept.close()
      0 0.25
    """
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

    folder = pathlib.Path(folder).resolve()
    best_one = BestN(
        get_metric_fn=lambda metrics: metrics["validation_loss"],
        reverse=True,
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy([LatestN(1), best_one]),
        best_fn=lambda metrics: metrics["validation_loss"],
        best_mode="min",
        enable_async_checkpointing=True,
    )
    with _quiet():
        manager = ocp.CheckpointManager(folder, options=options, item_handlers=ocp.StandardCheckpointHandler())

    def save(state: TrainState, validation_loss: float | None = None) -> None:
        metrics = None if validation_loss is None else {"validation_loss": float(validation_loss)}
        if int(state.step) not in manager.all_steps():
            with _quiet():
                manager.save(int(state.step), args=ocp.args.StandardSave(state), metrics=metrics)

    def restore(template: TrainState, step: int | None = None) -> TrainState:
        step = manager.latest_step() if step is None else step
        if step is None:
            raise ValueError(f"{folder} holds no checkpoint: nothing was saved there, or saving was interrupted")
        abstract = jax.eval_shape(lambda: template)
        try:
            with _quiet():
                _require_same_shapes(manager.item_metadata(step).tree, abstract)
                return manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except _OtherModel as error:
            raise ValueError(f"{folder / str(step)} is of another model: {error}") from None
        except Exception as error:  # Orbax and its storage raise many kinds
            raise ValueError(f"{folder / str(step)} is damaged or foreign: {_first_line(error)}") from error

    def best(template: TrainState):
        step = manager.best_step()
        if step is None:
            return None
        loss = manager.metrics(step)
        return None if loss is None else (restore(template, step), float(loss["validation_loss"]))

    return Checkpoints(save, restore, best, manager.latest_step, manager.wait_until_finished, manager.close)


class _OtherModel(ValueError):
    pass


def _require_same_shapes(found, abstract):
    # Orbax fits arrays of other sizes into the template by cutting and padding them
    saved = {_name(path): tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(found, is_leaf=_is_array)}
    # a typed key is saved as its data, so its own shape is not what is found
    bare = jax.eval_shape(lambda tree: jax.tree.map(_key_data, tree), abstract)
    wanted = {_name(path): tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(bare)}
    for name in sorted(wanted.keys() | saved.keys()):
        if saved.get(name) != wanted.get(name):
            shapes = [f"{shapes.get(name, 'nothing')}" for shapes in (saved, wanted)]
            raise _OtherModel(f"{name} is {shapes[0]} there, {shapes[1]} here")


def _key_data(leaf):
    return jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _is_array(leaf):
    return hasattr(leaf, "shape")


def _name(path):
    return ".".join(str(getattr(key, "name", getattr(key, "idx", getattr(key, "key", key)))) for key in path)


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextlib.contextmanager
def _quiet():
    """Orbax logs each save and restore; the level is put back, since the logger is everybody's."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
