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

from jaxae import objectives, report, runs, scoring
from jaxae.data import Dataset, Splits, load
from jaxae.data.duplicates import digests
from jaxae.data.splits import sizes_of, split
from jaxae.jobs.calibrate import PADDED_BATCH, Decided, decide, rehearse
from jaxae.jobs.calibrate import facts as facts_of
from jaxae.jobs.pollution import cleaned_splits, known_anomalies
from jaxae.jobs.train import begin, fit_recipe, write_examples
from jaxae.numerics import as_batch
from jaxae.recipes import rules
from jaxae.recipes.autoencoder import Recipe
from jaxae.runs.scores_table import write_scores
from jaxae.scoring import thresholds
from jaxae.scoring.detector.saving import limits_of
from jaxae.types import CostTable, Threshold


class Settings(NamedTuple):
    """What the main job is run with; the command line's options, by the same names.

    Attributes:
      data: where the data is, see `data.load`.
      normal: names of the normal classes; None: what the data's card names.
      model: key of `presets.PRESETS`.
      view: what of an image the model reads, "pixels" or "edges"; see `recipes.build`.
      cost: of a miss and of a false alarm, in one unit.
      rule: name and value of one of `rules.RULES`, such as ("recall", 0.9); None: least expected cost, or without
        labels a false-alarm rate of 0.05.
      anomaly_rate: the deployment's share of anomalies, in (0, 1).
      confidence: of the bounds on false alarms and misses, in (0, 1); with the rule "false_alarm_rate" that rate is
        then kept with this confidence, not on average. None: 0.95 for the bounds that are reported.
      certify: the share of dev that is set aside to bound the miss rate of the λ chosen, in [0, 1).
      contamination: the share of anomalies that the training rows are thought to hold; 0 trusts them.
      robust: what is done about them: a key of `recipes.ROBUST`, or rows are left out before the training: those far
        from their neighbours ("neighbours"), or that models of the others score highest ("refined").
      known_anomalies: so many anomalies of dev are taught to the model (`objectives.supervised`) and leave dev.
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
    view: str = "pixels"
    cost: tuple[float, float] = (10.0, 1.0)
    rule: tuple[str, float | None] | None = None
    anomaly_rate: float = rules.DEFAULT_RATE
    confidence: float | None = None
    certify: float = 0.0
    contamination: float = 0.0
    robust: str = "trimmed"
    known_anomalies: int = 0
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
      from jaxae.jobs.detect import Settings, detect
      folder = detect(Settings(normal=("Sneaker",), cost=(50.0, 1.0)))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    table = CostTable.binary(*settings.cost)
    _require_rates(settings, table)
    dataset = load(settings.data, label_column=settings.label_column, group_duplicates=settings.group_duplicates)
    splits = split(
        dataset,
        settings.normal,
        settings.seed,
        certify=settings.certify,
        group_duplicates=settings.group_duplicates,
    )
    labelled = dataset.y_train is not None
    known, splits = known_anomalies(splits, settings.known_anomalies)
    rule = threshold_for(settings, table, labelled)
    rehearse(rule, splits, labelled)
    facts = {"normal": list(splits.normal), "rule": list(rules.chosen(settings.rule, labelled))}
    recipe, folder, config = begin(
        "detect",
        settings,
        dataset,
        splits.train.x,
        out,
        resume,
        overwrite,
        recipe={"held_out": len(splits.validation.x)},
        **facts,
    )
    if len(known):
        recipe = recipe._replace(objective=objectives.supervised(recipe.objective, jnp.asarray(known)))
    echo(_headline(dataset, splits, settings))

    splits = cleaned_splits(splits, recipe, settings.robust, settings.contamination, settings.seed, echo)
    state = fit_recipe(recipe, splits.train.x, splits.validation.x, folder, settings.seed, settings.tensorboard)
    seen = np.concatenate([digests(splits.train.x), digests(splits.validation.x)])
    runs.write_arrays(folder / "rows.npz", digests=seen)
    fitted, decided = _fit_detector(recipe, rule, state, splits, labelled, settings.confidence)
    _save_detector(folder / "detector", recipe, rule, fitted, splits, config)
    loaded = scoring.load_detector(folder / "detector")
    verdict = scoring.score_batches(loaded.apply, splits.test.x, PADDED_BATCH)
    figures = _figures(verdict, splits, table, settings.anomaly_rate) | {"guarantees": facts_of(decided)}
    write_scores(folder / "scores.csv", verdict, splits.test.labels)
    _write_dev(folder / "dev.npz", decided, splits if labelled else None, table)
    _write_examples(folder / "examples.npz", recipe, state, fitted, splits.test.x, verdict, splits.test.labels)
    figures["seconds"] = time.monotonic() - started
    runs.write_json(folder / "metrics.json", figures)
    page = report.render(folder)
    echo(f"\n{report.table(figures, config)}\n\n{page}  ({time.monotonic() - started:.0f} s)")
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
      out: the `.csv` to write, see `scores_table.write_scores`; `index` is the row in the test part.
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
    classes = loaded.card.get("classes")
    write_scores(out, verdict, labels, classes, _names_of(dataset))
    if echo is not None:
        flagged = int(verdict.is_anomaly.sum())
        echo(f"{out}: {len(verdict.score)} rows, {flagged} flagged at λ = {float(verdict.threshold[0]):.6g}")
    return out


def threshold_for(settings: Settings, table: CostTable, labelled: bool) -> Threshold:
    """The `Threshold` that the settings ask for; errors as `rules.threshold`."""
    return rules.threshold(settings.rule, table, settings.anomaly_rate, settings.confidence, labelled)


def _require_rates(settings, table):
    """Whatever rule is asked for, expected costs are reported: their settings are checked before anything is read."""
    thresholds.expected_cost(table, settings.anomaly_rate)
    threshold_for(settings, table, labelled=True)


def _fit_detector(recipe: Recipe, rule: Threshold, state, splits: Splits, labelled, confidence) -> tuple[dict, Decided]:
    """The detector's arrays: the scorer's, and λ from scores as the saved program will give them."""
    reference = np.concatenate([splits.train.x, splits.validation.x])
    arrays = recipe.scorer.fit(state.params["model"], state.state["model"], as_batch(reference))
    scorer = scoring.detector(recipe.scorer, thresholds.conformal(0.5))
    stand_in = thresholds.conformal(0.5).fit(np.arange(len(splits.calibration.x), dtype=np.float32))
    apply = jax.jit(lambda arrays, x: scorer.apply({"scorer": arrays, "threshold": stand_in}, x).score)
    decided = decide(
        lambda x: np.asarray(scoring.score_batches(lambda rows: apply(arrays, rows), x, PADDED_BATCH)),
        rule,
        splits,
        labelled,
        confidence,
    )
    return {"scorer": arrays, "threshold": decided.fitted}, decided


def _save_detector(path, recipe: Recipe, rule: Threshold, fitted, splits: Splits, config):
    card = {"config": config, "padded_batch": PADDED_BATCH, "sizes": sizes_of(splits)}
    detector = scoring.detector(recipe.scorer, rule)
    scoring.save_detector(path, detector, fitted, splits.train.x[:1], card, limits=limits_of(splits.train.x))


def _figures(verdict, splits: Splits, table: CostTable, anomaly_rate: float) -> dict:
    figures = {
        "threshold": float(verdict.threshold[0]),
        "sizes": sizes_of(splits),
        "flagged": float(verdict.is_anomaly.mean()),
        "anomaly_rate": anomaly_rate,
    }
    if splits.test.labels is None:
        return figures
    return figures | scoring.summary(splits.test.labels, verdict, table, anomaly_rate)


def _headline(dataset, splits, settings):
    sizes, anomalies = sizes_of(splits), int(splits.dev.labels.sum())
    normal = f"normal: {', '.join(splits.normal)}" if splits.normal else "no labels"
    return (
        f"{dataset.name} · {normal} · {settings.model}\n"
        f"train {sizes['train']} · validation {sizes['validation']} · calibration {sizes['calibration']} · "
        f"dev {sizes['dev']} ({anomalies} anomalies) · test {sizes['test']}"
    )


def _labels_of(dataset: Dataset, normal) -> np.ndarray | None:
    if dataset.y_test is None or not normal or dataset.label_names is None:
        return None
    return np.array([dataset.label_names[int(y)] not in normal for y in dataset.y_test], np.int32)


def _names_of(dataset: Dataset) -> list[str] | None:
    if dataset.y_test is None or dataset.label_names is None:
        return None
    return [dataset.label_names[int(y)] for y in dataset.y_test]


def _write_dev(path, decided: Decided, splits: Splits | None, table):
    arrays = {"calibration": decided.scores["calibration"], "costs": np.asarray(table.costs)}
    if splits is not None:
        arrays |= {"scores": decided.scores["dev"], "labels": splits.dev.labels}
    runs.write_arrays(path, **arrays)


def _write_examples(path, recipe: Recipe, state, fitted, x, verdict, labels, each: int = 4):
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
    write_examples(
        path,
        recipe,
        state.params["model"],
        state.state["model"],
        x[rows],
        fitted["scorer"],
        score=np.asarray(verdict.score)[rows],
        is_anomaly=flagged[rows],
        label=np.full(len(rows), -1) if labels is None else labels[rows],
        kind=names,
    )
