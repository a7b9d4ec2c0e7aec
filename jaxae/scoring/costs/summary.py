"""Figures of a test for a report: threshold-free metrics and metrics of the decisions, with intervals."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.numerics import ranked, real_array
from jaxae.scoring import costs, metrics
from jaxae.scoring.checks import as_labels, binary, require_vectors
from jaxae.scoring.costs.expected import require_table
from jaxae.scoring.metrics.bootstrap import bootstrap
from jaxae.types import CostTable, Verdict

# number of bootstrap replicates, each a pass over the test rows; the ends of an interval need a few hundred
REPLICATES = 500


def summary(labels: np.ndarray, verdict: Verdict, table: CostTable, anomaly_rate: float) -> dict[str, float]:
    """The figures of one test, at the deployment's anomaly rate and, as `..._raw`, at that of the test rows.

    Figures that depend on the draw of test rows have a 95 % interval, `..._low` and `..._high`: percentiles of a
    bootstrap within the classes, with a fixed key. The interval does not cover another training run.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      verdict: `Verdict` of the N rows.
      table: cost table in the deployment's unit.
      anomaly_rate: anomaly rate P of the deployment, in (0, 1).

    Returns:
      Name to number; empty where the labels lack a class.

    Raises:
      ValueError: shapes differ, labels or decisions are not 0/1, a score is NaN, or as `costs.expected_cost`.
    """
    require_table(table, anomaly_rate)
    require_vectors(labels=labels, scores=verdict.score, decisions=verdict.is_anomaly)
    if missing := np.isnan(real_array("scores", verdict.score)).sum():  # an infinite score is the most anomalous of all
        raise ValueError(f"scores: {missing} of {np.size(labels)} are NaN")
    truth = np.asarray(as_labels(labels))
    if truth.min() == truth.max():
        return {}
    # no figure is in the score's unit, so that the order is enough
    scores = ranked("scores", verdict.score)
    results = jax.jit(_figures)(truth, scores, binary("decisions", verdict.is_anomaly), table, anomaly_rate)
    (value, low, high), without_interval = jax.device_get(results)
    figures = {}
    for name in value:
        figures |= {name: value[name], f"{name}_low": low[name], f"{name}_high": high[name]}
    return {name: float(number) for name, number in (figures | without_interval).items()}


def _figures(labels, scores, decisions, table, anomaly_rate):
    columns = jnp.stack([scores, jnp.asarray(decisions, scores.dtype)], 1)

    def with_interval(labels, columns, raw):
        scores, decisions = columns[:, 0], columns[:, 1]
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
    without_interval = {
        "best_f1": metrics.best_f1(labels, scores, metrics.prevalence_weight(labels, anomaly_rate)),
        "expected_cost_oracle": curve.oracle,
        "expected_cost_always": curve.always,
        "expected_cost_never": curve.never,
        "test_anomaly_share": jnp.mean(labels),
    }
    return bootstrap(with_interval, labels, columns, jax.random.key(0), REPLICATES), without_interval
