"""Steps that every deciding job shares: scores of the parts, λ, what is proven of it, and the test's figures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxae import scoring
from jaxae.data import Splits
from jaxae.data import schema as schemas
from jaxae.jobs.dealing import Dealt
from jaxae.recipes import rules
from jaxae.runs import deal as deals
from jaxae.scoring import Guarantees
from jaxae.scoring.detector.open_set import least_cost, savings
from jaxae.types import CostTable, Threshold, Verdict

# the jobs pad batches to this one size, so that all give the same scores to the bit
PADDED_BATCH = 256
CONFIDENCE = 0.95


class Decided(NamedTuple):
    """λ and what is known about it.

    Attributes:
      fitted: the threshold rule's arrays.
      guarantees: the bounds, and in words what they rest on.
      scores: scores of "calibration", "dev" and "certify", by part.
    """

    fitted: dict
    guarantees: Guarantees
    scores: dict[str, np.ndarray]


class Labels(NamedTuple):
    """What is known of the parts that λ is chosen and certified by.

    Attributes:
      dev: `[m]`, 1 anomaly, 0 normal; None without labels.
      certify: `[k]`, alike.
      weight: `[m]` weights of dev rows; None: all 1.
    """

    dev: np.ndarray | None = None
    certify: np.ndarray | None = None
    weight: np.ndarray | None = None


def rankable(scores: ArrayLike) -> np.ndarray:
    """Scores as a ranking takes them: NaN and +infinity are the largest number there is.

    A row whose score overflows (a fill value of 1e30 in it) is as anomalous as can be; it is flagged, not refused.

    Example:
      >>> import numpy as np
      >>> from jaxae.jobs.deciding import rankable
      >>> rankable(np.array([1.0, np.inf, np.nan], np.float32)).tolist()
      [1.0, 3.4028234663852886e+38, 3.4028234663852886e+38]
    """
    largest = float(np.finfo(np.float32).max)
    return np.nan_to_num(np.asarray(scores, np.float32), nan=largest, posinf=largest, neginf=-largest)


def score_parts(score: Callable[[np.ndarray], np.ndarray], parts: Splits) -> dict[str, np.ndarray]:
    """Scores of the parts that λ and its bounds are read from, those that have rows."""
    named = {"calibration": parts.calibration, "dev": parts.dev, "certify": parts.certify}
    return {name: rankable(score(part.x)) for name, part in named.items() if len(part.x)}


def decide(
    scores: dict[str, np.ndarray],
    rule: Threshold,
    parts: Splits,
    labels: Labels,
    confidence: float | None = None,
) -> Decided:
    """Choose λ and bound its errors.

    Args:
      scores: from `score_parts`.
      rule: the threshold rule.
      parts: their row numbers are checked: no row may be read for two purposes.
      labels: of dev and certify.
      confidence: confidence of the bounds; None: 0.95.

    Raises:
      ValueError: as `scoring.calibrate`.
    """
    certified = labels.certify is not None and "certify" in scores
    named = {name: getattr(parts, name).rows for name in ("train", "validation", *scores)}
    fitted, guarantees = scoring.calibrate(
        rule,
        scores["calibration"],
        None if labels.dev is None else scores.get("dev"),
        labels.dev,
        labels.weight,
        certify=scores["certify"] if certified else None,
        certify_labels=labels.certify if certified else None,
        confidence=CONFIDENCE if confidence is None else confidence,
        rows={name: rows for name, rows in named.items() if len(rows)},
    )
    return Decided(fitted, guarantees, scores)


def rehearse(rule: Threshold, parts: Splits, labelled: bool) -> None:
    """Fit the rule on stand-in scores, so that too few rows for it are found before any work, not after.

    Raises:
      ValueError: there are no rows for the rule, or too few.
    """
    calibration, dev = (np.arange(len(part.x), dtype=np.float32) for part in (parts.calibration, parts.dev))
    if not labelled:
        rule.fit(calibration)
        return
    if not np.any(parts.dev.labels):
        try:
            rule.fit(calibration)
        except ValueError:
            raise ValueError(
                "there are no anomalies in the train part, so none in dev, which this rule needs: "
                "--max-false-alarm-rate works without"
            ) from None
    rule.fit(calibration, dev, parts.dev.labels)


def known_truth(classes: np.ndarray | None, label_names: tuple[str, ...], known: tuple[str, ...]) -> np.ndarray:
    """Rows' classes as places 0..K-1 in the known ones, and K for every other.

    Args:
      classes: `[N]` places in `label_names`.
      label_names: names of all classes.
      known: names of the K known ones.

    Example:
      >>> import numpy as np
      >>> from jaxae.jobs.deciding import known_truth
      >>> known_truth(np.array([0, 1, 2]), ("a", "b", "c"), ("b", "a")).tolist()
      [1, 0, 2]
    """
    assert classes is not None
    place = np.array([known.index(name) if name in known else len(known) for name in label_names], np.int32)
    return place[classes]


def open_set_labels(
    threshold: Threshold | CostTable,
    truth: dict[str, np.ndarray],
    prediction: np.ndarray | None,
    num_classes: int,
    unknown_rate: float,
) -> tuple[Threshold, Labels]:
    """The rule and the labels that an open set's λ is chosen by: unknown rows are the anomalies, or what saves cost.

    Args:
      threshold: a rule; or a table of costs, which weighs each dev row by what the answer "unknown" saves.
      truth: classes 0..K of "dev" and "certify", K for unknown.
      prediction: `[m]` classes that dev's rows would be given; read with a cost table alone.
      num_classes: K.
      unknown_rate: share of unknown examples in deployment.
    """
    certify = (truth["certify"] == num_classes).astype(np.int32) if "certify" in truth else None
    if isinstance(threshold, CostTable):
        assert prediction is not None
        labels, weight = savings(threshold, truth["dev"], prediction, unknown_rate)
        return least_cost, Labels(np.asarray(labels), certify, np.asarray(weight))
    return threshold, Labels((truth["dev"] == num_classes).astype(np.int32), certify)


def open_set_rule(
    settings: Any, cost: tuple[float, float, float], num_classes: int, has_unknown: bool
) -> Threshold | CostTable:
    """What chooses λ of an open set: the table of costs where that is asked for, else a threshold rule.

    Args:
      settings: with `rule`, `anomaly_rate` and `confidence`.
      cost: costs of an unknown example that gets a class, of a known one that is refused, and of a wrong class.
      num_classes: K, known classes.
      has_unknown: whether dev holds unknown examples.
    """
    if rules.chosen(settings.rule, has_unknown)[0] == "expected_cost" and has_unknown:
        return scoring.cost_table(num_classes, *cost)
    table = CostTable.binary(*cost[:2])
    return rules.threshold(settings.rule, table, settings.anomaly_rate, settings.confidence, has_unknown)


def facts_of(decided: Decided) -> dict[str, Any]:
    """λ and its guarantees as JSON has them."""
    proven = decided.guarantees._asdict()
    return {"threshold": float(decided.fitted["threshold"]), **proven, "lines": list(proven["lines"])}


def figures_of(
    verdict: Verdict, labels: np.ndarray | None, sizes: dict[str, int], table: CostTable, anomaly_rate: float
) -> dict[str, Any]:
    """The figures of a test: λ, the share that is flagged, and with labels what `scoring.summary` says."""
    figures = {
        "threshold": float(verdict.threshold[0]),
        "sizes": sizes,
        "flagged": float(verdict.is_anomaly.mean()),
        "anomaly_rate": anomaly_rate,
    }
    if labels is None:
        return figures
    return figures | scoring.summary(labels, verdict._replace(score=rankable(verdict.score)), table, anomaly_rate)


def dev_arrays(decided: Decided, table: CostTable, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """What `dev.npz` keeps for the figures."""
    arrays = {"calibration": decided.scores["calibration"], "costs": np.asarray(table.costs)}
    if labels is not None and "dev" in decided.scores:
        arrays |= {"scores": decided.scores["dev"], "labels": labels}
    return arrays


def card_of(config: dict[str, Any], dealt: Dealt) -> dict[str, Any]:
    """What a saved detector is told about itself: settings, sizes, and the schema by which raw input is read."""
    return {
        "config": config,
        "padded_batch": PADDED_BATCH,
        "sizes": deals.sizes_of(dealt.deal),
        "schema": schemas.as_json(dealt.deal.schema),
        "label_column": dealt.deal.label_column,
        "normal": list(dealt.deal.normal),
    }
