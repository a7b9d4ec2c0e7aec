"""Cleaning contaminated training rows by the scores of models that were not fitted to them."""

from collections.abc import Callable

import numpy as np

from jaxae.numerics import real_array, require_count, require_within


def refined(
    x: np.ndarray,
    fit: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]],
    contamination: float,
    rounds: int = 4,
    folds: int = 2,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows to train on, when a share of them are unlabelled anomalies.

    In each round a model is fitted to the kept rows outside of each fold and scores the fold. The rows that score
    highest are left out of the next round: first a `rounds`-th of the contamination, at the end all of it. A model
    never scores rows that it was fitted to, whose scores would be too low. A row left out in one round may come back.

    Args:
      x: `[N, ...]` training rows.
      fit: `rows -> (rows -> scores)`, higher is more anomalous; called `rounds * folds` times.
      contamination: share of the rows to leave out at the end, in [0, 1).
      rounds: number of rounds, at least 1.
      folds: number of folds, at least 2.
      seed: seed of the folds, which are redrawn in each round.

    Returns:
      `[N]` bool, the rows to keep, and `[N]` float32, their scores in the last round.

    Raises:
      ValueError: a number is out of its range, or there are fewer than two rows a fold.

    Source: scoring each row by a model of the others is cross-validation; iterated leaving out:
    Beggel, Pfeiffer and Bischl 2019, "Robust Anomaly Detection in Images using Adversarial Autoencoders".

    Example:
      >>> import numpy as np
      >>> from jaxae.cleaning import refined
      >>> x = np.concatenate([np.linspace(-1, 1, 360), np.full(40, 50.0)])[:, None]
      >>> fit = lambda rows: lambda other: np.abs(other - np.mean(rows))[:, 0]
      >>> kept, scores = refined(x, fit, contamination=0.1)
      >>> int(kept.sum()), bool(kept[360:].mean() < 0.2)
      (360, True)
    """
    require_within("contamination", contamination, "[0, 1)")
    contamination, seed = float(contamination), require_count("seed", seed, 0)
    rounds, folds = require_count("rounds", rounds), require_count("folds", folds, 2)
    x = np.asarray(real_array("x", x))
    if not x.ndim:
        raise ValueError("x must be rows [N, ...]; got a single number")
    if len(x) < 2 * folds:
        raise ValueError(f"{len(x)} rows are too few for {folds} folds")
    rng = np.random.default_rng([seed, 0xC1EA4])
    is_kept, scores = np.ones(len(x), bool), np.zeros(len(x), np.float32)
    for round_number in range(1, rounds + 1):
        # new folds in each round: a row is then scored by models of different rows
        fold = rng.permutation(np.arange(len(x)) % folds)
        dropped = np.zeros(len(x), bool)
        for fold_number in range(folds):
            fold_rows = np.flatnonzero(fold == fold_number)
            found = np.asarray(real_array("scores of the model", fit(x[is_kept & (fold != fold_number)])(x[fold_rows])))
            if found.shape != fold_rows.shape or np.isnan(found).any():
                raise ValueError(
                    f"the model must give a number for each of {len(fold_rows)} rows; got shape {found.shape}, "
                    f"{np.isnan(found).sum()} NaN"
                )
            # a rank in the model's own precision: float32 may merge its scores
            scores[fold_rows] = found
            # scores of different models have different scales: each fold leaves out its own highest rows
            # the share grows round by round, since the first models are fitted to contaminated rows
            count = round(contamination * round_number / rounds * len(fold_rows))
            dropped[fold_rows[np.argsort(-found.astype(np.float64), kind="stable")[:count]]] = True
        is_kept = ~dropped
    return is_kept, scores
