"""`report.html`: everything that a run found, on one page without scripts, network or loose files."""

import base64
import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxae.report import decisions, pictures, training, traversals
from jaxae.report.canvas import number, percent
from jaxae.runs.reading import Run, read_run


class Drawing(NamedTuple):
    """A figure on the page.

    Attributes:
      name: file name in `figures/`, without its ending.
      draw: `(path) -> path`, or None where there is nothing to draw.
      caption: what to read off it; also the text for those who cannot see it.
      wide: takes the page's whole width.
      kind: "png", or "gif" for what moves.
    """

    name: str
    draw: Callable[[Path], Path | None]
    caption: str
    wide: bool = False
    kind: str = "png"


def render(run_dir: str | Path) -> Path:
    """Draw a run's figures and write its page.

    Reads what `jaxae detect` or `jaxae train` left in the folder; what is absent is skipped. Writes
    `figures/*` and `report.html`, which holds the figures itself and can be sent alone.

    Args:
      run_dir: the run folder.

    Returns:
      The path of `report.html`.

    Raises:
      ValueError: the folder holds no run, or a file in it cannot be read.

    Example:
      >>> import json, pathlib, tempfile
      >>> from jaxae.report import render
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "config.json").write_text(json.dumps({"command": "train", "model": "ae"}))
      >>> render(folder).name
      'report.html'
    """
    from jinja2 import Environment, StrictUndefined

    run = read_run(run_dir)
    figures = []
    for drawing in drawings(run):
        path = drawing.draw(run.folder / "figures" / f"{drawing.name}.{drawing.kind}")
        if path is not None:
            image = base64.b64encode(path.read_bytes()).decode()
            figures.append({**drawing._asdict(), "image": image})
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files("jaxae.report").joinpath("page.html").read_text("utf-8"))
    target = run.folder / "report.html"
    target.write_text(template.render(figures=figures, **contents(run)), encoding="utf-8")
    return target


def threshold_of(run: Run) -> float:
    """λ of a run; infinite (nothing is flagged) where the file could not say so in JSON."""
    value = run.metrics.get("threshold")
    return math.inf if value is None else float(value)


def anomaly_rate_of(run: Run) -> float:
    """The deployment's share of anomalies that the run was told."""
    return float(run.metrics.get("anomaly_rate") or run.config.get("anomaly_rate") or 0.05)


def drawable(scores: np.ndarray) -> np.ndarray:
    """Scores that an axis can hold, in their order: one that overflowed stands just above the largest other.

    Example:
      >>> import numpy as np
      >>> from jaxae.report.page import drawable
      >>> drawable(np.array([1.0, np.inf], np.float32)).round(3).tolist()
      [1.0, 1.0]
    """
    usual = scores < np.finfo(np.float32).max
    above = np.nextafter(scores[usual].max(), np.float32(np.inf)) if usual.any() else np.float32(1)
    return np.where(usual, scores, above)


def drawings(run: Run) -> list[Drawing]:
    """The figures that a run has the numbers for."""
    found = [*_of_examples(run), *_of_scores(run)]
    if run.log:
        caption = "Mean loss per example on the rows trained on and, as validation, on rows held out of training."
        found.append(Drawing("loss", lambda path: training.losses(path, run.log), caption))
    if any("validation_codes_in_use" in record for record in run.log):
        caption = "How many codes the held-out rows have, and how evenly (perplexity: as if so many were used alike)."
        found.append(Drawing("codes", lambda path: training.codes(path, run.log), caption))
    if (samples := run.samples) is not None and samples.ndim > 2:
        caption = "Examples that the model makes up: decoded from codes that were drawn from its prior."
        found.append(Drawing("samples", lambda path: pictures.sample_grid(path, samples), caption))
    return found + _of_walks(run.walks)


def _of_walks(walks: dict[str, np.ndarray]) -> list[Drawing]:
    if not walks:
        return []
    moved, between = walks["traversals"], walks.get("interpolations")
    short = [f"z{d}" for d in walks["dimensions"]]
    names = [f"{name}  {number(float(kl))} nats" for name, kl in zip(short, walks["kl"], strict=True)]
    shown = [
        Drawing(
            "traversals",
            lambda path: traversals.grid(path, moved, names, "What each latent changes", ("−2", "2")),
            "One latent after the other moves from -2 to 2, the others stay; those of the greatest KL first. A latent "
            "without KL changes nothing.",
        ),
        Drawing("moving", lambda path: traversals.animate(path, moved, short), "The same in motion.", kind="gif"),
    ]
    if between is not None:
        shown.append(
            Drawing(
                "interpolations",
                lambda path: traversals.grid(path, between, title="From one held-out example to another"),
                "At the ends two reconstructed examples, between them what the arc from one latent to the other gives.",
            )
        )
    return shown


def _of_scores(run: Run) -> list[Drawing]:
    if run.scores is None or not len(run.scores.score):
        return []
    score, labels = drawable(run.scores.score), run.scores.label
    threshold, rate = threshold_of(run), anomaly_rate_of(run)
    calibration = None if "calibration" not in run.dev else drawable(run.dev["calibration"])
    found = [
        Drawing(
            "scores",
            lambda path: decisions.histogram(path, score, threshold, labels, calibration),
            "How the scores of the test part are spread. What lies right of λ is flagged.",
        )
    ]
    if labels is None or not _two_classes(labels):
        return found
    if "costs" in run.dev:
        dev = (
            (drawable(run.dev["scores"]), run.dev["labels"])
            if _two_classes(run.dev.get("labels")) and "scores" in run.dev
            else None
        )
        costs = run.dev["costs"]
        found.append(
            Drawing(
                "cost",
                lambda path: decisions.cost(path, (score, labels), threshold, costs, rate, dev),
                f"What each λ would cost per example when {percent(rate)} of all examples are anomalies, a miss "
                f"costs {number(float(costs[1, 0]))} and a false alarm {number(float(costs[0, 1]))}. The oracle λ "
                "knows the test labels; no rule can do better.",
            )
        )
    found.append(
        Drawing(
            "roc",
            lambda path: decisions.roc(path, score, labels, threshold),
            "How many anomalies are caught for how many false alarms, over every λ; it depends on no anomaly rate.",
        )
    )
    found.append(
        Drawing(
            "precision_recall",
            lambda path: decisions.precision_recall(path, score, labels, threshold, rate),
            "How many flags are right for how many anomalies caught. Precision depends on how common anomalies are, "
            "so it is shown at the deployment's anomaly rate and at the test set's own.",
        )
    )
    return found


def _of_examples(run: Run) -> list[Drawing]:
    arrays = run.examples
    if "kind" not in arrays or "map" not in arrays or not len(arrays["kind"]):
        return []
    kinds, scores, maps = [str(kind) for kind in arrays["kind"]], arrays.get("score"), arrays["map"]
    if maps.ndim == 2:
        names = _feature_names(run)
        if names is not None and len(names) != maps.shape[1]:
            raise ValueError(
                f"{run.folder}/examples.npz: map has {maps.shape[1]} columns, deal.json names {len(names)}"
            )
        caption = "The features that an example's reconstruction error comes from, as shares of that error."
        title = _error_title(run, "Which features are reconstructed worst")
        return [
            Drawing(
                "features", lambda path: pictures.contributions(path, maps, kinds, names, scores, title), caption, True
            )
        ]
    which = (
        "Examples held out of training" if run.scores is None else "Test examples drawn at random from every outcome"
    )
    caption = f"{which}: the input, what the autoencoder makes of it, and the error of each pixel on one scale."
    title = _error_title(run, "Inputs, their reconstructions, and where the two differ")
    return [
        Drawing(
            "reconstructions",
            lambda path: pictures.reconstructions(
                path, arrays["input"], arrays["reconstruction"], maps, kinds, scores, title
            ),
            caption,
            True,
        )
    ]


def _error_title(run: Run, otherwise: str) -> str:
    if run.scores is None or run.scores.label is None:
        return otherwise
    normal, anomaly = (run.scores.score[run.scores.label == value] for value in (0, 1))
    if run.scores.score.min() < 0:  # fused scores are differences of logarithms, which have no ratio
        return otherwise
    if not len(normal) or not len(anomaly) or np.median(normal) <= 0 or np.median(anomaly) <= np.median(normal):
        return otherwise
    ratio = float(np.median(anomaly) / np.median(normal))
    return f"Anomalies score {ratio:.1f} times as high as normal examples (medians)"


def _two_classes(labels: np.ndarray | None) -> bool:
    return labels is not None and len(np.unique(labels)) == 2


def contents(run: Run) -> dict[str, Any]:
    """The page's words and tables."""
    config, source = run.config, run.deal.get("source", {})
    data = source.get("name") or config.get("data") or run.folder.name
    return {
        "title": f"{data}: {config.get('model', 'autoencoder')}",
        "command": config.get("command", "run"),
        "version": config.get("version", ""),
        "lead": _lead(run),
        "guarantees": (run.metrics.get("guarantees") or {}).get("lines", []),
        "figures_of_merit": _figures_of_merit(run),
        "confusion": _confusion(run),
        "top": _top(run),
        "sizes": list((run.metrics.get("sizes") or {}).items()),
        "settings": [
            (name, _setting(value)) for name, value in config.items() if value not in (None, {}, [], (), "", False)
        ],
        "deal": _deal(run),
        "seconds": run.metrics.get("seconds"),
        "has_detector": (run.folder / "detector").is_dir(),
        "folder": run.folder.name,
    }


def _lead(run: Run) -> list[str]:
    """What was found, in a sentence or two."""
    metrics, normal = run.metrics, ", ".join(map(str, run.config.get("normal") or ()))
    if run.scores is None:
        rows = (run.deal.get("sizes") or {}).get("train")
        return [f"Trained on {rows:,} examples{f' of {normal}' if normal else ''}."] if rows else []
    learnt = f"Trained on normal examples only ({normal}). " if normal else ""
    count, threshold = len(run.scores.score), threshold_of(run)
    first = f"{learnt}An example that scores at least λ = {number(threshold, 4)} is flagged: "
    first += f"{int(run.scores.is_anomaly.sum()):,} of the {count:,} test examples."
    if metrics.get("recall") is None or metrics.get("false_alarm_rate") is None:
        return [first, "The data has no labels of both classes, so nothing can be said about misses and false alarms."]
    second = (
        f"It catches {percent(metrics['recall'])} of the anomalies and flags "
        f"{percent(metrics['false_alarm_rate'])} of the normal examples."
    )
    costs = ("expected_cost", "expected_cost_always", "expected_cost_never", "expected_cost_oracle")
    if all(metrics.get(name) is not None for name in costs):
        blind = min(metrics["expected_cost_always"], metrics["expected_cost_never"])
        second += (
            f" At an anomaly rate of {percent(anomaly_rate_of(run))} that costs {number(metrics['expected_cost'])} per "
            f"example; the best λ would cost {number(metrics['expected_cost_oracle'])}, and the cheaper of flagging "
            f"everything and nothing {number(blind)}."
        )
    return [first, second]


_MERITS = (
    ("auroc", "AUROC", "chance that an anomaly scores above a normal example"),
    ("recall", "recall", "share of the anomalies that is flagged"),
    ("false_alarm_rate", "false-alarm rate", "share of the normal examples that is flagged"),
    ("precision", "precision", "share of the flags that are anomalies"),
    ("f1", "F1", "harmonic mean of precision and recall"),
    ("average_precision", "average precision", "precision averaged over recall, for every λ"),
    ("expected_cost", "expected cost", "per example, in the unit of the cost table"),
    ("expected_cost_oracle", "… of the best λ", "which knows the test labels"),
    ("expected_cost_always", "… of flagging all", ""),
    ("expected_cost_never", "… of flagging none", ""),
)


def _figures_of_merit(run: Run) -> dict[str, Any]:
    def shown(name):
        value = run.metrics.get(name)
        return "" if value is None else f"{value:.4f}"

    rows = [(label, shown(name), shown(f"{name}_raw"), meaning) for name, label, meaning in _MERITS if shown(name)]
    labels = None if run.scores is None else run.scores.label
    own = "" if labels is None or not len(labels) else percent(float(labels.mean()))
    return {"rows": rows, "rate": percent(anomaly_rate_of(run)), "own": own}


def _confusion(run: Run) -> list[list[str]]:
    if run.scores is None or run.scores.label is None:
        return []
    truth, flagged = run.scores.label == 1, run.scores.is_anomaly
    cells = [[(actual == truth) & (decided == flagged) for decided in (False, True)] for actual in (False, True)]
    return [[f"{int(cell.sum()):,}" for cell in row] for row in cells]


def _top(run: Run, count: int = 10) -> list[dict[str, str]]:
    if run.scores is None:
        return []
    rows = np.argsort(-run.scores.score, kind="stable")[:count]
    names = {0: "normal", 1: "anomaly"}
    return [
        {
            "source": run.scores.source[row],
            "score": number(float(run.scores.score[row]), 4),
            "p_value": number(float(run.scores.p_value[row]), 2),
            "decision": "flagged" if run.scores.is_anomaly[row] else "accepted",
            "label": "" if run.scores.label is None else names.get(int(run.scores.label[row]), ""),
        }
        for row in rows
    ]


def _feature_names(run: Run) -> list[str] | None:
    """Names of a table's columns, where they have some."""
    names = [part.get("name") for part in run.deal["schema"]["parts"]] if run.deal else []
    return None if not names or None in names else [str(name) for name in names]


def _deal(run: Run) -> list[tuple[str, str]]:
    """Where the rows came from, and what became of those that no part holds."""
    if not run.deal:
        return []
    source, schema = run.deal["source"], run.deal["schema"]
    kind = f"{len(schema['parts'])} columns"
    if schema["kind"] == "images":
        (image,) = schema["parts"]
        channels = f"{image['channels']} channel{'s' if image['channels'] > 1 else ''}"
        kind = f"{image['width']} x {image['height']} pixels, {channels}, {schema['dtype']}"
    rows = [("source", source["path"] or source["spec"]), ("examples", kind), ("content", source["digest"][:16])]
    if run.deal.get("taught"):
        rows.append(("known anomalies taught", f"{run.deal['taught']:,}"))
    if run.deal.get("left_out"):
        rows.append(("rows left out by cleaning", f"{run.deal['left_out']:,}"))
    return rows


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {_setting(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_setting(part) for part in value if part is not None)
    return f"{value:g}" if isinstance(value, float) else str(value)
