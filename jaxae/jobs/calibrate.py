"""`jaxae calibrate`: another λ for a detector that exists, with what can be guaranteed about it; nothing is trained."""

import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxae import scoring
from jaxae.data import Dataset, Splits, load
from jaxae.data import schema as schemas
from jaxae.data.duplicates import chosen_share
from jaxae.data.splits import Part, joined, normal_classes
from jaxae.files import kinds as values
from jaxae.files.messages import listed
from jaxae.jobs import dealing, deciding
from jaxae.jobs.deciding import Labels, known_truth
from jaxae.jobs.trained import open_run
from jaxae.recipes import rules
from jaxae.runs import deal as deals
from jaxae.runs import kinds, matching
from jaxae.runs.deal import Deal
from jaxae.scoring import LoadedDetector, thresholds
from jaxae.settings import CalibrateSettings, checked
from jaxae.types import CostTable, FittedDetector, Threshold, Verdict


class Source(NamedTuple):
    """The rows that λ is chosen and certified by.

    Attributes:
      parts: calibration, dev and certify hold them.
      labelled: whether dev and certify have labels that say something.
      label_names: names of the classes of the rows; None without labels.
      notes: what there is to tell of them.
    """

    parts: Splits
    labelled: bool
    label_names: tuple[str, ...] | None
    notes: list[str]


def calibrate(
    run: str | os.PathLike,
    settings: CalibrateSettings | None,
    out: str | os.PathLike,
    *,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Choose another λ for the detector of a run, without training anything, and save it as a detector of its own.

    Rows that taught the model certify nothing: those that equal one are left aside, and it is said how many.

    Args:
      run: folder of a run of `detect` or `open_set`.
      settings: what to choose by; None: the defaults.
      out: folder of the new detector; a detector that is there is replaced.
      echo: takes lines for the user; None: silent.

    Returns:
      `out`. Its card holds the rule and the guarantees.

    Raises:
      ValueError: no run is there, the data is not of the detector's kind, its rows changed, or there are too few for
        the rule.

    Warns:
      UserWarning: what there is to tell of the rows.

    Example:
      ```python
      from jaxae import jobs
      jobs.calibrate("runs/detect-1", jobs.CalibrateSettings(cost=(100.0, 1.0)), "detectors/careful")
      ```
    """
    echo = echo or (lambda line: None)
    settings = checked(CalibrateSettings() if settings is None else settings)
    table = CostTable.binary(*settings.cost)
    thresholds.expected_cost(table, settings.anomaly_rate)
    folder, out = pathlib.Path(run), pathlib.Path(out)
    config, deal = open_run("calibrate", folder)
    _require_use(settings, config)
    loaded = scoring.load_detector(folder / "detector")
    values.check(folder / "detector" / "card.json", loaded.card, kinds.CARD)
    source = _source(folder, config, deal, settings)
    parts, classes, truth = source.parts, loaded.card.get("classes"), {}
    if classes is None:
        rule: Threshold | CostTable = rules.threshold(
            settings.rule, table, settings.anomaly_rate, settings.confidence, source.labelled
        )
    else:
        wrong = config["cost"][2] if settings.wrong_class_cost is None else settings.wrong_class_cost
        truth = _truths(parts, source, deal)
        has_unknown = bool((truth["dev"] == len(deal.normal)).any())
        rule = deciding.open_set_rule(settings, (*settings.cost, wrong), len(deal.normal), has_unknown)
    if not isinstance(rule, CostTable):
        deciding.rehearse(rule, parts, source.labelled)
    for note in source.notes:
        warnings.warn(note, stacklevel=2)

    verdicts = _verdicts(loaded, parts)
    scores = {name: deciding.rankable(verdict.score) for name, verdict in verdicts.items()}
    if isinstance(rule, CostTable) or classes is not None:
        prediction = np.asarray(verdicts["dev"].prediction) if "dev" in verdicts else None
        rule, labels = deciding.open_set_labels(rule, truth, prediction, len(deal.normal), settings.anomaly_rate)
    else:
        labels = Labels(parts.dev.labels, parts.certify.labels) if source.labelled else Labels()
    decided = deciding.decide(scores, rule, parts, labels, settings.confidence)
    card = {name: value for name, value in loaded.card.items() if name != "detector"}
    chosen = rules.chosen(settings.rule, source.labelled)
    card["calibration"] = {**settings._asdict(), "rule": list(chosen), **deciding.facts_of(decided)}
    scoring.save_detector(
        out,
        scoring.rethresholded(loaded, rule, None if classes is None else len(classes) - 1),
        FittedDetector(loaded.arrays, decided.fitted),
        parts.calibration.x[:1],
        card,
        loaded.card["detector"]["platforms"],
        loaded.card["detector"].get("limits"),
    )
    echo("\n".join([f"λ = {float(decided.fitted['threshold']):.6g}", *decided.guarantees.lines, "", str(out)]))
    return out


def _verdicts(loaded: LoadedDetector, parts: Splits) -> dict[str, Verdict]:
    batch = loaded.card.get("padded_batch", deciding.PADDED_BATCH)
    named = {"calibration": parts.calibration, "dev": parts.dev, "certify": parts.certify}
    return {name: scoring.score_batches(loaded.apply, part.x, batch) for name, part in named.items() if len(part.x)}


def _truths(parts: Splits, source: Source, deal: Deal) -> dict[str, np.ndarray]:
    """Classes of dev's and certify's rows, as places in the known ones."""
    if source.label_names is None:
        raise ValueError("λ of an open set is chosen by labelled rows, and the data has no labels")
    named = {"dev": parts.dev, "certify": parts.certify}
    return {name: known_truth(part.classes, source.label_names, deal.normal) for name, part in named.items()}


def _require_use(settings: CalibrateSettings, config: dict) -> None:
    """Raise for a setting that would change nothing."""
    if settings.data is None:
        for name in ("label_column", "normal"):
            if getattr(settings, name) is not None:
                raise ValueError(f"{name} is for other data: without data the run's own rows and labels are used")
    if settings.wrong_class_cost is not None and config["command"] != "open-set":
        raise ValueError("wrong_class_cost is for a run of open-set; this one has no classes")


def _source(folder: pathlib.Path, config: dict[str, Any], deal: Deal, settings: CalibrateSettings) -> Source:
    """The rows that the run held out, or others."""
    if settings.data is None:
        dataset, located = dealing.read_source(folder, deal)
        return _held_out(config, deal, dataset, located, settings)
    other = load(
        settings.data,
        label_column=settings.label_column,
        scoring=True,
        columns=deal.schema.names,
        label_aside=deal.label_column,
    )
    notes = schemas.differences(deal.schema, other)
    located_own = matching.match(deal, _in_source_order(other))
    if isinstance(located_own, str):
        return _other(deal, other, settings, notes)
    dealing.warn_of_match(settings.data, located_own)
    return _held_out(config, deal, _in_source_order(other), located_own, settings)


def _in_source_order(dataset: Dataset) -> Dataset:
    """All rows as one part, numbered as in the source; a label that is missing is none."""
    if dataset.y_test is not None and (dataset.y_test < 0).any():
        return dataset._replace(y_test=None)
    return dataset


def _held_out(
    config: dict[str, Any], deal: Deal, dataset: Dataset, located: matching.Match, settings: CalibrateSettings
) -> Source:
    """The run's own deal: what it was not trained on is still new to the model. Rows that were added since join it."""
    parts = matching.dealt(deal, dataset, located)
    labelled = parts.dev.classes is not None
    if settings.certify != config["certify"]:
        dev, certify = _set_aside(joined(parts.dev, parts.certify), settings.certify, config["seed"], deal.groups)
        parts = parts._replace(dev=dev, certify=certify)
    notes = []
    if len(located.new):
        x, classes = deals.rows_at(dataset, located.new)
        usable = ~matching.has_taught(deal, x)
        labels = (
            matching.labels_of(classes, dataset.label_names, deal.normal) if labelled else np.zeros(len(x), np.int32)
        )
        rows = len(deal.digests) + np.arange(len(x))
        new = Part(x, labels, classes, rows).taken(usable)
        normal, anomalous = new.taken(new.labels == 0), new.taken(new.labels == 1)
        parts = parts._replace(
            calibration=joined(parts.calibration, normal),
            dev=joined(parts.dev, anomalous) if len(anomalous.x) else parts.dev,
        )
        aside = f"; {int((~usable).sum())} that equal a row which taught the model are left aside"
        notes = [
            f"rows added since the run: {len(normal.x)} to calibration, {len(anomalous.x)} to dev"
            + (aside if not usable.all() else "")
        ]
    return Source(parts, labelled, dataset.label_names if labelled else None, notes)


def _other(deal: Deal, dataset: Dataset, settings: CalibrateSettings, notes: list[str]) -> Source:
    """Other rows, all of them: half of the normals to calibration, half to dev; anomalies to dev, some set aside."""
    seen = matching.has_taught(deal, dataset.x_test)
    if seen.any():
        notes.append(
            f"{int(seen.sum())} of {len(seen)} rows equal one that taught the model: they prove nothing, and are left "
            "aside"
        )
    if seen.all():
        raise ValueError(
            f"{dataset.name}: all {len(seen)} rows equal one that taught the model; give rows that are new"
        )
    names, labelled = dataset.label_names, dataset.y_test is not None
    if settings.normal is not None:
        chosen = normal_classes(dataset, settings.normal)
        normal = tuple((names or ())[c] for c in chosen)
    else:
        normal = deal.normal
    classes = dataset.y_test
    if classes is not None and (classes < 0).any():
        raise ValueError(f"{dataset.name}: {int((classes < 0).sum())} rows have no label; label them or leave them out")
    if labelled and not set(normal) & set(names or ()):
        raise ValueError(
            f"{dataset.name}: none of its classes ({listed(names or (), 20)}) is a normal one of the run "
            f"({listed(normal, 20)}): --normal names others"
        )
    labels = matching.labels_of(classes, names, normal) if labelled else np.zeros(len(seen), np.int32)
    rng = np.random.default_rng([settings.seed, 0xCA11])
    # numbered after the run's own rows: no row of other data is one of them
    everything = Part(dataset.x_test, labels, classes, len(deal.digests) + np.arange(len(seen))).taken(~seen)
    normals = everything.taken(rng.permutation(np.flatnonzero(everything.labels == 0)))
    anomalies = everything.taken(np.flatnonzero(everything.labels == 1))
    cut = len(normals.x) - len(normals.x) // 2 if labelled else len(normals.x)
    places = np.arange(len(normals.x))
    dev = joined(normals.taken(places[cut:]), anomalies)
    dev, certify = _set_aside(dev, settings.certify, settings.seed, None)
    empty = everything.taken(np.empty(0, np.int64))
    parts = Splits(empty, empty, normals.taken(places[:cut]), dev, certify, empty, normal, np.empty(0, np.int64), {})
    return Source(parts, labelled, names, notes)


def _set_aside(dev: Part, share: float, seed: int, groups: np.ndarray | None) -> tuple[Part, Part]:
    """Dev and certify: a share of each class alike, or whole groups of equal rows."""
    strata = dev.labels if dev.classes is None else dev.classes
    assert strata is not None
    rng = np.random.default_rng([seed, 0xCE27])
    is_certify = chosen_share(strata, None if groups is None else groups[dev.rows], share, rng)
    return dev.taken(~is_certify), dev.taken(is_certify)
