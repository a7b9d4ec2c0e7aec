"""Scorer and threshold composed into one function, and its use on any number of rows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.files.messages import shown
from jaxae.numerics import as_batch, as_whole, is_traced, real_array, require_count
from jaxae.numerics.arguments import with_checked_arguments
from jaxae.scoring.detector.loading import LoadedDetector
from jaxae.types import Batch, Detector, FittedDetector, PyTree, Scorer, Threshold, Verdict


def row_scores(scorer: Scorer, seed: int = 0, with_map: bool = False) -> Callable:
    """A scorer's numbers without a decision: `(fitted, batch) -> [B]`, each row scored by itself.

    What `detector` applies before its threshold: rows go one by one under `vmap`, all with one key, so a score depends
    neither on the batch nor on the place in it. `Batch.weight` plays no role.

    Args:
      scorer: what is measured; `fitted` is what its `fit` returned.
      seed: seed for the key that all scores use.
      with_map: whether the scorer's map is given instead of its score, `[B, ...]`.

    Raises:
      ValueError: a map is asked of a scorer without one.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.types import Scorer
      >>> norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
      >>> scoring.row_scores(norm)({}, jnp.array([[2.0], [5.0]])).tolist()
      [4.0, 25.0]
    """
    measure = scorer.map if with_map else scorer.apply
    if measure is None:
        raise ValueError("this scorer has no map; build the detector with with_map=False")
    of_row = alone(measure, seed)

    def apply(fitted: PyTree, batch: Batch | ArrayLike) -> Array:
        return jax.vmap(lambda example: of_row(fitted, example))(rows_of("x", batch))

    return apply


def rows_of(name: str, examples: Any) -> Batch:
    """Examples as a batch without weights, checked by kind: text, dates, objects or masks are no model's input."""
    if isinstance(examples, list):
        examples = np.asarray(real_array(name, examples))
    batch = as_batch(examples)._replace(weight=None)
    leaves = jax.tree.leaves(batch)
    for leaf in leaves:
        real_array(name, leaf)
    counts = sorted({np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in leaves})
    if len(counts) != 1 or counts[0] == 0:
        raise ValueError(f"{name} must have one number of rows, at least 1; got {counts}")
    return batch


def alone(measure: Callable, seed: int) -> Callable:
    """`(fitted, example without batch axis) ->` what `measure(fitted, rng, batch)` gives for it as a batch of one."""
    if not is_traced(seed) and not -(2**63) <= (number if (number := as_whole(seed)) is not None else 2**63) < 2**63:
        raise ValueError(f"seed must be a whole number of 64 bits; got {shown(seed)}")
    return lambda fitted, example: measure(
        fitted, jax.random.key(seed), jax.tree.map(lambda leaf: leaf[None], example)
    )[0]


def chunked_row_scores(scorer: Scorer, seed: int = 0, chunk: int = 1024) -> Callable:
    """`row_scores` of any number of rows in one compiled program, `chunk` rows at a time, which bounds its memory."""

    of_row, chunk = alone(scorer.apply, seed), require_count("chunk", chunk)

    # One program for all chunks: outside of jit, lax.map would run the remainder operation by operation.
    @jax.jit
    def apply(fitted: PyTree, rows: Batch) -> Array:
        return jax.lax.map(lambda example: of_row(fitted, example), rows, batch_size=chunk)

    return lambda fitted, examples: apply(fitted, rows_of("examples", examples))


def rethresholded(loaded: LoadedDetector, threshold: Threshold, num_classes: int | None = None) -> Detector:
    """A saved detector's score with another rule for λ: nothing is trained, and no model code is needed.

    Its `fit(params, state, reference, calibration, dev=None, labels=None)` ignores the first three: the saved arrays
    are the scorer. It can be saved in its turn.

    Args:
      loaded: from `load_detector`.
      threshold: what decides from now on.
      num_classes: number of known classes, for a detector of an open set, whose actions it keeps; else None.

    Raises:
      ValueError: the detector decides among classes and their number is not given, or the other way round.

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
    if ("prediction" in loaded.card["detector"]["outputs"]) != (num_classes is not None):
        raise ValueError(
            f"num_classes is for detectors of open sets, which need it; this one gives "
            f"{', '.join(loaded.card['detector']['outputs'])}, num_classes is {num_classes}"
        )

    def fit(
        params: PyTree,
        state: PyTree,
        reference: Batch | ArrayLike | None,
        calibration: Batch | ArrayLike,
        dev: Batch | ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> FittedDetector:
        dev_scores = None if dev is None else loaded.apply(dev).score
        weight = dev.weight if isinstance(dev, Batch) else None
        return FittedDetector(loaded.arrays, threshold.fit(loaded.apply(calibration).score, dev_scores, labels, weight))

    def apply(fitted: FittedDetector, batch: Batch | ArrayLike) -> Verdict:
        before = loaded.program(fitted.scorer, rows_of("x", batch))
        verdict = threshold.apply(fitted.threshold, before.score)._replace(map=before.map)
        if before.prediction is None or num_classes is None:
            return verdict
        # the saved action says "unknown" where the saved λ did; the class itself is kept beside it
        action = jnp.where(verdict.is_anomaly, num_classes, before.prediction)
        return verdict._replace(action=action, prediction=before.prediction)

    return Detector(with_checked_arguments(fit), with_checked_arguments(apply))


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
    score, place = row_scores(scorer, seed), row_scores(scorer, seed, with_map=True) if with_map else None
    in_chunks = chunked_row_scores(scorer, seed, chunk)

    def fit(
        params: PyTree,
        state: PyTree,
        reference: Batch | ArrayLike | None,
        calibration: Batch | ArrayLike,
        dev: Batch | ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> FittedDetector:
        fitted = scorer.fit(params, state, None if reference is None else as_batch(reference))
        dev_scores = None if dev is None else in_chunks(fitted, dev)
        weight = dev.weight if isinstance(dev, Batch) else None
        return FittedDetector(fitted, threshold.fit(in_chunks(fitted, calibration), dev_scores, labels, weight))

    def apply(fitted: FittedDetector, batch: Batch | ArrayLike) -> Verdict:
        verdict = threshold.apply(fitted.threshold, score(fitted.scorer, batch))
        return verdict if place is None else verdict._replace(map=place(fitted.scorer, batch))

    return Detector(with_checked_arguments(fit), with_checked_arguments(apply))
