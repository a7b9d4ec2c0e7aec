"""One look for all figures: a finding as title, a key under it, colours that colour-blind eyes tell apart.

Only matplotlib's objects are used: no pyplot, no global settings, so that drawing leaves a notebook's own style
alone. matplotlib is imported when the first figure is made.
"""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Axes = Any  # matplotlib's; named for the reader, as importing them takes half a second
Figure = Any

# Okabe and Ito 2008, "Color Universal Design"
NORMAL, ANOMALY, BEST, SECOND = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
INK, FAINT, GRID = "#222222", "#6B6B6B", "#E4E4E4"
DPI = 180


def number(value: float | int, digits: int = 3) -> str:
    """A number as people write it: `digits` significant ones, thousands separated, no needless exponent.

    Example:
      >>> from jaxae.report.canvas import number
      >>> number(0.012345), number(12345.6), number(3e-7), number(float("inf")), number(0.5)
      ('0.0123', '12,346', '3e-07', '∞', '0.5')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace(".00e", "e").replace("0e", "e")
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float | int) -> str:
    """A share as a percentage, finer where it is small.

    Example:
      >>> from jaxae.report.canvas import percent
      >>> percent(0.934), percent(0.0412), percent(0.05), percent(1.0), percent(0.9996)
      ('93.4 %', '4.1 %', '5 %', '100 %', '99.96 %')
    """
    if math.isnan(share):
        return "–"
    near_end = min(share, 1 - share)
    decimals = 0 if near_end >= 0.1 or near_end == 0 else 1 if near_end >= 0.001 else 2
    text = f"{100 * share:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.') if decimals else text} %"


def figure(title: str, width: float, height: float) -> Figure:
    """An empty figure, in inches, its finding in bold at the left."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    if title:
        text = textwrap.fill(title, int(width * 9.8))
        made.suptitle(text, x=0.02, ha="left", fontsize=11, fontweight="bold", color=INK)
    return made


def panel(title: str) -> tuple[Figure, Axes]:
    """A figure with one set of axes."""
    made = figure(title, 5.6, 4.1)
    made.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = made.add_subplot()
    tidy(axes)
    return made, axes


def tidy(axes: Axes) -> None:
    """Take away what carries no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Axis labels; units in brackets are the caller's."""
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)


def key(axes: Axes, columns: int = 2) -> None:
    """The key in a line above the axes, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.01),
        ncols=columns,
        frameon=False,
        fontsize=9,
        borderaxespad=0,
        borderpad=0.2,
        handlelength=1.4,
        columnspacing=1.4,
        handletextpad=0.5,
        labelcolor=INK,
    )


def mark_threshold(axes: Axes, threshold: float) -> None:
    """A vertical line at λ, named on the side that has more room; nothing where λ is off the axes."""
    low, high = axes.get_xlim()
    if not low <= threshold <= high:
        return
    axes.axvline(threshold, color=INK, linewidth=1.4)
    position = axes.transAxes.inverted().transform(axes.transData.transform((threshold, 0.0)))[0]
    right = position < 0.6
    axes.annotate(
        f"λ = {number(threshold)}",
        (threshold, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4 if right else -4, -2),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=9,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
    )


def score_axis(axes: Axes, scores: Sequence[np.ndarray], threshold: float = math.nan) -> tuple[float, float]:
    """Scale and limits of an axis of scores: logarithmic where a long tail would squeeze the rest.

    Returns:
      `(low, high)`: the limits, which hold λ and all but the outermost 0.2 % of each set of scores.
    """
    ends = [np.quantile(values, (0.002, 0.5, 0.998)) for values in scores if len(values)]
    low, high = min(end[0] for end in ends), max(end[2] for end in ends)
    if math.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    if low > 0 and high > 12 * min(end[1] for end in ends):
        margin = (high / low) ** 0.03
        low, high = low / margin, high * margin
        axes.set(xscale="log", xlim=(low, high))
        plain_log_ticks(axes, axes.xaxis)
    else:
        margin = 0.03 * (high - low) or 0.5
        low, high = low - margin, high + margin
        axes.set_xlim(low, high)
    return low, high


def plain_log_ticks(axes: Axes, axis: Any) -> None:
    """Plain numbers at each decade of a logarithmic axis, at 2 and 5 too where there is room."""
    low, high = axis.get_view_interval()
    between = "25" if high < 60 * low else ""
    axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_formatter(lambda value, _: number(value) if between and f"{value:e}"[0] in between else "")
    axes.tick_params(axis=axis.axis_name, which="minor", labelsize=9, length=3, colors=INK)


def percent_ticks(axis: Any) -> None:
    """Shares as percentages."""
    axis.set_major_formatter(lambda share, _: f"{100 * share:g} %")


def write(drawn: Figure, path: str | Path) -> Path:
    """Save as PNG, the same bytes for the same figure; the folder is made.

    Texts are shown as they are: a column or a class may be called `cost $_{ of $`, which matplotlib would otherwise
    parse as mathematics.
    """
    import matplotlib
    from matplotlib.text import Text

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"text.parse_math": False}):  # for the tick labels that drawing adds
        for text in drawn.findobj(Text):
            text.set_parse_math(False)
        drawn.savefig(path, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return path
