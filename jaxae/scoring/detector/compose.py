"""Scorer and threshold composed into one function, and its use on any number of rows."""

from collections.abc import Callable

import jax
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import as_batch
from jaxae.scoring.detector.loading import LoadedDetector
from jaxae.types import Batch, Detector, PyTree, Scorer, Threshold, Verdict


def rethresholded(loaded: LoadedDetector, threshold: Threshold) -> Detector:
    """A saved detector's score with another rule for λ: nothing is trained, and no model code is needed.

    Its `fit(params, state, reference, calibration, dev=None, labels=None)` ignores the first three: the saved arrays
    are the scorer. It can be saved in its turn.

    Args:
      loaded: from `load_detector`.
      threshold: what decides from now on.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.types import Scorer
      >>> norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
      >>> detect = scoring.detector(norm, scoring.thresholds.conformal(0.25))
      >>> normals = jnp.array([[1.0], [2.0], [3.0]])
      >>> fitted = detect.fit({}, {}, None, normals)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     scoring.save_detector(folder + "/d", detect, fitted, normals, platforms=("cpu",))
      ...     loaded = scoring.load_detector(folder + "/d")
      >>> stricter = scoring.rethresholded(loaded, scoring.thresholds.quantile(0.5))
      >>> fitted = stricter.fit(None, None, None, normals)
      >>> stricter.apply(fitted, jnp.array([[1.0], [2.5]])).is_anomaly.tolist()
      [False, True]
    """

    def fit(
        params: PyTree,
        state: PyTree,
        reference: Batch | ArrayLike | None,
        calibration: Batch | ArrayLike,
        dev: Batch | ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> dict:
        dev_scores = None if dev is None else loaded.apply(dev).score
        weight = dev.weight if isinstance(dev, Batch) else None
        fitted = threshold.fit(loaded.apply(calibration).score, dev_scores, labels, weight)
        return {"scorer": loaded.arrays, "threshold": fitted}

    def apply(fitted: dict, batch: Batch | ArrayLike) -> Verdict:
        verdict = loaded.program(fitted["scorer"], batch)
        return threshold.apply(fitted["threshold"], verdict.score)._replace(map=verdict.map)

    return Detector(fit, apply)


def detector(
    scorer: Scorer, threshold: Threshold, seed: int = 0, with_map: bool = False, chunk: int = 1024
) -> Detector:
    """A `Detector`: `fit(params, state, reference, calibration, dev=None, labels=None)`, `apply(fitted, batch)`.

    Rows are scored one by one under `vmap`, all with one key, so a score depends neither on the batch nor on the
    place in it: equal to the bit at equal batch size (pad to one, see `score_batches`), to rounding otherwise.
    `Batch.weight` plays no role in scoring; dev's, if any, weighs dev's rows for the threshold.

    Args:
      scorer: what is measured. `reference` examples reach its `fit` alone.
      threshold: what decides. Calibration examples are clean normals; dev examples carry labels, 1 anomaly.
      seed: of the key that all scores use; a constant of the program.
      with_map: whether verdicts carry the scorer's map.
      chunk: `fit` scores this many examples at a time, which bounds its memory.

    Raises:
      ValueError: a map is asked of a scorer without one; in `fit`, as the scorer's and the threshold's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.types import Scorer
      >>> norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
      >>> detect = scoring.detector(norm, scoring.thresholds.conformal(0.25))
      >>> fitted = detect.fit({}, {}, None, calibration=jnp.array([[1.0], [2.0], [3.0]]))
      >>> jax.jit(detect.apply)(fitted, jnp.array([[2.0], [5.0]])).is_anomaly.tolist()
      [False, True]
    """
    if with_map and scorer.map is None:
        raise ValueError("this scorer has no map; build the detector with with_map=False")

    def row(fitted: PyTree, function: Callable, example: Batch) -> Array:
        return function(fitted, jax.random.key(seed), jax.tree.map(lambda leaf: leaf[None], example))[0]

    def fit(
        params: PyTree,
        state: PyTree,
        reference: Batch | ArrayLike | None,
        calibration: Batch | ArrayLike,
        dev: Batch | ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> dict:
        fitted = scorer.fit(params, state, None if reference is None else as_batch(reference))

        # One program for all chunks: outside of jit, lax.map would run the remainder operation by operation.
        @jax.jit
        def each(fitted: PyTree, rows: Batch) -> Array:
            return jax.lax.map(lambda example: row(fitted, scorer.apply, example), rows, batch_size=chunk)

        def scores(examples: Batch | ArrayLike) -> Array:
            return each(fitted, as_batch(examples)._replace(weight=None))

        dev_scores = None if dev is None else scores(dev)
        weight = dev.weight if isinstance(dev, Batch) else None
        return {"scorer": fitted, "threshold": threshold.fit(scores(calibration), dev_scores, labels, weight)}

    def apply(fitted: dict, batch: Batch | ArrayLike) -> Verdict:
        rows = as_batch(batch)._replace(weight=None)

        def each(function):
            return jax.vmap(lambda example: row(fitted["scorer"], function, example))(rows)

        verdict = threshold.apply(fitted["threshold"], each(scorer.apply))
        return verdict._replace(map=each(scorer.map)) if with_map else verdict

    return Detector(fit, apply)
