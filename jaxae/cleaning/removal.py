"""Train and validation parts without the rows that are suspected to be anomalies."""

from collections.abc import Callable

import numpy as np

from jaxae.cleaning.neighbours import kept_by_neighbours
from jaxae.cleaning.refined import refined
from jaxae.data.splits import Splits, joined

METHODS = ("neighbours", "refined")


def cleaned(
    splits: Splits,
    method: str,
    contamination: float,
    *,
    view: Callable[[np.ndarray], np.ndarray],
    judge: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]],
    seed: int = 0,
) -> tuple[Splits, np.ndarray]:
    """Train and validation without the rows that are taken for anomalies; validation keeps its size.

    Args:
      splits: whose train and validation parts may be contaminated.
      method: "neighbours" (`kept_by_neighbours`) or "refined".
      contamination: share of anomalies, in (0, 1).
      view: `[N, ...] rows -> [N, D]` features between which "neighbours" measures.
      judge: `rows -> (rows -> scores)`, a model of some rows; "refined" trains it in each round.
      seed: seed for the folds.

    Returns:
      The parts, and `[n]` the row numbers that were left out.

    Raises:
      ValueError: there is no such method, or as these raise.

    Example:
      >>> import numpy as np
      >>> from jaxae.cleaning import cleaned
      >>> from jaxae.data import Dataset, splits
      >>> x = np.r_[np.random.default_rng(0).normal(size=(60, 2)), [[50.0, 50.0]]].astype(np.float32)
      >>> parts = splits.split(Dataset("rows", x, None, x[:1] + 1, None), calibration=0, dev=0)
      >>> _, left_out = cleaned(parts, "neighbours", 0.02, view=lambda rows: rows, judge=lambda rows: None)
      >>> 60 in left_out
      True
    """
    rows = np.concatenate([splits.train.x, splits.validation.x])
    if method == "neighbours":
        # images differ in strength as much as in shape, columns of a table are standardised
        keep, _ = kept_by_neighbours(view(rows), contamination, exponent=0.5 if rows.ndim > 2 else 0.0)
    elif method == "refined":
        keep, _ = refined(rows, judge, contamination, seed=seed)
    else:
        raise ValueError(f"there is no method {method!r} of cleaning; there are {', '.join(METHODS)}")
    whole = joined(splits.train, splits.validation)
    left = whole.taken(keep)
    is_train = np.arange(len(left.x)) < len(left.x) - len(splits.validation.x)
    parts = splits._replace(train=left.taken(is_train), validation=left.taken(~is_train))
    return parts, whole.rows[~np.asarray(keep)]
