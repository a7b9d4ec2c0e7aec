"""Bootstrap intervals: rows are redrawn by whole weights, so that every metric keeps its shapes, jits and vmaps."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike
from jaxtyping import Int

from jaxae.scoring.checks import require_open_unit
from jaxae.scoring.metrics.curves import as_mass
from jaxae.types import PyTree

_ROWS_AT_ONCE = 2**21  # weights of this many rows at a time: 8 MB an array


class Interval(NamedTuple):
    """A figure and the ends of its confidence interval, each of the metric's structure.

    Attributes:
      value: the metric of the rows as they are.
      low: its lower end.
      high: its upper end.
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
    """A metric with a bootstrap interval: how much another draw of these many rows would move it.

    Rows are drawn with replacement; a row drawn t times has weight t. The metric sorts the scores once, as the order
    does not depend on weights, and memory stays bounded as replicates come in groups. The interval speaks of new test
    rows alone, not of another training run. Under `jit` everything is one program.

    Args:
      metric: `(labels, scores, weight) -> number`, array or tree of them: any of `jaxae.scoring.metrics`, or a
        function of your own; other arrays of N rows may be closed over.
      labels: `[N]`, 1 anomaly, 0 normal (or whatever the metric reads, with N rows).
      scores: `[N, ...]`.
      rng: a key; the same key gives the same interval.
      num: replicates.
      confidence: of the interval, in (0, 1).
      weight: `[N]`, not negative; rows of weight 0 only pad. None weighs all rows 1.
      stratified: redraw rows within each label, which keeps the number of anomalies as it is (rates of either class
        then vary as they do, and no replicate lacks a class). False also varies the share of anomalies.
      method: "percentile", or "bca" (bias-corrected and accelerated: better where the metric is skewed, as near its
        bounds). The acceleration is from the metric's derivative with respect to the weights.

    Returns:
      `Interval(value, low, high)`. Replicates without a value (NaN: a class is missing) are left out.

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
    _check(labels, scores, weight, num, confidence, method, stratified)
    value = metric(labels, scores, weight)
    count = np.shape(labels)[0]
    base = jnp.ones(count, jnp.int32) if weight is None else as_mass(weight)
    strata = 2 * jnp.asarray(labels).astype(jnp.int32) if stratified else jnp.zeros(count, jnp.int32)
    strata = strata + (base > 0)
    redraw = redraws(strata)

    def replicate(key):
        return metric(labels, scores, base * redraw(key))

    together = max(1, min(num, _ROWS_AT_ONCE // max(1, np.size(scores))))
    replicates = jax.lax.map(replicate, jax.random.split(rng, num), batch_size=together)
    tails = (1 - jnp.asarray(confidence)) / 2, (1 + jnp.asarray(confidence)) / 2
    if method == "percentile":
        low, high = (jax.tree.map(lambda r, q=q: jnp.nanquantile(r, q, axis=0), replicates) for q in tails)
        return Interval(value, low, high)
    influence = jax.jacrev(lambda w: metric(labels, scores, w))(base.astype(jnp.float32))
    ends = [
        jax.tree.map(lambda v, r, u, q=q: _accelerated(v, r, u * base, strata, q), value, replicates, influence)
        for q in tails
    ]
    return Interval(value, *ends)


def redraws(strata: Int[Array, " N"]) -> Callable[[Array], Int[Array, " N"]]:
    """`rng -> how often each row is drawn`, see `resample`; what does not depend on the key is done once, here.

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
    first = jnp.searchsorted(ordered, ordered, side="left")
    after = jnp.searchsorted(ordered, ordered, side="right")

    def redraw(rng):
        drawn = jax.random.randint(rng, strata.shape, first, after)
        return jnp.zeros(strata.shape, jnp.int32).at[order[drawn]].add(1)

    return redraw


def resample(rng: Array, strata: Int[Array, " N"]) -> Int[Array, " N"]:
    """How often each row is drawn when as many rows as there are are drawn with replacement, within each stratum.

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
    """The end of the BCa interval at one tail, of each element of an output."""

    def one(value, replicates, influence):
        known = jnp.isfinite(replicates)
        below = jnp.where(known, (replicates < value) + 0.5 * (replicates == value), 0).sum() / known.sum()
        bias = ndtri(jnp.clip(below, 1 / (2 * replicates.size), 1 - 1 / (2 * replicates.size)))
        size = 2 * strata.size
        total = jnp.zeros(size).at[strata].add(influence)
        rows = jnp.zeros(size).at[strata].add(1.0)
        centred = influence - (total / jnp.maximum(rows, 1))[strata]
        spread = jnp.sum(centred**2)
        acceleration = jnp.where(spread > 0, jnp.sum(centred**3) / 6 / jnp.where(spread > 0, spread, 1) ** 1.5, 0)
        shifted = bias + ndtri(tail)
        return jnp.nanquantile(replicates, ndtr(bias + shifted / (1 - acceleration * shifted)))

    shape, rows = jnp.shape(value), replicates.shape[0]
    ends = jax.vmap(one, (0, 1, 0))(value.reshape(-1), replicates.reshape(rows, -1), influence.reshape(-1, strata.size))
    return ends.reshape(shape)


def _check(labels, scores, weight, num, confidence, method, stratified) -> None:
    require_open_unit("confidence", confidence)
    if num < 2:
        raise ValueError(f"num must be at least 2 replicates; got {num}")
    if method not in ("percentile", "bca"):
        raise ValueError(f'method must be "percentile" or "bca"; got {method!r}')
    counts = {np.shape(part)[:1] for part in (labels, scores, weight) if part is not None}
    if len(counts) != 1 or counts == {()}:
        shapes = ", ".join(str(np.shape(part)) for part in (labels, scores, weight) if part is not None)
        raise ValueError(f"labels, scores and weight must have one number of rows; got shapes {shapes}")
    if stratified and np.ndim(labels) != 1:
        raise ValueError(f"labels of shape {np.shape(labels)} are no strata; pass stratified=False")
