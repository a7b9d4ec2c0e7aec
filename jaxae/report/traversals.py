"""Figures of a latent space: traversals, interpolations, reconstructions; as PNG, and in motion as GIF."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics.arguments import check_arguments
from jaxae.report import canvas
from jaxae.report.canvas import FAINT, INK
from jaxae.report.pictures import displayable
from jaxae.types import Autoencoder, PyTree


def traverse(
    latent: Float[Array, " D"], values: ArrayLike, dimensions: Sequence[int] | None = None
) -> Float[Array, "K S D"]:
    """Copies of a latent with one dimension after the other set to each of the values.

    Args:
      latent: `[D]`, where the traversals start.
      values: `[S]`, for all dimensions; or `[K, S]`, for each its own.
      dimensions: K indices; None: all.

    Returns:
      `[K, S, D]`.

    Raises:
      ValueError: a dimension that there is not, values of another number of rows.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.report.traversals import traverse
      >>> traverse(jnp.zeros(2), jnp.array([-1.0, 1.0])).tolist()
      [[[-1.0, 0.0], [1.0, 0.0]], [[0.0, -1.0], [0.0, 1.0]]]
    """
    dimensions = list(range(len(latent))) if dimensions is None else list(dimensions)
    if not dimensions or not all(0 <= d < len(latent) for d in dimensions):
        raise ValueError(f"a latent of {len(latent)} dimensions has none of {dimensions}")
    values = jnp.asarray(values, jnp.float32)
    if values.ndim == 1:
        values = jnp.broadcast_to(values[None], (len(dimensions), len(values)))
    if values.ndim != 2 or len(values) != len(dimensions):
        raise ValueError(f"values must be [S] or [{len(dimensions)}, S]; got shape {values.shape}")
    chosen = jnp.arange(len(latent))[None, None] == jnp.array(dimensions)[:, None, None]
    return jnp.where(chosen, values[..., None], latent[None, None])


def decoded(model: Autoencoder, params: PyTree, latents: Float[Array, "*N D"]) -> np.ndarray:
    """The means of what latents decode to, `[*N, ...]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets
      >>> from jaxae.report.traversals import decoded
      >>> model, _ = presets.vae((8, 8, 1), latent_size=3)
      >>> params, _ = model.init(jax.random.key(0), jnp.ones((2, 8, 8, 1)))
      >>> decoded(model, params, jnp.zeros((2, 5, 3))).shape
      (2, 5, 8, 8, 1)
    """
    if not isinstance(params, Mapping):
        raise ValueError("decoded: params must be those of the model, a dict")
    flat = latents.reshape(-1, latents.shape[-1])
    images = jax.jit(lambda z: model.likelihood.mean(model.decode(params, z)))(flat)
    return np.asarray(images).reshape(*latents.shape[:-1], *images.shape[1:])


def grid(
    path: str | Path,
    images: np.ndarray,
    names: Sequence[str] = (),
    title: str = "",
    below: Sequence[str] = (),
) -> Path:
    """Rows of images, a name to the left of each: a dimension a row, or a pair of examples.

    Args:
      path: the PNG to write.
      images: `[K, S, H, W]` or `[K, S, H, W, C]`, floats in 0..1 or uint8.
      names: K of them, or none.
      title: the finding.
      below: what the first and the last column are, or none.

    Raises:
      ValueError: another shape, or names of another number.

    Example:
      >>> import numpy as np, tempfile
      >>> from jaxae.report.traversals import grid
      >>> grid(tempfile.mkdtemp() + "/rows.png", np.zeros((2, 3, 8, 8, 1)), ["z0", "z1"]).name
      'rows.png'
    """
    images = np.asarray(images)
    if images.ndim not in (4, 5) or not images.size or len(names) not in (0, len(images)):
        raise ValueError(
            f"rows of images are [K, S, H, W, C], with K names or none; got {images.shape}, {len(names)} names"
        )
    rows, columns, height, width = images.shape[:4]
    gap = max(1, height // 20)
    sheet = tiled(images, gap)
    breadth = min(8.0, 1.2 + 0.62 * columns)
    figure = canvas.figure(title, breadth, breadth * sheet.shape[0] / sheet.shape[1] * 0.93 + 0.5)
    axes = figure.add_subplot()
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(False)
    middles = [row * (height + gap) + (height - 1) / 2 for row in range(rows)]
    axes.set_yticks(middles if names else [], list(names))
    ends = [(width - 1) / 2, (columns - 1) * (width + gap) + (width - 1) / 2]
    axes.set_xticks(ends if len(below) == 2 else [], list(below))
    axes.tick_params(length=0, labelsize=8.5, colors=INK)
    return canvas.write(figure, path)


def tiled(images: np.ndarray, gap: int = 1) -> np.ndarray:
    """`[K, S, H, W, C]` on one sheet `[K H + gaps, S W + gaps, 3]`, floats in 0..1, white between."""
    rows, columns = images.shape[:2]
    flat = displayable(np.asarray(images).reshape(rows * columns, *images.shape[2:]))
    if flat.ndim == 3:
        flat = np.repeat(flat[..., None], 3, -1)
    height, width = flat.shape[1:3]
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.float32)
    for index, image in enumerate(flat):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def animate(
    path: str | Path, images: np.ndarray, names: Sequence[str] = (), *, per_second: float = 12, zoom: int | None = None
) -> Path:
    """All rows in motion at once, forth and back: an animated GIF.

    Args:
      path: the GIF to write.
      images: `[K, S, H, W]` or `[K, S, H, W, C]`; K pictures side by side go through their S frames.
      names: K short ones above them, or none.
      per_second: frames.
      zoom: pixels for each pixel of an image; None: such that an image is about 96 wide.

    Raises:
      ValueError: another shape, or names of another number.

    Example:
      >>> import numpy as np, tempfile
      >>> from jaxae.report.traversals import animate
      >>> animate(tempfile.mkdtemp() + "/moving.gif", np.random.default_rng(0).random((2, 3, 8, 8, 1))).name
      'moving.gif'
    """
    from PIL import Image, ImageDraw

    images = np.asarray(images)
    if images.ndim not in (4, 5) or not images.size or len(names) not in (0, len(images)):
        raise ValueError(
            f"rows of images are [K, S, H, W, C], with K names or none; got {images.shape}, {len(names)} names"
        )
    if not 0.01 <= per_second <= 1000:
        raise ValueError(f"per_second must lie in [0.01, 1000]; got {per_second}")
    number, _, height, width = images.shape[:4]
    zoom = max(1, round(96 / width)) if zoom is None else zoom
    columns = min(number, max(1, math.ceil(math.sqrt(2 * number))))
    spare = -number % columns
    head = 14 if len(names) else 0
    frames = []
    for step in range(images.shape[1]):
        frame = np.concatenate([images[:, step], np.zeros((spare, *images.shape[2:]), images.dtype)])
        cells = [np.asarray(tiled(image[None, None], 0)) for image in frame]
        sheet = Image.new(
            "RGB", (columns * (width * zoom + 6) - 6, -(-number // columns) * (height * zoom + head + 6) - 6)
        )
        sheet.paste("white", (0, 0, *sheet.size))
        for index, cell in enumerate(cells[:number]):
            left, top = index % columns * (width * zoom + 6), index // columns * (height * zoom + head + 6)
            picture = Image.fromarray(np.round(255 * cell).astype(np.uint8)).resize(
                (width * zoom, height * zoom), Image.Resampling.NEAREST
            )
            sheet.paste(picture, (left, top + head))
            if head:
                ImageDraw.Draw(sheet).text((left + 1, top + 1), str(names[index]), fill=FAINT)
        frames.append(sheet.convert("P", palette=Image.Palette.ADAPTIVE))
    frames += frames[-2:0:-1]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 / per_second), loop=0, disposal=2)
    return path


def latent_traversals(
    path: str | Path,
    model: Autoencoder,
    params: PyTree,
    latent: Float[Array, " D"],
    *,
    reach: float = 2.0,
    steps: int = 9,
    dimensions: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    title: str = "What each latent dimension changes",
) -> Path:
    """Traversals of a trained model from one latent: a PNG, or a GIF where the path ends in .gif.

    Args:
      path: the file to write.
      model: an autoencoder of images.
      params: the model's own.
      latent: `[D]`, such as `model.encode(params, state, x[:1]).latent[0]`.
      reach: from -reach to reach, in the latent's unit: deviations of a standard normal prior.
      steps: images for each dimension.
      dimensions: which, and in which order; None: all. Those of the greatest KL first show most.
      names: of the rows; None: z0, z1, ...
      title: the finding; PNG only.

    Example:
      >>> import jax, jax.numpy as jnp, tempfile
      >>> from jaxae import presets
      >>> from jaxae.report.traversals import latent_traversals
      >>> model, _ = presets.vae((8, 8, 1), latent_size=3)
      >>> params, _ = model.init(jax.random.key(0), jnp.ones((2, 8, 8, 1)))
      >>> latent_traversals(tempfile.mkdtemp() + "/z.gif", model, params, jnp.zeros(3), steps=3).name
      'z.gif'
    """
    dimensions = list(range(len(latent))) if dimensions is None else list(dimensions)
    images = decoded(model, params, traverse(latent, jnp.linspace(-reach, reach, steps), dimensions))
    rows = [f"z{d}" for d in dimensions] if names is None else list(names)
    if Path(path).suffix.lower() == ".gif":
        return animate(path, images, rows)
    return grid(path, images, rows, title, (f"−{reach:g}", f"{reach:g}"))


check_arguments(__name__)
