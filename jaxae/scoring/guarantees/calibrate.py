"""λ from scores, with a check of who has read what and with what can be guaranteed about it."""

import itertools
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.data.duplicates import row_groups
from jaxae.numerics import in_float32
from jaxae.scoring.checks import as_labels, require_finite, require_open_unit, require_vectors
from jaxae.scoring.guarantees import bounds
from jaxae.types import Threshold


class Guarantees(NamedTuple):
    """What is proven about a λ. A bound that cannot be had is None.

    Attributes:
      confidence: of each bound by itself.
      false_alarm_rate: share of the calibration scores at or above λ.
      false_alarm_bound: upper bound on the rate among normal examples like calibration's.
      num_calibration: scores that it rests on.
      miss_rate: share of the certify anomalies below λ; None without any.
      miss_rate_bound: upper bound on the rate among anomalies like certify's; None without any.
      num_certify: anomalies that it rests on.
      lines: what to print with these numbers: how each was got, and what it assumes.
    """

    confidence: float
    false_alarm_rate: float
    false_alarm_bound: float
    num_calibration: int
    miss_rate: float | None
    miss_rate_bound: float | None
    num_certify: int
    lines: tuple[str, ...]


def calibrate(
    rule: Threshold,
    calibration: ArrayLike,
    dev: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    *,
    certify: ArrayLike | None = None,
    certify_labels: ArrayLike | None = None,
    confidence: float = 0.95,
    rows: Mapping[str, ArrayLike] | None = None,
    examples: Mapping[str, ArrayLike] | None = None,
) -> tuple[dict[str, Array], Guarantees]:
    """Fits the rule, and bounds the errors of the λ that it has chosen by scores that it has not read.

    False alarms are bounded from calibration: by a count (`bounds.false_alarm_bound`) where λ was chosen on dev; by
    the distribution of the order statistic (`bounds.rank_bound`) where λ is the calibration score of a fixed rank; by
    a bound at every λ at once (`bounds.uniform_bound`) where the rule reads calibration in any other way. Misses are
    bounded from the anomalies of certify alone. Not for `jit`: it checks and warns.

    Args:
      rule: a `Threshold`; its `reads` says which of the three bounds it is.
      calibration: `[n]` scores of clean normals.
      dev: `[m]` scores that choose λ, or None.
      labels: `[m]`, 1 anomaly.
      weight: `[m]` weights of dev rows, or None; bounds read no dev row.
      certify: `[k]` scores that have chosen nothing, neither λ nor a model nor a setting.
      certify_labels: `[k]`, 1 anomaly.
      confidence: in (0, 1), of each bound; [1/2, 1) for the bound at every λ.
      rows: by part ("train", "calibration", "dev", "certify", ...) the row numbers of its examples, all counted in one
        and the same data set: a test set with numbers of its own has no place here.
      examples: by part its examples, to count equal ones.

    Returns:
      `(fitted, guarantees)`; `rule.apply(fitted, scores)` decides.

    Raises:
      ValueError: parts share rows or hold one twice (with counts), certify has no labels, or as the rule's `fit`.

    Warns:
      UserWarning: examples of one part equal examples of another, with counts.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.scoring import calibrate
      >>> normal, anomalous = jnp.arange(200.0), 150 + jnp.arange(60.0)
      >>> rule = scoring.thresholds.conformal(0.1)
      >>> fitted, proven = calibrate(rule, normal, certify=anomalous, certify_labels=jnp.ones(60))
      >>> proven.false_alarm_rate, round(proven.false_alarm_bound, 3)
      (0.095, 0.136)
      >>> print(proven.lines[1])
      misses: at most 62.9 % of anomalies like certify's, with 95 % confidence (31 of 60 certify anomalies are below λ)
    """
    require_open_unit("confidence", confidence)
    if certify is not None:
        if certify_labels is None:
            raise ValueError("certify scores need labels (1 anomaly): a miss rate is counted on anomalies alone")
        require_vectors(certify=certify, certify_labels=certify_labels)
        certify_labels = np.asarray(as_labels(certify_labels))
        require_finite("certify scores", certify)
    scored = {"calibration": calibration, "dev": dev, "certify": certify}
    sizes = {name: np.size(scores) for name, scores in scored.items() if scores is not None}
    if rows is not None:
        _check_rows(rows, sizes)
    if examples is not None:
        _warn_of_equal(examples)
    fitted = rule.fit(calibration, dev, labels, weight)
    threshold = float(fitted["threshold"])
    clean = np.asarray(calibration, np.float32)
    flagged = int((clean >= np.float32(threshold)).sum())
    bound, how = _false_alarms(rule.reads, clean, threshold, flagged, confidence)
    anomalies = np.empty(0, np.float32)
    if certify is not None:
        anomalies = np.asarray(in_float32("certify scores", certify))[certify_labels == 1]
    missed = int((anomalies < np.float32(threshold)).sum())
    miss_bound = float(bounds.miss_rate_bound(anomalies, threshold, confidence)) if len(anomalies) else None
    first = (
        f"false alarms: at most {100 * bound:.3g} % of normal examples like calibration's, with {100 * confidence:g} % "
        f"confidence ({flagged} of {len(clean)} calibration scores are at or above λ; {how})"
    )
    lines = (first, _misses(missed, len(anomalies), miss_bound, confidence), *_assumptions(confidence, rows))
    return fitted, Guarantees(
        confidence,
        flagged / len(clean),
        bound,
        len(clean),
        missed / len(anomalies) if len(anomalies) else None,
        miss_bound,
        len(anomalies),
        lines,
    )


def _false_alarms(reads: str, clean: np.ndarray, threshold: float, flagged: int, confidence: float):
    """The bound that what the rule reads allows, and the words for it."""
    if reads == "dev":
        bound = bounds.false_alarm_bound(clean, threshold, confidence)
        return float(bound), "λ was chosen on dev, without them"
    if reads == "rank":
        return float(bounds.rank_bound(clean, threshold, confidence)), "λ is one of them, of a rank fixed beforehand"
    bound = bounds.uniform_bound(flagged, len(clean), confidence)
    return float(bound), "λ was chosen on them, so the bound is one at every λ at once"


def _misses(missed: int, count: int, bound: float | None, confidence: float) -> str:
    if bound is None:
        return (
            "misses: no bound, since certify holds no anomalies; "
            f"{bounds.needed(0.05, confidence)} of them, none missed, would prove a miss rate of at most 5 %"
        )
    return (
        f"misses: at most {100 * bound:.3g} % of anomalies like certify's, with {100 * confidence:g} % confidence "
        f"({missed} of {count} certify anomalies are below λ)"
    )


def _assumptions(confidence: float, rows: Mapping | None) -> tuple[str, ...]:
    lines = (
        "the bounds hold for examples drawn as these were: normal ones like calibration's, anomalies like certify's; "
        "anomalies of a new kind may all be missed",
        f"each bound fails in at most {100 * (1 - confidence):.3g} % of such calibrations; both hold together in at "
        f"least {max(0, 100 * (2 * confidence - 1)):.3g} %",
    )
    unchecked = "whether train, calibration, dev and certify share rows was not checked: no row numbers were given"
    return lines if rows is not None else (*lines, unchecked)


def _check_rows(rows: Mapping[str, ArrayLike], sizes: dict[str, int]) -> None:
    ids = {name: np.asarray(part).ravel() for name, part in rows.items()}
    for name, part in ids.items():
        if name in sizes and len(part) != sizes[name]:
            raise ValueError(f"{name} has {sizes[name]} scores but {len(part)} row numbers")
    twice = {name: len(part) - len(np.unique(part)) for name, part in ids.items()}
    faults = [f"{name} repeats {count} of {len(ids[name])}" for name, count in twice.items() if count]
    for (first, one), (second, other) in itertools.combinations(ids.items(), 2):
        shared = len(np.intersect1d(one, other))
        if shared:
            faults.append(f"{first} and {second} share {shared}")
    if faults:
        raise ValueError(f"rows are read more than once, which voids every guarantee: {', '.join(faults)}")


def _warn_of_equal(examples: Mapping[str, ArrayLike]) -> None:
    names = list(examples)
    groups = row_groups(*(np.asarray(examples[name]) for name in names))
    found, seen = [], np.empty(0, np.int64)
    for name, group in zip(names, groups, strict=True):
        equal = int(np.isin(group, seen).sum())
        if equal:
            found.append(f"{name} {equal} of {len(group)}")
        seen = np.concatenate([seen, group])
    if found:
        warnings.warn(
            f"examples that equal one of an earlier part: {', '.join(found)}; the bounds take them for new ones",
            stacklevel=3,
        )
