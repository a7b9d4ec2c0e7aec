"""Checkpoints of a training: Orbax, asynchronous, the best and the last are kept.

All that is known of Orbax stands in this file.
"""

import contextlib
import errno
import logging
import math
import os
import pathlib
import shutil
import sys
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.types import TrainState

_PARTIAL = "*.orbax-checkpoint-tmp"
_STRAGGLERS = 0.2  # seconds in which the other reads or writes of a failed one end


class Checkpoints(NamedTuple):
    """A folder of checkpoints, as functions.

    Attributes:
      save: `(state, validation_loss or None) -> None`; returns while the files are still being written. A step
        that is there already is left alone.
      restore: `(template, step=None) -> TrainState`, the latest by default; of the template only shapes, dtypes
        and devices are read.
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
      ValueError: (from restore and best) there is no checkpoint, it is damaged, or it is of another model.
      OSError: (from save, wait and close) the files could not be written, with `errno.ENOSPC` where the disk is full.

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

    folder = pathlib.Path(folder).resolve()
    loud_again = _quieten()
    manager = _manager(folder)
    started = False

    def save(state: TrainState, validation_loss: float | None = None) -> None:
        nonlocal started
        step = int(state.step)
        if step in manager.all_steps():
            return
        if not started:  # only who writes may clear up: a reader would take a training's files from under it
            _remove_partial(folder)
            started = True
        _require_room(folder, state, step)
        metrics = None  # a loss that is not finite would sort anywhere
        if validation_loss is not None and math.isfinite(validation_loss):
            metrics = {"validation_loss": float(validation_loss)}
        with _explained(manager, folder):
            facts = {"crc32": _checksum(state)}
            manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics, custom_metadata=facts)

    def wait() -> None:
        with _explained(manager, folder):
            manager.wait_until_finished()

    def restore(template: TrainState, step: int | None = None) -> TrainState:
        wait()  # what is still being written counts as there
        step = manager.latest_step() if step is None else step
        if step is None:
            raise ValueError(f"{folder} holds no checkpoint: nothing was saved there, or saving was interrupted")
        if step not in manager.all_steps():
            raise ValueError(f"{folder} holds no checkpoint of step {step}, only {sorted(manager.all_steps())}")
        abstract = jax.tree.map(_abstract, template)
        try:
            found = manager.metadata(step)
            if found.item_metadata is None:
                raise _Unreadable("it does not say what it holds")
            _require_same(found.item_metadata.tree, abstract)
            restored = cast(TrainState, manager.restore(step, args=ocp.args.StandardRestore(abstract)))
            sums = (found.custom_metadata or {}).get("crc32"), _checksum(restored)
            if None not in sums and sums[0] != sums[1]:
                raise _Unreadable("its numbers are not those that were saved (the checksum differs)")
            return restored
        except _OtherModel as error:
            raise ValueError(f"{folder / str(step)} is of another model or optimizer: {error}") from None
        except Exception as error:  # Orbax and its storage raise many kinds
            time.sleep(_STRAGGLERS)
            raise ValueError(f"{folder / str(step)} is damaged or foreign: {_first_line(error)}") from error

    def best(template: TrainState) -> tuple[TrainState, float] | None:
        wait()
        step = manager.best_step()
        loss = None if step is None else manager.metrics(step)
        return None if loss is None else (restore(template, step), float(loss["validation_loss"]))

    def close() -> None:
        try:
            with _explained(manager, folder):
                manager.close()
        finally:
            loud_again()

    return Checkpoints(save, restore, best, manager.latest_step, wait, close)


def _manager(folder):
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

    def loss(metrics):
        return metrics["validation_loss"]

    best_one = BestN(get_metric_fn=loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy([LatestN(1), best_one]),
        best_fn=loss,
        best_mode="min",
        enable_async_checkpointing=True,
    )
    # the handler is named, or what another process wrote could not be described before it is read
    return ocp.CheckpointManager(folder, options=options, item_handlers=ocp.StandardCheckpointHandler())


class _OtherModel(ValueError):
    pass


class _Unreadable(ValueError):
    pass


def _abstract(leaf):
    # where there is no device, the first: the file's own would be missing on another machine
    where = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _require_same(found, abstract):
    # Orbax fits arrays of other sizes and types into the template by cutting, padding and casting them
    is_array = lambda leaf: hasattr(leaf, "shape")  # noqa: E731
    saved = {_name(path): _kind(leaf) for path, leaf in jax.tree.leaves_with_path(found, is_leaf=is_array)}
    # a typed key is saved as its data, so its own shape is not what is found
    bare = jax.eval_shape(lambda tree: jax.tree.map(_key_data, tree), abstract)
    wanted = {_name(path): _kind(leaf) for path, leaf in jax.tree.leaves_with_path(bare)}
    for name in sorted(wanted.keys() | saved.keys()):
        if saved.get(name) != wanted.get(name):
            raise _OtherModel(f"{name} is {saved.get(name, 'nothing')} there, {wanted.get(name, 'nothing')} here")


def _kind(leaf):
    return f"{jnp.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _key_data(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _name(path):
    return ".".join(str(getattr(key, "name", getattr(key, "idx", getattr(key, "key", key)))) for key in path)


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _checksum(state):
    """CRC-32 of all numbers in order: the storage itself does not notice a flipped bit in an array."""
    if not all(leaf.is_fully_addressable for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)):
        return None  # parts of it are with other hosts
    total = 0
    for leaf in jax.tree.leaves(state):
        total = zlib.crc32(np.asarray(_key_data(leaf)).tobytes(), total)
    return total


def _require_room(folder, state, step):
    """Refuse before anything is written: a disk that fills up in the middle of a write costs a long wait."""
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"no room for the checkpoint of step {step} in {folder}: it takes {needed} bytes, {free} are free; "
            "the checkpoints before it are whole",
        )


@contextlib.contextmanager
def _explained(manager, folder):
    try:
        yield
    except Exception as error:  # what went wrong in the background arrives at the next call, of whatever kind
        time.sleep(_STRAGGLERS)
        _remove_partial(folder)
        manager.reload()  # or what the failed one was to replace is taken for gone
        text = str(error)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or "No space left" in text or "Disk quota" in text:
            message = f"no space left in {folder} while a checkpoint was written"
            raise OSError(errno.ENOSPC, f"{message}; the one of step {manager.latest_step()} is whole") from error
        raise OSError(errno.EIO, f"a checkpoint could not be written to {folder}: {_first_line(error)}") from error


def _remove_partial(folder):
    """What a killed run or a failed write left behind; it would hold its space for ever."""
    if jax.process_index() == 0:
        for left in folder.glob(_PARTIAL):
            shutil.rmtree(left, ignore_errors=True)


class _NotOrbax(logging.Filter):
    def filter(self, record):
        return f"{os.sep}orbax{os.sep}" not in record.pathname


def _quieten():
    """Drop what Orbax says while a folder is open; its failures reach the caller as exceptions.

    It reports each save, and a failure with pages of tracebacks, through everybody's absl logger. And when one of many
    reads or writes fails, the others find its event loop closed, each of which Python reports as unraisable. Levels,
    handlers, and everybody else's records and errors stay as they are.

    Returns:
      `() -> None` that ends it.
    """
    logger, records, before = logging.getLogger("absl"), _NotOrbax(), sys.unraisablehook

    def hook(event):
        if not (isinstance(event.exc_value, RuntimeError) and str(event.exc_value) == "Event loop is closed"):
            before(event)

    def end():
        logger.removeFilter(records)
        if sys.unraisablehook is hook:
            sys.unraisablehook = before

    logger.addFilter(records)
    sys.unraisablehook = hook
    return end
