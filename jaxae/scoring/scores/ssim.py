"""Structural similarity of images: local brightness, contrast and structure compared."""

from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics.filters import gaussian_blur

SIGMA, CUT = 1.5, 3.3  # a window of 11 x 11 pixels
K1, K2 = 0.01, 0.03


def ssim(
    x: Float[Array, "B H W C"], y: Float[Array, "B H W C"], data_range: ArrayLike = 1.0
) -> Float[Array, "B H W C"]:
    """`((2 m_x m_y + c_1)(2 s_xy + c_2)) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2))` around each pixel.

    m, s^2 and s_xy are means, variances and the covariance under a Gaussian window of 1.5 pixels' deviation, 11 pixels
    wide; `c_i = (K_i data_range)^2` with K 0.01 and 0.03. Images are continued by reflection.

    Args:
      x: `[B, H, W, C]` floating, images.
      y: `[B, H, W, C]` floating, images to compare with.
      data_range: largest possible value of the data less the least one.

    Returns:
      `[B, H, W, C]`, at most 1, reached where the windows are equal.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, "Image Quality Assessment: From Error Visibility to Structural
    Similarity", equation 13.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.ssim import ssim
      >>> x = jnp.ones((1, 8, 8, 1))
      >>> round(float(ssim(x, x)[0, 0, 0, 0]), 5), round(float(ssim(x, 0 * x)[0, 0, 0, 0]), 5)
      (1.0, 0.0001)
    """

    def blurred(values: Array) -> Array:
        return gaussian_blur(values, SIGMA, CUT, reflect=True)

    # constants that keep the quotient stable in dark and in flat windows
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = blurred(x), blurred(y)
    # E[x^2] - E[x]^2 under the window, of both images together: only their sum enters
    variances = blurred(x**2) + blurred(y**2) - mean_x**2 - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
