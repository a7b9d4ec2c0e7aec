"""A detector on disk: a compiled program's source, its arrays and a card. Loading runs no code but XLA's.

`program.bin` is StableHLO with a symbolic batch size, `arrays.npz` the fitted arrays (arguments of the program, not
constants in it), `card.json` what the user says about the detector plus, under "detector", what loading checks.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxae.numerics import as_batch
from jaxae.types import Detector, PyTree, Verdict

FORMAT = "jaxae-detector"
VERSION = 1
PROGRAM, ARRAYS, CARD = "program.bin", "arrays.npz", "card.json"


class LoadedDetector(NamedTuple):
    """A detector from disk; calling it is calling `apply`.

    Attributes:
      apply: `batch -> Verdict`, for an array or a `Batch` of any number of rows of the saved shape and dtype;
        compiled once for each number of rows.
      card: the dict given to `save_detector`, with the loader's own facts under "detector".
    """

    apply: Callable[[Any], Verdict]
    card: dict

    def __call__(self, batch: PyTree) -> Verdict:
        return self.apply(batch)

    @property
    def example(self) -> dict[str, jax.ShapeDtypeStruct]:
        """What one row must be: shape (without batch) and dtype of each input array, by its name."""
        inputs = self.card["detector"]["inputs"]
        return {i["name"]: jax.ShapeDtypeStruct(tuple(i["shape"]), jnp.dtype(i["dtype"])) for i in inputs}


def save_detector(
    path: str | os.PathLike,
    detector: Detector,
    fitted: PyTree,
    example: PyTree,
    card: dict | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Write a fitted detector to a folder that any machine with jax can run, without this library's model code.

    The folder appears whole or not at all. A detector that stands at `path` already is replaced; anything else
    that is there is not touched.

    Args:
      path: the folder to make; parents are made too.
      detector: as from `scoring.detector`.
      fitted: what its `fit` returned.
      example: an array or `Batch` of the kind to be scored, `[B, ...]`; only shapes and dtypes are read.
      card: facts to keep with it, as JSON has them (no NaN).
      platforms: where the program can run, of "cpu", "cuda", "rocm", "tpu"; none of them is needed here.

    Raises:
      ValueError: the card is not JSON, the fitted arrays hold random keys, `path` holds something else, or the model
        decides by the number of rows, which an exported program leaves open.
      OSError: the disk is full or not writable; nothing is left behind.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.types import Scorer
      >>> norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
      >>> detect = scoring.detector(norm, scoring.thresholds.conformal(0.25))
      >>> fitted = detect.fit({}, {}, None, calibration=jnp.array([[1.0], [2.0], [3.0]]))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     scoring.save_detector(folder + "/d", detect, fitted, jnp.ones((1, 1)), {"unit": "mm"}, ("cpu",))
      ...     loaded = scoring.load_detector(folder + "/d")
      >>> loaded.card["unit"], loaded.apply(jnp.array([[2.0], [5.0]])).is_anomaly.tolist()
      ('mm', [False, True])
    """
    path = Path(path)
    user_card = _checked_card(card)
    _require_free(path)
    leaves, structure = jax.tree.flatten(fitted)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    if any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves):
        raise ValueError("fitted arrays hold random keys, which are not saved; keep jax.random.key_data instead")
    program, inputs, outputs = _export(detector, structure, leaves, example, platforms)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "jax": jax.__version__,
        "platforms": list(platforms),
        "inputs": inputs,
        "outputs": outputs,
        "dtypes": [str(leaf.dtype) for leaf in leaves],
        "sha256": {},
    }
    try:
        _write(path, program, leaves, user_card, facts)
    except OSError as error:
        raise OSError(
            f"the detector was not saved to {path}: {error.strerror or error}; nothing is left there"
        ) from error


def load_detector(path: str | os.PathLike) -> LoadedDetector:
    """Read a detector that `save_detector` wrote: `(apply, card)`, and callable itself.

    Scores are equal to the bit to those of `jax.jit(detector.apply)` at the same number of rows on the same kind
    of device.

    Args:
      path: the folder.

    Raises:
      ValueError: there is no such folder, or it is no detector, is of a newer version, or is damaged. When called:
        the input's arrays, shapes or dtypes are not the saved ones.

    Example: see `save_detector`.
    """
    path = Path(path)
    card = _read_card(path)
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
        raise ValueError(f"{path} is a detector that this jax {jax.__version__} cannot read: {_line(error)}") from error
    run = jax.jit(program.call)

    def apply(batch: PyTree) -> Verdict:
        given = _named_leaves(batch)
        _require_inputs(inputs, given)
        return Verdict(**dict(zip(outputs, run(leaves, [jnp.asarray(leaf) for _, leaf in given]), strict=True)))

    return LoadedDetector(apply, card)


def _named_leaves(batch: PyTree) -> list[tuple[str, Any]]:
    rows = as_batch(batch)._replace(weight=None)  # a row's weight plays no role in its score
    return [(jax.tree_util.keystr(path)[1:], leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(rows)]


def _export(
    detector: Detector, structure: Any, leaves: list, example: PyTree, platforms: Sequence[str]
) -> tuple[bytes, list[dict], list[str]]:
    """The serialized program `(leaves, input leaves) -> output leaves`, and the names of inputs and outputs."""
    rows = as_batch(example)._replace(weight=None)
    _, batch_structure = jax.tree.flatten(rows)
    named = _named_leaves(rows)
    (size,) = jax.export.symbolic_shape("b")
    spec = [jax.ShapeDtypeStruct((size, *np.shape(leaf)[1:]), leaf.dtype) for _, leaf in named]
    outputs: list[str] = []

    def program(leaves: list, inputs: list) -> list:
        verdict = detector.apply(jax.tree.unflatten(structure, leaves), jax.tree.unflatten(batch_structure, inputs))
        present = {name: value for name, value in verdict._asdict().items() if value is not None}
        outputs[:] = present
        return list(present.values())

    arrays = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    try:
        exported = jax.export.export(jax.jit(program), platforms=tuple(platforms))(arrays, spec)
    except Exception as error:
        if type(error).__name__ != "InconclusiveDimensionOperation":  # its public place differs between versions
            raise
        raise ValueError(f"the model cannot be exported for any number of rows: {_line(error)}") from error
    inputs = [
        {"name": name, "shape": list(np.shape(leaf)[1:]), "dtype": str(np.dtype(leaf.dtype))} for name, leaf in named
    ]
    return bytes(exported.serialize()), inputs, outputs


def _checked_card(card: dict | None) -> dict:
    card = {} if card is None else dict(card)
    if "detector" in card:
        raise ValueError('the card\'s key "detector" is taken by what loading needs; use another')
    try:
        json.dumps(card, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the card must hold what JSON can: {_line(error)}") from error
    return card


def _require_free(path: Path) -> None:
    if path.is_dir() and (not any(path.iterdir()) or _is_detector(path)):
        return
    if path.exists() or path.is_symlink():
        raise ValueError(f"{path} exists and is no detector; it is left as it is, give another path")


def _is_detector(path: Path) -> bool:
    try:
        _read_card(path)
    except ValueError:
        return False
    return True


def _write(path: Path, program: bytes, leaves: list, card: dict, facts: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        (partial / PROGRAM).write_bytes(program)
        np.savez(partial / ARRAYS, *jax.device_get(leaves))
        for name in (PROGRAM, ARRAYS):
            facts["sha256"][name] = hashlib.sha256((partial / name).read_bytes()).hexdigest()
        text = json.dumps({**card, "detector": facts}, indent=2, allow_nan=False)
        (partial / CARD).write_text(text + "\n", encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp's folders are private
        if path.is_dir():
            replaced = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            os.replace(path, replaced)
            os.replace(partial, path)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _read_card(path: Path) -> dict:
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
            f"{path} is no saved detector, or a damaged one: {CARD} is unreadable ({_line(error)})"
        ) from error
    if not known:
        raise ValueError(f"{path} is no saved detector: {CARD} says {facts['format']!r}")
    if facts["version"] != VERSION:
        raise ValueError(f"{path} is a detector of version {facts['version']}; this library reads version {VERSION}")
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


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
