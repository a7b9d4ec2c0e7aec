"""Reads `.npz` files and the bundled sample. Never unpickles."""

import json
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxae.data.dataset import Raw

SAMPLES = Path(__file__).parent / "samples"


def read_sample(name: str) -> Raw:
    """A sample that ships with the package: `samples/<name>.npz` with its card `samples/<name>.json`."""
    card = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    names = tuple(card["label_names"])
    normal = tuple(names.index(label) for label in card["normal"])
    return read_npz(SAMPLES / f"{name}.npz")._replace(name=name, label_names=names, normal=normal, card=card)


def read_npz(path: Path) -> Raw:
    """Raw arrays under `x_train`, `y_train`, `x_test`, `y_test`; or `x`, `y`; or ADBench's `X`, `y`.

    Raises:
      ValueError: not an npz file, none of these keys, labels without rows, or an array of Python objects.
    """
    with path.open("rb") as stream:  # np.load does not close what it fails to read
        return _read(path, stream)


def _read(path: Path, stream: BinaryIO) -> Raw:
    try:
        file = np.load(stream, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable .npz file ({_line(error)})") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError(f"{path}: holds one bare array; save it as .npz with the key x")
    with file:
        keys = set(file.files)

        def get(key: str) -> np.ndarray | None:
            return _array(path, file, key) if key in keys else None

        if "x_train" in keys:
            if "y_test" in keys and "x_test" not in keys:
                raise ValueError(f"{path}: y_test without x_test; keys present: {_listed(keys)}")
            return Raw(path.name, _array(path, file, "x_train"), get("y_train"), get("x_test"), get("y_test"))
        if "x" in keys:
            return Raw(path.name, _array(path, file, "x"), get("y"))
        if "X" in keys:
            return _adbench(path, _array(path, file, "X"), get("y"))
    raise ValueError(f"{path}: needs the keys x_train (y_train, x_test, y_test) or x (y) or X (y); has {_listed(keys)}")


def _adbench(path: Path, x: np.ndarray, y: np.ndarray | None) -> Raw:
    if y is None:
        return Raw(path.name, x)
    if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
        raise ValueError(f"{path}: beside X, y must hold 0 (normal) and 1 (anomaly); for other classes use x and y")
    return Raw(path.name, x, y, label_names=("normal", "anomaly"), normal=(0,))


def _array(path: Path, file, key: str) -> np.ndarray:
    try:
        return file[key]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error):
            raise ValueError(
                f"{path}: {key} holds Python objects (a pickle), which are never loaded; save numbers or strings"
            ) from None
        raise ValueError(f"{path}: {key} is damaged ({_line(error)})") from None


def _listed(keys) -> str:
    return ", ".join(sorted(keys)) or "none"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
