"""Reading a saved detector: every byte is checked before it is used, and nothing in it is Python."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxae.numerics import as_batch
from jaxae.scoring.checks import is_traced
from jaxae.types import PyTree, Verdict

FORMAT = "jaxae-detector"
# 2: a verdict may hold the prediction of an open set
VERSION = 2
READABLE = (1, 2)
PROGRAM, ARRAYS, CARD = "program.bin", "arrays.npz", "card.json"


class LoadedDetector(NamedTuple):
    """A detector from disk; calling it is calling `apply`.

    Attributes:
      apply: `batch -> Verdict`, for an array or a `Batch` of any number of rows of the saved shape and dtype;
        compiled once for each number of rows.
      card: the dict given to `save_detector`, with the loader's own facts under "detector".
      program: `(arrays, batch) -> Verdict`, what `apply` compiles: it traces and exports, and checks nothing.
      arrays: the fitted arrays.
    """

    apply: Callable[[Any], Verdict]
    card: dict
    program: Callable[[list, Any], Verdict]
    arrays: list

    def __call__(self, batch: PyTree) -> Verdict:
        return self.apply(batch)

    @property
    def example(self) -> dict[str, jax.ShapeDtypeStruct]:
        """What one row must be: shape (without batch) and dtype of each input array, by its name."""
        inputs = self.card["detector"]["inputs"]
        return {i["name"]: jax.ShapeDtypeStruct(tuple(i["shape"]), jnp.dtype(i["dtype"])) for i in inputs}


def load_detector(path: str | os.PathLike) -> LoadedDetector:
    """Read a detector that `save_detector` wrote: `(apply, card)`, and callable itself.

    Scores are equal to the bit to those of `jax.jit(detector.apply)` at the same number of rows on the same kind
    of device.

    Args:
      path: the folder.

    Raises:
      ValueError: there is no such folder, or it is no detector, is of a newer version, or is damaged. When called:
        the input's arrays, shapes or dtypes are not the saved ones, or values lie beyond the limits it was saved with.

    Example: see `save_detector`.
    """
    path = Path(path)
    card = read_card(path)
    facts = card["detector"]
    content = {name: _read_checked(path / name, facts["sha256"][name]) for name in (PROGRAM, ARRAYS)}
    try:
        program = jax.export.deserialize(bytearray(content[PROGRAM]))
        with np.load(path / ARRAYS, allow_pickle=False) as stored:
            arrays = [stored[f"arr_{index}"].view(jnp.dtype(name)) for index, name in enumerate(facts["dtypes"])]
        leaves = [jnp.asarray(array) for array in arrays]
        inputs = [(entry["name"], tuple(entry["shape"]), entry["dtype"]) for entry in facts["inputs"]]
        outputs = list(facts["outputs"])
    except Exception as error:
        raise ValueError(
            f"{path} is a detector that this jax {jax.__version__} cannot read: {first_line(error)}"
        ) from error

    def call(arrays: list, batch: PyTree) -> Verdict:
        given = [jnp.asarray(leaf) for _, leaf in named_leaves(batch)]
        return Verdict(**dict(zip(outputs, program.call(arrays, given), strict=True)))

    run = jax.jit(call)

    def apply(batch: PyTree) -> Verdict:
        given = named_leaves(batch)
        _require_inputs(inputs, given)
        _require_limits(facts.get("limits"), given[0][1])
        return run(leaves, as_batch(batch)._replace(weight=None))

    return LoadedDetector(apply, card, call, leaves)


def named_leaves(batch: PyTree) -> list[tuple[str, Any]]:
    """The arrays of a batch, by name, in a fixed order."""
    rows = as_batch(batch)._replace(weight=None)  # a row's weight plays no role in its score
    return [(jax.tree_util.keystr(path)[1:], leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(rows)]


def read_card(path: Path) -> dict:
    """The card of the detector at `path`; a ValueError in one line where there is none that can be read."""
    if not path.is_dir():
        raise ValueError(f"there is no detector at {path}: {'not a folder' if path.exists() else 'no such folder'}")
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        facts = card["detector"]
        known = facts["format"] == FORMAT and set(facts["sha256"]) == {PROGRAM, ARRAYS}
    except FileNotFoundError:
        raise ValueError(f"{path} is no saved detector: it has no {CARD}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no saved detector, or a damaged one: {CARD} is unreadable ({first_line(error)})"
        ) from error
    if not known:
        raise ValueError(f"{path} is no saved detector: {CARD} says {facts['format']!r}")
    if facts.get("version") not in READABLE:
        readable = " and ".join(map(str, READABLE))
        raise ValueError(
            f"{path} is a detector of version {facts.get('version')}; this library reads versions {readable}"
        )
    return card


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the detector at {path.parent} is damaged: {path.name}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"the detector at {path.parent} is damaged: {path.name} is not what its card says")
    return content


def _require_inputs(expected: list[tuple], given: list[tuple[str, Any]]) -> None:
    def show(entries: list[tuple]) -> str:
        return ", ".join(f"{name} {dtype}[{', '.join(('B', *map(str, shape)))}]" for name, shape, dtype in entries)

    if any(np.ndim(leaf) == 0 for _, leaf in given):
        raise ValueError(
            f"this detector expects {show(expected)}; got {', '.join(name for name, _ in given)} without rows"
        )
    found = [
        (name, tuple(np.shape(leaf)[1:]), str(getattr(leaf, "dtype", type(leaf).__name__))) for name, leaf in given
    ]
    if found != expected:
        raise ValueError(f"this detector expects {show(expected)}; got {show(found)}")
    rows = sorted({np.shape(leaf)[0] for _, leaf in given})
    if len(rows) != 1 or rows[0] == 0:
        raise ValueError(
            f"this detector expects one number of rows, at least 1; got {' and '.join(map(str, rows))} rows"
        )


def _require_limits(limits: list[float] | None, x: Any) -> None:
    if limits is None or is_traced(x):
        return
    low, high = float(np.min(x)) + 0.0, float(np.max(x)) + 0.0  # no -0 in the message
    if low < limits[0] or high > limits[1]:
        bytes_instead = limits == [0, 1] and low >= 0 and 1 < high <= 255
        raise ValueError(
            f"this detector was trained on values in [{limits[0]:g}, {limits[1]:g}]; got [{low:g}, {high:g}]"
            + (": pixels as bytes? divide by 255" if bytes_instead else "")
        )


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
