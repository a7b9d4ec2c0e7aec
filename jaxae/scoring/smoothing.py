"""Low-passing a residual image: what is left of it is structure, not pixel noise."""

import math

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
      >>> from jaxae.scoring.smoothing import gaussian_blur
      >>> point = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4, 0].set(1.0)
      >>> round(float(gaussian_blur(point, 1.0)[0, 4, 4, 0]), 4)
      0.1592
    """
    rows, columns = (jnp.asarray(_band(size, sigma, cut, reflect)) for size in images.shape[1:3])
    half = jnp.einsum("hi,biwc->bhwc", rows, images)
    return jnp.einsum("wj,bhjc->bhwc", columns, half)


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
