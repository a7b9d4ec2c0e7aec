"""Figures of the decision: score histogram with λ, ROC, precision-recall, expected cost over λ."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.numerics.arguments import check_arguments
from jaxae.report import canvas
from jaxae.report.canvas import ANOMALY, BEST, FAINT, INK, NORMAL, SECOND, number, percent
from jaxae.scoring import metrics
from jaxae.scoring.costs.bands import cost_bands
from jaxae.scoring.costs.expected import expected_cost, expected_cost_curve
from jaxae.types import CostTable


def histogram(
    path: str | Path,
    scores: np.ndarray,
    threshold: float,
    labels: np.ndarray | None = None,
    calibration: np.ndarray | None = None,
) -> Path:
    """How scores are spread, and where λ cuts.

    With labels, normal examples and anomalies as shares of their own class; without, the scores beside those of
    the calibration set.

    Args:
      path: the PNG to write.
      scores: `[N]`, higher is more anomalous.
      threshold: λ; `score >= threshold` is flagged.
      labels: `[N]`, 1 anomaly, 0 normal, or None.
      calibration: `[M]` scores of clean normal examples, drawn where there are no labels.
    """
    if labels is not None and len(labels) != len(scores):
        raise ValueError(f"scores and labels must have one length; got {len(scores)} and {len(labels)}")
    scores = np.asarray(scores, np.float64)
    flagged = scores >= threshold
    if labels is not None:
        normal, anomaly = scores[labels == 0], scores[labels == 1]
        groups = [(normal, NORMAL, f"normal ({len(normal):,})"), (anomaly, ANOMALY, f"anomaly ({len(anomaly):,})")]
        caught, alarmed = flagged[labels == 1], flagged[labels == 0]
        parts = [f"{percent(float(caught.mean()))} of the anomalies"] if len(caught) else []
        parts += [f"{percent(float(alarmed.mean()))} of the normal examples"] if len(alarmed) else []
        title = f"λ flags {' and '.join(parts)}"
    else:
        groups = [(scores, NORMAL, f"scored ({len(scores):,})")]
        if calibration is not None and len(calibration):
            groups.append((calibration, FAINT, f"calibration: normal ({len(calibration):,})"))
        title = f"λ flags {percent(float(flagged.mean()))} of the {len(scores):,} examples"
    figure, axes = canvas.panel(title)
    groups = [group for group in groups if len(group[0])]
    low, high = canvas.score_axis(axes, [values for values, _, _ in groups], threshold)
    edges = 1 + int(np.clip(2 * min(len(values) for values, _, _ in groups) ** 0.5, 12, 60))
    bins = np.geomspace(low, high, edges) if axes.get_xscale() == "log" else np.linspace(low, high, edges)
    for values, colour, label in groups:
        inside = np.clip(values, low, high)
        weights = np.full(len(values), 1 / len(values))
        axes.hist(inside, bins, weights=weights, color=colour, alpha=0.35, label=label)
        axes.hist(inside, bins, weights=weights, color=colour, histtype="step", linewidth=1.3)
    canvas.percent_ticks(axes.yaxis)
    canvas.name_axes(axes, "anomaly score", "share of each group, per bin" if len(groups) > 1 else "share, per bin")
    canvas.mark_threshold(axes, threshold)
    canvas.key(axes)
    return canvas.write(figure, path)


def roc(path: str | Path, scores: np.ndarray, labels: np.ndarray, threshold: float) -> Path:
    """Recall against false-alarm rate over every λ, the chosen one marked.

    Args:
      path: the PNG to write.
      scores: `[N]`, higher is more anomalous.
      labels: `[N]`, 1 anomaly, 0 normal, both present.
      threshold: the chosen λ.
    """
    false_alarms, hits, _ = metrics.roc_curve(labels, scores)
    area = float(metrics.auroc(labels, scores))
    at = tuple(float(rate(labels, scores, threshold=threshold)) for rate in (metrics.false_alarm_rate, metrics.recall))
    figure, axes = canvas.panel(f"An anomaly scores above a normal example {percent(area)} of the time")
    axes.plot(np.asarray(false_alarms), np.asarray(hits), color=NORMAL, linewidth=2, label=f"AUROC {area:.3f}")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label="chance")
    axes.plot(*at, "o", color=INK, markersize=7, clip_on=False, zorder=4, label="chosen λ")
    _unit_square(axes)
    canvas.name_axes(axes, "false-alarm rate (share of normals flagged)", "recall (share of anomalies flagged)")
    canvas.key(axes, 3)
    return canvas.write(figure, path)


def precision_recall(
    path: str | Path, scores: np.ndarray, labels: np.ndarray, threshold: float, anomaly_rate: float
) -> Path:
    """Precision against recall over every λ, at the deployment's anomaly rate and at the test set's own.

    Args:
      path: the PNG to write.
      scores: `[N]`, higher is more anomalous.
      labels: `[N]`, 1 anomaly, 0 normal, both present.
      threshold: the chosen λ.
      anomaly_rate: the deployment's share of anomalies, in (0, 1).
    """
    weight = metrics.prevalence_weight(labels, anomaly_rate)
    precisions, recalls, _ = metrics.precision_recall_curve(labels, scores, weight)
    raw_precisions, raw_recalls, _ = metrics.precision_recall_curve(labels, scores)
    at = tuple(float(rate(labels, scores, weight, threshold)) for rate in (metrics.recall, metrics.precision))
    figure, axes = canvas.panel(
        f"Of what λ flags, {percent(at[1])} are anomalies when {percent(anomaly_rate)} of all examples are"
    )
    own = float(labels.mean())
    # with nothing flagged precision is 1 by convention: that point would draw a line that no λ reaches
    shown, raw_shown = np.asarray(recalls) > 0, np.asarray(raw_recalls) > 0
    axes.plot(
        np.asarray(recalls)[shown],
        np.asarray(precisions)[shown],
        color=NORMAL,
        linewidth=2,
        label=f"{percent(anomaly_rate)} anomalies: AP {float(metrics.average_precision(labels, scores, weight)):.3f}",
    )
    axes.plot(
        np.asarray(raw_recalls)[raw_shown],
        np.asarray(raw_precisions)[raw_shown],
        color=FAINT,
        linewidth=1.2,
        label=f"test set's {percent(own)}: AP {float(metrics.average_precision(labels, scores)):.3f}",
    )
    axes.plot(*at, "o", color=INK, markersize=7, clip_on=False, zorder=4, label="chosen λ")
    _unit_square(axes)
    canvas.name_axes(axes, "recall (share of anomalies flagged)", "precision (share of flags that are right)")
    canvas.key(axes, 2)
    return canvas.write(figure, path)


def _unit_square(axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    canvas.percent_ticks(axes.xaxis)
    canvas.percent_ticks(axes.yaxis)


def cost(
    path: str | Path,
    test: tuple[np.ndarray, np.ndarray],
    threshold: float,
    costs: np.ndarray,
    anomaly_rate: float,
    dev: tuple[np.ndarray, np.ndarray] | None = None,
) -> Path:
    """Expected cost per example over λ with its 95 % bootstrap band, beside always and never flagging.

    Args:
      path: the PNG to write.
      test: scores `[N]` and labels `[N]` (1 anomaly, 0 normal) of the test set.
      threshold: the chosen λ.
      costs: `[2, 2]`, truth by action.
      anomaly_rate: the deployment's share of anomalies, in (0, 1).
      dev: scores and labels that λ was chosen on, or None.
    """
    table = CostTable(jnp.asarray(costs, jnp.float32))
    scores, labels = test
    curve = expected_cost_curve(labels, scores, table, anomaly_rate)
    paid = float(expected_cost(labels, scores, table, anomaly_rate, threshold=threshold))
    oracle, always, never = float(curve.oracle), float(curve.always), float(curve.never)
    figure, axes = canvas.panel(_cost_title(paid, oracle, always, never))
    low, high = canvas.score_axis(axes, [scores[labels == value] for value in (0, 1)], threshold)
    for level, name in ((always, "always\nflag"), (never, "never\nflag")):
        axes.axhline(level, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        close = abs(always - never) < 0.12 * max(always, never)
        side = "center" if not close else "bottom" if level == max(always, never) else "top"
        axes.annotate(
            f"{name} {number(level)}",
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va=side,
            fontsize=9,
            color=FAINT,
        )
    if dev is not None:
        _cost_line(axes, expected_cost_curve(dev[1], dev[0], table, anomaly_rate), SECOND, "dev set")
    _cost_line(axes, curve, NORMAL, "test set")
    _cost_band(axes, test, table, anomaly_rate)
    inside = min(max(threshold, low), high)
    axes.plot(
        inside, paid, "o", color=INK, markersize=7, zorder=4, clip_on=False, label=f"chosen λ costs {number(paid)}"
    )
    best = min(max(float(curve.oracle_threshold), low), high)
    axes.plot(
        best,
        oracle,
        "D",
        color=BEST,
        markerfacecolor="none",
        markeredgewidth=1.8,
        markersize=10,
        zorder=5,
        clip_on=False,
        label=f"oracle λ costs {number(oracle)}",
    )
    axes.set_ylim(0 if min(oracle, always, never) >= 0 else None, 1.15 * max(always, never, paid))
    canvas.name_axes(axes, "λ (examples that score at least λ are flagged)", "expected cost per example")
    canvas.mark_threshold(axes, threshold)
    canvas.key(axes, 2)
    return canvas.write(figure, path)


def _cost_title(paid: float, oracle: float, always: float, never: float) -> str:
    blind, name = min((always, "flagging everything"), (never, "flagging nothing"))
    if paid > blind * 1.001:
        return f"λ does not pay: {number(paid)} per example, {name} costs {number(blind)}"
    best = "no λ costs less" if paid <= oracle * 1.001 else f"the best λ {number(oracle)}"
    return f"λ costs {number(paid)} per example, {name} {number(blind)}, {best}"


def _cost_line(axes, curve, colour: str, label: str) -> None:
    threshold, values = np.asarray(curve.threshold)[1:], np.asarray(curve.cost)[1:]
    # between two scores every λ decides like the higher score
    axes.plot(
        threshold,
        values,
        color=colour,
        linewidth=2 if label == "test set" else 1.5,
        label=label,
        drawstyle="steps-post",
    )


def _cost_band(axes, test: tuple[np.ndarray, np.ndarray], table: CostTable, anomaly_rate: float) -> None:
    scores, labels = test
    banded = jax.jit(cost_bands, static_argnames="num")
    bands = banded(labels, scores, table, jax.random.key(0), anomaly_rate, num=300)
    values = (np.asarray(part)[1:] for part in (bands.threshold, bands.cost_low, bands.cost_high))
    axes.fill_between(*values, color=NORMAL, alpha=0.18, linewidth=0, step="post", label="95 % band")


check_arguments(__name__)
