"""What every rule shares: the fitted arrays, and the verdict that follows from them."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import in_float32
from jaxae.numerics.arguments import with_checked_arguments
from jaxae.scoring.checks import require_finite, require_spread, require_vectors
from jaxae.scoring.guarantees.conformal import p_value_table
from jaxae.types import Threshold, Verdict


def next_above(value: Float[Array, ""]) -> Float[Array, ""]:
    """The least number above: `score >= next_above(c)` says exactly `score > c`."""
    # Devices flush subnormal numbers to zero, so zero is followed by the least normal one.
    tiny = jnp.finfo(jnp.float32).tiny
    return jnp.where(jnp.abs(value) < tiny, tiny, jnp.nextafter(value, jnp.float32(jnp.inf)))


def rule(choose: Callable, costs_actions: bool = False, reads: str = "calibration") -> Threshold:
    """A `Threshold` from `choose(calibration, dev, labels, weight) -> λ`, with calibration sorted ascending.

    `reads` is "dev", "rank" or "calibration", as `Threshold` explains; "calibration" is always true, and proves least.
    """

    def fit(
        calibration: ArrayLike,
        dev: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> dict[str, Array]:
        require_vectors(calibration=calibration)
        require_spread("calibration scores", calibration)
        ordered = jnp.sort(in_float32("calibration scores", calibration))
        return {
            "threshold": jnp.asarray(choose(ordered, dev, labels, weight), jnp.float32),
            "calibration": ordered,
            "p_value": jnp.asarray(p_value_table(ordered.shape[0])),
        }

    def apply(fitted: dict[str, Array], scores: ArrayLike) -> Verdict:
        if fitted.get("threshold") is None:
            raise ValueError("fitted must be what the threshold's fit returned, a dict with the key threshold")
        require_finite("scores", scores)
        scores = in_float32("scores", scores, around=fitted["threshold"])
        # A NaN that a compiled program meets is no evidence of a normal example: it is flagged, as +inf.
        scores = jnp.where(jnp.isnan(scores), jnp.inf, scores)
        threshold, calibration = fitted["threshold"], fitted["calibration"]
        at_least = calibration.shape[0] - jnp.searchsorted(calibration, scores, side="left")
        is_anomaly = scores >= threshold
        return Verdict(
            score=scores,
            threshold=jnp.broadcast_to(threshold, scores.shape),
            p_value=fitted["p_value"][at_least],
            is_anomaly=is_anomaly,
            action=is_anomaly.astype(jnp.int32) if costs_actions else None,
        )

    return Threshold(with_checked_arguments(fit), with_checked_arguments(apply), reads)
