"""The split into train, validation, calibration, dev, certify and test parts, and what reads each.

| part | rows | read by |
| --- | --- | --- |
| train | normals of the train part | the parameters, normalisation, latent banks |
| validation | normals held out | early stopping, and the units of scores that need unseen normals |
| calibration | normals held out | p-values and false-alarm bounds, and nothing else |
| dev | normals held out, and all anomalies of the train part | the choice of λ |
| certify | a share of dev, none by default | bounds on the λ that dev has chosen, and nothing else |
| test | the whole test part | the report, once |

Rows are shuffled by a seed before they are assigned: files are often sorted, and an unshuffled split of
ADBench's letter costs 52 AUROC points. No row is drawn twice: bootstrapping before a split puts the same
rows on both sides of it.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxae.data.dataset import Dataset
from jaxae.data.duplicates import allot, chosen_share, row_groups
from jaxae.files.messages import listed, shown
from jaxae.numerics import as_whole
from jaxae.numerics.arguments import check_arguments

HELD_OUT = ("validation", "calibration", "dev")
LEAST_ROWS = 5


class Part(NamedTuple):
    """Rows of one split, shuffled (the test part is in its own order).

    Attributes:
      x: `[n, ...]` examples.
      labels: `[n]` int32, 1 anomaly, 0 normal; None in a test part without labels.
      classes: `[n]` int64 indices into the data set's `label_names`, or None.
      rows: `[n]` int64 row in the data set's train part; for test, in its test part.
    """

    x: np.ndarray
    labels: np.ndarray | None
    classes: np.ndarray | None
    rows: np.ndarray

    def taken(self, rows: np.ndarray) -> "Part":
        """The part's rows at these positions (indices or booleans), in this order."""
        labels, classes = (None if of is None else of[rows] for of in (self.labels, self.classes))
        return Part(self.x[rows], labels, classes, self.rows[rows])


def joined(part: Part, other: Part) -> Part:
    """The rows of `part`, then those of `other`; labels and classes where both parts have them."""
    labels = None if part.labels is None or other.labels is None else np.concatenate([part.labels, other.labels])
    classes = None if part.classes is None or other.classes is None else np.concatenate([part.classes, other.classes])
    return Part(np.concatenate([part.x, other.x]), labels, classes, np.concatenate([part.rows, other.rows]))


class Splits(NamedTuple):
    """The six parts, disjoint by row.

    Attributes:
      train: normals to fit on.
      validation: normals for early stopping.
      calibration: normals for p-values.
      dev: normals, and all anomalies of the train part, that choose λ.
      certify: rows of the same kind that bound the errors of the chosen λ; often empty.
      test: the whole test part.
      normal: names of the normal classes; empty without labels.
      left_out: rows of the train part in no split: with `group_duplicates`, those that equal a test row.
      duplicates: number of rows of each part but train that equal a row of an earlier part.
    """

    train: Part
    validation: Part
    calibration: Part
    dev: Part
    certify: Part
    test: Part
    normal: tuple[str, ...]
    left_out: np.ndarray
    duplicates: dict[str, int]


def split(
    dataset: Dataset,
    normal: str | int | Sequence[str | int] | None = None,
    seed: int = 0,
    validation: float | int = 0.1,
    calibration: float | int = 0.15,
    dev: float | int = 0.15,
    certify: float = 0.0,
    group_duplicates: bool = False,
) -> Splits:
    """Split a data set: normals at random, the train part's anomalies to dev, the test part to test.

    Without labels in the train part every row of it counts as normal, and dev holds no anomalies.

    Args:
      dataset: data set from `jaxae.data.load`.
      normal: normal class or classes, by name or number; None takes those that the data set declares.
      seed: seed of the random assignment.
      validation: size of the validation part: a share of the train part's normals (float in [0, 1)), or a number of
        rows (int).
      calibration: size of the calibration part, in the same form.
      dev: number of normals in the dev part, in the same form.
      certify: share of dev, the same in each class, that goes to the certify part; in [0, 1).
      group_duplicates: whether equal rows stay in one part, whose size may then be off by a few rows. Normals that
        equal an anomaly go to dev with it; rows of the train part that equal a test row are left out.

    Returns:
      `Splits`.

    Raises:
      ValueError: a class that does not exist (those that do are listed), no class named where one is needed, or
        fewer normals than the split needs (each share has at least 5 rows).

    Warns:
      UserWarning: equal rows in different parts, with their number.

    Example:
      >>> from jaxae.data import load, splits
      >>> parts = splits.split(load("fashion-sample"), normal="Trouser")
      >>> len(parts.train.x), len(parts.validation.x), len(parts.calibration.x), len(parts.test.x)
      (600, 100, 150, 2000)
      >>> int(parts.dev.labels.sum()), len(parts.dev.labels)
      (9000, 9150)
    """
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    chosen = normal_classes(dataset, normal)
    train_labels = _labels(dataset.y_train, chosen)
    groups, test_groups = row_groups(dataset.x_train, dataset.x_test)
    rng = np.random.default_rng([seed, 0x5B117])
    sizes = (validation, calibration, dev)
    home = _deal(train_labels, groups, test_groups, sizes, rng, group_duplicates)
    strata = np.zeros(len(groups)) if dataset.y_train is None else dataset.y_train
    _set_aside(home, certify, strata, groups, rng, group_duplicates)

    def take(place: int) -> Part:
        rows = rng.permutation(np.flatnonzero(home == place))
        labels = np.zeros(len(rows), np.int32) if train_labels is None else train_labels[rows]
        return Part(dataset.x_train[rows], labels, None if dataset.y_train is None else dataset.y_train[rows], rows)

    # `home` counts the parts in the order train, HELD_OUT, certify
    train, held_out = take(0), (take(1), take(2), take(3), take(4))
    test = Part(dataset.x_test, _labels(dataset.y_test, chosen), dataset.y_test, np.arange(len(dataset.x_test)))
    duplicates = _duplicates(groups[train.rows], [groups[part.rows] for part in held_out], test_groups)
    _warn(duplicates, [len(part.rows) for part in (*held_out, test)])
    names = () if dataset.label_names is None else tuple(dataset.label_names[c] for c in chosen)
    left_out = np.flatnonzero(home < 0)
    return Splits(train, *held_out, test, names, left_out, duplicates)


def sizes_of(splits: Splits) -> dict[str, int]:
    """Number of rows of each part; an empty certify part is not listed.

    Example:
      >>> from jaxae.data import load, splits
      >>> splits.sizes_of(splits.split(load("fashion-sample"), normal="Trouser"))
      {'train': 600, 'validation': 100, 'calibration': 150, 'dev': 9150, 'test': 2000}
    """
    names = ("train", *HELD_OUT, "certify", "test")
    sizes = {name: len(getattr(splits, name).x) for name in names}
    return {name: size for name, size in sizes.items() if size or name != "certify"}


def _set_aside(home, share: float, strata, groups, rng: np.random.Generator, group_duplicates: bool) -> None:
    """Move a share of dev to certify, in place: the same share of each class, or whole groups of equal rows."""
    if not 0 <= share < 1:
        raise ValueError(f"certify must be a share of dev in [0, 1), got {share}")
    dev = np.flatnonzero(home == 1 + HELD_OUT.index("dev"))
    certify = chosen_share(strata[dev], groups[dev] if group_duplicates else None, share, rng)
    home[dev[certify]] = 1 + len(HELD_OUT)


def _deal(labels, groups, test_groups, sizes, rng: np.random.Generator, group_duplicates: bool) -> np.ndarray:
    """Part of each row of the data set's train part: 0 train, 1.. as in `HELD_OUT`, -1 none."""
    to_dev = np.zeros(len(groups), bool) if labels is None else labels == 1
    usable = np.ones(len(groups), bool)
    if group_duplicates:
        usable = ~np.isin(groups, test_groups)
        to_dev = np.isin(groups, groups[to_dev])
    candidates = np.flatnonzero(usable & ~to_dev)
    counts = _counts(len(candidates), sizes)
    home = np.full(len(groups), -1)
    home[usable & to_dev] = 1 + HELD_OUT.index("dev")
    home[candidates] = allot(groups[candidates] if group_duplicates else np.arange(len(candidates)), counts, rng)
    for place, (part, count) in enumerate(zip(("train", *HELD_OUT), counts, strict=True)):
        if count and not (home == place).any():
            raise ValueError(f"{part} came out empty: equal rows stay together, and too few of the rows are distinct")
    return home


def normal_classes(dataset: Dataset, normal: str | int | Sequence[str | int] | None = None) -> tuple[int, ...]:
    """The normal classes as indices into `label_names`; empty for data without labels.

    A label that is a class name is taken as a name; a whole number that is no name is taken as an index.

    Raises:
      ValueError: no such class (those that exist are listed), or none given and the data set declares none.

    Example:
      >>> from jaxae.data import load, splits
      >>> splits.normal_classes(load("fashion-sample"), ["Trouser", 9])
      (1, 9)
    """
    names = dataset.label_names
    if names is None:
        if normal is not None:
            raise ValueError(f"{dataset.name} has no labels, so no class {shown(normal)}: every row counts as normal")
        return ()
    there_are = listed(names, 20)
    if normal is None:
        if dataset.normal is None:
            raise ValueError(f"{dataset.name}: say which class is normal (--normal); the classes are {there_are}")
        return tuple(dataset.normal)
    wanted = [normal] if isinstance(normal, str | int) else list(normal)
    if not wanted:
        raise ValueError(f"no normal class given; the classes are {there_are}")
    chosen = set()
    for label in map(str, wanted):
        if label in names:
            chosen.add(names.index(label))
        elif label.isdecimal() and int(label) < len(names) and not all(_is_number(name) for name in names):
            chosen.add(int(label))
        else:
            raise ValueError(f"{dataset.name} has no class {shown(label)}; the classes are {there_are}")
    return tuple(sorted(chosen))


def _is_number(name: str) -> bool:
    return name.lstrip("-").isdecimal()


def _labels(classes: np.ndarray | None, normal: tuple[int, ...]) -> np.ndarray | None:
    return None if classes is None else (~np.isin(classes, normal)).astype(np.int32)


def _counts(num_normals: int, sizes: Sequence[float | int]) -> list[int]:
    """Rows of train and of each held-out part."""
    counts = []
    for name, size in zip(HELD_OUT, sizes, strict=True):
        share = as_whole(size) is None
        if share and not 0 <= size < 1:
            raise ValueError(f"{name} must be a share in [0, 1) or a whole number of rows, got {size}")
        if size < 0:
            raise ValueError(f"{name} must not be negative, got {size}")
        counts.append(max(LEAST_ROWS, round(size * num_normals)) if share and size else int(size))
    train = num_normals - sum(counts)
    if train < LEAST_ROWS:
        held_out = ", ".join(f"{count} for {name}" for name, count in zip(HELD_OUT, counts, strict=True))
        raise ValueError(
            f"the split needs at least {sum(counts) + LEAST_ROWS} normal rows ({held_out}, {LEAST_ROWS} for train); "
            f"the train part has {num_normals}"
        )
    return [train, *counts]


def _duplicates(train: np.ndarray, held_out: list[np.ndarray], test: np.ndarray) -> dict[str, int]:
    """For each later part, how many of its rows equal a row of an earlier one."""
    found, seen = {}, train
    for name, groups in zip((*HELD_OUT, "certify", "test"), (*held_out, test), strict=True):
        found[name] = int(np.isin(groups, seen).sum())
        seen = np.concatenate([seen, groups])
    return found


def _warn(duplicates: dict[str, int], sizes: list[int]) -> None:
    total = sum(duplicates.values())
    if total:
        where = [f"{name} {n} of {size}" for (name, n), size in zip(duplicates.items(), sizes, strict=True) if n]
        warnings.warn(
            f"equal rows in different splits: {total} ({', '.join(where)}); scores on them flatter the model; "
            "--group-duplicates keeps equal rows together",
            stacklevel=3,
        )


check_arguments(__name__)
