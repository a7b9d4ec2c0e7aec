"""Conformal p-values: the probability that a normal example scores at least as high, and what is proven about them.

| p-values                  | `P(p <= a)` for a new normal example                     | proven by              |
| ------------------------- | -------------------------------------------------------- | ---------------------- |
| `p_values` (split)        | at most a; exactly a with random ties                    | Vovk et al. 2005       |
| `cross_p_values`          | at most 2a                                               | twice a mean of them   |
| `jackknife_plus_p_values` | at most 2a for n folds; + 2 (K - 1) / (n + K) for K      | Barber et al. 2021     |
| `weighted_p_values`       | at most a for the true density ratio; else empirical     | Tibshirani et al. 2019 |

All probabilities are over the calibration set and the example, which must be exchangeable (up to the weighting).
Nothing is proven with anomalies among the calibration scores, which mostly make p-values too large.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import in_float32, ranked, real_array
from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.checks import is_traced, require_finite, require_spread, require_vectors, require_weights

LEAST = np.finfo(np.float32).min


def p_value_table(count: int) -> np.ndarray:
    """`[n + 1]` float32, `(1 + k) / (1 + n)` for k calibration scores at or above.

    A table instead of a division, so that comparisons with a rate agree on every device, compiled or not.

    Args:
      count: number of calibration scores n.
    """
    return np.arange(1, count + 2, dtype=np.float32) / np.float32(count + 1)


def p_values(calibration: ArrayLike, scores: ArrayLike, rng: Array | None = None) -> Float[Array, " m"]:
    """Split conformal p-values, `(1 + #{calibration >= score}) / (1 + n)`: those of every verdict.

    Args:
      calibration: `[n]`, scores of clean normals that the model was not trained on.
      scores: `[m]`, scores of new examples.
      rng: None counts tied scores as at or above. With a key the example and its ties count a uniform random share:
        p-values of normal examples are then exactly uniform, and depend on the key.

    Raises:
      ValueError: scores are not finite vectors, or calibration is all equal.

    Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", proposition 2.4 and section 2.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.conformal import p_values
      >>> p_values(jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 3.0, 4.0])).tolist()
      [1.0, 0.5, 0.25]
    """
    calibration, scores = _jointly(calibration, scores)
    ordered = jnp.sort(calibration)
    count = ordered.shape[0]
    at_least = count - jnp.searchsorted(ordered, scores, side="left")
    if rng is None:
        return jnp.asarray(p_value_table(count))[at_least]
    # without ties `above` equals `at_least`
    above = count - jnp.searchsorted(ordered, scores, side="right")
    # (#{>} + U (#{=} + 1)) / (n + 1): the example itself is one of its ties
    return (above + jax.random.uniform(rng, scores.shape) * (at_least - above + 1)) / (count + 1)


def cross_p_values(calibration: ArrayLike, folds: ArrayLike, scores: ArrayLike) -> Float[Array, " m"]:
    """Cross-conformal p-values: every normal row calibrates, scored by the model trained without the row's fold.

    `p = (K + #{i: calibration_i >= score of i's model}) / (K + n)`: the mean of K split p-values, each weighted by its
    fold's n_k + 1. Twice such a mean is a p-value whatever the dependence, so `P(p <= a) <= 2a`. None is below
    `K / (K + n)`: for as many folds as rows use `jackknife_plus_p_values`.

    Args:
      calibration: `[n]`, score of each row by the model that was trained without the row's fold.
      folds: `[n]` int, fold of each row, 0 to K - 1, drawn independently of the rows.
      scores: `[K, m]`, scores of new examples by each of the K models.

    Raises:
      ValueError: shapes do not fit, a fold is empty or outside 0..K - 1, scores are not finite, or calibration is all
        equal.

    Source: Vovk 2015, "Cross-conformal predictors"; the factor: Vovk and Wang 2020, "Combining p-values via averaging";
    for anomalies: Hennhoefer and Preisach 2024, "Leave-One-Out-, Bootstrap- and Cross-Conformal Anomaly Detectors".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.conformal import cross_p_values
      >>> members = jnp.array([[9.0, 1.0], [8.0, 2.0]])
      >>> cross_p_values(jnp.array([1.0, 2.0, 1.0, 3.0]), jnp.array([0, 0, 1, 1]), members).tolist()
      [0.3333333432674408, 0.8333333730697632]
    """
    counts, count = _at_least(calibration, folds, scores)
    groups = counts.shape[0]
    # the sum of the K split numerators 1 + count_k over the sum of their denominators 1 + n_k
    return (groups + counts.sum(0)) / jnp.float32(groups + count)


def jackknife_plus_p_values(calibration: ArrayLike, folds: ArrayLike, scores: ArrayLike) -> Float[Array, " m"]:
    """Jackknife+ p-values, `(1 + #{i: calibration_i >= score of i's model}) / (1 + n)`.

    `P(p <= a) <= 2a` where each fold holds one row (K = n); K folds of equal size (CV+) add at most the lesser of
    `2 (K - 1) / (n + K)` and `(1 - K / n) / (K + 1)`. The model must not depend on the order of its training rows.
    The proof is stated for residuals and uses only ranks of scores.

    Args:
      calibration: `[n]`, score of each row by the model that was trained without the row's fold.
      folds: `[n]` int, fold of each row, 0 to K - 1; `arange(n)` gives the jackknife+.
      scores: `[K, m]`, scores of new examples by each of the K models.

    Raises:
      ValueError: as `cross_p_values`.

    Source: Barber, Candes, Ramdas and Tibshirani 2021, "Predictive inference with the jackknife+", theorems 1 and 4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.conformal import jackknife_plus_p_values
      >>> members = jnp.array([[9.0, 1.0], [8.0, 2.0]])
      >>> jackknife_plus_p_values(jnp.array([1.0, 2.0, 1.0, 3.0]), jnp.array([0, 0, 1, 1]), members).tolist()
      [0.20000000298023224, 0.800000011920929]
    """
    counts, count = _at_least(calibration, folds, scores)
    return jnp.asarray(p_value_table(count))[counts.sum(0)]


def weighted_p_values(
    calibration: ArrayLike, scores: ArrayLike, calibration_weight: ArrayLike, weight: ArrayLike
) -> Float[Array, " m"]:
    """Split p-values under covariate shift: each row counts by its density ratio, deployment over calibration.

    `p = (w(x) + sum of w_i over calibration_i >= score) / (w(x) + sum of all w_i)`. With the true ratio, known up to a
    factor, `P(p <= a) <= a`; with an estimated one the guarantee is empirical. Few rows may carry all the weight:
    `effective_count` says how many the p-values rest on.

    Args:
      calibration: `[n]`, scores of clean normals.
      scores: `[m]`, scores of new examples.
      calibration_weight: `[n]`, density ratio of each calibration row, at least 0.
      weight: `[m]`, density ratio of each new example, at least 0, up to the same factor.

    Raises:
      ValueError: shapes differ, scores or weights are not finite, a weight is negative, or all of calibration's are 0.

    Source: Tibshirani, Barber, Candes and Ramdas 2019, "Conformal Prediction Under Covariate Shift", corollary 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.conformal import weighted_p_values
      >>> calibration, weights = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 1.0, 5.0])
      >>> weighted_p_values(calibration, jnp.array([2.5, 4.0]), weights, jnp.array([1.0, 1.0])).tolist()
      [0.75, 0.125]
    """
    require_vectors(calibration=calibration, calibration_weight=calibration_weight)
    require_vectors(scores=scores, weight=weight)
    for name, mass in (("calibration weights", calibration_weight), ("weights", weight)):
        require_finite(name, mass)
        if not is_traced(mass) and (np.min(np.asarray(mass)) < 0 or (name != "weights" and not np.any(mass))):
            raise ValueError(f"{name} must not be negative, nor all 0; the least is {np.min(np.asarray(mass)):g}")
        require_weights(name, mass)
    calibration, scores = _jointly(calibration, scores)
    ordered, mass = jax.lax.sort((calibration, jnp.asarray(calibration_weight, jnp.float32)), num_keys=1)
    # weight of the calibration rows from each position of the ascending order on
    weight_from = jnp.append(jax.lax.cumsum(mass, reverse=True), 0.0)
    example_weight = jnp.asarray(weight, jnp.float32)
    # the example counts itself with its own ratio, as it counts itself in 1 + k without weights
    above = weight_from[jnp.searchsorted(ordered, scores, side="left")] + example_weight
    total = weight_from[0] + example_weight
    return jnp.minimum(above / total, 1)


def effective_count(weight: ArrayLike) -> Float[Array, ""]:
    """The effective number of rows, `(sum w)^2 / sum w^2`: as many rows of equal weight have the same variance.

    Args:
      weight: `[n]`, weight of each row, not negative.

    Source: Kish 1965, "Survey Sampling".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.conformal import effective_count
      >>> float(effective_count(jnp.array([1.0, 1.0, 0.0])))
      2.0
    """
    require_vectors(weight=weight)
    require_weights("weights", weight)
    if not is_traced(weight) and not np.any(weight):
        raise ValueError(f"all {np.size(weight)} weights are 0: they stand for no rows")
    weight = jnp.asarray(weight, jnp.float32)
    # relative to the largest: squares of very large or small weights leave float32
    weight = weight / weight.max()
    return weight.sum() ** 2 / (weight**2).sum()


def _jointly(calibration: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """Both checked, and as float32 numbers of one order: p-values depend on nothing else."""
    require_vectors(calibration=calibration)
    require_spread("calibration scores", calibration)
    require_finite("scores", scores)
    if is_traced(calibration, scores) or np.float32 in (np.asarray(calibration).dtype, np.asarray(scores).dtype):
        # where one side has been rounded, a comparison in the other's precision would part what is equal
        calibration, scores = in_float32("calibration scores", calibration), in_float32("scores", scores)
    else:
        joint = ranked("scores", np.concatenate([np.ravel(calibration), np.ravel(scores)]))
        calibration, scores = joint[: np.size(calibration)], joint[np.size(calibration) :].reshape(np.shape(scores))
    # as in a verdict: a NaN in a compiled program counts as the most anomalous score
    return calibration, jnp.where(jnp.isnan(scores), jnp.inf, scores)


def _at_least(calibration: ArrayLike, folds: ArrayLike, scores: ArrayLike) -> tuple[Array, int]:
    """`[K, m]`: number of a fold's calibration scores at or above the example's score by that fold's model; and n."""
    require_vectors(calibration=calibration, folds=folds)
    folds = real_array("folds", folds, objects=True)
    if np.ndim(real_array("scores", scores)) != 2 or np.size(scores) == 0:
        raise ValueError(f"scores must be [K, m], a row for each fold's model; got shape {np.shape(scores)}")
    calibration, scores = _jointly(calibration, scores)
    count, groups = calibration.shape[0], jnp.shape(scores)[0]
    if not is_traced(folds):
        fold_numbers = np.unique(np.asarray(folds))
        if not np.array_equal(fold_numbers, np.arange(groups)):
            raise ValueError(
                f"folds must be 0 to {groups - 1}, none empty, for {groups} models; got {len(fold_numbers)} folds "
                f"from {fold_numbers[0]} to {fold_numbers[-1]}"
            )
    # a row is compared with scores of the model that has not seen its fold
    is_member = jnp.asarray(folds, jnp.int32)[None, :] == jnp.arange(groups)[:, None]
    ordered = jnp.sort(jnp.where(is_member, calibration[None, :], -jnp.inf), axis=1)
    # rows of other folds are at -inf; no score may be that low, or it would count them
    new = jnp.maximum(scores, LEAST)
    return count - jax.vmap(lambda row, score: jnp.searchsorted(row, score, side="left"))(ordered, new), count


check_arguments(__name__)
