"""Explanations of a score: a heat map, the contribution of each column, and the nearest normal examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxae.numerics import real_array, require_count, require_within
from jaxae.numerics.arguments import check_arguments
from jaxae.numerics.neighbours import nearest_rows
from jaxae.scoring.checks import require_finite
from jaxae.scoring.scores.held_out import divided, in_chunks, row_weights
from jaxae.scoring.scores.latent import Features, reference_features
from jaxae.types import Batch, PyTree, Scorer


class Contributions(NamedTuple):
    """Contribution of each element to a score, the largest first.

    Attributes:
      element: `[B, D]` int32, index of the element in the flattened example; for a data table the column.
      value: `[B, D]`, contribution in the score's unit; a row sums to the score.
    """

    element: Int[Array, "B D"]
    value: Float[Array, "B D"]


class Nearest(NamedTuple):
    """The nearest examples of the reference.

    Attributes:
      row: `[B, k]` int32, row of the reference, the nearest first.
      distance: `[B, k]`, Euclidean distance in feature space.
    """

    row: Int[Array, "B k"]
    distance: Float[Array, "B k"]


def heat_maps(base: Scorer, held_out: int | None = None, quantile: float = 0.99) -> Scorer:
    """A scorer whose maps have one value a pixel, in units of a high value among normals.

    The map of `base` is averaged over its last axis (an image's channels) and divided by a quantile of the highest
    pixel of held-out normals: a value above 1 exceeds the highest pixel of nearly every normal example. The score is
    that of `base`.

    Args:
      base: a scorer with a map `[B, ..., C]`.
      held_out: number of held-out rows, the last of the reference, to which no parameter was fitted; None: a fifth.
      quantile: quantile level over the highest pixels of held-out normals, in (0, 1).

    Raises:
      ValueError: `base` has no map, or the quantile is outside (0, 1); in `fit`, as `held_out.divided`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.explain import heat_maps
      >>> from jaxae.types import Batch, Scorer
      >>> base = Scorer(
      ...     lambda params, state, reference: {},
      ...     lambda fitted, rng, batch: batch.x.mean(range(1, batch.x.ndim)),
      ...     lambda fitted, rng, batch: batch.x,
      ... )
      >>> scorer = heat_maps(base, held_out=2, quantile=0.5)
      >>> fitted = scorer.fit({}, {}, Batch(jnp.array([[[0.0], [0.0]], [[1.0], [4.0]], [[1.0], [4.0]]])))
      >>> scorer.map(fitted, None, Batch(jnp.array([[[2.0], [8.0]]]))).tolist()
      [[0.5, 2.0]]
    """
    if base.map is None:
        raise ValueError("heat maps are drawn from a scorer's map, and this scorer has none")
    require_within("quantile", quantile, "(0, 1)")
    base_map = base.map

    def pixels(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        # channels of one pixel are one place in the image
        return base_map(fitted, rng, batch).mean(-1)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        fitting_rows, rows = divided(reference, held_out)
        fitted, key = base.fit(params, state, fitting_rows), jax.random.key(0)

        def highest(batch: Batch) -> Array:
            values = pixels(fitted, key, batch)
            return values.reshape(values.shape[0], -1).max(-1)

        # rows of weight 0 become NaN, which nanquantile leaves out
        high = jnp.where(row_weights(rows) > 0, in_chunks(highest, rows), jnp.nan)
        unit = jnp.nanquantile(high, quantile)
        # maps that are 0 on all held-out normals have no unit of their own: tiny avoids 0 / 0
        return {"base": fitted, "unit": jnp.maximum(unit, jnp.finfo(jnp.float32).tiny)}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return base.apply(fitted["base"], rng, batch)

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return pixels(fitted["base"], rng, batch) / fitted["unit"]

    return Scorer(fit, apply, score_map)


def contributions(score: Float[Array, " B"], score_map: Float[Array, "B *dims"]) -> Contributions:
    """A score divided among the elements in proportion to its map, the largest first.

    For scores that are a mean or a sum over the map these are the exact summands. Where a map is all zeros the score is
    divided equally.

    Args:
      score: `[B]`, scores from `scorer.apply`.
      score_map: `[B, ...]`, non-negative map from `scorer.map` with the same batch and key.

    Returns:
      `Contributions`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.explain import contributions
      >>> explained = contributions(jnp.array([2.0]), jnp.array([[1.0, 5.0, 0.0]]))
      >>> explained.element.tolist(), [round(v, 3) for v in explained.value[0].tolist()]
      ([[1, 0, 2]], [1.667, 0.333, 0.0])
    """
    score, score_map = jnp.asarray(real_array("score", score)), jnp.asarray(real_array("score_map", score_map))
    if score.ndim != 1 or score_map.ndim < 2 or score_map.shape[:1] != score.shape or 0 in score_map.shape:
        raise ValueError(f"score [B] and score_map [B, ...] must fit; got shapes {score.shape} and {score_map.shape}")
    require_finite("score_map", score_map)
    flat = score_map.reshape(score_map.shape[0], -1)
    total = flat.sum(-1, keepdims=True)
    # a map of zeros has no proportions: equal shares
    shares = jnp.where(total > 0, flat / jnp.where(total > 0, total, 1), 1 / flat.shape[1])
    order = jnp.argsort(-shares, -1)
    value = jnp.take_along_axis(shares, order, -1) * score[:, None]
    return Contributions(order.astype(jnp.int32), value)


def nearest_normals(
    features: Features, params: PyTree, state: PyTree, reference: Batch, batch: Batch, k: int = 1
) -> Nearest:
    """The k normal examples that are nearest to each example.

    Args:
      features: feature function in which distances are taken, such as `latent.encoded(model)` or `latent.inputs`.
      params: parameters of the model.
      state: state of the model.
      reference: normal examples; rows of weight 0 are left out.
      batch: examples to explain.
      k: number of neighbours, at least 1.

    Returns:
      `Nearest`.

    Raises:
      ValueError: k below 1, or fewer than k rows of the reference have weight.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import explain, latent
      >>> from jaxae.types import Batch
      >>> normal, new = Batch(jnp.array([[0.0], [5.0]])), Batch(jnp.array([[4.0]]))
      >>> explain.nearest_normals(latent.inputs, (), (), normal, new)
      Nearest(row=Array([[1]], dtype=int32), distance=Array([[1.]], dtype=float32))
    """
    k = require_count("k", k)
    bank, weight = reference_features(features, params, state, reference, at_least=k)
    distance, index = nearest_rows(features(params, state, batch), bank, k, weight)
    return Nearest(index, distance)


check_arguments(__name__)
