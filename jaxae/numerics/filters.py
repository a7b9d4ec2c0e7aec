"""Linear filters of images, maps of their edges, and affine resampling."""

import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxae.numerics.arguments import check_arguments


def gaussian_blur(
    images: Float[Array, "B H W C"], sigma: float, cut: float = 4.0, reflect: bool = False
) -> Float[Array, "B H W C"]:
    """Convolve each channel with a normal density of deviation `sigma` pixels.

    Separable; each direction is one product with a banded matrix, which is fast on every platform, also row by row.

    Args:
      images: `[B, H, W, C]` floating.
      sigma: standard deviation of the kernel, pixels, > 0.
      cut: half-width of the kernel, in units of `sigma`.
      reflect: whether the image is continued by its mirror image; False continues it by zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.filters import gaussian_blur
      >>> point = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4, 0].set(1.0)
      >>> round(float(gaussian_blur(point, 1.0)[0, 4, 4, 0]), 4)
      0.1592
    """
    rows, columns = (jnp.asarray(_band(size, sigma, cut, reflect)) for size in images.shape[1:3])
    # a two-dimensional normal density is the product of two: rows first, then columns
    half = jnp.einsum("hi,biwc->bhwc", rows, images)
    return jnp.einsum("wj,bhjc->bhwc", columns, half)


def oriented_gradients(
    images: Float[Array, "B H W C"], fine: float = 0.7, coarse: float = 1.5, stride: int = 2
) -> Float[Array, "B h w K"]:
    """Edge strength by direction, `sqrt(G_coarse * max(0, ±d G_fine * x))`, at every `stride`-th pixel.

    Four maps for each channel: brighter to the right, to the left, downwards, upwards. Equal shapes a pixel apart are
    close in these maps and far apart in pixels; for different shapes at one position it is the reverse. The root
    keeps a strong edge from outweighing all others.

    Args:
      images: `[B, H, W, C]` floating, at least 2 pixels high and wide.
      fine: standard deviation of the blur before the difference of neighbours, pixels.
      coarse: standard deviation of the blur after the difference, pixels: the distance over which edges may move.
      stride: distance between two values of a map, pixels.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), 4 C]`, at least 1e-6.

    Raises:
      ValueError: images of less than 2 x 2 pixels, or a stride below 1.

    Source: Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human Detection"; the root: Arandjelovic and
    Zisserman 2012.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.filters import oriented_gradients
      >>> ramp = jnp.broadcast_to(jnp.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
      >>> maps = oriented_gradients(ramp)
      >>> maps.shape, [round(float(value), 2) for value in maps[0, 2, 2]]
      ((1, 4, 4, 4), [0.98, 0.0, 0.0, 0.0])
    """
    if min(images.shape[1:3]) < 2 or stride < 1:
        raise ValueError(
            f"oriented gradients need images of 2 x 2 pixels or more and a stride of at least 1; got {images.shape}, "
            f"stride {stride}"
        )
    # differences of a smoothed image: single-pixel noise would make edges everywhere
    smooth = gaussian_blur(images, fine, reflect=True)
    across, down = cast("list[Array]", jnp.gradient(smooth, axis=(2, 1)))
    # a rising and a falling edge are separate maps, or the blur would cancel the two sides of a line
    edges = jnp.concatenate([jnp.maximum(values, 0) for values in (across, -across, down, -down)], axis=-1)
    # the root's slope at 0 is infinite
    return jnp.sqrt(jnp.maximum(gaussian_blur(edges, coarse, reflect=True)[:, ::stride, ::stride], 1e-12))


def warped(
    images: Float[Array, "B H W C"], matrix: Float[Array, "B 2 2"], offset: Float[Array, "B 2"]
) -> Float[Array, "B H W C"]:
    """Each image read at `M (position - centre) + centre + offset`, linearly between pixels and as 0 outside.

    Args:
      images: `[B, H, W, C]` floating.
      matrix: `[B, 2, 2]`, the linear map M of each image, in (row, column) coordinates.
      offset: `[B, 2]`, translation of each image, (rows, columns) in pixels.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.filters import warped
      >>> image = jnp.array([[1.0, 2.0, 3.0]])[None, :, :, None]
      >>> warped(image, jnp.eye(2)[None], jnp.array([[0.0, 0.5]]))[0, 0, :, 0].tolist()
      [1.5, 2.5, 1.5]
    """
    size = images.shape[1:3]
    centre = (jnp.asarray(size, jnp.float32) - 1) / 2
    # input positions are taken relative to the centre, so that M turns about it
    positions = jnp.stack(jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in size), indexing="ij"), -1)
    positions = positions - centre[None, None]

    def warp(image, matrix, offset):
        sources = jnp.moveaxis(positions @ matrix.T + (centre + offset)[None, None], -1, 0)
        channel = lambda values: jax.scipy.ndimage.map_coordinates(values, list(sources), order=1)  # noqa: E731
        return jax.vmap(channel, -1, -1)(image)

    return jax.vmap(warp)(images, matrix, offset)


def affine_draws(
    rng: Array, num: int, shift: float | int, rotation: float | int, scale: float | int, shear: float | int
) -> tuple[Float[Array, "num 2 2"], Float[Array, "num 2"]]:
    """`(matrix, offset)` for `warped`, drawn uniformly within the amounts.

    Args:
      rng: a key.
      num: number of images.
      shift: largest translation along each axis, pixels.
      rotation: largest angle, degrees.
      scale: largest relative change of an axis' size, in [0, 1).
      shear: largest shear, pixels per pixel.

    Example:
      >>> import jax
      >>> from jaxae.numerics.filters import affine_draws
      >>> matrix, offset = affine_draws(jax.random.key(0), 5, shift=2, rotation=0, scale=0, shear=0)
      >>> matrix[0].tolist(), bool(abs(offset).max() <= 2)
      ([[1.0, 0.0], [0.0, 1.0]], True)
    """
    keys = jax.random.split(rng, 4)
    # `warped` maps output positions to input positions, so a stretch by s reads at 1 / s
    angle = jax.random.uniform(keys[0], (num,), minval=-1.0) * math.radians(rotation)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    rotations = jnp.stack([cosine, -sine, sine, cosine], -1).reshape(num, 2, 2)
    stretch = 1 / (1 + scale * jax.random.uniform(keys[1], (num, 2), minval=-1.0))
    shears = shear * jax.random.uniform(keys[2], (num,), minval=-1.0)
    shear_matrices = jnp.zeros((num, 2, 2)).at[:, 0, 0].set(1).at[:, 1, 1].set(1).at[:, 1, 0].set(shears)
    offsets = shift * jax.random.uniform(keys[3], (num, 2), minval=-1.0)
    return rotations @ (stretch[:, :, None] * shear_matrices), offsets


def _band(size: int, sigma: float, cut: float, reflect: bool) -> np.ndarray:
    radius = math.ceil(cut * sigma)
    offset = np.arange(-radius, radius + 1)
    # the cut density is normalised, so that a constant image stays constant (away from zero borders)
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    kernel /= kernel.sum()
    band = np.zeros((size, size))
    rows, columns = np.broadcast_arrays(np.arange(size)[:, None], np.arange(size)[:, None] + offset)
    weights = np.broadcast_to(kernel, columns.shape)
    if reflect:  # ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
        columns = columns % (2 * size)
        columns = np.minimum(columns, 2 * size - 1 - columns)
    inside = (columns >= 0) & (columns < size)
    # add.at, not assignment: reflected offsets fall on the same column more than once
    np.add.at(band, (rows[inside], columns[inside]), weights[inside])
    return band.astype(np.float32)


check_arguments(__name__)
