"""Costs of each example's own: a missed fraud costs its amount."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.scoring.checks import is_traced
from jaxae.scoring.costs.expected import CostCurve, require_costs
from jaxae.scoring.metrics.curves import operating_points


def expected_cost_per_example(
    costs: ArrayLike, actions: ArrayLike, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """Mean cost of the actions taken, `sum_i w_i costs[i, a_i] / sum_i w_i`.

    Args:
      costs: `[N, actions]`, what each action costs given the example's truth.
      actions: `[N]`, 0..actions-1; or bool, True flags.
      weight: `[N]`, not negative, or None; `metrics.prevalence_weight(labels, P)` gives the deployment's anomaly rate.

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
    if not is_traced(actions):
        found = np.asarray(actions)
        if found.min() < 0 or found.max() >= columns:
            raise ValueError(
                f"actions must lie in 0..{columns - 1}, the costs' columns; got {found.min()}..{found.max()}"
            )
    column = jnp.asarray(actions).astype(jnp.int32)[:, None]
    taken = jnp.take_along_axis(jnp.asarray(costs, jnp.float32), column, axis=1)[:, 0]
    return jnp.sum(mass * taken) / jnp.sum(mass)


def example_cost_curve(scores: ArrayLike, costs: ArrayLike, weight: ArrayLike | None = None) -> CostCurve:
    """Expected cost over λ where each example has costs of its own; one sort.

    An example is one that flagging saves money on or one that it costs money on: the least each could cost, plus
    what flagging would have saved below λ, plus what it costs from λ on.

    Args:
      scores: `[N]`, higher is more anomalous.
      costs: `[N, 2]`, what accepting and flagging cost given the example's truth.
      weight: `[N]`, not negative, or None; `metrics.prevalence_weight(labels, P)` gives the deployment's anomaly rate.

    Returns:
      A `CostCurve`; its `oracle_threshold` is the λ to take.

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
    points = operating_points((accept > flag).astype(jnp.int32), scores, mass * jnp.abs(accept - flag))
    least = jnp.sum(mass * jnp.minimum(accept, flag))
    cost = (least + points.false_negatives + points.false_positives) / jnp.sum(mass)
    best = jnp.argmin(cost)
    return CostCurve(points.threshold, cost, cost[best], points.threshold[best], cost[-1], cost[0])


def _require(costs: ArrayLike, weight: ArrayLike | None, **vector: ArrayLike) -> Float[Array, " N"]:
    """Weights, once shapes and values have been looked at."""
    ((name, values),) = vector.items()
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
    require_costs(weight, "weights")
    return jnp.asarray(weight, jnp.float32)
