"""Expected cost of decisions at the deployment's anomaly rate, and the λ of least cost."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import real_array
from jaxae.scoring.checks import flagged, is_traced, require_labels, require_open_unit, require_vectors
from jaxae.scoring.metrics.confusion import confusion
from jaxae.scoring.metrics.curves import operating_points
from jaxae.types import CostTable


class CostCurve(NamedTuple):
    """Expected cost per example over λ.

    Attributes:
      threshold: `[N + 1]`, +inf (flag none), then the scores in descending order.
      cost: `[N + 1]`, expected cost of flagging `score >= threshold`, in the cost table's unit.
      oracle: scalar, the least cost over λ.
      oracle_threshold: scalar, the highest λ with the least cost.
      always: scalar, cost of flagging everything.
      never: scalar, cost of flagging nothing.
    """

    threshold: Float[Array, " M"]
    cost: Float[Array, " M"]
    oracle: Float[Array, ""]
    oracle_threshold: Float[Array, ""]
    always: Float[Array, ""]
    never: Float[Array, ""]


def require_costs(costs: ArrayLike, name: str = "costs") -> None:
    """Raise unless costs are finite and not negative.

    Args:
      costs: array of any shape.
      name: name of the array in the error.

    Raises:
      ValueError: a cost is negative or not finite; the message gives the first.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import require_costs
      >>> require_costs(jnp.array([[0.0, 1.0], [10.0, 0.0]]))
    """
    costs = real_array(name, costs)
    if is_traced(costs):
        return
    values = np.asarray(costs, np.float64)
    # a cost beyond float32 would become infinite
    odd = np.argwhere(~((values <= np.finfo(np.float32).max) & (values >= 0)))
    if len(odd):
        first = tuple(map(int, odd[0]))
        raise ValueError(
            f"{name} must be finite and not negative; got {values[first]:g} at {list(first)} ({len(odd)} of "
            f"{values.size} are wrong); a gain is a cost that the other actions of its row have"
        )


def require_table(table: CostTable, anomaly_rate: ArrayLike) -> None:
    """Raise unless costs are `[2, 2]`, finite and not negative, and the anomaly rate lies in (0, 1)."""
    require_open_unit("anomaly_rate", anomaly_rate)
    if real_array("costs", table.costs).shape != (2, 2):
        raise ValueError(f"accept-or-flag needs costs of shape (2, 2), truth by action; got {np.shape(table.costs)}")
    require_costs(table.costs)


def _cost(table: CostTable, anomaly_rate: ArrayLike, miss_rate: Array, false_alarm_rate: Array) -> Array:
    # rows are truths (normal, anomaly), columns actions (accept, flag)
    (pass_normal, false_alarm), (miss, hit) = jnp.asarray(table.costs, jnp.float32)
    anomalies = miss * miss_rate + hit * (1 - miss_rate)
    normals = false_alarm * false_alarm_rate + pass_normal * (1 - false_alarm_rate)
    # E[cost] = P E[cost | anomaly] + (1 - P) E[cost | normal]
    return anomaly_rate * anomalies + (1 - anomaly_rate) * normals


def expected_cost(
    labels: ArrayLike,
    scores: ArrayLike,
    table: CostTable,
    anomaly_rate: ArrayLike = 0.05,
    weight: ArrayLike | None = None,
    threshold: ArrayLike | None = None,
) -> Float[Array, ""]:
    """Expected cost per example of given decisions, `P C_miss miss_rate + (1 - P) C_fa false_alarm_rate`.

    Costs of correct decisions, if the table has any, are added in the same way.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous; or, without a threshold, decisions (bool or 0/1).
      table: cost table `[2, 2]`, truth (normal, anomaly) by action (accept, flag).
      anomaly_rate: anomaly rate P of the deployment, in (0, 1); the data's share of anomalies is not used.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      threshold: λ, `score >= threshold` is flagged; None: `scores` are the decisions themselves.

    Raises:
      ValueError: as `metrics.confusion`; a class is missing, the rate is outside (0, 1), the table is not 2 x 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import expected_cost
      >>> from jaxae.types import CostTable
      >>> decisions, labels = jnp.array([0, 1, 0, 1]), jnp.array([0, 0, 1, 1])
      >>> round(float(expected_cost(labels, decisions, CostTable.binary(10.0, 1.0), anomaly_rate=0.1)), 4)
      0.95
    """
    require_table(table, anomaly_rate)
    require_vectors(labels=labels, scores=scores, weight=weight)
    require_labels(labels, weight, "the expected cost")
    (passed, false_alarms), (misses, hits) = confusion(labels, scores, weight, threshold)
    return _cost(table, anomaly_rate, misses / (misses + hits), false_alarms / (false_alarms + passed))


def expected_cost_curve(
    labels: ArrayLike,
    scores: ArrayLike,
    table: CostTable,
    anomaly_rate: ArrayLike = 0.05,
    weight: ArrayLike | None = None,
) -> CostCurve:
    """Expected cost over λ, with the costs of the oracle λ, of always-flag and of never-flag.

    The oracle λ is chosen on the labels that it is measured on, so regret against it is never negative.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      table: cost table `[2, 2]`, truth (normal, anomaly) by action (accept, flag).
      anomaly_rate: anomaly rate P of the deployment, in (0, 1); the data's share of anomalies is not used.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Raises:
      ValueError: as `curves.operating_points`; a class is missing, the rate is outside (0, 1), the table is not
        2 x 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import expected_cost_curve
      >>> from jaxae.types import CostTable
      >>> labels, scores = jnp.array([0, 0, 1]), jnp.array([1.0, 3.0, 2.0])
      >>> curve = expected_cost_curve(labels, scores, CostTable.binary(10.0, 1.0), anomaly_rate=0.5)
      >>> curve.cost.tolist(), float(curve.oracle_threshold)
      ([5.0, 5.25, 0.25, 0.5], 2.0)
    """
    require_table(table, anomaly_rate)
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the expected cost")
    # rates within each class do not depend on the share of anomalies in the data
    miss_rate, false_alarm_rate = points.false_negatives / points.positives, points.false_positives / points.negatives
    cost = _cost(table, anomaly_rate, miss_rate, false_alarm_rate)
    # argmin takes the first of ties, which is the highest λ
    best = jnp.argmin(cost)
    return CostCurve(points.threshold, cost, cost[best], points.threshold[best], cost[-1], cost[0])


def optimal_thresholds(
    labels: ArrayLike,
    scores: ArrayLike,
    ratios: ArrayLike,
    anomaly_rate: ArrayLike = 0.05,
    weight: ArrayLike | None = None,
) -> Float[Array, " R"]:
    """The λ of the least expected cost for each cost ratio, all from one sort.

    λ depends only on the ratio of a miss's cost to a false alarm's: `λ(r) = argmin_λ P r miss_rate(λ) + (1 - P)
    false_alarm_rate(λ)`, the largest λ on ties, which never rises with r.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      ratios: `[R]`, cost of a miss over cost of a false alarm, not negative.
      anomaly_rate: anomaly rate P of the deployment, in (0, 1).
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Returns:
      `[R]`, each a score or +inf (flag none).

    Raises:
      ValueError: as `expected_cost_curve`; ratios are not a vector, or one is negative or not finite.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import optimal_thresholds
      >>> labels, scores = jnp.array([0, 1, 0, 1]), jnp.array([1.0, 2.0, 5.0, 6.0])
      >>> optimal_thresholds(labels, scores, jnp.array([0.0, 0.5, 2.0]), anomaly_rate=0.5).tolist()
      [inf, 6.0, 2.0]
    """
    require_open_unit("anomaly_rate", anomaly_rate)
    ratios = real_array("cost ratios", ratios)
    if np.ndim(ratios) != 1 or not np.size(ratios):
        raise ValueError(f"cost ratios must be a vector, not empty; got shape {np.shape(ratios)}")
    require_costs(ratios, "cost ratios")
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the expected cost")
    # one sort serves every ratio: only the weights of the two rates change
    rates = points.false_negatives / points.positives, points.false_positives / points.negatives

    def choose(ratio):
        # a cost table of ratio to 1: only the ratio matters for the argmin
        return points.threshold[jnp.argmin(_cost(CostTable.binary(ratio, 1.0), anomaly_rate, *rates))]

    return jax.vmap(choose)(jnp.asarray(ratios, jnp.float32))


def regret(
    labels: ArrayLike,
    scores: ArrayLike,
    threshold: ArrayLike,
    table: CostTable,
    anomaly_rate: ArrayLike = 0.05,
    weight: ArrayLike | None = None,
) -> Float[Array, ""]:
    """Expected cost of λ above the least of oracle λ, always-flag and never-flag; never negative.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      threshold: λ, a scalar; `score >= threshold` is flagged.
      table: cost table `[2, 2]`, truth (normal, anomaly) by action (accept, flag).
      anomaly_rate: anomaly rate P of the deployment, in (0, 1).
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Raises:
      ValueError: as `expected_cost_curve`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import regret
      >>> from jaxae.types import CostTable
      >>> labels, scores = jnp.array([0, 0, 1]), jnp.array([1.0, 3.0, 2.0])
      >>> table = CostTable.binary(10.0, 1.0)
      >>> [float(regret(labels, scores, threshold, table, 0.5)) for threshold in (2.0, 2.5)]
      [0.0, 5.0]
    """
    curve = expected_cost_curve(labels, scores, table, anomaly_rate, weight)
    # a point of the same curve: another order of summation might round to below the oracle's cost
    count = jnp.sum(flagged("scores", scores, threshold))
    # the number of flagged rows is the index of the point, also between two scores
    return curve.cost[count] - curve.oracle
