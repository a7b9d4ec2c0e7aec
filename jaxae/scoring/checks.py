"""Errors in one line for scores and labels. Only concrete values are checked, so that callers may trace."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool

from jaxae.files.messages import shown
from jaxae.numerics import first_nonfinite, in_float32, real_array, require_within
from jaxae.numerics import is_traced as is_traced

_LARGEST = float(np.finfo(np.float32).max)


def require_open_unit(name: str, value: object) -> None:
    """A number must lie in (0, 1); a traced one passes."""
    require_within(name, value, "(0, 1)")


def require_vectors(**named: ArrayLike | None) -> None:
    """Raise unless all arrays are `[N]` of real numbers with the same N, at least 1."""
    arrays = {name: real_array(name, value, objects=True) for name, value in named.items() if value is not None}
    shapes = {name: array.shape for name, array in arrays.items()}
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        raise ValueError(f"{' and '.join(shapes)} must be vectors of one length; got shapes {listed}")
    if any(shape[0] == 0 for shape in shapes.values()):
        raise ValueError(f"nothing to work on: got shapes {listed}")


def require_finite(name: str, scores: ArrayLike) -> None:
    """Raise where a score is NaN or infinite."""
    scores = real_array(name, scores)
    if is_traced(scores):
        return
    count, first = first_nonfinite(scores)
    if count:
        raise ValueError(f"{name}: {count} of {np.size(scores)} are NaN or infinite, the first at index {first}")


def require_spread(name: str, scores: ArrayLike) -> None:
    """Raise where scores are not finite or all equal: a constant score decides nothing."""
    require_finite(name, scores)
    if is_traced(scores):
        return
    values = np.asarray(scores)
    if values.min() == values.max():
        raise ValueError(
            f"{name}: all {values.size} are equal ({values.ravel()[0]:g}), so they decide nothing; "
            "does the model reconstruct every input alike?"
        )


def flagged(name: str, scores: ArrayLike, threshold: ArrayLike) -> Bool[Array, "..."]:
    """`score >= threshold`, both in float32, as a detector compares them.

    Args:
      name: what errors call the scores.
      scores: an array of real numbers.
      threshold: λ, a scalar.

    Raises:
      ValueError: scores of another kind, NaN, or such as float32 cannot tell apart; λ is no number.
    """
    limit = real_array("threshold", threshold)
    if limit.ndim or (not is_traced(limit) and np.isnan(np.asarray(limit))):
        raise ValueError(f"threshold: λ must be one number; got {shown(limit) if limit.ndim else 'nan'}")
    scores = in_float32(name, scores, around=limit)
    if not is_traced(scores) and (bad := np.isnan(np.asarray(scores)).sum()):
        raise ValueError(f"{name}: {bad} of {scores.size} are NaN, which is neither above nor below λ")
    return scores >= jnp.asarray(limit, jnp.float32)


def binary(name: str, values: ArrayLike, meaning: str = "0 or 1", hint: str = "") -> Any:
    """Values that are 0 or 1, as an array; Python objects, as pandas gives them, become numbers.

    Args:
      name: what the error calls the values.
      values: bool, integers or floating numbers, or objects that are such numbers.
      meaning: how the error explains the two values.
      hint: what the error adds.

    Raises:
      ValueError: another kind, or another value than 0 and 1.
    """
    array = real_array(name, values, objects=True)
    if is_traced(array) or array.dtype == bool:
        return array
    host = np.asarray(array)
    is_odd = (host != 0) & (host != 1)
    if is_odd.any():
        raise ValueError(f"{name} must be {meaning}; got {host[is_odd][0]}{hint}")
    return array


def as_labels(labels: ArrayLike) -> Any:
    """Labels 0 and 1 as an array; see `binary`."""
    return binary("labels", labels, "0 (normal) or 1 (anomaly)", " (are labels and scores swapped?)")


def require_weights(name: str, weight: ArrayLike) -> None:
    """Raise unless weights are finite, not negative, and their sum is a number in float32."""
    weight = real_array(name, weight)
    if is_traced(weight):
        return
    mass = np.asarray(weight, np.float64)
    if not np.isfinite(mass).all() or (mass < 0).any():
        raise ValueError(f"{name} must be finite and not negative")
    if mass.sum() > _LARGEST:
        raise ValueError(f"{name} sum to {mass.sum():.3g}, float32 holds numbers up to 3.4e38: divide them all")


def require_p_values(p_values: ArrayLike) -> None:
    """Raise unless the values lie in [0, 1]."""
    p_values = real_array("p-values", p_values)
    if is_traced(p_values):
        return
    values = np.asarray(p_values)
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise ValueError(
            f"p-values must lie in [0, 1]; {bad.sum()} of {values.size} do not, the first {values[bad][0]} "
            "(are these scores?)"
        )


def require_labels(labels: ArrayLike, weight: ArrayLike | None = None, what: str = "", both: bool = True) -> None:
    """Raise unless labels are 0 or 1 and weights finite and not negative.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      weight: `[N]`, or None.
      what: name of the metric that needs anomalies with weight; "" needs none.
      both: whether that metric needs normals with weight too.
    """
    values = as_labels(labels)
    if weight is not None:
        require_weights("weights", weight)
    if is_traced(values, weight) or not what:
        return
    is_anomaly = np.asarray(values) == 1
    if weight is None:
        anomalies = float(np.count_nonzero(is_anomaly))
        normals = is_anomaly.size - anomalies
    else:
        mass = np.asarray(weight, np.float64)
        anomalies, normals = float(mass[is_anomaly].sum()), float(mass[~is_anomaly].sum())
    if anomalies == 0 or (both and normals == 0):
        needs = "anomalies and normals" if both else "anomalies"
        raise ValueError(f"{what} needs {needs} with weight; got {anomalies:g} of anomalies, {normals:g} of normals")
