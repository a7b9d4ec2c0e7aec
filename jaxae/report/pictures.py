"""Figures of examples: inputs beside reconstructions and error maps, per-feature errors, grids of samples."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxae.numerics import require_count
from jaxae.numerics.arguments import check_arguments
from jaxae.report import canvas
from jaxae.report.canvas import ANOMALY, FAINT, INK, NORMAL, number


def by_kind(kinds: Sequence[str], most: int = 3) -> dict[str, list[int]]:
    """The first `most` examples of each kind, kinds in order of appearance.

    Example:
      >>> from jaxae.report.pictures import by_kind
      >>> by_kind(["miss", "hit", "miss", "miss"], most=2)
      {'miss': [0, 2], 'hit': [1]}
    """
    rows: dict[str, list[int]] = {}
    for index, kind in enumerate(kinds):
        rows.setdefault(str(kind), []).append(index)
    return {kind: indices[:most] for kind, indices in rows.items()}


def displayable(images: np.ndarray) -> np.ndarray:
    """Images `[n, H, W]` or `[n, H, W, C]` as matplotlib shows them: floats in 0..1, `[n, H, W]` or `[n, H, W, 3]`.

    Two channels, or more than three, are shown as their mean.
    """
    images = np.asarray(images)
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    images = np.clip(np.nan_to_num(images.astype(np.float32)) / scale, 0, 1)
    if images.ndim == 4 and images.shape[-1] != 3:
        images = images.mean(-1)
    return images


def reconstructions(
    path: str | Path,
    inputs: np.ndarray,
    outputs: np.ndarray,
    maps: np.ndarray,
    kinds: Sequence[str],
    scores: np.ndarray | None = None,
    title: str = "Inputs, their reconstructions, and where the two differ",
) -> Path:
    """Inputs beside reconstructions and error maps, one row for each kind of example.

    Args:
      path: the PNG to write.
      inputs: `[n, H, W, C]`, 0..1 or uint8.
      outputs: the reconstructions, alike.
      maps: `[n, H, W]` or `[n, H, W, C]` errors, not negative; all share one colour scale.
      kinds: n names, such as "anomaly, flagged"; the first three of each are shown, the first twelve of a single one.
      scores: `[n]`, written below, or None.
      title: the finding.
    """
    images, count = (np.shape(inputs), np.shape(outputs)), len(kinds)
    if min(map(len, images)) < 3 or np.ndim(maps) not in (3, 4) or not np.size(maps):
        raise ValueError(f"images are [n, H, W, C] and maps [n, H, W]; got {images[0]}, {images[1]}, {np.shape(maps)}")
    _require_rows(count, inputs=inputs, outputs=outputs, maps=maps, scores=scores)
    rows = list(by_kind(kinds).items())
    if len(rows) == 1:
        rows = [
            (kinds[0] if start == 0 else "", list(range(len(kinds)))[start : start + 3])
            for start in range(0, min(len(kinds), 12), 3)
        ]
    width = max(len(indices) for _, indices in rows)
    errors = maps.mean(-1) if maps.ndim == 4 else maps
    ceiling = float(np.quantile(errors, 0.99)) or 1.0
    aspect = inputs.shape[1] / inputs.shape[2]
    cell = 0.82 if width > 1 else 1.2
    figure = canvas.figure(
        title, max(1.3 + (3 * cell + 0.2) * width, 5.6), 0.6 + (0.88 * cell * aspect + 0.26) * len(rows)
    )
    gaps = [part for column in range(width) for part in ([0.16] if column else []) + [1.0] * 3]
    grid = figure.add_gridspec(len(rows), len(gaps), width_ratios=gaps, wspace=0.02, hspace=0.02)
    shown = [(displayable(inputs), "input"), (displayable(outputs), "output"), (errors, "error")]
    drawn = None
    for row, (kind, indices) in enumerate(rows):
        for column, index in enumerate(indices):
            for part, (images, name) in enumerate(shown):
                axes = figure.add_subplot(grid[row, 4 * column + part])
                limits = {"cmap": "magma", "vmax": ceiling} if part == 2 else {"cmap": "gray", "vmax": 1}
                drawn = axes.imshow(images[index], vmin=0, interpolation="nearest", **limits)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(name, fontsize=8.5, color=FAINT, pad=3)
                if part == 1 and scores is not None:
                    axes.set_xlabel(f"score {number(float(scores[index]))}", fontsize=8.5, color=INK, labelpad=2)
                if column == 0 and part == 0:
                    axes.set_ylabel(
                        kind.replace(", ", ",\n"),
                        fontsize=9,
                        color=INK,
                        rotation=0,
                        ha="right",
                        va="center",
                        labelpad=6,
                    )
    bar = figure.colorbar(drawn, ax=figure.axes, shrink=0.8, aspect=30, pad=0.015, fraction=0.02, extend="max")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2, colors=INK)
    bar.set_label("error per pixel", fontsize=9, color=INK)
    return canvas.write(figure, path)


def _require_rows(count: int, **arrays: np.ndarray | None) -> None:
    """Raise unless every array has a row for each of the kinds, of which there is one at least."""
    for name, array in arrays.items():
        if array is not None and (not count or len(array) != count):
            raise ValueError(f"{name} must have a row for each kind; got {len(array)} rows and {count} kinds")


def contributions(
    path: str | Path,
    maps: np.ndarray,
    kinds: Sequence[str],
    names: Sequence[str] | None = None,
    scores: np.ndarray | None = None,
    title: str = "Which features are reconstructed worst",
    most: int = 6,
) -> Path:
    """The features that make an example's error, as shares of it, for one example of each kind and more.

    Args:
      path: the PNG to write.
      maps: `[n, D]` errors per feature, not negative.
      kinds: n names, such as "anomaly, flagged".
      names: D feature names; None: "feature 0", "feature 1", …
      scores: `[n]`, or None.
      title: the finding.
      most: features shown for each example.
    """
    if np.ndim(maps) != 2 or not np.size(maps) or (names is not None and len(names) != np.shape(maps)[1]):
        raise ValueError(f"maps of D features are [n, D], with D names or none; got {np.shape(maps)}")
    _require_rows(len(kinds), maps=maps, scores=scores)
    indices = [index for group in by_kind(kinds, 2).values() for index in group][:8]
    names = [f"feature {column}" for column in range(maps.shape[1])] if names is None else list(names)
    columns = min(2, len(indices))
    rows = math.ceil(len(indices) / columns)
    count = min(most, maps.shape[1])
    figure = canvas.figure(title, 7.2 if columns > 1 else 5.6, 0.9 + (0.55 + 0.2 * count) * rows)
    panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True)).ravel()
    total = np.maximum(maps.sum(1, keepdims=True), np.finfo(np.float32).tiny)
    shares = maps / total
    for axes, index in zip(panels, indices, strict=False):
        order = np.argsort(-shares[index], kind="stable")[:count][::-1]
        colour = ANOMALY if str(kinds[index]).startswith(("anomaly", "miss", "flagged")) else NORMAL
        axes.barh([_short(names[feature]) for feature in order], shares[index, order], color=colour, height=0.7)
        canvas.tidy(axes)
        axes.grid(False)
        axes.grid(axis="x", color=canvas.GRID, linewidth=0.8)
        canvas.percent_ticks(axes.xaxis)
        axes.tick_params(labelsize=8.5, length=0)
        score = "" if scores is None else f": score {number(float(scores[index]))}"
        axes.set_title(f"{kinds[index]}{score}", fontsize=9, loc="left", color=INK)
    for axes in panels[len(indices) :]:
        axes.set_visible(False)
    figure.supxlabel("share of the example's error", fontsize=9.5, color=INK)
    return canvas.write(figure, path)


def sample_grid(path: str | Path, images: np.ndarray, title: str = "", columns: int | None = None) -> Path:
    """A grid of images, left to right, top to bottom.

    Args:
      path: the PNG to write.
      images: `[n, H, W]` or `[n, H, W, C]`, floats in 0..1 or uint8.
      title: text above the grid.
      columns: images in a row; None: near square.

    Raises:
      ValueError: there is no image, or the shape is another.

    Example:
      >>> import numpy as np, tempfile
      >>> from jaxae.report import sample_grid
      >>> sample_grid(tempfile.mkdtemp() + "/grid.png", np.zeros((4, 8, 8, 1), np.uint8)).name
      'grid.png'
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4) or not len(images):
        raise ValueError(f"a grid needs images [n, H, W] or [n, H, W, C] with n >= 1; got shape {images.shape}")
    shown = displayable(images)
    columns = math.ceil(math.sqrt(len(shown))) if columns is None else require_count("columns", columns)
    rows = math.ceil(len(shown) / columns)
    gap = max(1, images.shape[1] // 14)
    height, width = images.shape[1] + gap, images.shape[2] + gap
    sheet = np.ones((rows * height - gap, columns * width - gap, *shown.shape[3:]), np.float32)
    for index, image in enumerate(shown):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + images.shape[1], left : left + images.shape[2]] = image
    breadth = 5.6
    figure = canvas.figure(title, breadth, breadth * sheet.shape[0] / sheet.shape[1] + (0.4 if title else 0))
    axes = figure.add_subplot()
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return canvas.write(figure, path)


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


check_arguments(__name__)
