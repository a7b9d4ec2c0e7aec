"""ADBench's data tables in halves: train on half of the normals, test on the other half and all anomalies.

There are two protocols. The published protocol is the one of the literature and has two faults: rows are taken in the
order of the file, which is often sorted, and small sets are filled up with copies *before* they are halved, so that
test rows are among the training rows. The clean protocol shuffles and copies nothing.

Source: the sets: Han et al. 2022, "ADBench: Anomaly Detection Benchmark"; the published protocol: Livernoche et al.
2024, "On Diffusion Modeling for Anomaly Detection".
"""

from typing import NamedTuple

import numpy as np

from jaxae.numerics.arguments import check_arguments

LEAST = 1000
MOST = 50_000


class Halves(NamedTuple):
    """A data table divided for one-class detection, unscaled.

    Attributes:
      train: `[n, D]` float64, normals alone.
      test: `[m, D]` float64, the remaining normals and all anomalies.
      labels: `[m]` int32, 1 anomaly, 0 normal.
    """

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


def published_split(x: np.ndarray, y: np.ndarray, seed: int = 0) -> Halves:
    """The first half of the normals in file order against the rest.

    A table under 1,000 rows is first filled to 1,000 by drawing with replacement, one over 50,000 rows is first
    cut to 50,000 by drawing without. In between the seed changes nothing.

    Args:
      x: `[N, D]` numbers.
      y: `[N]`, 1 anomaly, 0 normal.
      seed: seed of the draw.

    Returns:
      `Halves`.

    Raises:
      ValueError: x is not `[N, D]`, labels are not `[N]` or not 0 and 1, or there are fewer than 2 normals.

    Example:
      >>> import numpy as np
      >>> from jaxae.data import adbench
      >>> x, y = np.arange(2000.0)[:, None], np.arange(2000) >= 1800
      >>> halves = adbench.published_split(x, y)
      >>> halves.train[[0, -1], 0].tolist(), halves.test.shape, int(halves.labels.sum())
      ([0.0, 899.0], (1100, 1), 200)
    """
    x, y = _checked(x, y)
    if not LEAST <= len(x) <= MOST:
        # the legacy generator, which the published figures were drawn with
        drawn = np.random.RandomState(seed).choice(len(x), min(max(len(x), LEAST), MOST), replace=len(x) < LEAST)
        x, y = x[drawn], y[drawn]
    return _halved(x, y, np.arange(len(x)))


def clean_split(x: np.ndarray, y: np.ndarray, seed: int = 0) -> Halves:
    """A random half of the normals against the rest; no row is in both.

    A table over 50,000 rows is first cut to 50,000 by drawing without replacement.

    Args:
      x: `[N, D]` numbers.
      y: `[N]`, 1 anomaly, 0 normal.
      seed: seed of the shuffle.

    Returns:
      `Halves`.

    Raises:
      ValueError: as `published_split`.

    Example:
      >>> import numpy as np
      >>> from jaxae.data import adbench
      >>> halves = adbench.clean_split(np.arange(10.0)[:, None], np.arange(10) >= 8)
      >>> sorted(np.concatenate([halves.train, halves.test])[:, 0].tolist()) == list(range(10))
      True
      >>> len(halves.train), len(halves.test), int(halves.labels.sum())
      (4, 6, 2)
    """
    x, y = _checked(x, y)
    return _halved(x, y, np.random.default_rng([seed, 0xADBE]).permutation(len(x))[:MOST])


def _checked(x, y):
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"a table [N, D] and labels [N] are needed; got {x.shape} and {y.shape}")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"labels must be 0 (normal) or 1 (anomaly); got {np.unique(y)[:5].tolist()}")
    if (normals := int((y == 0).sum())) < 2:
        raise ValueError(f"halving needs at least 2 normals; got {normals} in {len(y)} rows")
    return x, y.astype(np.int32)


def _halved(x, y, order):
    normals, anomalies = order[y[order] == 0], order[y[order] == 1]
    half = round(len(normals) / 2)  # a half goes to the even number, as in the published tables
    test = np.concatenate([normals[half:], anomalies])
    return Halves(x[normals[:half]].astype(np.float64), x[test].astype(np.float64), y[test])


check_arguments(__name__)
