"""Reads `.csv` and `.parquet` tables through Arrow."""

from pathlib import Path

import numpy as np

from jaxae.data.dataset import Raw


def read(path: Path, label_column: str | None) -> Raw:
    """Numeric columns as features `[N, D]`, one column as labels.

    Missing values become NaN and are refused later, with their count.

    Raises:
      ValueError: unreadable, no such label column (those that exist are listed), or columns that are not numeric.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        table = csv.read_csv(path) if path.suffix.lower() == ".csv" else parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable table ({str(error).splitlines()[0]})") from None
    columns = table.column_names
    if len(set(columns)) < len(columns):
        twice = sorted({column for column in columns if columns.count(column) > 1})
        raise ValueError(f"{path}: columns of the same name: {', '.join(twice)}")
    if label_column is not None and label_column not in columns:
        raise ValueError(f"{path}: no column {label_column!r}; the columns are {', '.join(columns)}")
    features = [column for column in columns if column != label_column]
    if not features:
        raise ValueError(f"{path}: no columns beside the labels")
    if table.num_rows == 0:
        raise ValueError(f"{path} is empty: a header and no rows")
    others = [f"{column} ({table[column].type})" for column in features if not _is_numeric(table[column].type)]
    if others:
        hint = "" if label_column else "; is one of them the label column (--label-column)?"
        raise ValueError(f"{path}: columns that are not numeric: {', '.join(others)}{hint}")
    x = np.stack([_numbers(table[column]) for column in features], 1)
    y = None if label_column is None else _labels(path, label_column, table[label_column])
    return Raw(path.name, x, y, feature_names=tuple(features))


def _is_numeric(kind) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)


def _numbers(column) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False).to_numpy()


def _labels(path: Path, name: str, column) -> np.ndarray:
    import pyarrow as pa

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
