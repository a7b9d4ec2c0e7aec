"""The loss over training, and the codes of a discrete latent."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxae.report import canvas
from jaxae.report.canvas import ANOMALY, INK, NORMAL, SECOND, number


def losses(path: str | Path, records: Sequence[dict]) -> Path | None:
    """Training and validation loss over steps; the lowest validation loss marked.

    Args:
      path: the PNG to write.
      records: dicts with "step" and "loss" or "validation_loss" (mean per example, in the objective's unit).

    Returns:
      The path, or None where no record has a finite loss.
    """
    steps, values = _series(records, "loss")
    at, validation = _series(records, "validation_loss")
    if not len(steps) and not len(at):
        return None
    figure, axes = canvas.panel(_title(at, validation, steps, values))
    if len(steps):
        if len(steps) > 100:
            axes.plot(steps, values, color=SECOND, linewidth=0.8, alpha=0.6)
            steps, values = _smooth(steps, values)
        axes.plot(steps, values, color=NORMAL, linewidth=1.8, label="training")
    if len(at):
        axes.plot(at, validation, "o-", color=ANOMALY, linewidth=1.5, markersize=4, label="validation")
        best = int(validation.argmin())
        axes.plot(
            at[best],
            validation[best],
            "o",
            color=INK,
            markersize=7,
            zorder=4,
            label=f"lowest: {number(validation[best])}",
        )
    everything = np.concatenate([values, validation])
    if everything.min() > 0 and everything.max() > 8 * everything.min():
        axes.set_yscale("log")
        canvas.plain_log_ticks(axes, axes.yaxis)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(left=0)
    canvas.name_axes(axes, "step", "loss per example")
    canvas.key(axes, 3)
    return canvas.write(figure, path)


def codes(path: str | Path, records: Sequence[dict]) -> Path | None:
    """Codes in use and their perplexity over steps, on held-out rows.

    Args:
      path: the PNG to write.
      records: dicts with "step", "validation_codes_in_use", "validation_dead_codes" and "validation_perplexity".

    Returns:
      The path, or None where no record has these.
    """
    steps, perplexity = _series(records, "validation_perplexity")
    _, used = _series(records, "validation_codes_in_use")
    _, dead = _series(records, "validation_dead_codes")
    if not len(steps) or len({len(steps), len(used), len(dead)}) > 1:
        return None
    size = used[-1] + dead[-1]
    title = f"{100 * used[-1] / size:.4g} % of {size:,.0f} codes are in use at the end"
    figure, axes = canvas.panel(f"{title}; perplexity {number(perplexity[-1])}")
    axes.plot(steps, used, "o-", color=NORMAL, linewidth=1.5, markersize=4, label="in use")
    axes.plot(steps, perplexity, "o-", color=ANOMALY, linewidth=1.5, markersize=4, label="perplexity")
    axes.set_ylim(0, 1.05 * size)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(left=0)
    canvas.name_axes(axes, "step", "codes")
    canvas.key(axes, 2)
    return canvas.write(figure, path)


def _series(records: Sequence[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(record["step"], record[name]) for record in records if record.get(name) is not None and "step" in record]
    pairs = [pair for pair in pairs if np.isfinite(pair[1])]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _smooth(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width = max(2, len(values) // 60)
    average = np.convolve(values, np.full(width, 1 / width), mode="valid")
    return steps[width // 2 : width // 2 + len(average)], average


def _title(at: np.ndarray, validation: np.ndarray, steps: np.ndarray, values: np.ndarray) -> str:
    if not len(at):
        return f"The training loss went from {number(values[0])} to {number(values[-1])} in {steps[-1]:,.0f} steps"
    best = int(validation.argmin())
    if best == len(at) - 1:
        return f"The validation loss fell to the end: {number(validation[best])} after {at[best]:,.0f} steps"
    return f"The validation loss was lowest, {number(validation[best])}, after {at[best]:,.0f} of {at[-1]:,.0f} steps"
