"""Metrics of score maps against masks of the anomalous pixels."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import ranked, real_array, require_within
from jaxae.scoring.checks import as_labels, is_traced, require_finite, require_labels, require_weights
from jaxae.scoring.metrics.curves import OperatingPoints, area, as_mass, bounded, operating_points


def pixel_auroc(masks: ArrayLike, maps: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """AUROC of the pixels of all images together.

    Large anomalies outweigh small ones: see `per_region_overlap`.

    Args:
      masks: `[n, H, W]`, 1 where a pixel is anomalous, 0 elsewhere.
      maps: `[n, H, W]`, higher is more anomalous.
      weight: `[n]`, weight of each image, not negative; None weighs all images 1.

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
    # pairs of an anomalous and a normal pixel, over all images
    return bounded(area(points) / points.positives / points.negatives)


def region_share(masks: ArrayLike) -> Float[np.ndarray, "n H W"]:
    """Share of each anomalous pixel in its region, `1 / pixels of the region`; 0 elsewhere.

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

    mask_array = as_labels(masks)
    if is_traced(mask_array):
        raise ValueError("regions cannot be found in traced masks; pass region_share(masks) instead")
    mask_array = np.asarray(mask_array)
    if mask_array.ndim != 3:
        raise ValueError(f"masks must be [n, H, W]; got shape {mask_array.shape}")
    share = np.zeros(mask_array.shape, np.float32)
    for image, mask in zip(share, mask_array, strict=True):
        regions = np.zeros(mask.shape, np.int32)
        ndimage.label(mask, structure=np.ones((3, 3), int), output=regions)
        # label 0 is the background, which is never looked up
        sizes = np.bincount(regions.ravel())
        image[regions > 0] = 1 / sizes[regions[regions > 0]]
    return share


def per_region_overlap(
    masks: ArrayLike, maps: ArrayLike, weight: ArrayLike | None = None, max_fpr: ArrayLike = 0.3
) -> Float[Array, ""]:
    """PRO: the mean share of an anomalous region that is flagged, averaged over false-positive rates up to a limit.

    All regions count equally, whatever their size; the false-positive rate is that of normal pixels.

    Args:
      masks: `[n, H, W]`, 1 where a pixel is anomalous, 0 elsewhere; under `jit`, floats from `region_share`.
      maps: `[n, H, W]`, higher is more anomalous.
      weight: `[n]`, weight of each image, not negative; None weighs all images 1.
      max_fpr: largest false-positive rate of the average, in (0, 1].

    Returns:
      A scalar in 0..1; a perfect map has 1, an uninformative one `max_fpr / 2`.

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
    require_within("max_fpr", max_fpr, "(0, 1]")
    if not jnp.issubdtype(real_array("masks", masks, objects=True).dtype, jnp.floating):
        masks = region_share(masks)
    elif not is_traced(masks):
        values = np.asarray(masks, np.float32)
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError("floating masks are shares of regions, from region_share, and lie in [0, 1]")
        if np.isin(values, (0, 1)).all():  # masks as floats: the shares of regions of one pixel are the same again
            masks = region_share(masks)
    share, maps, weight = _flat(masks, maps, weight)
    inside = share > 0
    mass = jnp.ones(share.shape) if weight is None else weight.astype(jnp.float32)
    # anomalous pixels weigh the inverse of their region's size, so that every region has weight 1
    mass = jnp.where(inside, share, 1) * mass
    points = operating_points(inside.astype(jnp.int32), maps, mass)
    require_labels(inside, mass, "PRO")
    return bounded(_area_up_to(points, max_fpr) / max_fpr)


def _area_up_to(points: OperatingPoints, limit: ArrayLike) -> Array:
    """Area under recall from false-positive rate 0 to `limit`, linear between points."""
    x, y = points.false_positives / points.negatives, points.true_positives / points.positives
    width, rise = jnp.diff(x), jnp.diff(y)
    # the share of each segment that lies below the limit; a segment without width has no area
    fraction = jnp.clip((limit - x[:-1]) / jnp.where(width > 0, width, 1), 0, 1)
    # trapezoid up to the limit: the height at its end is y + fraction * rise
    return jnp.sum(fraction * width * (y[:-1] + fraction * rise / 2))


def _flat(masks, maps, weight):
    """Pixels as rows, each with its image's weight."""
    masks, maps = real_array("masks", masks, objects=True), real_array("maps", maps)
    if np.ndim(masks) != 3 or np.shape(masks) != np.shape(maps) or 0 in np.shape(masks):
        raise ValueError(f"masks and maps must be [n, H, W] alike; got {np.shape(masks)} and {np.shape(maps)}")
    count, pixels = np.shape(masks)[0], int(np.prod(np.shape(masks)[1:]))
    if weight is not None:
        if np.shape(weight) != (count,):
            raise ValueError(f"weight must be one for each of the {count} images; got shape {np.shape(weight)}")
        require_weights("weights", weight)
        weight = jnp.repeat(as_mass(weight, pixels), pixels)
    require_finite("maps", maps)
    return jnp.ravel(jnp.asarray(masks)), jnp.ravel(ranked("maps", maps)), weight
