"""Reading a saved detector: every byte is checked before it is used, and nothing in it is Python."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.files import kinds
from jaxae.files.arrays import Array, read_arrays
from jaxae.files.messages import first_line, listed, shown
from jaxae.files.programs import OUTPUTS, PLATFORMS, read_program, require_promised
from jaxae.files.reading import read_json
from jaxae.numerics import as_batch
from jaxae.scoring.checks import is_traced
from jaxae.types import Batch, PyTree, Verdict

FORMAT = "jaxae-detector"
# 2: a verdict may hold the prediction of an open set; 3: the checksum covers the card too
VERSION = 3
READABLE = (1, 2, 3)
PROGRAM, ARRAYS, CARD = "program.bin", "arrays.npz", "card.json"
_WHOLE = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_DTYPES = ("bool", "bfloat16", "float16", "float32", "float64", "complex64", *_WHOLE)


def _sha256(where: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{where} is {shown(value)}; it must be a SHA-256, 64 hexadecimal digits")


def _in_order(where: str, value: Any) -> None:
    kinds.sequence(kinds.one_of(*OUTPUTS))(where, value)
    if [name for name in OUTPUTS if name in value] != value or value[:4] != list(OUTPUTS[:4]):
        raise ValueError(f"{where} is {shown(value, 200)}; it must be some of {', '.join(OUTPUTS)}, in this order")


def _limits(where: str, value: Any) -> None:
    kinds.fixed(kinds.number(), kinds.number())(where, value)
    if not value[0] < value[1]:
        raise ValueError(f"{where} is {value}; it must be the least and the largest value, in this order")


def _inputs(where: str, value: Any) -> None:
    """The inputs: arrays of a `Batch`, x first, each once."""
    size = kinds.whole(0, 2**31 - 1)
    entry = kinds.record({"name": kinds.text, "shape": kinds.sequence(size), "dtype": kinds.one_of(*_DTYPES)})
    kinds.sequence(entry, 1)(where, value)
    names = [one["name"] for one in value]
    fields = [re.split(r"[.\[]", name)[0] for name in names]
    if len(set(names)) < len(names) or fields[0] != "x" or not {*fields} <= {*Batch._fields}:
        raise ValueError(f"{where} must name arrays of a batch, x first, each once; they are {shown(names, 200)}")


def _facts(version: int) -> kinds.Kind:
    """What a card of a version says under "detector"."""
    checksums = {PROGRAM: _sha256, ARRAYS: _sha256} | ({CARD: _sha256} if version >= 3 else {})
    needed = {
        "format": kinds.one_of(FORMAT),
        "version": kinds.whole(1),
        "jax": kinds.text,
        "platforms": kinds.sequence(kinds.one_of(*PLATFORMS), 1, len(PLATFORMS)),
        "inputs": _inputs,
        "outputs": _in_order,
        "dtypes": kinds.sequence(kinds.one_of(*_DTYPES)),
        "sha256": kinds.record(checksums),
    }
    limits = {"limits": kinds.maybe(_limits)}
    return kinds.record(needed | limits) if version >= 3 else kinds.record(needed, limits)


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

    The checksums find damage; they are no signature, since whoever changes a file can write them anew. A program is
    therefore read before it is compiled, and may hold only operations that compute: those that this library is
    exported to (`jaxae.files.programs.WRITTEN`) and the other pure ones of StableHLO. Custom calls, callbacks,
    transfers and communication are refused. Nothing bounds how long a program runs. A program that this process has
    not written is read by another process first, about a second, since malformed bytes can end the one that reads.

    Args:
      path: the folder.

    Raises:
      ValueError: there is no such folder, or it is no detector, is of a newer version, is damaged, holds an operation
        that is not allowed, or is not what its card says. When called: the input's arrays, shapes or dtypes are not
        the saved ones, or values lie beyond the limits it was saved with.

    Example: see `save_detector`.
    """
    path = Path(path)
    card = read_card(path)
    facts = card["detector"]
    content = {name: _read_checked(path / name, facts["sha256"][name]) for name in (PROGRAM, ARRAYS)}
    inputs = [(entry["name"], tuple(entry["shape"]), entry["dtype"]) for entry in facts["inputs"]]
    outputs = list(facts["outputs"])
    arrays = _arrays(path / ARRAYS, facts["dtypes"])
    try:
        program = read_program(content[PROGRAM])
        require_promised(program, arrays, inputs, outputs, facts["platforms"])
    except ValueError as error:
        raise ValueError(f"{path / PROGRAM}: {first_line(error, 600)}") from error
    leaves = [jnp.asarray(array) for array in arrays]

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
    """The card of the detector at `path`, whole and of the kinds that its version has.

    Raises:
      ValueError: there is none, or it is damaged; in one line with the key.
    """
    if not path.is_dir():
        raise ValueError(f"there is no detector at {path}: {'not a folder' if path.exists() else 'no such folder'}")
    where = path / CARD
    try:
        card = read_json(where, kinds.record({}, {"detector": kinds.mapping(kinds.anything)}, kinds.anything))
    except FileNotFoundError:
        raise ValueError(f"{path} is no saved detector: it has no {CARD}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no saved detector, or a damaged one: {first_line(error, 600)}") from error
    facts = card.get("detector", {})
    if facts.get("format") != FORMAT:
        raise ValueError(f"{path} is no saved detector: {CARD} says format {shown(facts.get('format'))}")
    version = facts.get("version")
    if version not in READABLE or isinstance(version, bool | float):
        readable = f"{', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
        raise ValueError(f"{path} is a detector of version {shown(version)}; this library reads versions {readable}")
    try:
        kinds.check(where, {"detector": facts}, kinds.record({"detector": _facts(version)}))
    except ValueError as error:
        raise ValueError(f"the detector at {path} is damaged: {first_line(error, 600)}") from None
    if version >= 3 and card_digest(card) != facts["sha256"][CARD]:
        raise ValueError(f"the detector at {path} is damaged: {CARD} is not what its own checksum says")
    return card


def card_digest(card: dict) -> str:
    """SHA-256 of a card's content, its own checksum left out: keys sorted, as JSON without spaces.

    Example:
      >>> from jaxae.scoring.detector.loading import card_digest
      >>> card_digest({"unit": "mm", "detector": {"sha256": {"card.json": "any"}}})[:8]
      '06777aa3'
    """
    facts = card["detector"]
    sha256 = {name: digest for name, digest in facts["sha256"].items() if name != CARD}
    bare = {**card, "detector": {**facts, "sha256": sha256}}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _arrays(path: Path, dtypes: list[str]) -> list[np.ndarray]:
    """The fitted arrays: `arr_0`, `arr_1`, ...; what NumPy has no dtype for is stored as raw bytes."""
    expected = {f"arr_{index}": Array("fiubcV", finite=False) for index in range(len(dtypes))}
    try:
        stored = read_arrays(path, expected)
    except ValueError as error:
        raise ValueError(f"{error}; its card promises {len(dtypes)} arrays (dtypes)") from None
    arrays = []
    for name, dtype in zip(expected, dtypes, strict=True):
        array, wanted = stored[name], jnp.dtype(dtype)
        is_raw = array.dtype.kind == "V" and wanted.kind == "V" and array.dtype.itemsize == wanted.itemsize
        if array.dtype != wanted and not is_raw:
            raise ValueError(f"{path}: {name} is {array.dtype}; its card promises {dtype}")
        arrays.append(array.view(wanted))
    return arrays


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
        return listed(f"{name} {dtype}[{', '.join(('B', *map(str, shape)))}]" for name, shape, dtype in entries)

    if any(np.ndim(leaf) == 0 for _, leaf in given):
        raise ValueError(
            f"this detector expects {show(expected)}; got {listed(name for name, _ in given)} without rows: a list? "
            "numpy.asarray makes an array of it"
        )
    found = [
        (name, tuple(np.shape(leaf)[1:]), str(getattr(leaf, "dtype", type(leaf).__name__))) for name, leaf in given
    ]
    if found != expected:
        raise ValueError(f"this detector expects {show(expected)}; got {show(found)}")
    rows = sorted({np.shape(leaf)[0] for _, leaf in given})
    if len(rows) != 1 or rows[0] == 0:
        raise ValueError(f"this detector expects one number of rows, at least 1; got {listed(rows)} rows")


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
