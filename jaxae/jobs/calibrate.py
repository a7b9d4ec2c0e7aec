"""`jaxae calibrate`: λ from scores, what can be guaranteed about it, and another λ for a detector that exists."""

import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxae import runs, scoring
from jaxae.data import Splits, load
from jaxae.data.duplicates import digests
from jaxae.data.splits import LEAST_ROWS, normal_classes, split
from jaxae.recipes import rules
from jaxae.scoring import thresholds
from jaxae.scoring.guarantees.calibrate import Guarantees
from jaxae.scoring.guarantees.calibrate import calibrate as calibrate_scores
from jaxae.types import CostTable, Threshold

# the commands pad batches to this one size, so that all give the same scores to the bit
PADDED_BATCH = 256
CONFIDENCE = 0.95


class Settings(NamedTuple):
    """What λ is chosen with; the command line's options, by the same names.

    Attributes:
      data: rows that the detector has not seen, see `data.load`; None: the parts of its own data that it was not
        trained on.
      normal: names of the normal classes; None: the run's.
      cost: of a miss and of a false alarm, in one unit.
      rule: name and value of one of `rules.RULES`; None: least expected cost, or without labels a false-alarm rate.
      anomaly_rate: the deployment's share of anomalies, in (0, 1).
      confidence: of the bounds, in (0, 1); see `detect.Settings`.
      certify: the share of dev that is set aside to bound the miss rate, in [0, 1).
      seed: of the deal of other rows; those of the run's own data are dealt as they were.
      label_column: of a table.
    """

    data: str | None = None
    normal: tuple[str, ...] | None = None
    cost: tuple[float, float] = (10.0, 1.0)
    rule: tuple[str, float | None] | None = None
    anomaly_rate: float = rules.DEFAULT_RATE
    confidence: float | None = None
    certify: float = 0.5
    seed: int = 0
    label_column: str | None = None


class Decided(NamedTuple):
    """λ and what is known about it.

    Attributes:
      fitted: the rule's arrays.
      guarantees: the bounds, and in words what they rest on.
      scores: of "calibration", "dev" and "certify".
    """

    fitted: dict
    guarantees: Guarantees
    scores: dict[str, np.ndarray]


def decide(
    score: Callable[[np.ndarray], np.ndarray],
    rule: Threshold,
    splits: Splits,
    labelled: bool,
    confidence: float | None = None,
    in_one_set: bool = True,
) -> Decided:
    """Score the parts that λ and its bounds are read from, choose λ, bound its errors.

    Args:
      score: `[n, ...] rows -> [n]` scores.
      rule: chooses λ.
      splits: calibration, dev and certify are read; train and validation only for their row numbers.
      labelled: whether dev and certify have labels that say something.
      confidence: of the bounds; None: 0.95.
      in_one_set: whether train's rows are numbered in the same data set, so that shared ones can be refused.

    Raises:
      ValueError: as `scoring.calibrate.calibrate`.
    """
    parts = {"calibration": splits.calibration, "dev": splits.dev, "certify": splits.certify}
    scores = {name: score(part.x) for name, part in parts.items() if len(part.x)}
    dev = (scores.get("dev"), splits.dev.labels) if labelled else (None, None)
    certified = labelled and "certify" in scores
    numbered = parts | ({"train": splits.train, "validation": splits.validation} if in_one_set else {})
    fitted, guarantees = calibrate_scores(
        rule,
        scores["calibration"],
        *dev,
        certify=scores["certify"] if certified else None,
        certify_labels=splits.certify.labels if certified else None,
        confidence=CONFIDENCE if confidence is None else confidence,
        rows={name: part.rows for name, part in numbered.items() if name in scores or name not in parts},
    )
    return Decided(fitted, guarantees, scores)


def rehearse(rule: Threshold, splits: Splits, labelled: bool) -> dict:
    """Fit the rule on stand-in scores, so that too few rows for it are found before any work, not after.

    Raises:
      ValueError: there are no rows for the rule, or too few.
    """
    stand_in = [np.arange(len(part.x), dtype=np.float32) for part in (splits.calibration, splits.dev)]
    if labelled and not np.any(splits.dev.labels):
        try:
            rule.fit(stand_in[0])
        except ValueError:
            raise ValueError(
                "there are no anomalies in the train part, so none in dev, which this rule needs: "
                "--max-false-alarm-rate works without"
            ) from None
    return rule.fit(stand_in[0], stand_in[1], splits.dev.labels) if labelled else rule.fit(stand_in[0])


def calibrate(
    run: str | os.PathLike,
    settings: Settings,
    out: str | os.PathLike,
    *,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Choose another λ for the detector of a run, without training anything, and save it as a detector of its own.

    Args:
      run: folder of a run of `detect`.
      settings: what to choose by.
      out: folder of the new detector; a detector that is there is replaced.
      echo: takes lines for the user; None: silent.

    Returns:
      `out`. Its card holds the rule and the guarantees.

    Raises:
      ValueError: no run is there, the data is not of the detector's kind, or there are too few rows for the rule.
    """
    echo = echo or (lambda line: None)
    folder = pathlib.Path(run)
    config = runs.read_config(folder)
    loaded = scoring.load_detector(folder / "detector")
    table = CostTable.binary(*settings.cost)
    thresholds.expected_cost(table, settings.anomaly_rate)
    own = settings.data is None or settings.data == config.get("data")
    splits, labelled = _own_parts(config, settings) if own else _other_parts(config, settings)
    rule = rules.threshold(settings.rule, table, settings.anomaly_rate, settings.confidence, labelled)
    rehearse(rule, splits, labelled)
    if not own:
        _warn_of_seen(folder / "rows.npz", splits)
    batch = loaded.card.get("padded_batch", PADDED_BATCH)
    decided = decide(
        lambda x: np.asarray(scoring.score_batches(loaded.apply, x, batch).score),
        rule,
        splits,
        labelled,
        settings.confidence,
        in_one_set=own,
    )
    card = {name: value for name, value in loaded.card.items() if name != "detector"}
    chosen = list(rules.chosen(settings.rule, labelled))
    card["calibration"] = {**settings._asdict(), "rule": chosen, **facts(decided)}
    out = pathlib.Path(out)
    platforms = loaded.card["detector"]["platforms"]
    scoring.save_detector(
        out,
        scoring.rethresholded(loaded, rule),
        {"scorer": loaded.arrays, "threshold": decided.fitted},
        splits.calibration.x[:1],
        card,
        platforms,
        loaded.card["detector"].get("limits"),
    )
    echo("\n".join([f"λ = {float(decided.fitted['threshold']):.6g}", *decided.guarantees.lines, "", str(out)]))
    return out


def _warn_of_seen(path: pathlib.Path, splits: Splits) -> None:
    """Rows that equal one that the detector was trained on are no new rows, and flatter it."""
    if not path.is_file():
        return
    with np.load(path, allow_pickle=False) as kept:
        trained = kept["digests"]
    parts = {"calibration": splits.calibration, "dev": splits.dev, "certify": splits.certify}
    counts = {name: int(np.isin(digests(part.x), trained).sum()) for name, part in parts.items()}
    found = [f"{name} {count} of {len(parts[name].x)}" for name, count in counts.items() if count]
    if found:
        warnings.warn(
            f"rows that equal one the detector was trained on: {', '.join(found)}; λ and bounds take them for new ones",
            stacklevel=3,
        )


def facts(decided: Decided) -> dict:
    """λ and its guarantees as JSON has them."""
    proven = decided.guarantees._asdict()
    return {"threshold": float(decided.fitted["threshold"]), **proven, "lines": list(proven["lines"])}


def _own_parts(config: dict, settings: Settings) -> tuple[Splits, bool]:
    """The run's deal once more: what it was not trained on is still new to the model."""
    dataset = load(config["data"], label_column=config["label_column"], group_duplicates=config["group_duplicates"])
    splits = split(
        dataset,
        config["normal"] or None,
        config["seed"],
        certify=settings.certify,
        group_duplicates=config["group_duplicates"],
    )
    return splits, dataset.y_train is not None


def _other_parts(config: dict, settings: Settings) -> tuple[Splits, bool]:
    """Other rows: half of the normals for calibration, half for dev; the anomalies to dev, some set aside."""
    assert settings.data is not None
    dataset = load(settings.data, label_column=settings.label_column or config["label_column"])
    normal = settings.normal or config["normal"] or None
    labelled = dataset.y_train is not None
    if dataset.y_train is None:
        normal, count = None, len(dataset.x_train)
    else:
        count = int(np.isin(dataset.y_train, normal_classes(dataset, normal)).sum())
    # a split keeps a few rows to train on, which nothing reads here
    rest = max(0, count - LEAST_ROWS)
    calibration = rest - rest // 2 if labelled else rest
    splits = split(
        dataset,
        normal,
        settings.seed,
        validation=0,
        calibration=calibration,
        dev=rest - calibration,
        certify=settings.certify,
    )
    return splits, labelled
