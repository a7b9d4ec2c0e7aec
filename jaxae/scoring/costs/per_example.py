"""Expected costs with a cost per example: a missed fraud costs its amount."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import real_array
from jaxae.scoring.checks import is_traced, require_weights
from jaxae.scoring.costs.expected import CostCurve, require_costs
from jaxae.scoring.metrics.curves import operating_points


def expected_cost_per_example(
    costs: ArrayLike, actions: ArrayLike, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """Mean cost of the actions taken, `sum_i w_i costs[i, a_i] / sum_i w_i`.

    Args:
      costs: `[N, actions]`, cost of each action given the example's truth.
      actions: `[N]`, action taken for each example, 0..actions-1; or bool, True flags.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1. `metrics.prevalence_weight(labels, P)`
        reweights to the deployment's anomaly rate.

    Raises:
      ValueError: shapes do not fit, a cost is negative or not finite, an action is outside the columns.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import expected_cost_per_example
      >>> costs = jnp.array([[0.0, 2.0], [900.0, 2.0], [30.0, 2.0]])
      >>> round(float(expected_cost_per_example(costs, jnp.array([0, 1, 0]))), 3)
      10.667
    """
    mass = _require(costs, weight, actions=actions)
    columns = np.shape(costs)[1]
    actions = real_array("actions", actions, objects=True)
    if not is_traced(actions):
        values = np.asarray(actions)
        if (values != np.round(values)).any():
            raise ValueError(f"actions must be whole numbers; got {values[values != np.round(values)][0]}")
        if values.min() < 0 or values.max() >= columns:
            raise ValueError(
                f"actions must lie in 0..{columns - 1}, the costs' columns; got {values.min()}..{values.max()}"
            )
    column = jnp.asarray(actions).astype(jnp.int32)[:, None]
    # each row's own costs, at the column of its action
    cost_taken = jnp.take_along_axis(jnp.asarray(costs, jnp.float32), column, axis=1)[:, 0]
    return jnp.sum(mass * cost_taken) / jnp.sum(mass)


def example_cost_curve(scores: ArrayLike, costs: ArrayLike, weight: ArrayLike | None = None) -> CostCurve:
    """Expected cost over λ where each example has its own costs; scores are sorted once.

    Flagging an example either saves or adds cost. The expected cost is the least possible one, plus what flagging would
    have saved on examples below λ, plus what it adds on examples from λ on.

    Args:
      scores: `[N]`, higher is more anomalous.
      costs: `[N, 2]`, cost of accepting and of flagging given the example's truth.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1. `metrics.prevalence_weight(labels, P)`
        reweights to the deployment's anomaly rate.

    Returns:
      A `CostCurve`; its `oracle_threshold` is the λ of least cost.

    Raises:
      ValueError: shapes do not fit, a cost is negative or not finite, a score is not finite.

    Source: Elkan 2001, "The Foundations of Cost-Sensitive Learning", section 1.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import example_cost_curve
      >>> costs = jnp.array([[0.0, 2.0], [900.0, 2.0], [30.0, 2.0]])  # a normal payment, frauds of 900 and of 30
      >>> curve = example_cost_curve(jnp.array([0.2, 0.9, 0.1]), costs)
      >>> [round(value, 3) for value in curve.cost.tolist()], round(float(curve.oracle_threshold), 3)
      ([310.0, 10.667, 11.333, 2.0], 0.1)
    """
    if np.ndim(costs) == 2 and np.shape(costs)[1] != 2:
        raise ValueError(f"a curve over λ needs costs of shape [N, 2], accept and flag; got {np.shape(costs)}")
    mass = _require(costs, weight, scores=scores)
    accept, flag = jnp.asarray(costs, jnp.float32).T
    # an example is positive if flagging is cheaper, and weighs the difference: misses and false alarms are then costs
    points = operating_points((accept > flag).astype(jnp.int32), scores, mass * jnp.abs(accept - flag))
    # the cost if each example got its cheaper action
    least = jnp.sum(mass * jnp.minimum(accept, flag))
    cost = (least + points.false_negatives + points.false_positives) / jnp.sum(mass)
    best = jnp.argmin(cost)
    return CostCurve(points.threshold, cost, cost[best], points.threshold[best], cost[-1], cost[0])


def _require(costs: ArrayLike, weight: ArrayLike | None, **vector: ArrayLike) -> Float[Array, " N"]:
    """Check shapes and values, and return the weights."""
    ((name, values),) = vector.items()
    real_array(name, values, objects=True)
    real_array("costs", costs)
    size, rows = np.shape(values), np.shape(costs)
    if (
        len(size) != 1
        or len(rows) != 2
        or rows[:1] != size
        or 0 in rows
        or not (weight is None or np.shape(weight) == size)
    ):
        weighed = "" if weight is None else f", weight {np.shape(weight)}"
        raise ValueError(f"costs must be [N, actions] and {name} [N]; got costs {rows}, {name} {size}{weighed}")
    require_costs(costs)
    if weight is None:
        return jnp.ones(size)
    require_weights("weights", weight)
    if not is_traced(weight) and not np.any(weight):
        raise ValueError(f"all {np.size(weight)} weights are 0: there is no row to average over")
    return jnp.asarray(weight, jnp.float32)
