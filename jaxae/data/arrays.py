"""Reads `.npz` files and the bundled sample. Never unpickles."""

import json
from pathlib import Path

import numpy as np

from jaxae.data.dataset import Raw
from jaxae.files.arrays import open_arrays
from jaxae.files.messages import listed

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
    with open_arrays(path) as (names, read):
        keys = set(names)

        def get(key: str) -> np.ndarray | None:
            return read(key) if key in keys else None

        if "x_train" in keys:
            if "y_test" in keys and "x_test" not in keys:
                raise ValueError(f"{path}: y_test without x_test; keys present: {listed(sorted(keys))}")
            return Raw(path.name, read("x_train"), get("y_train"), get("x_test"), get("y_test"))
        if "x" in keys:
            return Raw(path.name, read("x"), get("y"))
        if "X" in keys:
            return _adbench(path, read("X"), get("y"))
    known = "x_train (y_train, x_test, y_test) or x (y) or X (y)"
    raise ValueError(f"{path}: needs the keys {known}; has {listed(sorted(keys))}")


def _adbench(path: Path, x: np.ndarray, y: np.ndarray | None) -> Raw:
    if y is None:
        return Raw(path.name, x)
    if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
        raise ValueError(f"{path}: beside X, y must hold 0 (normal) and 1 (anomaly); for other classes use x and y")
    return Raw(path.name, x, y, label_names=("normal", "anomaly"), normal=(0,))
