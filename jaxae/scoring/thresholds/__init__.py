"""Rules that choose λ: `fit(calibration, dev=None, labels=None, weight=None)`, then `apply(fitted, scores)`.

`is_anomaly = score >= threshold` everywhere, and `p_value = (1 + #{calibration >= score}) / (1 + n)` whatever the
rule. Calibration scores are clean normals; dev scores carry labels. Everything traces under `jit` and `vmap`;
scores and labels are checked where they are concrete.

| rule                    | reads                 | λ                                                        |
| ----------------------- | --------------------- | -------------------------------------------------------- |
| `quantile(q)`           | calibration           | the q-quantile of the scores                             |
| `false_alarm_rate(a)`   | calibration           | least λ with at most a of calibration at or above it     |
| `conformal(a)`          | calibration           | flags where `p_value <= a`: at most a new normals flagged |
| `false_alarm_bound(a, c)` | calibration         | at most a new normals flagged, with confidence c          |
| `recall(r)`             | dev anomalies         | largest λ that catches at least r of them                |
| `precision(p, P)`       | dev                   | most caught among λ of precision p, raw or at the rate P |
| `best_f1(P)`            | dev                   | the best F1, raw or at the anomaly rate P                |
| `f_beta(b, P)`          | dev                   | the best F-beta, raw or at the anomaly rate P            |
| `expected_cost(table, P)` | dev                 | the least expected cost at the anomaly rate P            |
| `youden()`              | dev                   | the largest recall minus false-alarm rate                |
| `mad(k)`                | unlabelled            | k robust standard deviations above the median            |
| `iqr(k)`                | unlabelled            | the upper fence of a box plot                            |
| `mixture()`             | unlabelled            | where the upper of two normal distributions takes over   |
| `extreme_value(a)`      | unlabelled, or clean  | exceeded at the rate a if the tail is generalised Pareto |

The last four take their scores as calibration and promise no rate.
"""

from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.thresholds.calibrated import conformal, false_alarm_bound, false_alarm_rate, quantile
from jaxae.scoring.thresholds.extreme_value import extreme_value
from jaxae.scoring.thresholds.labelled import best_f1, expected_cost, f_beta, precision, recall, youden
from jaxae.scoring.thresholds.mixture import mixture
from jaxae.scoring.thresholds.spread import iqr, mad
from jaxae.types import CostTable

THRESHOLDS = {
    "quantile": lambda: quantile(0.9),
    "false_alarm_rate": lambda: false_alarm_rate(0.1),
    "conformal": lambda: conformal(0.1),
    "false_alarm_bound": lambda: false_alarm_bound(0.1),
    "recall": lambda: recall(0.9),
    "precision": lambda: precision(0.9),
    "best_f1": best_f1,
    "f_beta": lambda: f_beta(2.0),
    "expected_cost": lambda: expected_cost(CostTable.binary(miss=10.0, false_alarm=1.0)),
    "youden": youden,
    "mad": mad,
    "iqr": iqr,
    "mixture": mixture,
    "extreme_value": lambda: extreme_value(0.01),
}
"""Name to constructor without arguments: what the contract tests walk through."""

__all__ = [
    "THRESHOLDS",
    "best_f1",
    "conformal",
    "expected_cost",
    "extreme_value",
    "f_beta",
    "false_alarm_bound",
    "false_alarm_rate",
    "iqr",
    "mad",
    "mixture",
    "precision",
    "quantile",
    "recall",
    "youden",
]

check_arguments(__name__)
