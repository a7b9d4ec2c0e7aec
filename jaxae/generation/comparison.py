"""Generated images compared with real ones by all distances of this room."""

import numpy as np
from numpy.typing import ArrayLike

from jaxae.generation.frechet import frechet_distance
from jaxae.generation.manifold import precision_recall
from jaxae.numerics import real_array


def compare(real: ArrayLike, generated: ArrayLike, k: int = 3) -> dict[str, float]:
    """`frechet_distance` and `precision_recall` of two sets of features, by name.

    Args:
      real: `[N, D]` features of real examples.
      generated: `[M, D]` features of generated examples; M should equal N.
      k: number of neighbours for `precision_recall`.

    Returns:
      "frechet", "precision" and "recall".

    Raises:
      ValueError: as the two functions.

    Example:
      >>> from jaxae.generation import compare
      >>> sorted(compare([[0.0], [1.0], [2.0]], [[0.5], [1.5], [2.5]], k=1))
      ['frechet', 'precision', 'recall']
    """
    precision, recall = precision_recall(real, generated, k)
    return {"frechet": frechet_distance(real, generated), "precision": precision, "recall": recall}


def as_bytes(images: ArrayLike) -> np.ndarray:
    """Images rounded to the 256 levels of real images, uint8.

    Args:
      images: floating array; values outside 0..1 are clipped.

    Example:
      >>> from jaxae.generation import as_bytes
      >>> as_bytes([-0.1, 0.5, 1.2]).tolist()
      [0, 128, 255]
    """
    # generated values have no levels: without rounding a classifier could tell them by that alone
    values = np.asarray(real_array("images", images), np.float32)
    if np.isnan(values).any():
        raise ValueError(f"images: {np.isnan(values).sum()} of {values.size} values are NaN, which is no level of grey")
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
