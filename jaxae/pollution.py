"""What the commands do about training rows that anomalies pollute, and with a few known anomalies."""

import pathlib
import tempfile
from collections.abc import Callable

import jax
import numpy as np

from jaxae import scoring
from jaxae.data import Splits
from jaxae.numerics import as_batch
from jaxae.recipes import Recipe
from jaxae.train import refined
from jaxae.training import fit_recipe

BATCH = 256


def refined_splits(splits: Splits, recipe: Recipe, contamination: float, seed: int, echo: Callable) -> Splits:
    """Train and validation without the rows that models of the others take for anomalies; see `train.refined`.

    Args:
      splits: whose train and validation parts may be polluted.
      recipe: trained and scored with in each round.
      contamination: the share of rows to leave out.
      seed: of the folds and the trainings.
      echo: takes a line on what was left out.
    """
    rows = np.concatenate([splits.train.x, splits.validation.x])
    held_out = max(1, len(splits.validation.x))

    def fit(some: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        share = max(1, round(len(some) * held_out / len(rows)))
        with tempfile.TemporaryDirectory() as folder:
            state = fit_recipe(recipe, some[share:], some[:share], pathlib.Path(folder), seed)
        arrays = recipe.scorer.fit(state.params["model"], state.state["model"], as_batch(some))
        score = jax.jit(lambda batch: recipe.scorer.apply(arrays, jax.random.key(seed), as_batch(batch)))
        return lambda others: np.asarray(scoring.score_batches(score, others, BATCH))

    kept, _ = refined(rows, fit, contamination, seed=seed)
    echo(f"{int((~kept).sum())} of {len(rows)} rows left out as suspected anomalies")
    in_train = kept[: len(splits.train.x)]
    return splits._replace(
        train=splits.train.taken(in_train), validation=splits.validation.taken(kept[len(in_train) :])
    )


def known_anomalies(splits: Splits, number: int) -> tuple[np.ndarray, Splits]:
    """The first anomalies of dev, to be taught to the model, and the splits without them there.

    Args:
      splits: with anomalies in dev.
      number: how many; 0 is none.

    Raises:
      ValueError: the number is negative, or dev has fewer.
    """
    if number < 0:
        raise ValueError(f"the number of known anomalies must not be negative, got {number}")
    rows = np.flatnonzero(np.asarray(splits.dev.labels))[:number]
    if len(rows) < number:
        raise ValueError(f"{number} known anomalies are wanted and dev has {len(rows)}")
    others = np.setdiff1d(np.arange(len(splits.dev.x)), rows)
    return splits.dev.x[rows], splits._replace(dev=splits.dev.taken(others))
