"""Errors in one line for scores and labels. Values are looked at when concrete only, so that callers may trace."""

import numpy as np
from jax.typing import ArrayLike

from jaxae.numerics import as_number, first_nonfinite
from jaxae.numerics import is_traced as is_traced


def require_open_unit(name: str, value: object) -> None:
    """A Python number must lie in (0, 1); an array (perhaps traced) passes."""
    if (number := as_number(value)) is not None and not 0 < number < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1; got {value}")


def require_vectors(**named: ArrayLike | None) -> None:
    """All given arrays are `[N]` with one and the same N, at least 1."""
    shapes = {name: np.shape(value) for name, value in named.items() if value is not None}
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        raise ValueError(f"{' and '.join(shapes)} must be vectors of one length; got shapes {listed}")
    if any(shape[0] == 0 for shape in shapes.values()):
        raise ValueError(f"nothing to work on: got shapes {listed}")


def require_finite(name: str, scores: ArrayLike) -> None:
    """No score is NaN or infinite."""
    if is_traced(scores):
        return
    count, first = first_nonfinite(scores)
    if count:
        raise ValueError(f"{name}: {count} of {np.size(scores)} are NaN or infinite, the first at index {first}")


def require_spread(name: str, scores: ArrayLike) -> None:
    """Scores are finite and not all the same: one value for every example decides nothing."""
    require_finite(name, scores)
    if is_traced(scores):
        return
    values = np.asarray(scores, np.float32)
    if values.min() == values.max():
        raise ValueError(
            f"{name}: all {values.size} are equal ({values[0]:g}), so they decide nothing; "
            "does the model reconstruct every input alike?"
        )


def require_labels(labels: ArrayLike, weight: ArrayLike | None = None, what: str = "", both: bool = True) -> None:
    """Labels are 0 or 1, weights finite and not negative; with `what`, its anomalies (and normals) have weight."""
    if is_traced(labels, weight):
        return
    values = np.asarray(labels)
    if not np.isin(values, (0, 1)).all():
        odd = values[~np.isin(values, (0, 1))][0]
        raise ValueError(f"labels must be 0 (normal) or 1 (anomaly); got {odd} (are labels and scores swapped?)")
    mass = np.ones(values.shape) if weight is None else np.asarray(weight, np.float64)
    if not np.isfinite(mass).all() or (mass < 0).any():
        raise ValueError("weights must be finite and not negative")
    anomalies, normals = float(mass[values == 1].sum()), float(mass[values == 0].sum())
    if what and (anomalies == 0 or (both and normals == 0)):
        needs = "anomalies and normals" if both else "anomalies"
        raise ValueError(f"{what} needs {needs} with weight; got {anomalies:g} of anomalies, {normals:g} of normals")
