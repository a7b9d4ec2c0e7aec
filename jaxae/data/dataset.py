"""`Dataset`, what every reader returns, and the checks that it passes before anybody trains on it."""

from typing import Any, NamedTuple

import numpy as np

from jaxae.numerics import first_nonfinite


class Factors(NamedTuple):
    """The ground-truth factors of a data set's examples.

    Attributes:
      names: F names.
      sizes: how many values each has; they are 0..size - 1.
      train: `[N, F]` int32, of the rows of `x_train`.
      test: `[M, F]` int32, or None before a test part is split off.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    train: np.ndarray
    test: np.ndarray | None = None


class Dataset(NamedTuple):
    """A data set in memory: a train part and a test part.

    Attributes:
      name: where it came from, e.g. "fashion-sample".
      x_train: `[N, H, W, C]` images, uint8 or float32 in 0..1; or `[N, D]` table rows, float32.
      y_train: `[N]` int64 that index `label_names`; None without labels.
      x_test: `[M, ...]`, like `x_train`.
      y_test: `[M]` int64, or None.
      label_names: the classes' names; None without labels.
      normal: the default normal classes, as indices into `label_names`; None where the data does not say.
      feature_names: `D` column names of a table, or None.
      card: what is known about the data (source, licence, how the test part came about); JSON-able, or None.
      test_rows: `[M]` int64, the rows of the source that became the test part; None where the source itself has a
        test part, whose rows are then simply numbered.
      test_files: `M` paths below an image folder, or None.
      factors: the ground-truth factors, where the data set has them.
      train_rows: `[N]` int64, as `test_rows`.
      train_files: `N` paths, as `test_files`.
      num_train: number of rows of the source's own train part, where it has both parts; else None.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    label_names: tuple[str, ...] | None = None
    normal: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    card: dict[str, Any] | None = None
    test_rows: np.ndarray | None = None
    test_files: tuple[str, ...] | None = None
    factors: Factors | None = None
    train_rows: np.ndarray | None = None
    train_files: tuple[str, ...] | None = None
    num_train: int | None = None


class Raw(NamedTuple):
    """What a reader of files returns, before any check.

    Attributes:
      name: as in `Dataset`.
      x_train: all rows, where the source has no test part.
      y_train: numbers or strings, or None.
      x_test: None where the source has no test part.
      y_test: numbers or strings, or None.
      label_names: where the labels already index them.
      normal: as in `Dataset`.
      feature_names: as in `Dataset`.
      files: the path of each row of `x_train`, or None.
      test_files: the path of each row of `x_test`, or None.
      card: as in `Dataset`.
      factors: as in `Dataset`.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray | None = None
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    label_names: tuple[str, ...] | None = None
    normal: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    files: tuple[str, ...] | None = None
    test_files: tuple[str, ...] | None = None
    card: dict[str, Any] | None = None
    factors: Factors | None = None


def as_examples(where: str, x: np.ndarray) -> np.ndarray:
    """Bring an array into the library's form, or say in one line why it cannot be done.

    `[N, D]` becomes a float32 table. `[N, H, W]` gets a channel axis. Images stay uint8; whole numbers in 0..255
    become uint8; floating images become float32 and must lie in 0..1.

    Args:
      where: the array's name, for messages.
      x: numbers or booleans, 2 to 4 axes.

    Raises:
      ValueError: no numbers, wrong number of axes, an axis of length 0, NaN or infinite values (count and first
        row), pixels out of range.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.dataset import as_examples
      >>> images = as_examples("x", np.zeros((5, 28, 28), np.uint8))
      >>> images.shape, images.dtype.name
      ((5, 28, 28, 1), 'uint8')
    """
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{where}: needs numbers, got dtype {x.dtype}")
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"{where}: needs a table [N, D] or images [N, H, W] or [N, H, W, C], got shape {x.shape}")
    if len(x) == 0:
        raise ValueError(f"{where} is empty: shape {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"{where}: an axis has length 0 in shape {x.shape}")
    _check_finite(where, x)
    return _as_table(where, x) if x.ndim == 2 else _as_images(where, x if x.ndim == 4 else x[..., None])


def _check_finite(where: str, x: np.ndarray) -> None:
    count, first = first_nonfinite(x)
    if count:
        row = first // int(np.prod(x.shape[1:]))
        raise ValueError(f"{where}: NaN or infinite values: {count}, the first in row {row}; fill or drop such rows")


def _as_table(where: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        table = np.ascontiguousarray(x, np.float32)
    if not np.isfinite(table).all():
        raise ValueError(f"{where}: values up to {np.abs(x).max():.3g} overflow float32; rescale the columns")
    return table


def _as_images(where: str, x: np.ndarray) -> np.ndarray:
    if x.shape[1] in (1, 3) and x.shape[3] > 4:
        raise ValueError(f"{where}: shape {x.shape} looks channels-first; the library reads [N, H, W, C]")
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype == bool:
        return x.astype(np.uint8) * np.uint8(255)
    low, high = x.min(), x.max()
    if x.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise ValueError(f"{where}: integer pixels must lie in 0..255, found {low}..{high}")
        return x.astype(np.uint8)
    if low < 0 or high > 1:
        raise ValueError(f"{where}: floating pixels must lie in 0..1, found {low:.4g}..{high:.4g}; rescale them")
    return x.astype(np.float32)


def as_labels(where: str, y: np.ndarray, rows: int) -> np.ndarray:
    """Labels as `[N]` strings, whole numbers written without a point; `encode` turns them into int64.

    Raises:
      ValueError: wrong length or shape, fractions, missing labels.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (rows,):
        raise ValueError(f"{where}: needs one label per row, shape ({rows},), got {y.shape}")
    if y.dtype.kind == "f":
        _check_finite(where, y[:, None])
        if (y != np.round(y)).any():
            raise ValueError(f"{where}: labels must be whole numbers or strings, found {y[y != np.round(y)][0]:.4g}")
        y = y.astype(np.int64)
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.dtype.kind not in "iuU":
        raise ValueError(f"{where}: labels must be whole numbers or strings, got dtype {y.dtype}")
    return y


def encode(*labels: np.ndarray | None) -> tuple[tuple[str, ...] | None, list[np.ndarray | None]]:
    """The classes' names in order (numbers by value, strings alphabetically), and each part's indices into them.

    Raises:
      ValueError: one part has numbers, another has strings.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.dataset import encode
      >>> names, (train, test) = encode(np.array([7, -1, 7]), np.array([10]))
      >>> names, train.tolist(), test.tolist()
      (('-1', '7', '10'), [1, 0, 1], [2])
    """
    given = [part for part in labels if part is not None]
    if not given:
        return None, [None for _ in labels]
    if len({part.dtype.kind == "U" for part in given}) > 1:
        raise ValueError("labels: numbers in one part and strings in the other; use one kind")
    values = np.unique(np.concatenate(given))
    codes = [None if part is None else np.searchsorted(values, part).astype(np.int64) for part in labels]
    return tuple(str(value) for value in values), codes


def default_normal(names: tuple[str, ...] | None, y_train: np.ndarray | None) -> tuple[int, ...] | None:
    """The normal class where the data says so itself, else None.

    In this order: the only class of the train part; a class called "normal" or "good" (any case); class 0 where
    the classes are exactly 0 and 1.

    Example:
      >>> from jaxae.data.dataset import default_normal
      >>> default_normal(("crack", "good"), None), default_normal(("0", "1"), None), default_normal(("a", "b"), None)
      ((1,), (0,), None)
    """
    if names is None:
        return None
    if y_train is not None and len(y_train) and (y_train == y_train[0]).all():
        return (int(y_train[0]),)
    called = [i for i, name in enumerate(names) if name.lower() in ("normal", "good")]
    if len(called) == 1:
        return (called[0],)
    return (0,) if names == ("0", "1") else None


def check_parts(dataset: Dataset) -> Dataset:
    """The data set itself, if its parts fit each other and hold something to learn.

    Raises:
      ValueError: train and test examples differ in shape or dtype, or all rows of the train part are equal.
    """
    train, test = dataset.x_train, dataset.x_test
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise ValueError(
            f"train and test examples differ: {train.shape[1:]} {train.dtype} and {test.shape[1:]} {test.dtype}"
        )
    if len(train) > 1 and (train == train[:1]).all():
        raise ValueError(f"constant data set: all {len(train)} rows of the train part are equal")
    return dataset
