"""The figures of a test, for a report: threshold-free ones and those of the decisions, with intervals."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.scoring import costs, metrics
from jaxae.scoring.metrics.bootstrap import bootstrap
from jaxae.types import CostTable, Verdict

# each costs a pass over the test rows; the ends of an interval need a few hundred
REPLICATES = 500


def summary(labels: np.ndarray, verdict: Verdict, table: CostTable, anomaly_rate: float) -> dict[str, float]:
    """The figures of one test: as they would be at the deployment's anomaly rate and, as `..._raw`, as they are.

    Those that another draw of test rows would move have an interval of 95 %, `..._low` and `..._high`: percentiles of
    a bootstrap within the classes, with a fixed key. It does not speak of another training run.

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
    found = jax.jit(_figures)(labels, verdict.score, verdict.is_anomaly, table, anomaly_rate)
    (value, low, high), plain = jax.device_get(found)
    figures = {}
    for name in value:
        figures |= {name: value[name], f"{name}_low": low[name], f"{name}_high": high[name]}
    return {name: float(number) for name, number in (figures | plain).items()}


def _figures(labels, scores, decisions, table, anomaly_rate):
    both = jnp.stack([scores, jnp.asarray(decisions, scores.dtype)], 1)

    def moved_by_rows(labels, both, raw):
        scores, decisions = both[:, 0], both[:, 1]
        raw = jnp.ones(labels.shape, jnp.int32) if raw is None else raw
        weight = metrics.prevalence_weight(labels, anomaly_rate, raw)
        return {
            "auroc": metrics.auroc(labels, scores, raw),
            "average_precision": metrics.average_precision(labels, scores, weight),
            "average_precision_raw": metrics.average_precision(labels, scores, raw),
            "fpr_at_95_tpr": metrics.fpr_at_tpr(labels, scores, raw),
            "tnr_at_05_fnr": metrics.tnr_at_fnr(labels, scores, raw),
            "recall": metrics.recall(labels, decisions, raw),
            "false_alarm_rate": metrics.false_alarm_rate(labels, decisions, raw),
            "precision": metrics.precision(labels, decisions, weight),
            "precision_raw": metrics.precision(labels, decisions, raw),
            "f1": metrics.f1(labels, decisions, weight),
            "f1_raw": metrics.f1(labels, decisions, raw),
            "expected_cost": costs.expected_cost(labels, decisions, table, anomaly_rate, raw),
        }

    curve = costs.expected_cost_curve(labels, scores, table, anomaly_rate)
    plain = {
        "best_f1": metrics.best_f1(labels, scores, metrics.prevalence_weight(labels, anomaly_rate)),
        "expected_cost_oracle": curve.oracle,
        "expected_cost_always": curve.always,
        "expected_cost_never": curve.never,
        "test_anomaly_share": jnp.mean(labels),
    }
    return bootstrap(moved_by_rows, labels, both, jax.random.key(0), REPLICATES), plain
