"""Metrics of score maps against masks of where the anomaly is."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import as_number
from jaxae.scoring.checks import is_traced, require_labels
from jaxae.scoring.metrics.curves import OperatingPoints, area, as_mass, operating_points


def pixel_auroc(masks: ArrayLike, maps: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """AUROC of single pixels, those of all images together. Large anomalies outweigh small ones: see
    `per_region_overlap`.

    Args:
      masks: `[n, H, W]`, 1 where a pixel is anomalous, 0 elsewhere.
      maps: `[n, H, W]`, higher is more anomalous.
      weight: `[n]`, each image's, not negative, or None.

    Raises:
      ValueError: shapes differ, a mask is not 0/1, a score is not finite, normal or anomalous pixels are missing.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import pixel_auroc
      >>> float(pixel_auroc(jnp.array([[[0, 1], [0, 0]]]), jnp.array([[[0.1, 0.4], [0.2, 0.8]]])))
      0.6666666865348816
    """
    masks, maps, weight = _flat(masks, maps, weight)
    points = operating_points(masks, maps, weight)
    require_labels(masks, weight, "pixel AUROC")
    return area(points) / points.positives / points.negatives


def region_share(masks: ArrayLike) -> Float[np.ndarray, "n H W"]:
    """Of each anomalous pixel its share in its region, `1 / pixels of the region`; 0 elsewhere.

    Regions are connected through edges and corners, within one image.

    Args:
      masks: `[n, H, W]`, 1 where a pixel is anomalous, 0 elsewhere; concrete, as regions cannot be found under `jit`.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring.metrics import region_share
      >>> region_share(np.array([[[1, 1, 0, 1], [0, 0, 0, 0]]])).tolist()
      [[[0.5, 0.5, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]]
    """
    from scipy import ndimage

    given = np.asarray(masks)
    if given.ndim != 3:
        raise ValueError(f"masks must be [n, H, W]; got shape {given.shape}")
    require_labels(given.ravel())
    share = np.zeros(given.shape, np.float32)
    for image, mask in zip(share, given, strict=True):
        regions = np.zeros(mask.shape, np.int32)
        ndimage.label(mask, structure=np.ones((3, 3), int), output=regions)
        sizes = np.bincount(regions.ravel())
        image[regions > 0] = 1 / sizes[regions[regions > 0]]
    return share


def per_region_overlap(
    masks: ArrayLike, maps: ArrayLike, weight: ArrayLike | None = None, max_fpr: ArrayLike = 0.3
) -> Float[Array, ""]:
    """PRO: the mean share of an anomalous region that is flagged, averaged over false-positive rates up to a limit.

    Every region counts the same, small or large; the false-positive rate is that of normal pixels.

    Args:
      masks: `[n, H, W]`, 1 where a pixel is anomalous, 0 elsewhere; or, to trace, floats from `region_share`.
      maps: `[n, H, W]`, higher is more anomalous.
      weight: `[n]`, each image's, not negative, or None.
      max_fpr: the false-positive rate to average up to, in (0, 1].

    Returns:
      Between 0 and 1, which is a perfect map; one that says nothing has `max_fpr / 2`.

    Raises:
      ValueError: shapes differ, a mask is not 0/1, a score is not finite, normal or anomalous pixels are missing,
        `max_fpr` is outside (0, 1].

    Source: Bergmann, Fauser, Sattlegger and Steger 2020, "Uninformed Students", section 4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import per_region_overlap
      >>> masks, maps = jnp.array([[[1, 1, 0, 1]]]), jnp.array([[[0.9, 0.1, 0.2, 0.8]]])
      >>> float(per_region_overlap(masks, maps))
      0.75
    """
    if (number := as_number(max_fpr)) is not None and not 0 < number <= 1:
        raise ValueError(f"max_fpr must lie in (0, 1]; got {max_fpr}")
    if not np.issubdtype(jnp.asarray(masks).dtype, np.floating):
        if is_traced(masks):
            raise ValueError("regions cannot be found in traced masks; pass region_share(masks) instead")
        masks = region_share(masks)
    share, maps, weight = _flat(masks, maps, weight)
    inside = share > 0
    mass = jnp.ones(share.shape) if weight is None else weight.astype(jnp.float32)
    mass = jnp.where(inside, share, 1) * mass
    points = operating_points(inside.astype(jnp.int32), maps, mass)
    require_labels(inside, mass, "PRO")
    return _area_up_to(points, max_fpr) / max_fpr


def _area_up_to(points: OperatingPoints, limit: ArrayLike) -> Array:
    """Area under recall from false-positive rate 0 to `limit`, straight between points."""
    x, y = points.false_positives / points.negatives, points.true_positives / points.positives
    width, rise = jnp.diff(x), jnp.diff(y)
    part = jnp.clip((limit - x[:-1]) / jnp.where(width > 0, width, 1), 0, 1)
    return jnp.sum(part * width * (y[:-1] + part * rise / 2))


def _flat(masks, maps, weight):
    """Pixels as rows, each with its image's weight."""
    if np.ndim(masks) != 3 or np.shape(masks) != np.shape(maps):
        raise ValueError(f"masks and maps must be [n, H, W] alike; got {np.shape(masks)} and {np.shape(maps)}")
    count, pixels = np.shape(masks)[0], int(np.prod(np.shape(masks)[1:]))
    if weight is not None:
        if np.shape(weight) != (count,):
            raise ValueError(f"weight must be one for each of the {count} images; got shape {np.shape(weight)}")
        weight = jnp.repeat(as_mass(weight), pixels)
    return jnp.ravel(jnp.asarray(masks)), jnp.ravel(jnp.asarray(maps)), weight
