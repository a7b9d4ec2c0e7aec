"""The deal: which row of the source was used for what, written once when a run starts and read by everything later.

`deal.json` says where the data was found, what its examples are and how many rows each part has; `deal.npz` holds the
row numbers and a digest of every row, by which a source is recognised whatever it is called by then.
"""

import hashlib
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxae.data import schema as schemas
from jaxae.data.dataset import Dataset
from jaxae.data.duplicates import digests, row_groups
from jaxae.data.schema import Schema
from jaxae.data.splits import Splits
from jaxae.files import kinds as values
from jaxae.files.arrays import Array
from jaxae.files.messages import listed, shown
from jaxae.runs import kinds, reading
from jaxae.runs.folder import write_arrays, write_json

FACTS, ROWS = "deal.json", "deal.npz"
VERSION = 1
# values of one example; more are no schema that was written
MOST_VALUES = 2**28
PARTS = ("train", "validation", "calibration", "dev", "certify", "test")


class Deal(NamedTuple):
    """Who read which row of the source.

    Rows are numbered as in the source; where it has a train and a test part of its own, those of the train part first.

    Attributes:
      spec: what `data.load` was given.
      path: where that was, absolute; None where it is no file.
      name: the data set's name.
      label_column: name of the label's column, or None.
      digest: SHA-256 of all rows and labels, hexadecimal.
      label_names: names of the classes; None without labels.
      normal: names of the normal classes, or of those that were learnt; empty without labels.
      schema: what the examples are, and their ranges in training.
      parts: row numbers `[n]` of each of `PARTS`, in the order in which they were used.
      taught: `[n]` rows of known anomalies that the model learned from.
      left_out: `[n]` rows that cleaning took out of train and validation; None: it has not run.
      groups: `[N]` group of equal rows that each row was dealt with; None: rows were dealt one by one.
      digests: `[N]` uint64 digest of each row's values.
      classes: `[N]` int64 places in `label_names`, -1 without a label.
      num_train: rows of the source's own train part, where it has two parts; else None.
    """

    spec: str
    path: str | None
    name: str
    label_column: str | None
    digest: str
    label_names: tuple[str, ...] | None
    normal: tuple[str, ...]
    schema: Schema
    parts: dict[str, np.ndarray]
    taught: np.ndarray
    left_out: np.ndarray | None
    groups: np.ndarray | None
    digests: np.ndarray
    classes: np.ndarray
    num_train: int | None


def record(
    spec: str,
    dataset: Dataset,
    parts: dict[str, np.ndarray],
    *,
    normal: tuple[str, ...] = (),
    label_column: str | None = None,
    taught: np.ndarray | None = None,
    grouped: bool = False,
) -> Deal:
    """The deal of a run that starts.

    Args:
      spec: what `data.load` was given.
      dataset: what it gave.
      parts: row numbers of the source for some of `PARTS`; train must hold some.
      normal: names of the normal classes.
      label_column: name of the label's column.
      taught: rows of known anomalies.
      grouped: whether equal rows were kept together.

    Example:
      >>> import numpy as np
      >>> from jaxae.data import Dataset
      >>> from jaxae.runs import deal
      >>> x = np.arange(8, dtype=np.float32)[:, None]
      >>> made = deal.record("x.npz", Dataset("x.npz", x[:6], None, x[6:], None), {"train": np.arange(6)})
      >>> made.digests.shape, made.parts["test"].tolist(), made.schema.parts[0].high
      ((8,), [], 5.0)
    """
    values, classes = digested(dataset)
    path = os.path.abspath(os.path.expanduser(spec))
    every = {name: np.asarray(parts.get(name, ()), np.int64) for name in PARTS}
    groups = None
    if grouped:
        groups = np.empty(len(values), np.int64)
        for rows, numbers in zip(source_rows(dataset), row_groups(dataset.x_train, dataset.x_test), strict=True):
            groups[rows] = numbers
    return Deal(
        spec,
        path if os.path.exists(path) else None,
        dataset.name,
        label_column,
        _whole_digest(values, classes, dataset.label_names),
        dataset.label_names,
        tuple(normal),
        schemas.describe(rows_at(dataset, every["train"])[0], dataset.feature_names),
        every,
        np.asarray(() if taught is None else taught, np.int64),
        None,
        groups,
        values,
        classes,
        dataset.num_train,
    )


def of_splits(splits: Splits, dataset: Dataset) -> dict[str, np.ndarray]:
    """The source's row numbers of the parts of a split."""
    train, test = source_rows(dataset)
    return {name: (test if name == "test" else train)[getattr(splits, name).rows] for name in PARTS}


def source_rows(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The source's row numbers of the data set's train and test part."""
    count = len(dataset.x_train)
    train = np.arange(count) if dataset.train_rows is None else dataset.train_rows
    test = count + np.arange(len(dataset.x_test)) if dataset.test_rows is None else dataset.test_rows
    return train, test


def source_names(dataset: Dataset, rows: np.ndarray) -> list[str]:
    """What rows of the source are called in it: a file below its folder, or a row number (`test[12]` where the source
    has a train and a test part)."""
    train, test = source_rows(dataset)
    names: list[str] = [""] * (len(train) + len(test))
    for numbers, files in ((train, dataset.train_files), (test, dataset.test_files)):
        for place, row in enumerate(numbers):
            names[row] = files[place] if files is not None else row_name(int(row), dataset.num_train)
    return [names[row] for row in rows]


def row_name(row: int, num_train: int | None) -> str:
    """A row number as people find it in the source.

    Example:
      >>> from jaxae.runs.deal import row_name
      >>> row_name(12, None), row_name(12, 100), row_name(112, 100)
      ('12', 'train[12]', 'test[12]')
    """
    if num_train is None:
        return str(row)
    return f"train[{row}]" if row < num_train else f"test[{row - num_train}]"


def rows_at(dataset: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Values and classes of the source's rows of these numbers, in this order; no classes where some lack them."""
    train, test = source_rows(dataset)
    place = np.empty(len(train) + len(test), np.int64)
    place[train], place[test] = np.arange(len(train)), len(train) + np.arange(len(test))
    places = place[rows]
    is_test = places >= len(train)
    if not is_test.any():
        y = dataset.y_train
        return dataset.x_train[places], None if y is None else y[places]
    if is_test.all():
        y = dataset.y_test
        return dataset.x_test[places - len(train)], None if y is None else y[places - len(train)]
    x = np.empty((len(rows), *dataset.x_test.shape[1:]), dataset.x_test.dtype)
    x[~is_test], x[is_test] = dataset.x_train[places[~is_test]], dataset.x_test[places[is_test] - len(train)]
    if dataset.y_train is None or dataset.y_test is None:
        return x, None
    classes = np.empty(len(rows), np.int64)
    classes[~is_test] = dataset.y_train[places[~is_test]]
    classes[is_test] = dataset.y_test[places[is_test] - len(train)]
    return x, classes


def sizes_of(deal: Deal) -> dict[str, int]:
    """Rows of each part that has some, and of test.

    Example: see `record`.
    """
    sizes = {name: len(deal.parts[name]) for name in PARTS}
    return {name: size for name, size in sizes.items() if size or name == "test"}


def write(folder: str | os.PathLike, deal: Deal) -> None:
    """Write the deal into a run folder, each file whole or not at all."""
    folder = Path(folder)
    arrays = {f"rows_{name}": rows for name, rows in deal.parts.items()}
    arrays |= {name: getattr(deal, name) for name in ("taught", "digests", "classes")}
    arrays |= {name: value for name in ("left_out", "groups") if (value := getattr(deal, name)) is not None}
    write_arrays(folder / ROWS, **arrays)
    facts = {
        "version": VERSION,
        "source": {name: getattr(deal, name) for name in ("spec", "path", "name", "label_column", "digest")},
        "label_names": deal.label_names,
        "normal": deal.normal,
        "num_train": deal.num_train,
        "sizes": sizes_of(deal),
        "taught": len(deal.taught),
        "left_out": None if deal.left_out is None else len(deal.left_out),
        "schema": schemas.as_json(deal.schema),
        "rows_digest": _rows_digest(arrays),
    }
    write_json(folder / FACTS, facts)


def has_deal(folder: str | os.PathLike) -> bool:
    """Whether a run folder holds a deal."""
    return (Path(folder) / FACTS).is_file()


def read(folder: str | os.PathLike) -> Deal:
    """Read the deal of a run.

    Raises:
      ValueError: there is none, it is of a newer version, or a file of it is damaged.
    """
    folder = Path(folder)
    if not has_deal(folder):
        raise ValueError(f"{folder} holds no {FACTS}: it was written by an earlier version of jaxae; train it anew")
    where = folder / FACTS
    found = reading.read_json(where, values.mapping(values.anything)).get("version")
    if found != VERSION:
        raise ValueError(f"{where}: a deal of version {shown(found)}; this library reads version {VERSION}")
    facts = reading.read_json(where, kinds.DEAL)
    if not (folder / ROWS).is_file():
        raise ValueError(f"{folder} has no {ROWS}, which {FACTS} belongs to")
    arrays = reading.read_arrays(folder / ROWS, kinds.ROWS, kinds.ROWS_TOO, Array("fiubU"))
    if _rows_digest(arrays) != facts["rows_digest"]:
        raise ValueError(f"{folder / ROWS} is damaged: it is not what {FACTS} says (rows_digest)")
    source, names = facts["source"], facts["label_names"]
    deal = Deal(
        source["spec"],
        source["path"],
        source["name"],
        source["label_column"],
        source["digest"],
        None if names is None else tuple(names),
        tuple(facts["normal"]),
        schemas.from_json(str(where), facts["schema"]),
        {name: arrays[f"rows_{name}"] for name in PARTS},
        arrays["taught"],
        arrays.get("left_out"),
        arrays.get("groups"),
        arrays["digests"],
        arrays["classes"],
        facts["num_train"],
    )
    _require_consistent(where, folder / ROWS, deal, facts)
    return deal


def _require_consistent(where: Path, rows: Path, deal: Deal, facts: dict[str, Any]) -> None:
    """The two files speak of the same rows and classes."""
    count = len(deal.digests)
    for name, numbers in {**deal.parts, "taught": deal.taught, "left_out": deal.left_out}.items():
        if numbers is not None and len(numbers) and int(numbers.max()) >= count:
            raise ValueError(f"{rows}: {name} has row {numbers.max()}, and there are {count} rows")
    if count and deal.label_names is not None and int(deal.classes.max()) >= len(deal.label_names):
        raise ValueError(
            f"{where}: label_names has {len(deal.label_names)} names, and rows have the label {deal.classes.max()}"
        )
    said = {
        "sizes": (facts["sizes"], sizes_of(deal)),
        "taught": (facts["taught"], len(deal.taught)),
        "left_out": (facts["left_out"], None if deal.left_out is None else len(deal.left_out)),
    }
    for key, (value, found) in said.items():
        if value != found:
            raise ValueError(f"{where}: {key} is {shown(value)}; {ROWS} has {shown(found)}")
    if deal.label_names is not None and not {*deal.normal} <= {*deal.label_names}:
        raise ValueError(f"{where}: normal is {listed(deal.normal)}, which are not all among label_names")
    if deal.num_train is not None and deal.num_train > count:
        raise ValueError(f"{where}: num_train is {deal.num_train}, and there are {count} rows")
    if math.prod(deal.schema.shape) > MOST_VALUES:
        raise ValueError(f"{where}: schema says that an example has the shape {deal.schema.shape}")


def digested(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Digest and class of each row of the source."""
    train, test = source_rows(dataset)
    values = np.empty(len(train) + len(test), np.uint64)
    classes = np.full(len(values), -1, np.int64)
    for rows, x, y in ((train, dataset.x_train, dataset.y_train), (test, dataset.x_test, dataset.y_test)):
        values[rows] = digests(x)
        if y is not None:
            classes[rows] = y
    return values, classes


def _whole_digest(values: np.ndarray, classes: np.ndarray, names: tuple[str, ...] | None) -> str:
    whole = hashlib.sha256(values.astype("<u8").tobytes())
    whole.update("\0".join(names_of(classes, names).tolist()).encode())
    return whole.hexdigest()


def _rows_digest(arrays: dict[str, np.ndarray]) -> str:
    whole = hashlib.sha256()
    for name in sorted(arrays):
        whole.update(name.encode() + np.ascontiguousarray(arrays[name]).astype("<u8").tobytes())
    return whole.hexdigest()


def names_of(classes: np.ndarray, names: tuple[str, ...] | None) -> np.ndarray:
    """`[N]` names of the rows' classes; empty where a row has none (class -1), or there are no names."""
    if names is None:
        return np.full(len(classes), "")
    # one more at the end, which class -1 reads
    return np.array([*names, ""], np.str_)[classes]
