"""Rules that choose λ: `fit(calibration, dev=None, labels=None, weight=None)`, then `apply(fitted, scores)`.

`is_anomaly = score >= threshold` everywhere, and `p_value = (1 + #{calibration >= score}) / (1 + n)` whatever the
rule. Calibration scores are clean normals; dev scores carry labels. Everything traces under `jit` and `vmap`;
scores and labels are checked where they are concrete.

| rule                    | reads                 | λ                                                        |
| ----------------------- | --------------------- | -------------------------------------------------------- |
| `quantile(q)`           | calibration           | the q-quantile of the scores                             |
| `false_alarm_rate(a)`   | calibration           | least λ with at most a of calibration at or above it     |
| `conformal(a)`          | calibration           | flags where `p_value <= a`: at most a new normals flagged |
| `recall(r)`             | dev anomalies         | largest λ that catches at least r of them                |
| `best_f1(P)`            | dev                   | the best F1, raw or at the anomaly rate P                |
| `expected_cost(table, P)` | dev                 | the least expected cost at the anomaly rate P            |
"""

from jaxae.scoring.thresholds.calibrated import conformal, false_alarm_rate, quantile
from jaxae.scoring.thresholds.labelled import best_f1, expected_cost, recall

__all__ = ["best_f1", "conformal", "expected_cost", "false_alarm_rate", "quantile", "recall"]
