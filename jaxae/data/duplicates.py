"""Equal rows by hashing: memory and time grow with the number of rows, not of pairs."""

import hashlib
import math
from collections.abc import Iterator

import numpy as np

from jaxae.numerics.arguments import check_arguments


def row_groups(*arrays: np.ndarray) -> list[np.ndarray]:
    """Number the rows so that two rows, of the same array or not, have the same number exactly if they are equal.

    Rows are compared by a 128-bit hash of their bytes; -0.0 equals 0.0.

    Args:
      arrays: arrays `[N_i, ...]` of the same dtype and example shape.

    Returns:
      For each array `[N_i]` int64, numbered in order of first appearance.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.duplicates import row_groups
      >>> [part.tolist() for part in row_groups(np.array([[1.0], [2.0], [1.0]]), np.array([[3.0], [2.0]]))]
      [[0, 1, 0], [2, 1]]
    """
    # 128 bits: the chance that any two of a billion different rows collide is about 1e-21
    seen: dict[bytes, int] = {}
    return [
        np.fromiter((seen.setdefault(digest, len(seen)) for digest in _digests(array, 16)), np.int64, len(array))
        for array in arrays
    ]


def digests(array: np.ndarray) -> np.ndarray:
    """`[N]` uint64 hashes: equal rows have equal hashes, two different rows with probability 2^-64.

    A run keeps the digests of its training rows, to tell later whether a row was among them.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.duplicates import digests
      >>> first, second, third = digests(np.array([[0.0], [1.0], [-0.0]]))
      >>> bool(first == third), bool(first == second)
      (True, False)
    """
    return np.frombuffer(b"".join(_digests(array, 8)), "<u8")


def _digests(array: np.ndarray, size: int) -> Iterator[bytes]:
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    if rows.dtype.kind == "f":  # -0.0 + 0.0 is 0.0: equal numbers then have equal bytes
        rows = rows + 0.0
    rows = np.ascontiguousarray(rows)
    return (hashlib.blake2b(row.data, digest_size=size).digest() for row in rows)


def allot(groups: np.ndarray, counts: list[int], rng: np.random.Generator) -> np.ndarray:
    """Assign whole groups to parts at random, as near to the requested numbers of rows as the groups allow.

    Groups go from large to small, equal sizes in random order. Each group goes to the part that lacks most rows in
    proportion to its requested number, among the parts with room for it. Where none has room, it goes to the part that
    lacks most rows.

    Args:
      groups: `[N]` int64, group of each row.
      counts: number of rows of each part; they sum to N.
      rng: random generator of the order.

    Returns:
      `[N]` int64, the part of each row.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.duplicates import allot
      >>> part = allot(np.array([0, 0, 1, 2]), [2, 2], np.random.default_rng(0))
      >>> bool(part[0] == part[1]), sorted(part.tolist())
      (True, [0, 0, 1, 1])
    """
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    part = np.empty(len(names), np.int64)
    if len(names) == len(groups):  # no duplicates: the groups are rows, and the numbers can be met exactly
        part[rng.permutation(len(names))] = np.repeat(np.arange(len(counts)), counts)
        return part[inverse]
    missing = list(counts)
    # the largest first: small groups can still fill the gaps that large ones leave
    order = rng.permutation(len(names))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        size = int(sizes[group])
        fitting = [p for p, room in enumerate(missing) if room >= size]
        if fitting:
            best = max(fitting, key=lambda p: missing[p] / counts[p])
        else:
            best = max(range(len(counts)), key=missing.__getitem__)
        part[group] = best
        missing[best] -= size
    return part[inverse]


def chosen_share(strata: np.ndarray, groups: np.ndarray | None, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a share of the rows: the same share of each class, or whole groups of equal rows.

    Args:
      strata: `[N]` class of each row.
      groups: `[N]` group of each row, whose rows stay together whatever their classes; None: rows are drawn one by one.
      share: share of the rows that is drawn, in [0, 1).
      rng: decides the draw.

    Returns:
      `[N]` bool, the rows that were drawn.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.duplicates import chosen_share
      >>> drawn = chosen_share(np.array([0, 0, 0, 0, 1, 1]), None, 0.5, np.random.default_rng(0))
      >>> int(drawn[:4].sum()), int(drawn[4:].sum())
      (2, 1)
    """
    drawn = np.zeros(len(strata), bool)
    if not share or not len(strata):
        return drawn
    together = [np.arange(len(strata))]
    for rows in together if groups is not None else [np.flatnonzero(strata == value) for value in np.unique(strata)]:
        count = round(share * len(rows))
        numbers = np.arange(len(rows)) if groups is None else groups[rows]
        drawn[rows] = allot(numbers, [len(rows) - count, count], rng) == 1
    return drawn


check_arguments(__name__)
