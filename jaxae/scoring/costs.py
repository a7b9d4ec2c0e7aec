"""Expected cost of a decision rule at the deployment's anomaly rate."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.scoring.checks import require_labels, require_open_unit
from jaxae.scoring.curves import operating_points
from jaxae.scoring.metrics import confusion
from jaxae.types import CostTable


class CostCurve(NamedTuple):
    """Expected cost per example over λ.

    Attributes:
      threshold: `[N + 1]`: +inf (flag none), then the scores in descending order.
      cost: `[N + 1]`, expected cost of flagging `score >= threshold`, in the table's unit.
      oracle: scalar, the least of them.
      oracle_threshold: scalar, the highest λ that has it.
      always: scalar, cost of flagging everything.
      never: scalar, cost of flagging nothing.
    """

    threshold: Float[Array, " M"]
    cost: Float[Array, " M"]
    oracle: Float[Array, ""]
    oracle_threshold: Float[Array, ""]
    always: Float[Array, ""]
    never: Float[Array, ""]


def _check(table: CostTable, anomaly_rate: ArrayLike) -> None:
    require_open_unit("anomaly_rate", anomaly_rate)
    if jnp.shape(table.costs) != (2, 2):
        raise ValueError(f"accept-or-flag needs costs of shape (2, 2), truth by action; got {jnp.shape(table.costs)}")


def _cost(table: CostTable, anomaly_rate: ArrayLike, miss_rate: Array, false_alarm_rate: Array) -> Array:
    (pass_normal, false_alarm), (miss, hit) = table.costs
    anomalies = miss * miss_rate + hit * (1 - miss_rate)
    normals = false_alarm * false_alarm_rate + pass_normal * (1 - false_alarm_rate)
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

    (Costs that a table charges for correct decisions are added likewise.)

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous; or, without a threshold, decisions (bool or 0/1).
      table: costs `[2, 2]`.
      anomaly_rate: P, the deployment's share of anomalies; the data's own share plays no role.
      weight: `[N]`, not negative, or None.
      threshold: λ; flags `score >= threshold`. None: `scores` are the decisions themselves.

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
    _check(table, anomaly_rate)
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
    """Expected cost over λ, with the oracle's, always-flag's and never-flag's.

    The oracle knows the labels that it is judged by: regret against it is never negative.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      table: costs `[2, 2]`.
      anomaly_rate: P, the deployment's share of anomalies; the data's own share plays no role.
      weight: `[N]`, not negative, or None.

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
    _check(table, anomaly_rate)
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the expected cost")
    miss_rate, false_alarm_rate = points.false_negatives / points.positives, points.false_positives / points.negatives
    cost = _cost(table, anomaly_rate, miss_rate, false_alarm_rate)
    best = jnp.argmin(cost)
    return CostCurve(points.threshold, cost, cost[best], points.threshold[best], cost[-1], cost[0])
