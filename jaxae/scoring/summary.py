"""All figures of one test, compiled in one piece."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.scoring import costs, metrics
from jaxae.types import CostTable, Verdict


def summary(labels: np.ndarray, verdict: Verdict, table: CostTable, anomaly_rate: float) -> dict[str, float]:
    """The figures of one test: as they would be at the deployment's anomaly rate and, as `..._raw`, as they are.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      verdict: a `Verdict` of N rows.
      table: costs in the deployment's unit.
      anomaly_rate: P, in (0, 1).

    Returns:
      Name to number. Without both classes among the labels: nothing.
    """
    if labels.min() == labels.max():
        return {}
    figures = jax.jit(_figures)(labels, verdict.score, verdict.is_anomaly, table, anomaly_rate)
    return {name: float(value) for name, value in jax.device_get(figures).items()}


def _figures(labels, scores, decisions, table, anomaly_rate):
    weight = metrics.prevalence_weight(labels, anomaly_rate)
    curve = costs.expected_cost_curve(labels, scores, table, anomaly_rate)
    return {
        "auroc": metrics.auroc(labels, scores),
        "average_precision": metrics.average_precision(labels, scores, weight),
        "average_precision_raw": metrics.average_precision(labels, scores),
        "fpr_at_95_tpr": metrics.fpr_at_tpr(labels, scores),
        "recall": metrics.recall(labels, decisions),
        "false_alarm_rate": metrics.false_alarm_rate(labels, decisions),
        "precision": metrics.precision(labels, decisions, weight),
        "precision_raw": metrics.precision(labels, decisions),
        "f1": metrics.f1(labels, decisions, weight),
        "f1_raw": metrics.f1(labels, decisions),
        "expected_cost": costs.expected_cost(labels, decisions, table, anomaly_rate),
        "expected_cost_oracle": curve.oracle,
        "expected_cost_always": curve.always,
        "expected_cost_never": curve.never,
        "test_anomaly_share": jnp.mean(labels),
    }
