"""The main job: train on normal examples, choose λ on labelled ones, test once, write everything down.

Who reads what: `train` fits the parameters, `validation` (normals) stops training, `calibration` (normals) gives
p-values and false-alarm bounds, `dev` (labelled) chooses λ, `test` is scored once, at the end, through the saved
detector.
"""

import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import cleaning, objectives, recipes, report, runs, scoring
from jaxae.data import Dataset, Splits, load
from jaxae.data.splits import Part, split
from jaxae.files.messages import listed
from jaxae.jobs import dealing, deciding, fitting
from jaxae.jobs.dealing import Dealt, Fresh
from jaxae.jobs.deciding import PADDED_BATCH, Decided, Labels
from jaxae.jobs.trained import Trained, num_trained
from jaxae.numerics import as_batch
from jaxae.recipes import Recipe, rules
from jaxae.runs import deal as deals
from jaxae.scoring import thresholds
from jaxae.scoring.detector.saving import limits_of
from jaxae.settings import DetectSettings, checked
from jaxae.types import Batch, CostTable, FittedDetector, Threshold, Verdict


def detect(
    settings: DetectSettings | None = None,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Run the main job.

    Args:
      settings: what to do; None: the main job on the bundled sample.
      out: the run folder; None: the first free `runs/detect-N`.
      resume: whether to continue the run in `out` from its last checkpoint, on the rows that it dealt.
      overwrite: whether to replace the run in `out`.
      echo: takes lines for the user; None: silent.

    Returns:
      The run folder; `runs.ENTRIES` says what it holds.

    Raises:
      ValueError: settings or data that cannot work, in one line, before anything is trained or written.

    Example:
      ```python
      from jaxae import jobs
      folder = jobs.detect(jobs.DetectSettings(normal=("Sneaker",), cost=(50.0, 1.0)))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    settings = checked(DetectSettings() if settings is None else settings)
    table = CostTable.binary(*settings.cost)
    thresholds.expected_cost(table, settings.anomaly_rate)  # costs are reported whatever the rule is
    threshold_for(settings, table, labelled=True)
    dataset = load(settings.data, label_column=settings.label_column, group_duplicates=settings.group_duplicates)
    dealt = dealing.dealt_rows("detect", settings, dataset, partial(_fresh, settings, dataset), out, resume)
    parts, labelled = dealt.parts, dataset.y_train is not None
    rule = threshold_for(settings, table, labelled)
    deciding.rehearse(rule, parts, labelled)
    dealing.require_usable(parts, dataset.feature_names)
    standardisation = dealing.standardisation_of(dealt, out if resume else None)
    recipe = _recipe(settings, dealt, standardisation)
    fitting.require_trainable(recipe, "detect", settings.model, Batch(parts.train.x))
    facts = {"normal": dealt.deal.normal, "rule": rules.chosen(settings.rule, labelled)}
    folder, config = fitting.claim("detect", settings, dealt, standardisation, out, resume, overwrite, **facts)
    echo(_headline(dealt, settings))
    fitting.warn_of_grey(recipe, parts.train.x)

    dealt = _cleaned(dealt, recipe, settings, folder, echo)
    parts = dealt.parts
    model = fitting.fit_recipe(recipe, parts.train.x, parts.validation.x, folder, settings.seed, settings.tensorboard)
    fitted, decided = _fit_detector(model, rule, parts, labelled, settings.confidence)
    detector = scoring.detector(recipe.scorer, rule)
    card = deciding.card_of(config, dealt)
    x = parts.train.x
    scoring.save_detector(folder / "detector", detector, fitted, x[:1], card, limits=limits_of(x))
    loaded = scoring.load_detector(folder / "detector")
    verdict = scoring.score_batches(loaded.apply, parts.test.x, PADDED_BATCH)

    sizes = deals.sizes_of(dealt.deal)
    figures = deciding.figures_of(verdict, parts.test.labels, sizes, table, settings.anomaly_rate)
    figures["guarantees"] = deciding.facts_of(decided)
    sources = deals.source_names(dataset, dealt.rows["test"])
    runs.write_scores(folder / "scores.csv", verdict, parts.test.labels, sources)
    runs.write_arrays(folder / "dev.npz", **deciding.dev_arrays(decided, table, parts.dev.labels if labelled else None))
    _write_examples(folder / "examples.npz", model, fitted, parts.test, verdict)
    figures["seconds"] = time.monotonic() - started
    runs.write_json(folder / "metrics.json", figures)
    page = report.render(folder)
    echo(f"\n{report.table(figures, config)}\n\n{page}  ({time.monotonic() - started:.0f} s)")
    return folder


def threshold_for(settings: DetectSettings, table: CostTable, labelled: bool) -> Threshold:
    """The `Threshold` that the settings ask for; errors as `recipes.rules.threshold`."""
    return rules.threshold(settings.rule, table, settings.anomaly_rate, settings.confidence, labelled)


def _fresh(settings: DetectSettings, dataset: Dataset) -> Fresh:
    """Rows dealt anew: those of known anomalies leave dev for good."""
    parts = split(
        dataset,
        settings.normal,
        settings.seed,
        certify=settings.certify,
        group_duplicates=settings.group_duplicates,
    )
    rows = deals.of_splits(parts, dataset)
    anomalies = rows["dev"][np.asarray(parts.dev.labels) == 1]
    if len(anomalies) < settings.known_anomalies:
        raise ValueError(f"{settings.known_anomalies} known anomalies are wanted and dev has {len(anomalies)}")
    taught = anomalies[: settings.known_anomalies]
    rows["dev"] = rows["dev"][~np.isin(rows["dev"], taught)]
    return Fresh(rows, parts.normal, taught)


def _recipe(settings: DetectSettings, dealt: Dealt, standardisation) -> Recipe:
    recipe = recipes.build(
        settings.model,
        dealt.parts.train.x.shape[1:],
        num_trained(dealt.deal),
        standardisation=standardisation,
        epochs=settings.epochs,
        options=settings.options,
        bottleneck=settings.bottleneck,
        score=settings.score,
        contamination=settings.contamination,
        robust=settings.robust,
        view=settings.view,
        held_out=len(dealt.parts.validation.x),
    )
    if len(dealt.taught):
        recipe = recipe._replace(objective=objectives.supervised(recipe.objective, jnp.asarray(dealt.taught)))
    return recipe


def _cleaned(dealt: Dealt, recipe: Recipe, settings: DetectSettings, folder: pathlib.Path, echo) -> Dealt:
    """The parts without suspected anomalies, which the deal keeps: a run that is resumed does not search again."""
    if settings.robust not in cleaning.METHODS or not settings.contamination or dealt.deal.left_out is not None:
        return dealt
    parts, left_out = left_clean(dealt.parts, recipe, settings.robust, settings.contamination, settings.seed)
    count = len(left_out) + len(parts.train.x) + len(parts.validation.x)
    echo(f"{len(left_out)} of {count} rows left out as suspected anomalies")
    rows = dealt.deal.parts | {"train": parts.train.rows, "validation": parts.validation.rows}
    deal = dealt.deal._replace(parts=rows, left_out=left_out)
    deals.write(folder, deal)
    return dealt._replace(deal=deal, parts=parts)


def left_clean(
    parts: Splits, recipe: Recipe, method: str, contamination: float, seed: int
) -> tuple[Splits, np.ndarray]:
    """`cleaning.cleaned`, by what the recipe's scaling sees of the rows or by models of the recipe itself."""
    viewed = jax.jit(lambda x: scoring.latent.inputs((), (), recipe.scaling(None, as_batch(x))))
    return cleaning.cleaned(
        parts,
        method,
        contamination,
        view=lambda rows: scoring.score_batches(viewed, rows, PADDED_BATCH),
        judge=_judge(recipe, len(parts.validation.x) / (len(parts.train.x) + len(parts.validation.x)), seed),
        seed=seed,
    )


def _judge(recipe: Recipe, share: float, seed: int) -> Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """`rows -> (rows -> scores)`: the recipe trained on some rows, a share of them held out."""

    def fit(rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        held_out = max(1, round(len(rows) * share))
        with tempfile.TemporaryDirectory() as folder:
            model = fitting.fit_recipe(recipe, rows[held_out:], rows[:held_out], pathlib.Path(folder), seed)
        arrays = recipe.scorer.fit(model.params, model.state, as_batch(rows))
        score = jax.jit(lambda batch: recipe.scorer.apply(arrays, jax.random.key(seed), as_batch(batch)))
        return lambda others: np.asarray(scoring.score_batches(score, others, PADDED_BATCH))

    return fit


def _fit_detector(
    model: Trained, rule: Threshold, parts: Splits, labelled: bool, confidence: float | None
) -> tuple[FittedDetector, Decided]:
    """The detector's arrays: the scorer's, and λ from scores as the saved program will give them."""
    scorer = model.recipe.scorer
    arrays = scorer.fit(model.params, model.state, as_batch(np.concatenate([parts.train.x, parts.validation.x])))
    of_rows = jax.jit(scoring.row_scores(scorer))
    scores = deciding.score_parts(
        lambda x: scoring.score_batches(lambda rows: of_rows(arrays, rows), x, PADDED_BATCH), parts
    )
    labels = Labels(parts.dev.labels, parts.certify.labels) if labelled else Labels()
    decided = deciding.decide(scores, rule, parts, labels, confidence)
    return FittedDetector(arrays, decided.fitted), decided


def _headline(dealt: Dealt, settings: DetectSettings) -> str:
    sizes, deal = deals.sizes_of(dealt.deal), dealt.deal
    anomalies = 0 if dealt.parts.dev.labels is None else int(dealt.parts.dev.labels.sum())
    normal = f"normal: {listed(deal.normal, 20)}" if deal.normal else "no labels"
    shown = [f"{name} {size}" + (f" ({anomalies} anomalies)" if name == "dev" else "") for name, size in sizes.items()]
    taught = f" · {len(dealt.taught)} known anomalies are taught" if len(dealt.taught) else ""
    return f"{deal.name} · {normal} · {settings.model}{taught}\n{' · '.join(shown)}"


def _write_examples(path, model: Trained, fitted: FittedDetector, test: Part, verdict: Verdict, most: int = 4):
    """A few test rows of every outcome, with reconstruction and map, for the figures."""
    flagged = np.asarray(verdict.is_anomaly)
    if test.labels is None:
        kinds = {"accepted": ~flagged, "flagged": flagged}
    else:
        truth = test.labels.astype(bool)
        kinds = {
            "normal, accepted": ~truth & ~flagged,
            "anomaly, flagged": truth & flagged,
            "false alarm": ~truth & flagged,
            "miss": truth & ~flagged,
        }
    rng = np.random.default_rng(0)
    chosen = {kind: rng.permutation(np.flatnonzero(rows))[:most] for kind, rows in kinds.items()}
    rows = np.concatenate(list(chosen.values()))
    fitting.write_examples(
        path,
        model,
        test.x[rows],
        fitted.scorer,
        score=deciding.rankable(verdict.score)[rows],
        is_anomaly=flagged[rows],
        label=np.full(len(rows), -1) if test.labels is None else test.labels[rows],
        kind=np.concatenate([np.full(len(rows), kind) for kind, rows in chosen.items()]),
    )
