"""`load(spec)`: from the name of some data to a `Dataset`."""

from pathlib import Path

import numpy as np

from jaxae.data.dataset import Dataset, Factors, Raw, as_examples, as_labels, check_parts, default_normal, encode
from jaxae.data.duplicates import allot, row_groups
from jaxae.data.tables import Columns

TEST_FRACTION = 0.3


def load(
    spec: str | Path,
    *,
    label_column: str | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
    test_fraction: float = TEST_FRACTION,
    group_duplicates: bool = False,
    scoring: bool = False,
    columns: tuple[str, ...] | None = None,
    label_aside: str | None = None,
) -> Dataset:
    """Read a data set into memory and check it.

    - `fashion-sample`: the bundled sample of Fashion-MNIST.
    - `file.npz`: `x_train`, `y_train`, `x_test`, `y_test` (labels and test part optional); or `x`, `y`; or ADBench's
      `X`, `y` (1 = anomaly).
    - a folder: images in `train/<class>/` and `test/<class>/`; or in `<class>/`; or flat, without labels.
    - `file.csv`, `file.parquet`: numeric columns, and the labels in `label_column`.
    - `sprites`, `sprites:colour`, `sprites:room`: images rendered here from known factors (`data.sprites.read`).
    - `tfds:<name>`: a prepared TensorFlow Datasets set, read without TensorFlow.

    A source without a test part gets one: `test_fraction` of each class, at random by `seed`, and `test_rows` keeps
    the source's row numbers. The part is the same at every call with the same arguments.

    Args:
      spec: one of the above.
      label_column: the column of a table that holds the labels, numbers or strings.
      data_dir: where TFDS keeps its sets; else the variable TFDS_DATA_DIR, else TFDS's own default.
      seed: decides the test part of a source that has none.
      test_fraction: its share of the rows, in (0, 1).
      group_duplicates: keep equal rows on one side of that split.
      scoring: whether the data is only to be scored: all rows then go into the test part, in the source's own order
        (train part first), and the train part is empty. A row without a label has class -1.
      columns: names of a table's columns in the order wanted; a table with others is refused. None: all, as they are.
      label_aside: name of a column that is taken for the labels where `label_column` is None and the table has it.

    Returns:
      A `Dataset` of NumPy arrays.

    Raises:
      ValueError: the data cannot be used; one line says what is wrong, where, and what to do.

    Example:
      >>> from jaxae.data import load
      >>> sample = load("fashion-sample")
      >>> sample.x_train.shape, sample.x_train.dtype.name, sample.label_names[sample.normal[0]]
      ((10000, 28, 28, 1), 'uint8', 'Ankle boot')
    """
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    if not str(spec).strip():
        raise ValueError("the name of the data is empty: give a file, a folder, fashion-sample, sprites or tfds:NAME")
    asked = Columns(label_column, label_aside, columns, missing_labels=scoring)
    raw = _read(str(spec), asked, data_dir, seed)
    return _whole(raw) if scoring else _finished(raw, seed, test_fraction, group_duplicates)


def _read(spec: str, asked: Columns, data_dir: str | Path | None, seed: int) -> Raw:
    from jaxae.data import arrays

    path = Path(spec).expanduser()
    suffix = path.suffix.lower()
    if asked.label is not None and suffix not in (".csv", ".parquet"):
        raise ValueError(f"{spec}: a label column is for .csv and .parquet files")
    if spec == "fashion-sample":
        return arrays.read_sample(spec)
    if spec == "sprites" or spec.startswith("sprites:"):
        from jaxae.data import sprites

        return sprites.read(spec.removeprefix("sprites").removeprefix(":"), seed)
    if spec.startswith("tfds:"):
        from jaxae.data import tfds_sets

        return tfds_sets.read(spec.removeprefix("tfds:"), data_dir)
    if not path.exists():
        raise ValueError(f"{spec}: no such file or folder, and not one of fashion-sample, sprites, tfds:<name>")
    if path.is_dir():
        from jaxae.data import folders

        return folders.read(path)
    if suffix == ".npz":
        return arrays.read_npz(path)
    if suffix in (".csv", ".parquet"):
        from jaxae.data import tables

        return tables.read(path, asked)
    raise ValueError(f"{spec}: unknown kind of file {suffix!r}; use .npz, .csv, .parquet or a folder of images")


def _whole(raw: Raw) -> Dataset:
    """Every row of the source as one test part."""
    parts = [("train", raw.x_train, raw.y_train, raw.files)]
    if raw.x_test is not None:
        parts.append(("test", raw.x_test, raw.y_test, raw.test_files))
    x = [as_examples(f"{raw.name}: {name} part", rows) for name, rows, _, _ in parts]
    if len({(rows.shape[1:], rows.dtype) for rows in x}) > 1:
        listed = " and ".join(f"{rows.shape[1:]} {rows.dtype}" for rows in x)
        raise ValueError(f"{raw.name}: its train and test part differ: {listed}")
    y = [
        None if labels is None else as_labels(f"{raw.name}: {name} labels", labels, len(rows))
        for (name, _, labels, _), rows in zip(parts, x, strict=True)
    ]
    known = [labels if labels is None or labels.dtype.kind != "U" else labels[labels != ""] for labels in y]
    names, codes = encode(*known)
    if raw.label_names is not None and names is not None:
        names, *codes = _named(raw, names, *codes)
    classes = None
    if names is not None:
        classes = np.full(sum(map(len, x)), -1, np.int64)
        starts = np.cumsum([0, *map(len, x)])
        for start, labels, found in zip(starts, y, codes, strict=False):
            if labels is not None and found is not None:
                has_label = labels != "" if labels.dtype.kind == "U" else np.ones(len(labels), bool)
                classes[start + np.flatnonzero(has_label)] = found
    files = None if raw.files is None else (*raw.files, *(raw.test_files or ()))
    whole = np.concatenate(x)
    return Dataset(
        raw.name,
        whole[:0],
        None,
        whole,
        classes,
        names,
        raw.normal,
        raw.feature_names,
        raw.card,
        np.arange(len(whole)),
        files,
        num_train=len(x[0]) if len(x) > 1 else None,
    )


def _finished(raw: Raw, seed: int, test_fraction: float, group_duplicates: bool) -> Dataset:
    x, y, card, files = as_examples(f"{raw.name}: train part", raw.x_train), None, dict(raw.card or {}), raw.test_files
    train_files, train_rows, num_train = raw.files, None, None
    if raw.y_train is not None:
        y = as_labels(f"{raw.name}: train labels", raw.y_train, len(x))
    if raw.x_test is not None:
        x_train, y_train, rows, is_test, num_train = x, y, None, None, len(x)
        x_test = as_examples(f"{raw.name}: test part", raw.x_test)
        y_test = None if raw.y_test is None else as_labels(f"{raw.name}: test labels", raw.y_test, len(x_test))
    else:
        is_test = _choose_test(x, y, seed, test_fraction, group_duplicates, raw.name)
        how = {"fraction": test_fraction, "seed": seed, "group_duplicates": group_duplicates}
        card["test_part_split_off"] = how
        rows, train_rows = np.flatnonzero(is_test), np.flatnonzero(~is_test)
        x_train, x_test = x[~is_test], x[rows]
        y_train, y_test = (None, None) if y is None else (y[~is_test], y[rows])
        if raw.files is not None:
            files, train_files = (tuple(raw.files[row] for row in some) for some in (rows, train_rows))
    names, (y_train, y_test) = encode(y_train, y_test)
    if raw.label_names is not None and names is not None:
        names, y_train, y_test = _named(raw, names, y_train, y_test)
    normal = raw.normal if raw.normal is not None else default_normal(names, y_train)
    factors = _factors(raw.factors, rows, is_test)
    return check_parts(
        Dataset(
            raw.name,
            x_train,
            y_train,
            x_test,
            y_test,
            names,
            normal,
            raw.feature_names,
            card,
            rows,
            files,
            factors,
            train_rows,
            train_files,
            num_train,
        )
    )


def _factors(factors: Factors | None, rows: np.ndarray | None, is_test: np.ndarray | None) -> Factors | None:
    """Split as the rows are, where the source has no test part."""
    if factors is None or rows is None or is_test is None:
        return factors
    return factors._replace(train=factors.train[~is_test], test=factors.train[rows])


def _named(raw: Raw, values: tuple[str, ...], *labels: np.ndarray | None):
    """The reader's own class names: its labels are already indices into them."""
    names = raw.label_names or ()
    index = np.array([int(value) for value in values])
    if index.min() < 0 or index.max() >= len(names):
        raise ValueError(f"{raw.name}: labels {index.min()}..{index.max()} for {len(names)} class names")
    return names, *(None if part is None else index[part] for part in labels)


def _choose_test(x, y, seed: int, fraction: float, group_duplicates: bool, name: str) -> np.ndarray:
    """`[N]` bool: a share of each class, at least one row of it on either side where it has two."""
    rng = np.random.default_rng([seed, 0x7E57])
    if len(x) < 2:
        raise ValueError(f"{name}: 1 row cannot be split into a train and a test part")
    is_test = np.zeros(len(x), bool)
    classes = np.zeros(len(x), np.int64) if y is None else np.unique(y, return_inverse=True)[1]
    groups = row_groups(x)[0] if group_duplicates else np.arange(len(x))
    if group_duplicates:  # equal rows of several classes stay together too: the first one's class speaks for all
        classes = classes[np.unique(groups, return_index=True)[1]][groups]
    for value in range(classes.max() + 1):
        rows = np.flatnonzero(classes == value)
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        is_test[rows] = allot(groups[rows], [len(rows) - count, count], rng) == 1
    if is_test.all() or not is_test.any():
        raise ValueError(f"{name}: its {len(x)} rows are too few distinct ones to split off a test part")
    return is_test
