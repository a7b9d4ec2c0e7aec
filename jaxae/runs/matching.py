"""The rows of a deal found again, by content, in a source that may have changed since."""

import hashlib
from typing import NamedTuple

import numpy as np

from jaxae.data.dataset import Dataset
from jaxae.data.duplicates import digests
from jaxae.data.splits import Part, Splits
from jaxae.runs.deal import PARTS, Deal, digested, names_of, row_name, rows_at


class Match(NamedTuple):
    """How the rows of a source, read again, are those of a deal.

    Attributes:
      rows: `[N]` where each row of the deal is in the source now.
      new: `[m]` rows of the source that the deal does not know.
      moved: whether any of the deal's rows has another number now.
    """

    rows: np.ndarray
    new: np.ndarray
    moved: bool


def match(deal: Deal, dataset: Dataset) -> Match | str:
    """Find a deal's rows in a source that was read again, by content; the text of what changed where one is missing.

    Args:
      deal: what was recorded.
      dataset: the source as it is now.

    Returns:
      A `Match` if every row of the deal is there, with its label; rows may have been added or put in another order.
      Otherwise a text that names what changed.
    """
    values, classes = digested(dataset)
    names = names_of(classes, dataset.label_names)
    before = names_of(deal.classes, deal.label_names)
    if len(values) == len(deal.digests) and (values == deal.digests).all() and (names == before).all():
        return Match(np.arange(len(values)), np.empty(0, np.int64), False)
    position = _places(_keys(deal.digests, before), _keys(values, names))
    lost = np.flatnonzero(position < 0)
    if len(lost):
        return _what_changed(deal, values, lost, len(values))
    new = np.setdiff1d(np.arange(len(values)), position)
    moved = bool((position != np.arange(len(position))).any()) and not _only_appended(deal, dataset, position)
    return Match(position, new, moved)


def dealt(deal: Deal, dataset: Dataset, located: Match) -> Splits:
    """The parts of a deal with their rows: as they were, wherever they are in the source by now."""
    parts = {}
    for name in PARTS:
        rows = deal.parts[name]
        x, classes = rows_at(dataset, located.rows[rows])
        parts[name] = Part(x, _anomalies(deal, dataset, classes, len(rows), name), classes, rows)
    left_out = np.empty(0, np.int64) if deal.left_out is None else deal.left_out
    return Splits(**parts, normal=deal.normal, left_out=left_out, duplicates={})


def labels_of(classes: np.ndarray | None, label_names: tuple[str, ...] | None, normal: tuple[str, ...]) -> np.ndarray:
    """`[N]` int32: 1 where a row's class is none of the normal ones, 0 where it is or there are no labels."""
    if classes is None or label_names is None:
        return np.zeros(0 if classes is None else len(classes), np.int32)
    known = np.array([name in normal for name in label_names])
    return (~known[classes]).astype(np.int32)


def has_taught(deal: Deal, x: np.ndarray) -> np.ndarray:
    """`[N]` bool: rows that equal one that taught the model: of train or validation, or a known anomaly."""
    rows = np.concatenate([deal.parts["train"], deal.parts["validation"], deal.taught])
    return np.isin(digests(x), deal.digests[rows])


def _anomalies(deal, dataset, classes, count, name):
    if classes is None or dataset.label_names is None:
        return None if name == "test" else np.zeros(count, np.int32)
    return labels_of(classes, dataset.label_names, deal.normal)


def _keys(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    """`[N]` structured keys: a row's digest, its label, and which of the rows alike it is."""
    kind = np.dtype([("value", "<u8"), ("label", "<u8")])
    keys = np.empty(len(values), kind)
    keys["value"] = values
    distinct, inverse = np.unique(names, return_inverse=True)
    hashed = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in distinct]
    keys["label"] = np.array(hashed, np.uint64)[inverse]
    return keys


def _places(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Where each key is now, the first of equal ones first; -1 where it is not."""
    order, sorted_now = np.argsort(now, kind="stable"), np.sort(now)
    start = np.searchsorted(sorted_now, before, side="left")
    stop = np.searchsorted(sorted_now, before, side="right")
    by_key = np.argsort(before, kind="stable")
    ordered = before[by_key]
    first = np.searchsorted(ordered, ordered, side="left")
    rank = np.empty(len(before), np.int64)
    rank[by_key] = np.arange(len(before)) - first
    is_there = start + rank < stop
    position = np.full(len(before), -1, np.int64)
    position[is_there] = order[(start + rank)[is_there]]
    return position


def _only_appended(deal: Deal, dataset: Dataset, position: np.ndarray) -> bool:
    """Whether the rows follow each other as they did, within each part of the source."""
    cut = len(position) if deal.num_train is None else deal.num_train
    return all(bool((np.diff(rows) > 0).all()) for rows in (position[:cut], position[cut:]))


def _what_changed(deal: Deal, values: np.ndarray, lost: np.ndarray, count: int) -> str:
    relabelled = int(np.isin(deal.digests[lost], values).sum())
    faults = []
    if relabelled < len(lost):
        faults.append(f"{len(lost) - relabelled} of its {len(deal.digests)} rows have other values or are gone")
    if relabelled:
        faults.append(f"{relabelled} have another label")
    return f"{' and '.join(faults)} (the first: row {row_name(int(lost[0]), deal.num_train)}); it has {count} rows now"
