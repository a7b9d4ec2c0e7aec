"""Bootstrap intervals: rows are resampled by integer weights, so that shapes stay fixed under `jit` and `vmap`."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike
from jaxtyping import Int

from jaxae.files.messages import shown
from jaxae.numerics import is_traced, real_array, require_count
from jaxae.scoring.checks import require_open_unit, require_weights
from jaxae.scoring.metrics.curves import as_mass
from jaxae.types import PyTree

_ROWS_AT_ONCE = 2**21  # rows times replicates whose weights exist at a time: 8 MB an array


class Interval(NamedTuple):
    """A metric and the ends of its confidence interval, each with the structure of the metric's result.

    Attributes:
      value: the metric on the rows themselves.
      low: lower end of the interval.
      high: upper end of the interval.
    """

    value: PyTree
    low: PyTree
    high: PyTree


def bootstrap(
    metric: Callable,
    labels: ArrayLike,
    scores: ArrayLike,
    rng: Array,
    num: int = 1000,
    confidence: ArrayLike = 0.95,
    weight: ArrayLike | None = None,
    stratified: bool = True,
    method: str = "percentile",
) -> Interval:
    """A metric with a bootstrap interval: its variation over new samples of as many rows.

    Rows are drawn with replacement; a row drawn t times has weight t. The metric sorts the scores once, as the order
    does not depend on weights, and replicates are computed in groups, which bounds the memory. The interval covers new
    test rows, not another training run. Under `jit` everything is one program.

    Args:
      metric: function `(labels, scores, weight) -> number`, array or tree of arrays: a metric of
        `jaxae.scoring.metrics` or any other; it may close over other arrays of N rows.
      labels: `[N]`, 1 anomaly, 0 normal (or any array of N rows that the metric reads).
      scores: `[N, ...]`, scores of the rows.
      rng: a key; the same key gives the same interval.
      num: number of replicates, at least 2.
      confidence: confidence level of the interval, in (0, 1).
      weight: `[N]`, weight of each row, not negative, 0 where a row only pads; None weighs all rows 1.
      stratified: whether rows are redrawn within each label. That keeps the number of anomalies fixed, and no replicate
        lacks a class. False also varies the share of anomalies.
      method: "percentile", or "bca" (bias-corrected and accelerated), which is more accurate for skewed metrics, such
        as those near their bounds. The acceleration comes from the metric's derivative with respect to the weights.

    Returns:
      `Interval(value, low, high)`. Replicates that are NaN (a class is missing) are left out.

    Raises:
      ValueError: the metric's own; `num` below 2, `confidence` outside (0, 1), another `method`, shapes that differ.

    Source: Efron 1979, "Bootstrap methods: another look at the jackknife"; Efron 1987, "Better bootstrap confidence
    intervals" (acceleration by influence: section 7).

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import metrics
      >>> from jaxae.scoring.metrics import bootstrap
      >>> labels, scores = jnp.arange(40) % 2, jnp.sin(jnp.arange(40.0)) + jnp.arange(40) % 2
      >>> interval = bootstrap(metrics.auroc, labels, scores, jax.random.key(0), num=200)
      >>> bool(interval.low < interval.value < interval.high)
      True
    """
    labels, scores = real_array("labels", labels, objects=True), real_array("scores", scores)
    _check(labels, scores, weight, num, confidence, method, stratified)
    value = metric(labels, scores, weight)
    count = np.shape(labels)[0]
    base = jnp.ones(count, jnp.int32) if weight is None else _mass_of_draws(weight)
    strata = 2 * jnp.asarray(labels).astype(jnp.int32) if stratified else jnp.zeros(count, jnp.int32)
    # padding rows are strata of their own: they replace each other and never a real row
    strata = strata + (base > 0)
    redraw = redraws(strata)

    def replicate(key):
        return metric(labels, scores, base * redraw(key))

    batch_size = max(1, min(num, _ROWS_AT_ONCE // max(1, np.size(scores))))
    replicates = jax.lax.map(replicate, jax.random.split(rng, num), batch_size=batch_size)
    # percentile interval: the quantiles of the replicates at both tails
    tails = (1 - jnp.asarray(confidence)) / 2, (1 + jnp.asarray(confidence)) / 2
    if method == "percentile":
        low, high = (jax.tree.map(lambda r, q=q: jnp.nanquantile(r, q, axis=0), replicates) for q in tails)
        return Interval(value, low, high)
    # the empirical influence of a row is the derivative of the metric with respect to the row's weight
    influence = jax.jacrev(lambda w: metric(labels, scores, w))(base.astype(jnp.float32))
    ends = [
        jax.tree.map(lambda v, r, u, q=q: _accelerated(v, r, u * base, strata, q), value, replicates, influence)
        for q in tails
    ]
    return Interval(value, *ends)


def _mass_of_draws(weight: ArrayLike) -> Array:
    """`as_mass`, also of the sums of redrawn rows: the heaviest row may be drawn for every other."""
    mass = as_mass(weight)
    if is_traced(mass) or mass.dtype != jnp.int32 or float(mass.max()) * mass.size <= jnp.iinfo(jnp.int32).max:
        return mass
    return mass.astype(jnp.float32)


def redraws(strata: Int[Array, " N"]) -> Callable[[Array], Int[Array, " N"]]:
    """Function `rng -> [N]` of how often each row is drawn; see `resample`. Work without the key is done once.

    Args:
      strata: `[N]`, stratum of each row, whole numbers from 0.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.bootstrap import redraws
      >>> redraw = redraws(jnp.array([0, 1, 0, 1, 1]))
      >>> jax.vmap(redraw)(jax.random.split(jax.random.key(0), 3)).sum(1).tolist()
      [5, 5, 5]
    """
    order = jnp.argsort(strata)
    ordered = strata[order]
    # in the order by stratum, a row's stratum is the positions from `first` to before `after`
    first = jnp.searchsorted(ordered, ordered, side="left")
    after = jnp.searchsorted(ordered, ordered, side="right")

    def redraw(rng):
        drawn = jax.random.randint(rng, strata.shape, first, after)
        return jnp.zeros(strata.shape, jnp.int32).at[order[drawn]].add(1)

    return redraw


def resample(rng: Array, strata: Int[Array, " N"]) -> Int[Array, " N"]:
    """How often each row is drawn if N rows are drawn with replacement within each stratum, `[N]` int32.

    Args:
      rng: a key.
      strata: `[N]`, stratum of each row, whole numbers from 0.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.bootstrap import resample
      >>> times = resample(jax.random.key(0), jnp.array([0, 1, 0, 1, 1]))
      >>> int(times[jnp.array([0, 2])].sum()), int(times.sum())
      (2, 5)
    """
    return redraws(strata)(rng)


def _accelerated(value, replicates, influence, strata, tail):
    """End of the BCa interval at tail probability `tail`, for each element of a metric's result."""

    def end_of(value, replicates, influence):
        is_valid = jnp.isfinite(replicates)
        # bias correction z0 (Efron 1987): normal quantile of the share of replicates below the value, ties counting
        # half
        below = jnp.where(is_valid, (replicates < value) + 0.5 * (replicates == value), 0).sum() / is_valid.sum()
        bias = ndtri(jnp.clip(below, 1 / (2 * replicates.size), 1 - 1 / (2 * replicates.size)))
        num_strata = 2 * strata.size
        # influences centred within each stratum: rows are exchanged only within it
        total = jnp.zeros(num_strata).at[strata].add(influence)
        counts = jnp.zeros(num_strata).at[strata].add(1.0)
        centred = influence - (total / jnp.maximum(counts, 1))[strata]
        spread = jnp.sum(centred**2)
        # a = sum l^3 / (6 (sum l^2)^1.5) of the empirical influences l of Efron 1987, section 7
        acceleration = jnp.where(spread > 0, jnp.sum(centred**3) / 6 / jnp.where(spread > 0, spread, 1) ** 1.5, 0)
        # the tail moves to Phi(z0 + (z0 + z) / (1 - a (z0 + z)))
        shifted = bias + ndtri(tail)
        return jnp.nanquantile(replicates, ndtr(bias + shifted / (1 - acceleration * shifted)))

    shape, rows = jnp.shape(value), replicates.shape[0]
    ends = jax.vmap(end_of, (0, 1, 0))(
        value.reshape(-1), replicates.reshape(rows, -1), influence.reshape(-1, strata.size)
    )
    return ends.reshape(shape)


def _check(labels, scores, weight, num, confidence, method, stratified) -> None:
    require_open_unit("confidence", confidence)
    require_count("num", num, 2)
    if method not in ("percentile", "bca"):
        raise ValueError(f'method must be "percentile" or "bca"; got {shown(method)}')
    if weight is not None:
        require_weights("weights", weight)
    counts = {np.shape(part)[:1] for part in (labels, scores, weight) if part is not None}
    if len(counts) != 1 or counts == {()}:
        shapes = ", ".join(str(np.shape(part)) for part in (labels, scores, weight) if part is not None)
        raise ValueError(f"labels, scores and weight must have one number of rows; got shapes {shapes}")
    if stratified and np.ndim(labels) != 1:
        raise ValueError(f"labels of shape {np.shape(labels)} are no strata; pass stratified=False")
