"""Why an example is anomalous: where in an image, which columns of a table, and the normal example it is nearest to."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxae.numerics.neighbours import nearest_rows
from jaxae.scoring.scores.held_out import divided, in_chunks, row_weights
from jaxae.scoring.scores.latent import Features, reference_features
from jaxae.types import Batch, PyTree, Scorer


class Contributions(NamedTuple):
    """What each element adds to a score, the largest first.

    Attributes:
      element: `[B, D]` int32, the element's place in the flattened example; for a table the column.
      value: `[B, D]`, in the score's unit; each row's sum is the score.
    """

    element: Int[Array, "B D"]
    value: Float[Array, "B D"]


class Nearest(NamedTuple):
    """The reference's examples that are most like an example.

    Attributes:
      row: `[B, k]` int32, rows of the reference, the nearest first.
      distance: `[B, k]`, Euclidean, in feature space.
    """

    row: Int[Array, "B k"]
    distance: Float[Array, "B k"]


def heat_maps(base: Scorer, held_out: int | None = None, quantile: float = 0.99) -> Scorer:
    """The scorer with maps of one value a pixel, in units of what is high among normals.

    A map is the mean of the base's over its last axis (an image's channels), divided by the `quantile` of the highest
    pixels of held-out normals: above 1 is a pixel higher than the highest one of nearly every normal example. The score
    is the base's own.

    Args:
      base: a scorer with a map `[B, ..., C]`.
      held_out: the number of last rows of the reference that no parameter was fitted to; None: a fifth.
      quantile: of the held-out normals' highest pixels, in (0, 1).

    Raises:
      ValueError: `base` has no map, or the quantile is outside (0, 1); in `fit`, as `held_out.divided`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.explain import heat_maps
      >>> from jaxae.types import Batch, Scorer
      >>> base = Scorer(lambda params, state, reference: {}, None, lambda fitted, rng, batch: batch.x)
      >>> scorer = heat_maps(base, held_out=2, quantile=0.5)
      >>> fitted = scorer.fit({}, {}, Batch(jnp.array([[[0.0], [0.0]], [[1.0], [4.0]], [[1.0], [4.0]]])))
      >>> scorer.map(fitted, None, Batch(jnp.array([[[2.0], [8.0]]]))).tolist()
      [[0.5, 2.0]]
    """
    if base.map is None:
        raise ValueError("heat maps are drawn from a scorer's map, and this scorer has none")
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie strictly between 0 and 1; got {quantile}")
    base_map = base.map

    def pixels(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return base_map(fitted, rng, batch).mean(-1)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        first, rows = divided(reference, held_out)
        fitted, key = base.fit(params, state, first), jax.random.key(0)

        def highest(batch: Batch) -> Array:
            values = pixels(fitted, key, batch)
            return values.reshape(values.shape[0], -1).max(-1)

        high = jnp.where(row_weights(rows) > 0, in_chunks(highest, rows), jnp.nan)
        unit = jnp.nanquantile(high, quantile)
        return {"base": fitted, "unit": jnp.maximum(unit, jnp.finfo(jnp.float32).tiny)}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return base.apply(fitted["base"], rng, batch)

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return pixels(fitted["base"], rng, batch) / fitted["unit"]

    return Scorer(fit, apply, score_map)


def contributions(score: Float[Array, " B"], score_map: Float[Array, "B *dims"]) -> Contributions:
    """A score parted among the elements in proportion to its map, the largest part first.

    For scores that are a mean or a sum over the map these are the exact addends. An example whose map is all zeros has
    its score parted equally.

    Args:
      score: `[B]`, from `scorer.apply`.
      score_map: `[B, ...]`, not negative, from `scorer.map` with the same batch and key.

    Returns:
      `Contributions`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.explain import contributions
      >>> found = contributions(jnp.array([2.0]), jnp.array([[1.0, 5.0, 0.0]]))
      >>> found.element.tolist(), [round(v, 3) for v in found.value[0].tolist()]
      ([[1, 0, 2]], [1.667, 0.333, 0.0])
    """
    flat = score_map.reshape(score_map.shape[0], -1)
    total = flat.sum(-1, keepdims=True)
    shares = jnp.where(total > 0, flat / jnp.where(total > 0, total, 1), 1 / flat.shape[1])
    order = jnp.argsort(-shares, -1)
    value = jnp.take_along_axis(shares, order, -1) * score[:, None]
    return Contributions(order.astype(jnp.int32), value)


def nearest_normals(
    features: Features, params: PyTree, state: PyTree, reference: Batch, batch: Batch, k: int = 1
) -> Nearest:
    """The k normal examples that are nearest to each example.

    Args:
      features: in which they are compared: `latent.encoded(model)`, `latent.inputs`, or another.
      params: the model's own.
      state: the model's own.
      reference: the normal examples; rows of weight 0 are passed over.
      batch: the examples to explain.
      k: how many.

    Returns:
      `Nearest`.

    Raises:
      ValueError: k below 1, or the reference has fewer rows that count.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import explain, latent
      >>> from jaxae.types import Batch
      >>> normal, new = Batch(jnp.array([[0.0], [5.0]])), Batch(jnp.array([[4.0]]))
      >>> explain.nearest_normals(latent.inputs, (), (), normal, new)
      Nearest(row=Array([[1]], dtype=int32), distance=Array([[1.]], dtype=float32))
    """
    bank, weight = reference_features(features, params, state, reference, at_least=max(k, 1))
    distance, index = nearest_rows(features(params, state, batch), bank, k, weight)
    return Nearest(index, distance)
