"""Bootstrap intervals of expected cost and regret over λ, for several cost tables at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.files.messages import shown
from jaxae.numerics import in_float32, real_array, require_count
from jaxae.scoring.checks import (
    as_labels,
    is_traced,
    require_finite,
    require_labels,
    require_open_unit,
    require_vectors,
)
from jaxae.scoring.costs.expected import require_costs
from jaxae.scoring.metrics.bootstrap import redraws
from jaxae.scoring.metrics.curves import as_mass
from jaxae.types import CostTable


class CostBands(NamedTuple):
    """Expected cost per example and regret at several λ, with intervals; `*T` is the axis of stacked cost tables.

    Attributes:
      threshold: `[L]`, values of λ, in descending order where the caller gave none.
      cost: `[*T, L]`, expected cost of flagging `score >= threshold`.
      cost_low: `[*T, L]`, lower end of the cost's interval.
      cost_high: `[*T, L]`, upper end of the cost's interval.
      regret: `[*T, L]`, cost above the least of oracle λ, always-flag and never-flag.
      regret_low: `[*T, L]`, lower end of the regret's interval, at least 0.
      regret_high: `[*T, L]`, upper end of the regret's interval.
    """

    threshold: Float[Array, " L"]
    cost: Float[Array, "*T L"]
    cost_low: Float[Array, "*T L"]
    cost_high: Float[Array, "*T L"]
    regret: Float[Array, "*T L"]
    regret_low: Float[Array, "*T L"]
    regret_high: Float[Array, "*T L"]


class _Ranked(NamedTuple):
    """Rows by score, highest first."""

    anomaly: Float[Array, " N"]
    weight: Float[Array, " N"]
    is_end: Array  # [N + 1]: whether flagging the n highest rows splits no tie


def cost_bands(
    labels: ArrayLike,
    scores: ArrayLike,
    table: CostTable,
    rng: Array,
    anomaly_rate: ArrayLike = 0.05,
    weight: ArrayLike | None = None,
    threshold: ArrayLike | None = None,
    num: int = 1000,
    confidence: ArrayLike = 0.95,
) -> CostBands:
    """Expected cost and regret over λ with bootstrap intervals: (λ x resample x table) in one compiled call.

    Normals and anomalies are resampled separately, since the deployment's anomaly rate, not the data's, weighs them.
    Scores are sorted once; a resample is a count for each row. The interval of the cost is the percentile interval.
    The regret is measured against the best λ of each resample, whose cost is optimistic, as it is in the data. The
    interval of the regret is reflected about the estimate, which corrects that bias: `2 r - quantile`, at least 0.

    Intervals hold pointwise, for a λ that was fixed without these rows. Where no anomaly is missed the resamples miss
    none either and the interval is too short: `scoring.bounds` bounds such a rate. With few rows the intervals are
    rough.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      table: cost table `[2, 2]`, or a stack of them, `[T, 2, 2]`.
      rng: a key.
      anomaly_rate: anomaly rate P of the deployment, in (0, 1); or `[T]`, a rate for each table.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      threshold: λ, a scalar or `[L]`; None takes at most 256 of the scores, evenly by rank, and +inf (flag none).
      num: number of resamples, at least 2; memory grows with `num * T * L`.
      confidence: confidence level of the intervals, in (0, 1).

    Raises:
      ValueError: as `operating_points`; a class is missing, a rate or the confidence is outside (0, 1), costs have
        another shape, are negative or not finite, `num` is below 2.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13; Davison and Hinkley 1997,
    "Bootstrap Methods and their Application", section 5.2, for the reflected interval.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import cost_bands
      >>> from jaxae.types import CostTable
      >>> labels, scores = jnp.array([0, 0, 0, 1, 1]), jnp.array([1.0, 2.0, 4.0, 3.0, 5.0])
      >>> bands = cost_bands(labels, scores, CostTable.binary(10.0, 1.0), jax.random.key(0), 0.5, threshold=3.0)
      >>> [round(float(value[0]), 3) for value in (bands.cost_low, bands.cost, bands.cost_high)]
      [0.0, 0.167, 0.5]
    """
    shape = np.shape(table.costs)
    _require(labels, scores, table, anomaly_rate, weight, threshold, num, confidence)
    costs = jnp.reshape(jnp.asarray(table.costs, jnp.float32), (-1, 2, 2))
    share = jnp.broadcast_to(jnp.asarray(anomaly_rate, jnp.float32), costs.shape[:1])
    # the rates of the classes enter the costs, so that a curve is a plain sum over rates
    costs = costs * jnp.stack([1 - share, share], axis=1)[:, :, None]
    rows, key = _rank(labels, scores, weight)
    if threshold is None:
        # evenly by rank, so that λ is dense where scores are
        ranks = np.unique(np.linspace(0, len(key) - 1, min(256, len(key))).astype(int))
        limits = jnp.append(jnp.inf, -key[ranks])
    else:
        limits = jnp.atleast_1d(in_float32("threshold", threshold))
    # number of rows with score >= λ: keys are negated scores in ascending order
    flagged = jnp.searchsorted(key, -limits, side="right")

    def measure(weight: Array) -> tuple[Array, Array]:
        curves = jax.vmap(_curve, (None, None, 0))(rows, weight, costs)
        # only points that split no tie are decisions by some λ
        oracle = jnp.min(jnp.where(rows.is_end, curves, jnp.inf), axis=1, keepdims=True)
        return curves[:, flagged], curves[:, flagged] - oracle

    redraw = redraws(rows.anomaly.astype(jnp.int32))

    def resample(rng: Array) -> tuple[Array, Array]:
        return measure(rows.weight * redraw(rng))

    cost, regret = measure(rows.weight)
    drawn_cost, drawn_regret = jax.lax.map(resample, jax.random.split(rng, num))
    tail = (1 - confidence) / 2
    ends = jnp.stack([jnp.asarray(tail, jnp.float32), jnp.asarray(1 - tail, jnp.float32)])
    cost_low, cost_high = jnp.quantile(drawn_cost, ends, axis=0)
    # reflected interval (Davison and Hinkley, section 5.2): the upper quantile gives the lower end
    upper, lower = jnp.quantile(drawn_regret, ends, axis=0)
    bands = (cost, cost_low, cost_high, regret, jnp.maximum(2 * regret - lower, 0), 2 * regret - upper)
    return CostBands(limits, *(jnp.reshape(values, shape[:-2] + limits.shape) for values in bands))


def _rank(labels, scores, weight) -> tuple[_Ranked, Float[Array, " N"]]:
    mass = jnp.ones(np.shape(scores)) if weight is None else as_mass(weight).astype(jnp.float32)
    descending = -in_float32("scores", scores)
    truth = jnp.asarray(as_labels(labels), jnp.float32)
    key, anomaly, mass = jax.lax.sort((descending, truth, mass), num_keys=1)
    is_end = jnp.pad(key[1:] != key[:-1], (1, 1), constant_values=True)
    return _Ranked(anomaly, mass, is_end), key


def _curve(rows: _Ranked, weight: Array, costs: Array) -> Float[Array, " M"]:
    """Expected cost of flagging the 0, 1 ... N highest rows; `costs` are multiplied by the classes' shares."""
    mass = jnp.stack([weight * (1 - rows.anomaly), weight * rows.anomaly])
    total = jnp.sum(mass, axis=1, keepdims=True)
    flagged = jnp.pad(jnp.cumsum(mass, axis=1), ((0, 0), (1, 0)))
    # summed from the other end rather than as a difference, which leaves rounding where nothing is passed
    passed = jnp.pad(jax.lax.cumsum(mass, axis=1, reverse=True), ((0, 0), (0, 1)))
    return jnp.sum((costs[:, :1] * passed + costs[:, 1:] * flagged) / total, axis=0)


def _require(labels, scores, table, anomaly_rate, weight, threshold, num, confidence) -> None:
    shape = real_array("costs", table.costs).shape
    if len(shape) not in (2, 3) or shape[-2:] != (2, 2) or 0 in shape:
        raise ValueError(f"bands need costs of shape (2, 2) or (T, 2, 2), truth by action; got {shape}")
    if np.shape(anomaly_rate) not in ((), shape[:-2]):
        raise ValueError(f"one anomaly rate, or one for each table; got {np.shape(anomaly_rate)} for costs {shape}")
    if threshold is not None:
        limits = real_array("threshold", threshold)
        if limits.ndim > 1 or not limits.size or (not is_traced(limits) and np.isnan(np.asarray(limits)).any()):
            raise ValueError(f"λ must be a scalar or a vector of numbers, not NaN; got {shown(limits)}")
    require_count("num", num, 2)
    require_open_unit("confidence", confidence)
    if not is_traced(anomaly_rate):
        for rate in np.ravel(real_array("anomaly_rate", anomaly_rate)):
            require_open_unit("anomaly_rate", float(rate))
    require_costs(table.costs)
    require_vectors(labels=labels, scores=scores, weight=weight)
    require_finite("scores", scores)
    require_labels(labels, weight, "the expected cost")
