"""The rules for λ by name: what the commands' options and the settings of a run call them."""

from collections.abc import Callable
from typing import NamedTuple

from jaxae.files.messages import shown
from jaxae.recipes.user_parts import called, is_own
from jaxae.scoring import thresholds
from jaxae.types import CostTable, Threshold

# false alarms that are allowed where nobody says how many, and there are no labels to choose by
FALSE_ALARM_RATE = 0.05


class Rule(NamedTuple):
    """A way to choose λ.

    Attributes:
      make: `(value, table, anomaly_rate, confidence) -> Threshold`.
      labels: whether it reads labelled dev scores.
      default: the value where none is given; None: the rule takes no value, or must be given one.
      takes: what the value is, for messages; empty where there is none.
    """

    make: Callable
    labels: bool
    default: float | None = None
    takes: str = ""


def _false_alarms(value, table, anomaly_rate, confidence):
    return thresholds.conformal(value) if confidence is None else thresholds.false_alarm_bound(value, confidence)


RULES = {
    "expected_cost": Rule(lambda value, table, rate, confidence: thresholds.expected_cost(table, rate), True),
    "recall": Rule(lambda value, *_: thresholds.recall(value), True, takes="a share of the anomalies"),
    "precision": Rule(lambda value, table, rate, _: thresholds.precision(value, rate), True, takes="a precision"),
    "best_f1": Rule(lambda value, table, rate, _: thresholds.best_f1(rate), True),
    "f_beta": Rule(lambda value, table, rate, _: thresholds.f_beta(value, rate), True, 2.0, "beta"),
    "youden": Rule(lambda *_: thresholds.youden(), True),
    "false_alarm_rate": Rule(_false_alarms, False, FALSE_ALARM_RATE, "a share of the normals"),
    "quantile": Rule(lambda value, *_: thresholds.quantile(value), False, 0.95, "a share"),
    "mad": Rule(lambda value, *_: thresholds.mad(value), False, 3.0, "a number of deviations"),
    "iqr": Rule(lambda value, *_: thresholds.iqr(value), False, 1.5, "a number of quartile ranges"),
    "mixture": Rule(lambda *_: thresholds.mixture(), False),
    "extreme_value": Rule(lambda value, *_: thresholds.extreme_value(value), False, 0.01, "a share of the normals"),
}
"""Name to rule."""


def chosen(rule: tuple[str, float | None] | None, labelled: bool) -> tuple[str, float | None]:
    """A rule with its value: the given one, or least expected cost with labels and a false-alarm rate without.

    Raises:
      ValueError: there is no such rule, its value is missing, or it takes none.

    Example:
      >>> from jaxae.recipes.rules import chosen
      >>> chosen(None, labelled=False), chosen(("mad", None), labelled=True)
      (('false_alarm_rate', 0.05), ('mad', 3.0))
    """
    if rule is None:
        return ("expected_cost", None) if labelled else ("false_alarm_rate", FALSE_ALARM_RATE)
    name, value = rule
    if is_own(name):
        return name, value
    if name not in RULES:
        raise ValueError(
            f"there is no rule {shown(name)} for the threshold; there are {', '.join(RULES)}, or "
            "package.module:function"
        )
    known = RULES[name]
    if value is not None and not known.takes:
        raise ValueError(f"the rule {name} takes no value, got {value:g}")
    value = known.default if value is None else value
    if value is None and known.takes:
        raise ValueError(f"the rule {name} needs {known.takes}: give {name}=VALUE")
    return name, value


def threshold(
    rule: tuple[str, float | None] | None,
    table: CostTable,
    anomaly_rate: float,
    confidence: float | None,
    labelled: bool,
) -> Threshold:
    """The `Threshold` that a rule's name and value stand for.

    Args:
      rule: name and value; None: as in `chosen`.
      table: costs, for the rule that reads them.
      anomaly_rate: the deployment's share of anomalies, in (0, 1).
      confidence: of the false-alarm rate's bound; None: the rate holds on average over calibration sets.
      labelled: whether there are labels.

    Raises:
      ValueError: as `chosen`; a value is out of its range; the rule needs labels and there are none; or a confidence
        is given to a rule that has no use for it.

    Example:
      >>> from jaxae.recipes import rules
      >>> from jaxae.types import CostTable
      >>> threshold = rules.threshold(("recall", 0.9), CostTable.binary(10.0, 1.0), 0.05, None, labelled=True)
    """
    name, value = chosen(rule, labelled)
    made = called(name, Threshold, *(() if value is None else (value,))) if is_own(name) else None
    needs_labels = made.reads == "dev" if made is not None else RULES[name].labels
    if needs_labels and not labelled:
        raise ValueError(f"the rule {name} needs labels, and the data has none: --max-false-alarm-rate works without")
    return RULES[name].make(value, table, anomaly_rate, confidence) if made is None else made
