"""Rules that read dev scores with labels: λ is one of the dev scores, or +inf (flag none)."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxae.numerics import as_number
from jaxae.scoring.checks import is_traced, require_labels, require_open_unit, require_spread, require_vectors
from jaxae.scoring.costs.expected import expected_cost_curve
from jaxae.scoring.metrics.confusion import prevalence_weight
from jaxae.scoring.metrics.curves import OperatingPoints, operating_points
from jaxae.scoring.thresholds.rule import rule
from jaxae.types import CostTable, Threshold

WITHOUT_ANOMALIES = "rules that work without anomalies: quantile, false_alarm_rate, conformal, false_alarm_bound"


def _require_dev(name: str, dev, labels, weight, both: bool = True) -> None:
    if dev is None or labels is None:
        raise ValueError(f"{name} needs dev scores with labels; {WITHOUT_ANOMALIES}")
    require_vectors(dev=dev, labels=labels, weight=weight)
    require_labels(labels, weight)
    if not is_traced(labels) and not np.any(labels):
        raise ValueError(f"{name} needs anomalies among the {len(labels)} dev scores; {WITHOUT_ANOMALIES}")
    require_labels(labels, weight, f"{name} (on dev scores)", both)
    require_spread("dev scores", dev)


def _points(name: str, dev, labels, weight, anomaly_rate: ArrayLike | None = None) -> OperatingPoints:
    """Dev's operating points, at the deployment's anomaly rate if one is given."""
    _require_dev(name, dev, labels, weight)
    if anomaly_rate is not None:
        weight = prevalence_weight(labels, anomaly_rate, weight)
    return operating_points(labels, dev, weight)


def recall(rate: ArrayLike) -> Threshold:
    """The largest λ that flags at least this share of the dev anomalies.

    Args:
      rate: in (0, 1]; 1 puts λ on the lowest dev anomaly.

    Raises:
      ValueError: `rate` is outside (0, 1]; in `fit`, dev scores or labels are missing, hold no anomaly, or scores
        are not finite or all equal.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> rule = thresholds.recall(0.5)
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> float(rule.fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"])
      6.0
    """
    if (number := as_number(rate)) is not None and not 0 < number <= 1:
        raise ValueError(f"rate must lie in (0, 1]; got {rate}")

    def choose(calibration, dev, labels, weight):
        _require_dev("the recall rule", dev, labels, weight, both=False)
        points = operating_points(labels, dev, weight)
        return points.threshold[jnp.argmax(points.reaches(rate))]

    return rule(choose, reads="dev")


def best_f1(anomaly_rate: ArrayLike | None = None) -> Threshold:
    """The λ of the highest F1 on dev, the largest such λ on ties.

    Args:
      anomaly_rate: P in (0, 1), the deployment's share of anomalies, to which dev is reweighted; None takes dev as
        it is, which holds far more anomalies than most deployments and so flags too much there.

    Raises:
      ValueError: `anomaly_rate` is outside (0, 1); in `fit`, dev scores or labels are missing, lack a class, or
        scores are not finite or all equal.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> float(thresholds.best_f1().fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"])
      2.0
      >>> float(thresholds.best_f1(0.01).fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"])
      6.0
    """
    return f_beta(1.0, anomaly_rate)


def f_beta(beta: ArrayLike, anomaly_rate: ArrayLike | None = None) -> Threshold:
    """The λ of the highest F-beta on dev, `(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)`, the largest on ties.

    Args:
      beta: above 0: how many times as much recall counts as precision.
      anomaly_rate: as for `best_f1`.

    Raises:
      ValueError: `beta` is not above 0, `anomaly_rate` is outside (0, 1); in `fit`, dev scores or labels are missing,
        lack a class, or scores are not finite or all equal.

    Source: van Rijsbergen 1979, "Information Retrieval", chapter 7.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> [float(thresholds.f_beta(beta).fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"]) for beta in (0.5, 2.0)]
      [6.0, 2.0]
    """
    if (number := as_number(beta)) is not None and not 0 < number < float("inf"):
        raise ValueError(f"beta must be above 0 and finite; got {beta}")
    if anomaly_rate is not None:
        require_open_unit("anomaly_rate", anomaly_rate)

    def choose(calibration, dev, labels, weight):
        points = _points("the F-beta rule", dev, labels, weight, anomaly_rate)
        flagged = points.true_positives + points.false_positives
        scaled = (1 + beta**2) * points.true_positives
        return points.threshold[jnp.argmax(scaled / (flagged + beta**2 * points.positives))]

    return rule(choose, reads="dev")


def precision(share: ArrayLike, anomaly_rate: ArrayLike | None = None) -> Threshold:
    """The λ that catches most among those whose precision on dev is at least this share, the largest on ties.

    Args:
      share: in (0, 1]: anomalies among what is flagged.
      anomaly_rate: as for `best_f1`; dev as it is flatters the precision wherever anomalies are rarer.

    Raises:
      ValueError: a number is outside its range; in `fit`, no λ reaches that precision (the best is named), dev scores
        or labels are missing, lack a class, or scores are not finite or all equal. Under `jit`, λ is +inf (flag none)
        where none reaches it.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> [float(thresholds.precision(p).fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"]) for p in (0.6, 0.9)]
      [2.0, 6.0]
    """
    if (number := as_number(share)) is not None and not 0 < number <= 1:
        raise ValueError(f"the precision must lie in (0, 1]; got {share}")
    if anomaly_rate is not None:
        require_open_unit("anomaly_rate", anomaly_rate)

    def choose(calibration, dev, labels, weight):
        points = _points("the precision rule", dev, labels, weight, anomaly_rate)
        flagged = points.true_positives + points.false_positives
        found = jnp.where(flagged > 0, points.true_positives / jnp.where(flagged > 0, flagged, 1), 0)
        caught = jnp.where(found >= share, points.true_positives, 0)
        best = jnp.argmax(caught)
        if not is_traced(found, share) and not caught[best] > 0:
            highest = jnp.argmax(found)
            raise ValueError(
                f"no λ has a precision of {share:g} on dev: the best is {found[highest]:.4g}, "
                f"at λ = {points.threshold[highest]:.6g}"
            )
        return jnp.where(caught[best] > 0, points.threshold[best], jnp.inf)

    return rule(choose, reads="dev")


def youden() -> Threshold:
    """The λ of the largest `recall - false-alarm rate` on dev (Youden's J), the largest such λ on ties.

    It is the expected-cost rule where a miss times the anomaly rate costs what a false alarm times the rest does.

    Raises:
      ValueError: in `fit`, dev scores or labels are missing, lack a class, or scores are not finite or all equal.

    Source: Youden 1950, "Index for rating diagnostic tests".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 0, 1, 1])
      >>> float(thresholds.youden().fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"])
      5.0
    """

    def choose(calibration, dev, labels, weight):
        points = _points("the Youden rule", dev, labels, weight)
        gain = points.true_positives / points.positives - points.false_positives / points.negatives
        return points.threshold[jnp.argmax(gain)]

    return rule(choose, reads="dev")


def expected_cost(table: CostTable, anomaly_rate: ArrayLike = 0.05) -> Threshold:
    """The λ of the least expected cost, `P C_miss miss_rate + (1 - P) C_fa false_alarm_rate`, the largest on ties.

    Rates are dev's, the share of anomalies is the deployment's. Where no λ is worth its false alarms, λ is +inf
    (flag none). The verdict's `action` is the table's column: 0 accepts, 1 flags.

    Args:
      table: costs `[2, 2]`, truth (normal, anomaly) by action (accept, flag); see `CostTable.binary`.
      anomaly_rate: P in (0, 1).

    Raises:
      ValueError: `anomaly_rate` is outside (0, 1), the table is not 2 x 2; in `fit`, dev scores or labels are
        missing, lack a class, or scores are not finite or all equal.

    Source: Elkan 2001, "The Foundations of Cost-Sensitive Learning".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> from jaxae.types import CostTable
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> rule = thresholds.expected_cost(CostTable.binary(miss=10.0, false_alarm=1.0), anomaly_rate=0.5)
      >>> float(rule.fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"])
      2.0
    """
    require_open_unit("anomaly_rate", anomaly_rate)
    if jnp.shape(table.costs) != (2, 2):
        raise ValueError(f"accept-or-flag needs costs of shape (2, 2), truth by action; got {jnp.shape(table.costs)}")

    def choose(calibration, dev, labels, weight):
        _require_dev("the expected-cost rule", dev, labels, weight)
        return expected_cost_curve(labels, dev, table, anomaly_rate, weight).oracle_threshold

    return rule(choose, costs_actions=True, reads="dev")
