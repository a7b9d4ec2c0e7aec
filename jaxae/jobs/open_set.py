"""The open-set job: a classifier of the known classes that says "unknown" where it is not confident enough.

Who reads what: `train` (rows of the known classes) fits the classifier and what a score compares with, `validation`
stops training and sets a temperature, `calibration` gives p-values, `dev` (known rows held out, and all rows of the
other classes in the train part) chooses λ, `test` is scored once, at the end, through the saved detector.
"""

import os
import pathlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxae import recipes, report, runs, scoring
from jaxae.data import Dataset, Splits, load
from jaxae.data.splits import Part, normal_classes, split
from jaxae.files.messages import listed
from jaxae.jobs import dealing, deciding, fitting
from jaxae.jobs.dealing import Dealt, Fresh
from jaxae.jobs.deciding import PADDED_BATCH, Decided, known_truth
from jaxae.jobs.trained import Trained, num_trained
from jaxae.recipes import known_logits, rules
from jaxae.runs import deal as deals
from jaxae.scoring import cost_table, metrics
from jaxae.scoring.detector.open_set import classifier_arrays
from jaxae.scoring.detector.saving import limits_of
from jaxae.settings import OpenSetSettings, checked
from jaxae.types import Batch, CostTable, Detector, FittedDetector, Threshold, Verdict


def open_set(
    settings: OpenSetSettings,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Train on the known classes, choose λ, test once, write everything down.

    Args:
      settings: what to do.
      out: the run folder; None: the first free `runs/open-set-N`.
      resume: whether to continue the run in `out` from its last checkpoint, on the rows that it dealt.
      overwrite: whether to replace the run in `out`.
      echo: takes lines for the user; None: silent.

    Returns:
      The run folder; `runs.ENTRIES` says what it holds. `scores.csv` has the class or "unknown" that was decided, and
      the truth.

    Raises:
      ValueError: settings or data that cannot work, in one line, before anything is trained or written.

    Example:
      ```python
      from jaxae import jobs
      folder = jobs.open_set(jobs.OpenSetSettings(known=("Sandal", "Sneaker", "Ankle boot")))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    settings = checked(settings)
    table = CostTable.binary(*settings.cost[:2])
    cost_table(2, *settings.cost)  # refuses a cost of a wrong class that is none
    rules.threshold(settings.rule, table, settings.anomaly_rate, settings.confidence, labelled=True)
    dataset = load(settings.data, label_column=settings.label_column, group_duplicates=settings.group_duplicates)
    require_known(dataset, settings.known)
    dealt = dealing.dealt_rows("open-set", settings, dataset, partial(_fresh, settings, dataset), out, resume)
    parts, known, names = dealt.parts, dealt.deal.normal, dataset.label_names or ()
    truth = {name: known_truth(getattr(parts, name).classes, names, known) for name in deals.PARTS}
    has_unknown = bool((truth["dev"] == len(known)).any())
    rule = deciding.open_set_rule(settings, settings.cost, len(known), has_unknown)
    if not isinstance(rule, CostTable):
        deciding.rehearse(rule, parts, labelled=True)
    dealing.require_usable(parts, dataset.feature_names)
    standardisation = dealing.standardisation_of(dealt, out if resume else None)
    recipe = recipes.build_classifier(
        parts.train.x.shape[1:],
        num_trained(dealt.deal),
        len(known),
        score=settings.score,
        auxiliary=settings.auxiliary,
        standardisation=standardisation,
        epochs=settings.epochs,
        held_out=len(parts.validation.x),
    )
    train, validation = (Batch(getattr(parts, n).x, target=truth[n][:, None]) for n in ("train", "validation"))
    fitting.require_trainable(recipe, "open-set", "the classifier", train)
    facts = {
        "model": f"classifier, {settings.score}",
        "normal": known,
        "rule": rules.chosen(settings.rule, has_unknown),
    }
    folder, config = fitting.claim("open-set", settings, dealt, standardisation, out, resume, overwrite, **facts)
    echo(_headline(dealt, int((truth["dev"] == len(known)).sum())))

    model = fitting.fit_recipe(recipe, train, validation, folder, settings.seed, settings.tensorboard)
    detector, fitted, decided = _fit_detector(model, rule, settings, parts, truth, len(known))
    card = deciding.card_of(config, dealt) | {"classes": [*known, "unknown"]}
    x = parts.train.x
    scoring.save_detector(folder / "detector", detector, fitted, x[:1], card, limits=limits_of(x))
    loaded = scoring.load_detector(folder / "detector")
    verdict = scoring.score_batches(loaded.apply, parts.test.x, PADDED_BATCH)

    is_unknown = (truth["test"] == len(known)).astype(np.int32)
    figures = deciding.figures_of(verdict, is_unknown, deals.sizes_of(dealt.deal), table, settings.anomaly_rate)
    figures |= _class_figures(verdict, truth["test"], len(known), settings)
    figures["guarantees"] = deciding.facts_of(decided)
    sources = deals.source_names(dataset, dealt.rows["test"])
    runs.write_scores(folder / "scores.csv", verdict, is_unknown, sources, card["classes"], _names(parts.test, names))
    unknown_in_dev = (truth["dev"] == len(known)).astype(np.int32)
    runs.write_arrays(folder / "dev.npz", **deciding.dev_arrays(decided, table, unknown_in_dev))
    figures["seconds"] = time.monotonic() - started
    runs.write_json(folder / "metrics.json", figures)
    page = report.render(folder)
    echo(f"\n{_table(figures)}\n\n{page}  ({time.monotonic() - started:.0f} s)")
    return folder


def require_known(dataset: Dataset, known: tuple[str, ...]) -> None:
    """Look for the known classes in the data.

    Raises:
      ValueError: there are no labels, no such class (those there are are listed), fewer than two, or no rows of one.
    """
    if dataset.y_train is None or dataset.y_test is None:
        raise ValueError(f"{dataset.name} has no labels: a classifier needs them in the train and in the test part")
    classes = normal_classes(dataset, known)
    names = dataset.label_names or ()
    if len(classes) < 2:
        raise ValueError(
            f"{len(classes)} known class is nothing to tell apart: name two or more of {listed(names, 20)}"
        )
    present = np.unique(dataset.y_train)
    if missing := [names[c] for c in classes if c not in present]:
        raise ValueError(f"the train part has no rows of {listed(missing, 20)}")


def _fresh(settings: OpenSetSettings, dataset: Dataset) -> Fresh:
    parts = split(
        dataset, settings.known, settings.seed, certify=settings.certify, group_duplicates=settings.group_duplicates
    )
    return Fresh(deals.of_splits(parts, dataset), parts.normal, np.empty(0, np.int64))


def _fit_detector(
    model: Trained,
    rule: Threshold | CostTable,
    settings: OpenSetSettings,
    parts: Splits,
    truth: dict[str, np.ndarray],
    num_classes: int,
) -> tuple[Detector, FittedDetector, Decided]:
    """The detector, its arrays, and λ from scores as the saved program will give them."""
    recipe = model.recipe
    logits = known_logits(recipe.model, num_classes)
    detector = scoring.open_set(
        logits, recipe.scorer, rule, unknown_rate=settings.anomaly_rate, transform=recipe.scaling
    )
    scorer = scoring.prepared(recipe.scorer, recipe.scaling)
    rows = [Batch(getattr(parts, name).x, target=truth[name][:, None]) for name in ("train", "validation")]
    reference = jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
    arrays = scorer.fit(model.params, model.state, reference)
    of_rows = jax.jit(scoring.row_scores(scorer))
    scores = deciding.score_parts(
        lambda x: scoring.score_batches(lambda batch: of_rows(arrays, batch), x, PADDED_BATCH), parts
    )
    prediction = None
    if isinstance(rule, CostTable):
        classes = jax.jit(lambda x: logits(model.params, model.state, recipe.scaling(None, Batch(x))).argmax(-1))
        prediction = scoring.score_batches(classes, parts.dev.x, PADDED_BATCH)
    threshold, labels = deciding.open_set_labels(rule, truth, prediction, num_classes, settings.anomaly_rate)
    decided = deciding.decide(scores, threshold, parts, labels, settings.confidence)
    classifier = classifier_arrays(arrays, {"params": model.params, "state": model.state})
    return detector, FittedDetector(arrays, decided.fitted, classifier), decided


def _class_figures(
    verdict: Verdict, truth: np.ndarray, num_classes: int, settings: OpenSetSettings
) -> dict[str, float]:
    """How well the classes are told apart, with λ and without it."""
    is_known = truth != num_classes
    right, action = np.asarray(verdict.prediction) == truth, np.asarray(verdict.action)
    decided_right = action[is_known] == truth[is_known]
    figures = {
        "closed_set_accuracy": float(right[is_known].mean()),
        "known_decided_right": float(decided_right.mean()),
        "known_wrong_class": float(((action[is_known] != num_classes) & ~decided_right).mean()),
    }
    if is_known.all() or not is_known.any():
        return figures
    figures["oscr"] = float(metrics.oscr(is_known.astype(np.int32), right, -deciding.rankable(verdict.score)))
    costs: np.ndarray = np.asarray(cost_table(num_classes, *settings.cost).costs)[truth, action]
    rate = settings.anomaly_rate
    figures["expected_cost_of_decisions"] = float(rate * costs[~is_known].mean() + (1 - rate) * costs[is_known].mean())
    return figures


def _names(test: Part, names: tuple[str, ...]) -> list[str]:
    assert test.classes is not None
    return [names[c] for c in test.classes]


def _headline(dealt: Dealt, unknown: int) -> str:
    shown = [
        f"{name} {size}" + (f" ({unknown} unknown)" if name == "dev" else "")
        for name, size in deals.sizes_of(dealt.deal).items()
    ]
    return f"{dealt.deal.name} · known: {listed(dealt.deal.normal, 20)}\n{' · '.join(shown)}"


def _table(figures: dict) -> str:
    shown = {
        "auroc": "AUROC, unknown against known",
        "oscr": "OSCR",
        "fpr_at_95_tpr": "known refused where 95 % of the unknown are",
        "closed_set_accuracy": "accuracy on known classes, without λ",
        "known_decided_right": "known examples that get their class",
        "recall": "unknown examples that are found",
    }
    lines = [f"{label:<46}{figures[name]:.4f}" for name, label in shown.items() if name in figures]
    return "\n".join([f"λ: a confidence of {-figures['threshold']:.6g}", *lines])
