"""What the commands do about training rows that anomalies pollute, and with a few known anomalies."""

import pathlib
import tempfile
from collections.abc import Callable

import jax
import numpy as np

from jaxae import cleaning, recipes, scoring
from jaxae.data import Splits
from jaxae.data.splits import joined
from jaxae.jobs.train import fit_recipe
from jaxae.numerics import as_batch
from jaxae.recipes.autoencoder import Recipe

BATCH = 256


def cleaned_splits(splits: Splits, recipe: Recipe, how: str, contamination: float, seed: int, echo: Callable) -> Splits:
    """Train and validation without the rows that are taken for anomalies; validation keeps its size.

    Args:
      splits: whose train and validation parts may be polluted.
      recipe: its scaling is what "neighbours" looks at; "refined" trains and scores with it in each round.
      how: "neighbours" (`cleaning.kept_by_neighbours`) or "refined" (`cleaning.refined`); otherwise nothing is done.
      contamination: the share of anomalies.
      seed: of the folds and the trainings.
      echo: takes a line on what was left out.
    """
    if how not in recipes.CLEANING or not contamination:
        return splits
    rows = np.concatenate([splits.train.x, splits.validation.x])
    if how == "neighbours":
        kept = _by_neighbours(rows, recipe, contamination)
    else:
        judge = _judge(recipe, len(splits.validation.x) / len(rows), seed)
        kept, _ = cleaning.refined(rows, judge, contamination, seed=seed)
    echo(f"{int((~kept).sum())} of {len(rows)} rows left out as suspected anomalies")
    both = joined(splits.train, splits.validation).taken(kept)
    place = np.arange(len(both.x)) < len(both.x) - len(splits.validation.x)
    return splits._replace(train=both.taken(place), validation=both.taken(~place))


def _by_neighbours(rows: np.ndarray, recipe: Recipe, contamination: float) -> np.ndarray:
    viewed = jax.jit(lambda x: scoring.latent.inputs((), (), recipe.scaling(None, as_batch(x))))
    x = scoring.score_batches(viewed, rows, BATCH)
    kept, _ = cleaning.kept_by_neighbours(x, contamination, exponent=0.5 if rows.ndim > 2 else 0.0)
    return kept


def _judge(recipe: Recipe, share: float, seed: int) -> Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """`rows -> (rows -> scores)`: the recipe trained, the share of the rows held out."""

    def fit(some: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        held_out = max(1, round(len(some) * share))
        with tempfile.TemporaryDirectory() as folder:
            state = fit_recipe(recipe, some[held_out:], some[:held_out], pathlib.Path(folder), seed)
        arrays = recipe.scorer.fit(state.params["model"], state.state["model"], as_batch(some))
        score = jax.jit(lambda batch: recipe.scorer.apply(arrays, jax.random.key(seed), as_batch(batch)))
        return lambda others: np.asarray(scoring.score_batches(score, others, BATCH))

    return fit


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
