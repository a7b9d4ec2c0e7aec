"""A detector on disk: a compiled program's source, its arrays and a card. Loading runs no code but XLA's.

`program.bin` is StableHLO with a symbolic batch size, `arrays.npz` the fitted arrays (arguments of the program, not
constants in it), `card.json` what the user says about the detector plus, under "detector", what loading checks.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxae.files import kinds
from jaxae.files.messages import first_line
from jaxae.files.programs import written
from jaxae.files.reading import parse_json
from jaxae.numerics import as_batch
from jaxae.scoring.detector.loading import (
    ARRAYS,
    CARD,
    FORMAT,
    PROGRAM,
    VERSION,
    card_digest,
    named_leaves,
    read_card,
)
from jaxae.types import Detector, PyTree


def save_detector(
    path: str | os.PathLike,
    detector: Detector,
    fitted: PyTree,
    example: PyTree,
    card: dict | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    limits: tuple[float, float] | None = None,
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
      limits: the least and the largest value that `x` may have, such as (0.0, 1.0) for scaled pixels: whoever calls
        the loaded detector with others is told so. None: any.

    Raises:
      ValueError: the card is not JSON, the limits are not two numbers in order, the fitted arrays hold random keys,
        `path` holds something else, or the model decides by the number of rows, which an exported program leaves open.
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
    if limits is not None and not limits[0] < limits[1]:
        raise ValueError(f"limits are the least and the largest value, in this order; got {limits}")
    require_free(path)
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
        "limits": None if limits is None else [float(limit) for limit in limits],
        "dtypes": [str(leaf.dtype) for leaf in leaves],
        "sha256": {},
    }
    try:
        _write(path, program, leaves, user_card, facts)
    except OSError as error:
        raise OSError(
            f"the detector was not saved to {path}: {error.strerror or error}; nothing is left there"
        ) from error


def limits_of(x: np.ndarray) -> tuple[float, float] | None:
    """The `limits` of a detector trained on rows `[N, ...]`: 0 and 1 for images of floating numbers, none otherwise.

    Bytes cannot lie elsewhere, and far values are what tables are about.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring.detector.saving import limits_of
      >>> limits_of(np.zeros((2, 8, 8, 1), np.float32)), limits_of(np.zeros((2, 8, 8, 1), np.uint8))
      ((0.0, 1.0), None)
    """
    return (0.0, 1.0) if x.ndim == 4 and x.dtype.kind == "f" else None


def _export(
    detector: Detector, structure: Any, leaves: list, example: PyTree, platforms: Sequence[str]
) -> tuple[bytes, list[dict], list[str]]:
    """The serialized program `(leaves, input leaves) -> output leaves`, and the names of inputs and outputs."""
    rows = as_batch(example)._replace(weight=None)
    if not all(getattr(leaf, "ndim", 0) and hasattr(leaf, "dtype") for leaf in jax.tree.leaves(rows)):
        raise ValueError("the example must be an array [B, ...] or a Batch of such, not a list or a number")
    _, batch_structure = jax.tree.flatten(rows)
    named = named_leaves(rows)
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
    except NotImplementedError as error:
        raise ValueError(f"the model cannot be exported: {first_line(error)}") from error
    except Exception as error:
        if type(error).__name__ != "InconclusiveDimensionOperation":  # its public place differs between versions
            raise
        raise ValueError(f"the model cannot be exported for any number of rows: {first_line(error)}") from error
    try:
        content = written(exported)
    except ValueError as error:
        raise ValueError(
            f"the model cannot be saved: {error}; a scorer decomposes matrices in `fit`, and `apply` reads the result"
        ) from None
    inputs = [
        {"name": name, "shape": list(np.shape(leaf)[1:]), "dtype": str(np.dtype(leaf.dtype))} for name, leaf in named
    ]
    return content, inputs, outputs


def _checked_card(card: dict | None) -> dict:
    card = {} if card is None else dict(card)
    if "detector" in card:
        raise ValueError('the card\'s key "detector" is taken by what loading needs; use another')
    try:
        # as the reader will find it
        return kinds.check("card", parse_json("card", json.dumps(card, allow_nan=False)), kinds.anything)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the card must hold what JSON can: {first_line(error)}") from error


def require_free(path: Path) -> None:
    """Raise where a detector cannot be saved: something else is there, or a detector that is damaged."""
    if path.is_dir() and (not any(path.iterdir()) or _is_detector(path)):
        return
    if path.exists() or path.is_symlink():
        raise ValueError(f"{path} exists and is no detector; it is left as it is, give another path")


def _is_detector(path: Path) -> bool:
    try:
        read_card(path)
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
        whole = {**card, "detector": facts}
        facts["sha256"][CARD] = card_digest(whole)
        text = json.dumps(whole, indent=2, allow_nan=False)
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
