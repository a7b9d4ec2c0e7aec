"""Checkpoints of a training by Orbax: asynchronous; the best and the last are kept.

No other module imports Orbax.
"""

import contextlib
import errno
import gc
import logging
import math
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.files import kinds
from jaxae.files.messages import first_line
from jaxae.files.reading import read_json
from jaxae.numerics.arguments import check_arguments
from jaxae.types import TrainState

_PARTIAL = "*.orbax-checkpoint-tmp"
_STRAGGLERS = 0.2  # seconds that concurrent reads or writes of a failed checkpoint get to end


class Checkpoints(NamedTuple):
    """A folder of checkpoints, as functions.

    Attributes:
      save: `(state, validation_loss or None) -> None`; returns while the files are still being written. Does
        nothing for a step that is saved already.
      restore: `(template, step=None) -> TrainState`, the latest by default; only shapes, dtypes and devices of the
        template are read.
      best: `template -> (TrainState, loss)` with the least validation loss, or None.
      latest: `() -> step or None`, the latest saved step.
      wait: `() -> None`, returns when everything is on disk.
      close: `() -> None`, waits and releases the folder.
    """

    save: Callable
    restore: Callable
    best: Callable
    latest: Callable
    wait: Callable
    close: Callable


def checkpoints(folder: str | os.PathLike) -> Checkpoints:
    """Open or create a folder of checkpoints.

    Saving is atomic: a checkpoint is written to a temporary folder and renamed, so a run killed while saving, or a
    full disk, leaves the previous checkpoint intact.

    Args:
      folder: path of the folder; created if it does not exist.

    Returns:
      `Checkpoints`.

    Raises:
      ValueError: a file beside the checkpoints is damaged; (from restore and best) there is no checkpoint, it is
        damaged, or it is of another model.
      OSError: (from save, wait and close) the files could not be written, with `errno.ENOSPC` where the disk is full.

    Example:
      >>> import tempfile, jax, jax.numpy as jnp, optax
      >>> from jaxae import checkpoint, presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> state = train.init_state(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     saved = checkpoint.checkpoints(folder)
      ...     saved.save(state, 0.25)
      ...     saved.wait()
      ...     print(int(saved.restore(state).step), saved.best(state)[1])
      ...     saved.close()
      0 0.25
    """
    import orbax.checkpoint as ocp

    folder = pathlib.Path(folder).resolve()
    _require_readable(folder)
    unquieten = _quieten()
    with _finished_first():
        manager = _manager(folder)
    started = False

    @_finished_first()
    def save(state: TrainState, validation_loss: float | None = None) -> None:
        nonlocal started
        step = int(state.step)
        if step in manager.all_steps():
            return
        if not started:  # only a writer may remove partial files: a reader could delete those of a running training
            _remove_partial(folder)
            started = True
        _require_room(folder, state, step)
        metrics = None  # a loss that is not finite has no order among losses, so the policy could not rank it
        if validation_loss is not None and math.isfinite(validation_loss):
            metrics = {"validation_loss": float(validation_loss)}
        with _explained(manager, folder):
            facts = {"crc32": _checksum(state)}
            manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics, custom_metadata=facts)

    @_finished_first()
    def wait() -> None:
        with _explained(manager, folder):
            manager.wait_until_finished()

    @_finished_first()
    def restore(template: TrainState, step: int | None = None) -> TrainState:
        wait()  # a checkpoint that is still being written can be restored
        step = manager.latest_step() if step is None else step
        if step is None:
            raise ValueError(f"{folder} holds no checkpoint: nothing was saved there, or saving was interrupted")
        if step not in manager.all_steps():
            raise ValueError(f"{folder} holds no checkpoint of step {step}, only {sorted(manager.all_steps())}")
        abstract = jax.tree.map(_abstract, template)
        try:
            metadata = manager.metadata(step)
            if metadata.item_metadata is None:
                raise _Unreadable("it does not say what it holds")
            _require_same(metadata.item_metadata.tree, abstract)
            restored = cast(TrainState, manager.restore(step, args=ocp.args.StandardRestore(abstract)))
            sums = (metadata.custom_metadata or {}).get("crc32"), _checksum(restored)
            if None not in sums and sums[0] != sums[1]:
                raise _Unreadable("its numbers are not those that were saved (the checksum differs)")
            return restored
        except _OtherModel as error:
            fault = f"is of another model or optimizer: {error}"
        except Exception as error:  # Orbax and its storage raise many kinds
            time.sleep(_STRAGGLERS)
            fault = f"is damaged or foreign: {first_line(error)}"
        gc.collect()  # of Orbax's reads that were broken off, while the folder still keeps them quiet
        raise ValueError(f"{folder / str(step)} {fault}")

    @_finished_first()
    def best(template: TrainState) -> tuple[TrainState, float] | None:
        wait()
        step = manager.best_step()
        loss = None if step is None else manager.metrics(step)
        return None if loss is None else (restore(template, step), float(loss["validation_loss"]))

    @_finished_first()
    def close() -> None:
        try:
            with _explained(manager, folder):
                manager.close()
        finally:
            unquieten()

    return Checkpoints(save, restore, best, manager.latest_step, wait, close)


def _manager(folder):
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

    def loss(metrics):
        return metrics["validation_loss"]

    best_policy = BestN(get_metric_fn=loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy([LatestN(1), best_policy]),
        best_fn=loss,
        best_mode="min",
        enable_async_checkpointing=True,
    )
    # the handler is named: without it, metadata of a checkpoint that another process wrote cannot be read
    return ocp.CheckpointManager(folder, options=options, item_handlers=ocp.StandardCheckpointHandler())


@contextlib.contextmanager
def _finished_first():
    """Let what is written or read come to its end before a signal's handler raises; a second signal does not wait.

    Orbax runs event loops in the calling thread: an exception in the middle of one leaves half a checkpoint, and pages
    of tracebacks when the process ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    came = []

    def note(number, frame):
        came.append((number, frame))
        if len(came) > 1:
            handlers[number](number, frame)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            number, frame = came[0]
            handlers[number](number, frame)


def _require_readable(folder):
    """Orbax takes what its files of JSON hold as it is."""
    losses = kinds.record({}, {"validation_loss": kinds.number(-1e300, 1e300)}, others=kinds.anything)
    for name, kind in {"metrics/metrics": losses, "_CHECKPOINT_METADATA": kinds.mapping(kinds.anything)}.items():
        for path in sorted(folder.glob(f"[0-9]*/{name}")):
            if path.parent.name.isdigit() or path.parent.parent.name.isdigit():  # partial folders are left aside
                read_json(path, kind)


class _OtherModel(ValueError):
    pass


class _Unreadable(ValueError):
    pass


def _abstract(leaf):
    # a leaf without a device gets the first one: the device named in the file may not exist on this machine
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _require_same(saved_tree, abstract):
    # Orbax fits arrays of other sizes and types into the template by cutting, padding and casting them
    is_array = lambda leaf: hasattr(leaf, "shape")  # noqa: E731
    saved = {_name(path): _kind(leaf) for path, leaf in jax.tree.leaves_with_path(saved_tree, is_leaf=is_array)}
    # a typed key is saved as its uint32 data, whose shape is compared
    bare = jax.eval_shape(lambda tree: jax.tree.map(_key_data, tree), abstract)
    expected = {_name(path): _kind(leaf) for path, leaf in jax.tree.leaves_with_path(bare)}
    for name in sorted(expected.keys() | saved.keys()):
        if saved.get(name) != expected.get(name):
            raise _OtherModel(f"{name} is {saved.get(name, 'nothing')} there, {expected.get(name, 'nothing')} here")


def _kind(leaf):
    return f"{jnp.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _key_data(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _name(path):
    return ".".join(str(getattr(key, "name", getattr(key, "idx", getattr(key, "key", key)))) for key in path)


def _checksum(state):
    """CRC-32 of all numbers in order: the storage itself does not notice a flipped bit in an array."""
    if not all(leaf.is_fully_addressable for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)):
        return None  # other hosts hold some of the shards
    total = 0
    for leaf in jax.tree.leaves(state):
        total = zlib.crc32(np.asarray(_key_data(leaf)).tobytes(), total)
    return total


def _require_room(folder, state, step):
    """Refuse before writing: a disk that fills up during a write is noticed only after a long wait."""
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"no room for the checkpoint of step {step} in {folder}: it takes {needed} bytes, {free} are free; "
            "the checkpoints before it are complete",
        )


@contextlib.contextmanager
def _explained(manager, folder):
    try:
        yield
    except Exception as error:  # background failures, of any type, are raised by the next call
        time.sleep(_STRAGGLERS)
        _remove_partial(folder)
        manager.reload()  # without it, Orbax counts the checkpoint that the failed one would replace as deleted
        text = str(error)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or "No space left" in text or "Disk quota" in text:
            message = f"no space left in {folder} while a checkpoint was written"
            raise OSError(errno.ENOSPC, f"{message}; the one of step {manager.latest_step()} is complete") from error
        raise OSError(errno.EIO, f"a checkpoint could not be written to {folder}: {first_line(error)}") from error


def _remove_partial(folder):
    """Delete files of a killed run or a failed write, which would take disk space for ever."""
    if jax.process_index() == 0:
        for partial in folder.glob(_PARTIAL):
            shutil.rmtree(partial, ignore_errors=True)


class _NotOrbax(logging.Filter):
    def filter(self, record):
        return f"{os.sep}orbax{os.sep}" not in record.pathname


def _quieten():
    """Drop the log records of Orbax while a folder is open; its failures reach the caller as exceptions.

    Orbax logs each save, and a failure with pages of tracebacks, through the shared absl logger. When one of many
    reads or writes fails, the others fail on its closed event loop, and Python reports each as unraisable. Levels,
    handlers, and the records and errors of other libraries stay as they are.

    Returns:
      `() -> None`, which restores the logger and the hook.
    """
    logger, record_filter, previous_hook = logging.getLogger("absl"), _NotOrbax(), sys.unraisablehook

    def hook(event):
        is_closed = isinstance(event.exc_value, RuntimeError) and str(event.exc_value) == "Event loop is closed"
        frames = traceback.extract_tb(event.exc_traceback)
        if not is_closed and not any(f"{os.sep}orbax{os.sep}" in frame.filename for frame in frames):
            previous_hook(event)

    def end():
        logger.removeFilter(record_filter)
        if sys.unraisablehook is hook:
            sys.unraisablehook = previous_hook

    logger.addFilter(record_filter)
    sys.unraisablehook = hook
    return end


check_arguments(__name__)
