"""Actions beyond accept and flag: least expected cost under probabilities, and two thresholds with rejection."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from jaxae.numerics import in_float32, real_array
from jaxae.scoring.checks import is_traced, require_labels, require_open_unit
from jaxae.scoring.costs.expected import require_costs
from jaxae.scoring.metrics.curves import operating_points
from jaxae.types import CostTable


def bayes_action(probabilities: ArrayLike, table: CostTable) -> Int[Array, " N"]:
    """The action of the least expected cost, `argmin_a sum_t p(t) costs[t, a]`, the first on ties.

    It is optimal only for probabilities that are calibrated at the deployment's rates.

    Args:
      probabilities: `[N, truths]`, probability of each truth; rows sum to 1.
      table: cost table `[truths, actions]`.

    Returns:
      `[N]` int32, columns of the cost table.

    Raises:
      ValueError: shapes do not fit, a probability is negative or not finite, rows do not sum to 1, a cost is negative
        or not finite.

    Source: Chow 1970, "On optimum recognition error and reject tradeoff"; Elkan 2001, "The Foundations of
    Cost-Sensitive Learning".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import bayes_action
      >>> from jaxae.types import CostTable
      >>> anomalous = jnp.array([0.01, 0.1, 0.6])
      >>> table = CostTable.with_reject(miss=10.0, false_alarm=1.0, reject=0.5)
      >>> bayes_action(jnp.stack([1 - anomalous, anomalous], axis=1), table).tolist()
      [0, 2, 1]
    """
    shape, costs = real_array("probabilities", probabilities).shape, real_array("costs", table.costs).shape
    if len(shape) != 2 or len(costs) != 2 or shape[1] != costs[0] or 0 in costs:
        raise ValueError(f"probabilities [N, truths] must fit costs [truths, actions]; got {shape} and {costs}")
    require_costs(table.costs)
    require_costs(probabilities, "probabilities")
    if not is_traced(probabilities):
        sums = np.asarray(probabilities, np.float64).sum(1)
        bad_rows = np.flatnonzero(np.abs(sums - 1) > 1e-3)
        if len(bad_rows):
            raise ValueError(
                f"probabilities of each row must sum to 1; row {bad_rows[0]} sums to {sums[bad_rows[0]]:g}"
            )
    # E[cost of a] = sum_t p(t) costs[t, a], for all rows in one product
    values = jnp.asarray(probabilities, jnp.float32), jnp.asarray(table.costs, jnp.float32)
    return jnp.argmin(jnp.matmul(*values, precision=jax.lax.Precision.HIGHEST), axis=1).astype(jnp.int32)


def three_way(
    labels: ArrayLike,
    scores: ArrayLike,
    table: CostTable,
    anomaly_rate: ArrayLike = 0.05,
    weight: ArrayLike | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The two thresholds of least expected cost: accept below the lower, flag from the upper, reject between.

    Rejected examples go to a human, who decides at the cost of the third column.

    The cost is a term of the lower threshold plus a term of the upper one, so that cumulative sums and a running
    minimum find the best of all `N^2` pairs after one sort. Where rejecting costs too much, both thresholds are the λ
    of `expected_cost` and nothing is rejected.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      table: cost table `[2, 3]`, truth by action (accept, flag, reject); see `CostTable.with_reject`.
      anomaly_rate: anomaly rate P of the deployment, in (0, 1); the data's share of anomalies is not used.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Returns:
      `(low, high, cost)`: thresholds `low <= high`, each a score or +inf, and the expected cost per example on these
      scores, which is optimistic for new ones, as the pair is chosen on them.

    Raises:
      ValueError: as `operating_points`; a class is missing, the rate is outside (0, 1), the table is not 2 x 3, a
        cost is negative or not finite.

    Source: Chow 1970, "On optimum recognition error and reject tradeoff".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import three_way
      >>> from jaxae.types import CostTable
      >>> labels, scores = jnp.array([0, 0, 1, 0, 1, 1]), jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
      >>> table = CostTable.with_reject(miss=10.0, false_alarm=5.0, reject=1.0)
      >>> low, high, cost = three_way(labels, scores, table, anomaly_rate=0.5)
      >>> float(low), float(high), round(float(cost), 4)
      (3.0, 5.0, 0.3333)
    """
    require_open_unit("anomaly_rate", anomaly_rate)
    if real_array("costs", table.costs).shape != (2, 3):
        raise ValueError(
            f"accept, flag or reject needs costs of shape (2, 3), truth by action; got {np.shape(table.costs)}"
        )
    require_costs(table.costs)
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the expected cost")
    # the rates of the classes enter the costs: the expected cost is then a sum over shares of each class
    costs = jnp.asarray(table.costs, jnp.float32) * jnp.array([[1 - anomaly_rate], [anomaly_rate]], jnp.float32)
    flagged = jnp.stack([points.false_positives / points.negatives, points.true_positives / points.positives])
    missed = points.false_negatives / points.positives
    accepted = jnp.stack([1 - flagged[0], missed])

    # costs relative to rejecting everything, which make the two thresholds' terms independent
    upper = (costs[:, 1] - costs[:, 2]) @ flagged
    lower = (costs[:, 0] - costs[:, 2]) @ accepted
    least = jax.lax.cummin(lower, reverse=True)  # least term of any lower threshold at or below each upper one
    high = jnp.argmin(upper + least)
    # the first point at or below `high` that attains the least term
    low = jnp.argmax((jnp.arange(len(lower)) >= high) & (lower == least[high]))

    def cost_of(low, high):
        # shares between the two thresholds, from differences on the side where they lose fewest digits
        rejected = jnp.stack([flagged[0, low] - flagged[0, high], missed[high] - missed[low]])
        return jnp.sum(costs * jnp.stack([accepted[:, low], flagged[:, high], rejected], axis=1))

    # where rejecting costs very much, the sums above round away the other costs: compare with rejecting nothing
    single = jnp.argmin(costs[:, 0] @ accepted + costs[:, 1] @ flagged)
    pair = jnp.where(cost_of(single, single) <= cost_of(low, high), jnp.array([single, single]), jnp.array([low, high]))
    return points.threshold[pair[0]], points.threshold[pair[1]], cost_of(pair[0], pair[1])


def three_way_action(scores: ArrayLike, low: ArrayLike, high: ArrayLike) -> Int[Array, " N"]:
    """Action by two thresholds: 0 (accept) below `low`, 1 (flag) from `high` on, 2 (reject) between and for NaN.

    Args:
      scores: `[N]`, higher is more anomalous.
      low: lower threshold.
      high: upper threshold, at least `low`.

    Returns:
      `[N]` int32, columns of a `[2, 3]` cost table.

    Raises:
      ValueError: `low` is above `high`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.costs import three_way_action
      >>> three_way_action(jnp.array([1.0, 3.0, 4.0, 5.0]), 3.0, 5.0).tolist()
      [0, 2, 2, 1]
    """
    shapes = real_array("low", low).shape, real_array("high", high).shape
    if shapes != ((), ()):
        raise ValueError(f"low and high are one threshold each; got shapes {shapes[0]} and {shapes[1]}")
    if not is_traced(low, high) and not np.asarray(low) <= np.asarray(high):
        raise ValueError(f"the lower threshold must not be above the upper one; got {low} and {high}")
    low, high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
    in_float32("scores", scores, around=low)
    scores = in_float32("scores", scores, around=high)
    return jnp.where(scores >= high, 1, jnp.where(scores < low, 0, 2)).astype(jnp.int32)
