"""Linear filters of images, and maps of edges made of them."""

import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def gaussian_blur(
    images: Float[Array, "B H W C"], sigma: float, cut: float = 4.0, reflect: bool = False
) -> Float[Array, "B H W C"]:
    """Convolve each channel with a normal density of deviation `sigma` pixels.

    Separable, and each direction one product with a banded matrix: that is fast on every platform, also row by row.

    Args:
      images: `[B, H, W, C]` floating.
      sigma: pixels, > 0.
      cut: the density ends at so many deviations.
      reflect: outside of the image is its mirror image; False: zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.filters import gaussian_blur
      >>> point = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4, 0].set(1.0)
      >>> round(float(gaussian_blur(point, 1.0)[0, 4, 4, 0]), 4)
      0.1592
    """
    rows, columns = (jnp.asarray(_band(size, sigma, cut, reflect)) for size in images.shape[1:3])
    half = jnp.einsum("hi,biwc->bhwc", rows, images)
    return jnp.einsum("wj,bhjc->bhwc", columns, half)


def oriented_gradients(
    images: Float[Array, "B H W C"], fine: float = 0.7, coarse: float = 1.5, stride: int = 2
) -> Float[Array, "B h w K"]:
    """Where edges of which direction are: `sqrt(G_coarse * max(0, ±d G_fine * x))`, every `stride`-th pixel.

    Four maps for each channel: brighter to the right, to the left, downwards, upwards. Two shapes that lie a pixel
    apart are near each other in these maps, and far in pixels; two shapes with another outline are the reverse. The
    root keeps a strong edge from outweighing all others.

    Args:
      images: `[B, H, W, C]` floating, at least 2 pixels high and wide.
      fine: deviation, in pixels, of the blur before the difference of neighbours.
      coarse: deviation of the blur after it, over which edges may move.
      stride: pixels between two values of a map.

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
    smooth = gaussian_blur(images, fine, reflect=True)
    across, down = cast("list[Array]", jnp.gradient(smooth, axis=(2, 1)))
    edges = jnp.concatenate([jnp.maximum(values, 0) for values in (across, -across, down, -down)], axis=-1)
    # the root's slope at 0 is infinite
    return jnp.sqrt(jnp.maximum(gaussian_blur(edges, coarse, reflect=True)[:, ::stride, ::stride], 1e-12))


def warped(
    images: Float[Array, "B H W C"], matrix: Float[Array, "B 2 2"], offset: Float[Array, "B 2"]
) -> Float[Array, "B H W C"]:
    """Each image read at `M (place - centre) + centre + offset`, linearly between pixels and as 0 outside.

    Args:
      images: `[B, H, W, C]` floating.
      matrix: one a row, rows before columns.
      offset: pixels.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.filters import warped
      >>> image = jnp.array([[1.0, 2.0, 3.0]])[None, :, :, None]
      >>> warped(image, jnp.eye(2)[None], jnp.array([[0.0, 0.5]]))[0, 0, :, 0].tolist()
      [1.5, 2.5, 1.5]
    """
    size = images.shape[1:3]
    centre = (jnp.asarray(size, jnp.float32) - 1) / 2
    places = jnp.stack(jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in size), indexing="ij"), -1)
    places = places - centre[None, None]

    def one(image, matrix, offset):
        read = jnp.moveaxis(places @ matrix.T + (centre + offset)[None, None], -1, 0)
        channel = lambda values: jax.scipy.ndimage.map_coordinates(values, list(read), order=1)  # noqa: E731
        return jax.vmap(channel, -1, -1)(image)

    return jax.vmap(one)(images, matrix, offset)


def affine_draws(
    rng: Array, num: int, shift: float | int, rotation: float | int, scale: float | int, shear: float | int
) -> tuple[Float[Array, "num 2 2"], Float[Array, "num 2"]]:
    """`(matrix, offset)` for `warped`, drawn evenly within the amounts, which `transforms.random_affine` explains.

    Example:
      >>> import jax
      >>> from jaxae.numerics.filters import affine_draws
      >>> matrix, offset = affine_draws(jax.random.key(0), 5, shift=2, rotation=0, scale=0, shear=0)
      >>> matrix[0].tolist(), bool(abs(offset).max() <= 2)
      ([[1.0, 0.0], [0.0, 1.0]], True)
    """
    keys = jax.random.split(rng, 4)
    angle = jax.random.uniform(keys[0], (num,), minval=-1.0) * math.radians(rotation)
    turn = jnp.stack([jnp.cos(angle), -jnp.sin(angle), jnp.sin(angle), jnp.cos(angle)], -1).reshape(num, 2, 2)
    stretch = 1 / (1 + scale * jax.random.uniform(keys[1], (num, 2), minval=-1.0))
    sheared = shear * jax.random.uniform(keys[2], (num,), minval=-1.0)
    skew = jnp.zeros((num, 2, 2)).at[:, 0, 0].set(1).at[:, 1, 1].set(1).at[:, 1, 0].set(sheared)
    return turn @ (stretch[:, :, None] * skew), shift * jax.random.uniform(keys[3], (num, 2), minval=-1.0)


def _band(size: int, sigma: float, cut: float, reflect: bool) -> np.ndarray:
    radius = math.ceil(cut * sigma)
    offset = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    kernel /= kernel.sum()
    band = np.zeros((size, size))
    rows, places = np.broadcast_arrays(np.arange(size)[:, None], np.arange(size)[:, None] + offset)
    weights = np.broadcast_to(kernel, places.shape)
    if reflect:  # ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
        places = places % (2 * size)
        places = np.minimum(places, 2 * size - 1 - places)
    inside = (places >= 0) & (places < size)
    np.add.at(band, (rows[inside], places[inside]), weights[inside])
    return band.astype(np.float32)
