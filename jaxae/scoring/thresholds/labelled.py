"""Threshold rules that read dev scores with labels: λ is one of the dev scores, or +inf (flag none)."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxae.numerics import in_float32, require_within
from jaxae.scoring.checks import (
    as_labels,
    is_traced,
    require_labels,
    require_open_unit,
    require_spread,
    require_vectors,
)
from jaxae.scoring.costs.expected import expected_cost_curve, require_table
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
    if not is_traced(labels) and not np.any(np.asarray(as_labels(labels))):
        raise ValueError(f"{name} needs anomalies among the {len(labels)} dev scores; {WITHOUT_ANOMALIES}")
    require_labels(labels, weight, f"{name} (on dev scores)", both)
    require_spread("dev scores", dev)
    in_float32("dev scores", dev)


def _points(name: str, dev, labels, weight, anomaly_rate: ArrayLike | None = None) -> OperatingPoints:
    """Operating points of the dev scores, reweighted to the deployment's anomaly rate unless it is None."""
    _require_dev(name, dev, labels, weight)
    if anomaly_rate is not None:
        weight = prevalence_weight(labels, anomaly_rate, weight)
    return operating_points(labels, dev, weight)


def recall(rate: ArrayLike) -> Threshold:
    """The largest λ that flags at least this share of the dev anomalies.

    Args:
      rate: least recall on dev, in (0, 1]; 1 puts λ on the lowest dev anomaly.

    Raises:
      ValueError: `rate` is outside (0, 1]; in `fit`, dev scores or labels are missing, hold no anomaly, or scores
        are not finite or all equal.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> threshold_rule = thresholds.recall(0.5)
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> float(threshold_rule.fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"])
      6.0
    """
    require_within("rate", rate, "(0, 1]")

    def choose(calibration, dev, labels, weight):
        _require_dev("the recall rule", dev, labels, weight, both=False)
        points = operating_points(labels, dev, weight)
        # points are in descending order of λ: the first that reaches the recall has the largest λ
        return points.threshold[jnp.argmax(points.reaches(rate))]

    return rule(choose, reads="dev")


def best_f1(anomaly_rate: ArrayLike | None = None) -> Threshold:
    """The λ of the highest F1 on dev, the largest such λ on ties.

    Args:
      anomaly_rate: anomaly rate P of the deployment in (0, 1), to which dev is reweighted. None does not reweight; dev
        usually holds far more anomalies than the deployment, so λ is then too low.

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
      beta: weight of recall relative to precision, above 0.
      anomaly_rate: anomaly rate P of the deployment in (0, 1), to which dev is reweighted; None does not reweight.

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
    require_within("beta", beta, "(0, inf)")
    if anomaly_rate is not None:
        require_open_unit("anomaly_rate", anomaly_rate)

    def choose(calibration, dev, labels, weight):
        points = _points("the F-beta rule", dev, labels, weight, anomaly_rate)
        flagged = points.true_positives + points.false_positives
        # (1 + b^2) TP / (flagged + b^2 positives), as flagged = TP + FP and positives = TP + FN
        scaled = (1 + beta**2) * points.true_positives
        # argmax takes the first of ties, which is the largest λ
        return points.threshold[jnp.argmax(scaled / (flagged + beta**2 * points.positives))]

    return rule(choose, reads="dev")


def precision(share: ArrayLike, anomaly_rate: ArrayLike | None = None) -> Threshold:
    """The λ of the highest recall whose precision on dev is at least `share`, the largest on ties.

    Args:
      share: least precision, the share of anomalies among flagged rows, in (0, 1].
      anomaly_rate: anomaly rate P of the deployment in (0, 1), to which dev is reweighted. None does not reweight; the
        precision is then overestimated wherever anomalies are rarer than on dev.

    Raises:
      ValueError: a number is outside its range; in `fit`, no λ reaches that precision (the error gives the highest),
        dev scores or labels are missing, lack a class, or scores are not finite or all equal. Under `jit`, λ is +inf
        (flag none) where none reaches it.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> [float(thresholds.precision(p).fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"]) for p in (0.6, 0.9)]
      [2.0, 6.0]
    """
    require_within("the precision", share, "(0, 1]")
    if anomaly_rate is not None:
        require_open_unit("anomaly_rate", anomaly_rate)

    def choose(calibration, dev, labels, weight):
        points = _points("the precision rule", dev, labels, weight, anomaly_rate)
        flagged = points.true_positives + points.false_positives
        precisions = jnp.where(flagged > 0, points.true_positives / jnp.where(flagged > 0, flagged, 1), 0)
        # a point below the required precision counts as one without hits, so that it is never the best
        hits = jnp.where(precisions >= share, points.true_positives, 0)
        best = jnp.argmax(hits)
        if not is_traced(precisions, share) and not hits[best] > 0:
            highest = jnp.argmax(precisions)
            raise ValueError(
                f"no λ has a precision of {share:g} on dev: the best is {precisions[highest]:.4g}, "
                f"at λ = {points.threshold[highest]:.6g}"
            )
        return jnp.where(hits[best] > 0, points.threshold[best], jnp.inf)

    return rule(choose, reads="dev")


def youden() -> Threshold:
    """The λ of the largest `recall - false-alarm rate` on dev (Youden's J), the largest such λ on ties.

    It equals `expected_cost` where `P C_miss = (1 - P) C_fa`.

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
        # Youden's J; argmax takes the first of ties, the largest λ
        gain = points.true_positives / points.positives - points.false_positives / points.negatives
        return points.threshold[jnp.argmax(gain)]

    return rule(choose, reads="dev")


def expected_cost(table: CostTable, anomaly_rate: ArrayLike = 0.05) -> Threshold:
    """The λ of the least expected cost, `P C_miss miss_rate + (1 - P) C_fa false_alarm_rate`, the largest on ties.

    Rates are dev's, the share of anomalies is the deployment's. Where flagging costs more than it saves at every λ, λ
    is +inf (flag none). The verdict's `action` is the table's column: 0 accepts, 1 flags.

    Args:
      table: cost table `[2, 2]`, truth (normal, anomaly) by action (accept, flag); see `CostTable.binary`.
      anomaly_rate: anomaly rate P of the deployment, in (0, 1).

    Raises:
      ValueError: `anomaly_rate` is outside (0, 1), the table is not 2 x 2; in `fit`, dev scores or labels are
        missing, lack a class, or scores are not finite or all equal.

    Source: Elkan 2001, "The Foundations of Cost-Sensitive Learning".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> from jaxae.types import CostTable
      >>> dev, labels = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([0, 1, 0, 1])
      >>> threshold_rule = thresholds.expected_cost(CostTable.binary(miss=10.0, false_alarm=1.0), anomaly_rate=0.5)
      >>> float(threshold_rule.fit(jnp.array([1.0, 3.0]), dev, labels)["threshold"])
      2.0
    """
    require_table(table, anomaly_rate)

    def choose(calibration, dev, labels, weight):
        _require_dev("the expected-cost rule", dev, labels, weight)
        return expected_cost_curve(labels, dev, table, anomaly_rate, weight).oracle_threshold

    return rule(choose, costs_actions=True, reads="dev")
