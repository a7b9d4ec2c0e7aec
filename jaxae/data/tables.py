"""Reads `.csv` and `.parquet` tables through Arrow."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxae.data.dataset import Raw


class Columns(NamedTuple):
    """Which columns of a table are wanted.

    Attributes:
      label: name of the column that holds the labels; None: none was named.
      label_aside: name of the label's column where there is one of that name and `label` is None.
      features: names of the feature columns in the order wanted; None: all others, as they are.
      missing_labels: whether a label may be missing; it is then the empty string.
    """

    label: str | None = None
    label_aside: str | None = None
    features: tuple[str, ...] | None = None
    missing_labels: bool = False


def read(path: Path, asked: Columns) -> Raw:
    """Numeric columns as features `[N, D]`, one column as labels.

    Missing values become NaN and are refused later, with their count.

    Raises:
      ValueError: unreadable, no such label column (those that exist are listed), columns that are not numeric, or
        others than those wanted.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        table = csv.read_csv(path) if path.suffix.lower() == ".csv" else parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable table ({str(error).splitlines()[0]})") from None
    columns = table.column_names
    label_column = asked.label or (asked.label_aside if asked.label_aside in columns else None)
    if len(set(columns)) < len(columns):
        twice = sorted({column for column in columns if columns.count(column) > 1})
        raise ValueError(f"{path}: columns of the same name: {', '.join(twice)}")
    if label_column is not None and label_column not in columns:
        raise ValueError(f"{path}: no column {label_column!r}; the columns are {', '.join(columns)}")
    features = [column for column in columns if column != label_column]
    if asked.features is not None:
        _require_same(path, asked.features, features)
        features = list(asked.features)
    if not features:
        raise ValueError(f"{path}: no columns beside the labels")
    if table.num_rows == 0:
        raise ValueError(f"{path} is empty: a header and no rows")
    others = [f"{column} ({table[column].type})" for column in features if not _is_numeric(table[column].type)]
    if others:
        hint = "" if label_column else "; is one of them the label column (--label-column)?"
        raise ValueError(f"{path}: columns that are not numeric: {', '.join(others)}{hint}")
    x = np.stack([_numbers(table[column]) for column in features], 1)
    y = None
    if label_column is not None:
        y = _labels(path, label_column, table[label_column], asked.missing_labels)
    return Raw(path.name, x, y, feature_names=tuple(features))


def _require_same(path: Path, wanted: tuple[str, ...], columns: list[str]) -> None:
    lists = {
        "missing": [name for name in wanted if name not in columns],
        "unknown": [name for name in columns if name not in wanted],
    }
    if any(lists.values()):
        listed = "; ".join(f"{what}: {', '.join(names)}" for what, names in lists.items() if names)
        hint = "; is one of them the label (--label-column)?" if lists["unknown"] and not lists["missing"] else ""
        raise ValueError(f"{path}: its columns are not those of training: {listed}{hint}")


def _is_numeric(kind) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)


def _numbers(column) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False).to_numpy()


def _labels(path: Path, name: str, column, missing: bool) -> np.ndarray:
    import pyarrow as pa

    if column.null_count and missing:
        values = column.to_pylist()
        whole = [int(v) if (isinstance(v, float) and v.is_integer()) or isinstance(v, bool) else v for v in values]
        return np.array(["" if value is None else str(value) for value in whole], dtype=np.str_)
    if column.null_count:
        first = column.is_null().to_pylist().index(True)
        raise ValueError(f"{path}: {column.null_count} labels are missing in {name!r}, the first in row {first}")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    if not _is_numeric(column.type):
        raise ValueError(f"{path}: labels must be numbers or strings, {name!r} holds {column.type}")
    return column.to_numpy()
