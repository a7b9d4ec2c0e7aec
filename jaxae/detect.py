"""The main job: train on normal examples, choose λ on labelled ones, test once, write everything down.

Who reads what: `train` fits the parameters, `validation` (normals) stops training, `calibration` (normals) gives
p-values and false-alarm bounds, `dev` (labelled) chooses λ, `test` is scored once, at the end, through the saved
detector.
"""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import __version__, recipes, report, runs, scoring
from jaxae.data import Dataset, Splits, load
from jaxae.data.splits import split
from jaxae.recipes import Recipe
from jaxae.scoring import costs, metrics, thresholds
from jaxae.training import fit_recipe, write_examples
from jaxae.types import CostTable, Threshold

# `detect` and `score` pad batches to this one size, so that both give the same scores to the bit
PADDED_BATCH = 256
DEFAULT_RATE = 0.05


class Settings(NamedTuple):
    """What the main job is run with; the command line's options, by the same names.

    Attributes:
      data: where the data is, see `data.load`.
      normal: names of the normal classes; None: what the data's card names.
      model: key of `presets.PRESETS`.
      cost: of a miss and of a false alarm, in one unit.
      rule: None (least expected cost; without labels a false-alarm rate of 0.05), or one of
        ("false_alarm_rate", rate), ("recall", share), ("best_f1", None).
      anomaly_rate: the deployment's share of anomalies, in (0, 1).
      seed: of splits, initialisation, order and noise.
      epochs: passes over the training rows; None: by their number.
      options: keywords of the preset.
      label_column: of a table.
      group_duplicates: keep equal rows in one split.
      tensorboard: write events too.
    """

    data: str = "fashion-sample"
    normal: tuple[str, ...] | None = None
    model: str = "denoising_ae"
    cost: tuple[float, float] = (10.0, 1.0)
    rule: tuple[str, float | None] | None = None
    anomaly_rate: float = DEFAULT_RATE
    seed: int = 0
    epochs: int | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  never written to
    label_column: str | None = None
    group_duplicates: bool = False
    tensorboard: bool = False


def detect(
    settings: Settings,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Run the main job.

    Args:
      settings: what to do.
      out: the run folder; None: the first free `runs/detect-N`.
      resume: continue the run in `out` from its last checkpoint.
      overwrite: replace the run in `out`.
      echo: takes lines for the user; None: silent.

    Returns:
      The run folder: `config.json`, `metrics.json`, `metrics.jsonl`, `scores.csv`, `figures/`, `report.html`,
      `detector/`, `checkpoints/` and the arrays that the figures are drawn from.

    Raises:
      ValueError: settings or data that cannot work, in one line, before anything is trained.

    Example:
      ```python
      from jaxae.detect import Settings, detect
      folder = detect(Settings(normal=("Sneaker",), cost=(50.0, 1.0)))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    table = CostTable.binary(*settings.cost)
    rule = threshold_for(settings, table, labelled=True)
    dataset = load(settings.data, label_column=settings.label_column, group_duplicates=settings.group_duplicates)
    splits = split(dataset, settings.normal, settings.seed, group_duplicates=settings.group_duplicates)
    labelled = dataset.y_train is not None
    if not labelled:
        rule = threshold_for(settings, table, labelled=False)
    elif not splits.dev.labels.any():
        _require_rule_without_anomalies(settings)
    train = splits.train.x
    standardisation = recipes.standardise(train)
    recipe = recipes.build(
        settings.model,
        train.shape[1:],
        len(train),
        standardisation=standardisation,
        epochs=settings.epochs,
        options=settings.options,
    )
    out = runs.next_free("runs", "detect") if out is None else out
    config = {
        "command": "detect",
        "version": __version__,
        **settings._asdict(),
        "normal": list(splits.normal),
        "rule": list(_rule_of(settings, labelled)),
        "dataset": dataset.name,
        "shape": list(train.shape[1:]),
        "rows": len(train),
        "dtype": str(train.dtype),
        "features": dataset.feature_names,
    }
    folder = runs.start(out, config, resume=resume, overwrite=overwrite)
    if standardisation is not None:
        runs.write_arrays(folder / "standardise.npz", **standardisation._asdict())
    echo(_headline(dataset, splits, settings))

    state = fit_recipe(recipe, train, splits.validation.x, folder, settings.seed, settings.tensorboard)
    detector, fitted = _fit_detector(recipe, rule, state, splits, labelled)
    card = {"config": config, "padded_batch": PADDED_BATCH, "sizes": sizes_of(splits)}
    scoring.save_detector(folder / "detector", detector, fitted, train[:1], card)

    loaded = scoring.load_detector(folder / "detector")
    labels = splits.test.labels
    verdict = scoring.score_batches(loaded.apply, splits.test.x, PADDED_BATCH)
    _write_scores(folder / "scores.csv", verdict, labels)
    summary = {
        "threshold": float(verdict.threshold[0]),
        "sizes": sizes_of(splits),
        "flagged": float(verdict.is_anomaly.mean()),
        "anomaly_rate": settings.anomaly_rate,
    }
    if labels is not None:
        summary |= test_metrics(labels, verdict, table, settings.anomaly_rate)
    _write_dev(folder / "dev.npz", loaded, fitted, splits if labelled else None, table)
    _write_examples(folder / "examples.npz", recipe, fitted, splits.test.x, verdict, labels)
    summary["seconds"] = time.monotonic() - started
    runs.write_json(folder / "metrics.json", summary)
    page = report.render(folder)
    echo(_table(summary, _rule_of(settings, labelled), settings))
    echo(f"\n{page}  ({time.monotonic() - started:.0f} s)")
    return folder


def score(
    detector: str | os.PathLike,
    data: str,
    out: str | os.PathLike,
    *,
    label_column: str | None = None,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Score the test part of a data set (or all of `x`, or a folder) with a saved detector.

    Args:
      detector: folder that `save_detector` wrote.
      data: where the data is, see `data.load`.
      out: the `.csv` to write: `index,score,p_value,is_anomaly,label`; `index` is the row in the test part.
      label_column: of a table.
      overwrite: replace `out` if it exists.
      echo: takes a line for the user; None: silent.

    Returns:
      `out`.

    Raises:
      ValueError: `out` exists, no detector is there, or the data is not of the kind it was trained on.
    """
    out = pathlib.Path(out)
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists: --overwrite replaces it")
    loaded = scoring.load_detector(detector)
    config = loaded.card.get("config", {})
    grouped = bool(config.get("group_duplicates"))
    dataset = load(data, label_column=label_column, group_duplicates=grouped, scoring=True)
    verdict = scoring.score_batches(loaded.apply, dataset.x_test, loaded.card.get("padded_batch", PADDED_BATCH))
    labels = _labels_of(dataset, config.get("normal"))
    out.parent.mkdir(parents=True, exist_ok=True)
    _write_scores(out, verdict, labels)
    if echo is not None:
        flagged = int(verdict.is_anomaly.sum())
        echo(f"{out}: {len(verdict.score)} rows, {flagged} flagged at λ = {float(verdict.threshold[0]):.6g}")
    return out


def threshold_for(settings: Settings, table: CostTable, labelled: bool) -> Threshold:
    """The `Threshold` that the settings ask for.

    Raises:
      ValueError: a rate is out of its range, or the rule needs labels and there are none.
    """
    name, value = _rule_of(settings, labelled)
    makers = {
        "expected_cost": lambda: thresholds.expected_cost(table, settings.anomaly_rate),
        "false_alarm_rate": lambda: thresholds.false_alarm_rate(value),
        "recall": lambda: thresholds.recall(value),
        "best_f1": lambda: thresholds.best_f1(settings.anomaly_rate),
    }
    if not labelled and name != "false_alarm_rate":
        raise ValueError(f"the rule {name} needs labels, and the data has none: --max-false-alarm-rate works without")
    return makers[name]()


def test_metrics(labels: np.ndarray, verdict, table: CostTable, anomaly_rate: float) -> dict[str, float]:
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


def _rule_of(settings, labelled):
    if settings.rule is not None:
        return settings.rule
    return ("expected_cost", None) if labelled else ("false_alarm_rate", DEFAULT_RATE)


def _require_rule_without_anomalies(settings):
    if _rule_of(settings, True)[0] != "false_alarm_rate":
        raise ValueError(
            "there are no anomalies in the train part, so none in dev, which this rule needs: "
            "--max-false-alarm-rate works without"
        )


def sizes_of(splits: Splits) -> dict[str, int]:
    """Rows of each part."""
    return {name: len(getattr(splits, name).x) for name in ("train", "validation", "calibration", "dev", "test")}


def _fit_detector(recipe: Recipe, rule: Threshold, state, splits: Splits, labelled: bool):
    detector = scoring.detector(recipe.scorer, rule)
    dev = (splits.dev.x, splits.dev.labels) if labelled else (None, None)
    params, inner = state.params["model"], state.state["model"]
    return detector, detector.fit(params, inner, splits.train.x, splits.calibration.x, *dev)


def _labels_of(dataset: Dataset, normal) -> np.ndarray | None:
    if dataset.y_test is None or not normal or dataset.label_names is None:
        return None
    return np.array([dataset.label_names[int(y)] not in normal for y in dataset.y_test], np.int32)


def _write_scores(path, verdict, labels):
    shown = [""] * len(verdict.score) if labels is None else [int(y) for y in labels]
    # repr of a float32 through float64 reads back to the same float32
    rows = zip(
        range(len(verdict.score)),
        (repr(float(s)) for s in verdict.score),
        (repr(float(p)) for p in verdict.p_value),
        (int(a) for a in verdict.is_anomaly),
        shown,
        strict=True,
    )
    runs.write_csv(path, ["index", "score", "p_value", "is_anomaly", "label"], rows)


def _write_dev(path, loaded, fitted, splits: Splits | None, table):
    arrays = {"calibration": np.asarray(fitted["threshold"]["calibration"]), "costs": np.asarray(table.costs)}
    if splits is not None:
        scores = scoring.score_batches(loaded.apply, splits.dev.x, PADDED_BATCH).score
        arrays |= {"scores": scores, "labels": splits.dev.labels}
    runs.write_arrays(path, **arrays)


def _write_examples(path, recipe: Recipe, fitted, x, verdict, labels, each: int = 4):
    """A few test rows of every kind, with reconstruction and map, for the figures."""
    flagged = np.asarray(verdict.is_anomaly)
    truth = flagged if labels is None else labels.astype(bool)
    kinds = {
        "normal, accepted": ~truth & ~flagged,
        "anomaly, flagged": truth & flagged,
        "false alarm": ~truth & flagged,
        "miss": truth & ~flagged,
    }
    if labels is None:
        kinds = {"accepted": ~flagged, "flagged": flagged}
    rng = np.random.default_rng(0)
    picked = {k: rng.permutation(np.flatnonzero(rows))[:each] for k, rows in kinds.items()}
    rows = np.concatenate(list(picked.values()))
    names = np.concatenate([np.full(len(r), k) for k, r in picked.items()])
    arrays = fitted["scorer"]
    write_examples(
        path,
        recipe,
        arrays["params"],
        arrays["state"],
        x[rows],
        score=np.asarray(verdict.score)[rows],
        is_anomaly=flagged[rows],
        label=np.full(len(rows), -1) if labels is None else labels[rows],
        kind=names,
    )


def _headline(dataset, splits, settings):
    sizes, anomalies = sizes_of(splits), int(splits.dev.labels.sum())
    normal = f"normal: {', '.join(splits.normal)}" if splits.normal else "no labels"
    return (
        f"{dataset.name} · {normal} · {settings.model}\n"
        f"train {sizes['train']} · validation {sizes['validation']} · calibration {sizes['calibration']} · "
        f"dev {sizes['dev']} ({anomalies} anomalies) · test {sizes['test']}"
    )


_RULES = {
    "expected_cost": "least expected cost",
    "false_alarm_rate": "false-alarm rate at most {}",
    "recall": "recall at least {}",
    "best_f1": "best F1",
}


def _table(summary, rule, settings):
    name, value = rule
    lines = [f"\nλ = {summary['threshold']:.6g}   rule: {_RULES[name].format(value)}"]
    if "auroc" not in summary:
        lines.append(f"{summary['flagged']:.1%} of the test rows are flagged (no labels, so no test figures)")
        return "\n".join(lines)
    miss, false_alarm = settings.cost
    rows = [
        ("AUROC", summary["auroc"], ""),
        ("recall", summary["recall"], ""),
        ("false-alarm rate", summary["false_alarm_rate"], ""),
        ("precision", summary["precision"], summary["precision_raw"]),
        ("F1", summary["f1"], summary["f1_raw"]),
        ("average precision", summary["average_precision"], summary["average_precision_raw"]),
    ]
    share = f"{summary['test_anomaly_share']:.0%}"
    lines.append(f"\n{'test':<20}{'at ' + format(settings.anomaly_rate, '.3g'):>10}{'raw, ' + share:>12}   anomalies")
    for label, at_rate, raw in rows:
        lines.append(f"{label:<20}{at_rate:>10.4f}{raw if raw == '' else format(raw, '.4f'):>12}")
    lines.append(
        f"\nexpected cost at {miss:g}:{false_alarm:g}   {summary['expected_cost']:.4f}   "
        f"(oracle λ {summary['expected_cost_oracle']:.4f}, flag all {summary['expected_cost_always']:.4f}, "
        f"flag none {summary['expected_cost_never']:.4f})"
    )
    return "\n".join(lines)


test_metrics.__test__ = False  # pytest: not a test
