"""The open-set job: a classifier of the known classes that says "unknown" where it is not confident enough.

Who reads what: `train` (rows of the known classes) fits the classifier and what a score compares with, `validation`
stops training and sets a temperature, `calibration` gives p-values, `dev` (known rows held out, and all rows of the
other classes in the train part) chooses λ, `test` is scored once, at the end, through the saved detector.
"""

import functools
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import __version__, downstream, networks, recipes, report, runs, scoring, transforms
from jaxae.data import Dataset, Splits, load
from jaxae.data.splits import Part, normal_classes, sizes_of, split
from jaxae.jobs.train import fit_recipe
from jaxae.recipes import rules
from jaxae.recipes.autoencoder import Recipe
from jaxae.runs.scores_table import write_scores
from jaxae.scoring import confidence, metrics
from jaxae.scoring.detector.open_set import cost_table
from jaxae.scoring.detector.open_set import open_set as decide
from jaxae.scoring.detector.saving import limits_of
from jaxae.scoring.scores import latent
from jaxae.transforms import Transform
from jaxae.types import Batch, CostTable, Detector, Threshold, TrainState

PADDED_BATCH = 256
AUXILIARY = ("spliced", "turned", "none")


class Settings(NamedTuple):
    """What the job is run with; the command line's options, by the same names.

    Attributes:
      known: names of the classes to learn, two or more; every other class is unknown.
      data: where the data is, see `data.load`; it needs labels.
      score: key of `scoring.confidence.CONFIDENCES`.
      auxiliary: what the classifier of images learns besides: "spliced" or "turned" (see `downstream`), or "none".
      cost: of taking an unknown example for a class, of calling a known one unknown, and of a wrong class.
      rule: None (least expected cost; a false-alarm rate where no example is unknown), or a name of `rules.RULES` and
        its value; "anomaly" stands for unknown.
      confidence: of the false-alarm rate's bound, in (0, 1); None: the rate holds on average.
      anomaly_rate: the deployment's share of unknown examples, in (0, 1).
      seed: of splits, initialisation, order and augmentation.
      epochs: passes over the training rows; None: by their number.
      label_column: of a table.
      group_duplicates: keep equal rows in one split.
      tensorboard: write events too.
    """

    known: tuple[str, ...]
    data: str = "fashion-sample"
    score: str = "knn"
    auxiliary: str = "spliced"
    cost: tuple[float, float, float] = (10.0, 1.0, 1.0)
    rule: tuple[str, float | None] | None = None
    confidence: float | None = None
    anomaly_rate: float = 0.05
    seed: int = 0
    epochs: int | None = None
    label_column: str | None = None
    group_duplicates: bool = False
    tensorboard: bool = False


def open_set(
    settings: Settings,
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
      resume: continue the run in `out` from its last checkpoint.
      overwrite: replace the run in `out`.
      echo: takes lines for the user; None: silent.

    Returns:
      The run folder: `config.json`, `metrics.json`, `metrics.jsonl`, `scores.csv` (with the class or "unknown" that
      was decided, and the truth), `figures/`, `report.html`, `detector/` and `checkpoints/`.

    Raises:
      ValueError: settings or data that cannot work, in one line, before anything is trained.

    Example:
      ```python
      from jaxae.jobs.open_set import Settings, open_set
      folder = open_set(Settings(known=("Sandal", "Sneaker", "Ankle boot")))
      ```
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    _require_settings(settings)
    dataset = load(settings.data, label_column=settings.label_column, group_duplicates=settings.group_duplicates)
    known = _known_classes(dataset, settings.known)
    splits = split(dataset, settings.known, settings.seed, group_duplicates=settings.group_duplicates)
    has_unknown = bool((_truth(splits.dev, known) == len(known)).any())
    rule = _rule(settings, len(known), has_unknown)
    _rehearse(rule, splits)
    standardisation = recipes.standardise(splits.train.x)
    recipe = build(settings, splits, len(known), standardisation)
    config = _config(settings, dataset, splits, has_unknown)
    out = runs.next_free("runs", "open-set") if out is None else out
    folder = runs.start(out, config, resume=resume, overwrite=overwrite)
    if standardisation is not None:
        runs.write_arrays(folder / "standardise.npz", **standardisation._asdict())
    echo(_headline(dataset, splits, known))

    train, validation = _labelled(splits.train, known), _labelled(splits.validation, known)
    state = fit_recipe(recipe, train, validation, folder, settings.seed, settings.tensorboard)
    decider, fitted = _fit_detector(recipe, rule, settings, state, splits, known)
    card = {"config": config, "padded_batch": PADDED_BATCH, "sizes": sizes_of(splits)}
    card["classes"] = [*splits.normal, "unknown"]
    x = splits.train.x
    scoring.save_detector(folder / "detector", decider, fitted, x[:1], card, limits=limits_of(x))
    loaded = scoring.load_detector(folder / "detector")
    verdict = scoring.score_batches(loaded.apply, splits.test.x, PADDED_BATCH)
    closed = scoring.score_batches(_closed_set(recipe, state, len(known)), splits.test.x, PADDED_BATCH)
    figures = _figures(verdict, closed, splits, known, settings)
    assert splits.test.classes is not None
    assert dataset.label_names is not None
    truth = [dataset.label_names[c] for c in splits.test.classes]
    write_scores(folder / "scores.csv", verdict, splits.test.labels, card["classes"], truth)
    dev_scores = scoring.score_batches(loaded.apply, splits.dev.x, PADDED_BATCH).score
    runs.write_arrays(
        folder / "dev.npz",
        calibration=np.asarray(fitted["threshold"]["calibration"]),
        costs=np.asarray(CostTable.binary(*settings.cost[:2]).costs),
        scores=dev_scores,
        labels=splits.dev.labels,
    )
    figures["seconds"] = time.monotonic() - started
    runs.write_json(folder / "metrics.json", figures)
    page = report.render(folder)
    echo(f"\n{_table(figures)}\n\n{page}  ({time.monotonic() - started:.0f} s)")
    return folder


def build(settings: Settings, splits: Splits, num_classes: int, standardisation) -> Recipe:
    """The classifier, its optimizer, budget and score."""
    shape, rows = splits.train.x.shape[1:], len(splits.train.x)
    scaling = transforms.scale_uint8()
    if standardisation is not None:
        scaling = _of_x_alone(transforms.standardise(*map(jnp.asarray, standardisation)))
    outputs, steps = num_classes, [scaling]
    if len(shape) == 3:
        steps.append(transforms.random_affine(max(1, round(min(shape[:2]) / 14))))
        if settings.auxiliary == "turned":
            steps.append(downstream.turned(num_classes))
            outputs = 4 * num_classes
        if settings.auxiliary == "spliced":
            steps.append(downstream.spliced(unknown=num_classes))
            outputs = num_classes + 1
    model, objective = downstream.classifier(
        downstream.feature_encoder(shape), networks.mlp(outputs), outputs, transform=transforms.chain(*steps)
    )
    batch_size = min(recipes.BATCH_SIZE, rows)
    num_steps = recipes.default_steps(rows) if settings.epochs is None else settings.epochs * max(1, rows // batch_size)
    logits = confidence.known_logits(confidence.logits_of(model), num_classes)
    held_out = len(splits.validation.x)
    scorer = confidence.CONFIDENCES[settings.score](logits, latent.encoded(model), num_classes, held_out)
    return Recipe(model, objective, scaling, recipes.optimizer(num_steps), batch_size, num_steps, scorer)


def _of_x_alone(transform: Transform) -> Transform:
    return lambda rng, batch: transform(rng, batch._replace(target=None))._replace(target=batch.target)


def _require_settings(settings):
    if settings.score not in confidence.CONFIDENCES:
        raise ValueError(f"there is no score {settings.score!r}; there are {', '.join(confidence.CONFIDENCES)}")
    if settings.auxiliary not in AUXILIARY:
        raise ValueError(f"there is no auxiliary task {settings.auxiliary!r}; there are {', '.join(AUXILIARY)}")
    cost_table(2, *settings.cost)  # refuses costs that are none
    if not 0 < settings.anomaly_rate < 1:
        raise ValueError(f"the unknown rate must lie strictly between 0 and 1; got {settings.anomaly_rate}")


def _known_classes(dataset: Dataset, names) -> tuple[int, ...]:
    if dataset.y_train is None or dataset.y_test is None:
        raise ValueError(f"{dataset.name} has no labels: a classifier needs them in the train and in the test part")
    known = normal_classes(dataset, names)
    if len(known) < 2:
        listed = ", ".join(dataset.label_names or ())
        raise ValueError(f"{len(known)} known class is nothing to tell apart: name two or more of {listed}")
    present = np.unique(dataset.y_train)
    if missing := [(dataset.label_names or ())[c] for c in known if c not in present]:
        raise ValueError(f"the train part has no rows of {', '.join(missing)}")
    return known


def _rule(settings: Settings, num_classes: int, has_unknown: bool) -> Threshold | CostTable:
    if rules.chosen(settings.rule, has_unknown)[0] == "expected_cost" and has_unknown:
        return cost_table(num_classes, *settings.cost)
    table = CostTable.binary(*settings.cost[:2])
    return rules.threshold(settings.rule, table, settings.anomaly_rate, settings.confidence, has_unknown)


def _rehearse(rule: Threshold | CostTable, splits: Splits):
    """Fit the rule on stand-in scores, so that too few rows for it are found before the training, not after."""
    if isinstance(rule, CostTable):
        return
    stand_in = [np.arange(len(part.x), dtype=np.float32) for part in (splits.calibration, splits.dev)]
    rule.fit(stand_in[0], stand_in[1], splits.dev.labels)


def _config(settings, dataset, splits, has_unknown):
    return {
        "command": "open-set",
        "version": __version__,
        **settings._asdict(),
        "model": f"classifier, {settings.score}",
        "normal": list(splits.normal),
        "rule": list(rules.chosen(settings.rule, has_unknown)),
        "dataset": dataset.name,
        "shape": list(splits.train.x.shape[1:]),
        "rows": len(splits.train.x),
        "dtype": str(splits.train.x.dtype),
        "features": dataset.feature_names,
    }


def _truth(part: Part, known: tuple[int, ...]) -> np.ndarray:
    """The rows' classes as 0..K-1, and K for every unknown one."""
    assert part.classes is not None
    lookup = np.full(int(max(part.classes.max(), *known)) + 1, len(known), np.int32)
    lookup[list(known)] = np.arange(len(known))
    return lookup[part.classes]


def _labelled(part: Part, known) -> Batch:
    return Batch(part.x, target=_truth(part, known)[:, None])


def _fit_detector(recipe: Recipe, rule, settings, state, splits: Splits, known) -> tuple[Detector, dict]:
    logits = confidence.known_logits(confidence.logits_of(recipe.model), len(known))
    decider = decide(logits, recipe.scorer, rule, unknown_rate=settings.anomaly_rate, transform=recipe.scaling)
    parts = [_labelled(part, known) for part in (splits.train, splits.validation)]
    reference = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    dev, labels = splits.dev.x, _truth(splits.dev, known)
    params, inner = state.params["model"], state.state["model"]
    return decider, decider.fit(params, inner, reference, splits.calibration.x, dev, labels)


def _closed_set(recipe: Recipe, state: TrainState, num_classes: int) -> Callable:
    """`x -> [B]`: the class that would be given without λ."""
    logits = confidence.known_logits(confidence.logits_of(recipe.model), num_classes)

    @jax.jit
    def classes(params, inner, x):
        return logits(params, inner, recipe.scaling(None, Batch(x))).argmax(-1)

    return functools.partial(classes, state.params["model"], state.state["model"])


def _figures(verdict, closed, splits: Splits, known, settings: Settings) -> dict:
    figures = {
        "threshold": float(verdict.threshold[0]),
        "sizes": sizes_of(splits),
        "flagged": float(verdict.is_anomaly.mean()),
        "anomaly_rate": settings.anomaly_rate,
    }
    truth = _truth(splits.test, known)
    labels = (truth == len(known)).astype(np.int32)
    table = CostTable.binary(*settings.cost[:2])
    figures |= scoring.summary(labels, verdict, table, settings.anomaly_rate)
    right = closed == truth
    figures["closed_set_accuracy"] = float(right[labels == 0].mean())
    if "auroc" in figures:
        figures["oscr"] = float(metrics.oscr(1 - labels, right, -verdict.score))
    costs: np.ndarray = np.asarray(cost_table(len(known), *settings.cost).costs)[truth, verdict.action]
    shares = ((0, 1 - settings.anomaly_rate), (1, settings.anomaly_rate))
    if "auroc" in figures:
        figures["expected_cost_of_decisions"] = float(sum(p * costs[labels == label].mean() for label, p in shares))
    named = verdict.action != len(known)
    decided_right = verdict.action[labels == 0] == truth[labels == 0]
    figures["known_decided_right"] = float(decided_right.mean())
    figures["known_wrong_class"] = float((named[labels == 0] & ~decided_right).mean())
    return figures


def _headline(dataset, splits: Splits, known):
    sizes = {name: len(getattr(splits, name).x) for name in ("train", "validation", "calibration", "test")}
    listed = " · ".join(f"{name} {size}" for name, size in sizes.items())
    unknown = int((_truth(splits.dev, known) == len(known)).sum())
    return f"{dataset.name} · known: {', '.join(splits.normal)}\n{listed} · dev {len(splits.dev.x)} ({unknown} unknown)"


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
