"""Scores relative to usual values of normals: of each element, or of inputs of the same complexity."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import mean_per_example, require_within, sum_per_example, target_of
from jaxae.scoring.scores.held_out import divided, in_chunks, mean_in_chunks, row_weights
from jaxae.scoring.scores.reconstruction import top_mean
from jaxae.types import Batch, PyTree, Scorer


def normalised(
    base: Scorer, held_out: int | None = None, floor: ArrayLike = 0.1, fraction: ArrayLike | None = None
) -> Scorer:
    """Each element's error divided by that element's mean error on held-out normals, then averaged.

    Elements that are always hard to reconstruct no longer dominate the score. With e_i the map of `base` and m_i its
    mean over the held-out normals, the map is `e_i / max(m_i, floor * m)`, m the mean of all m_i; the score is its mean
    over the elements that count.

    Args:
      base: a scorer with a map that is not negative, such as `reconstruction(model, "l2")`.
      held_out: number of held-out rows, the last of the reference, to which no parameter was fitted; None: a fifth.
      floor: least divisor as a share of the mean divisor, > 0: it bounds the values of elements that are constant
        among normals.
      fraction: share of the largest values that is averaged, as in "top_fraction"; None averages all.

    Raises:
      ValueError: `base` has no map, or the floor is not above 0; in `fit`, as `held_out.divided`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.scoring import normalised
      >>> from jaxae.types import Batch, Scorer
      >>> base = Scorer(
      ...     lambda params, state, reference: {},
      ...     lambda fitted, rng, batch: (batch.x**2).mean(-1),
      ...     lambda fitted, rng, batch: batch.x**2,
      ... )
      >>> scorer = normalised(base, held_out=1)
      >>> fitted = scorer.fit({}, {}, Batch(jnp.array([[0.0, 0.0], [1.0, 2.0]])))
      >>> scorer.map(fitted, None, Batch(jnp.array([[2.0, 2.0]]))).tolist()
      [[4.0, 1.0]]
      >>> scorer.apply(fitted, None, Batch(jnp.array([[2.0, 2.0]]))).tolist()
      [2.5]
    """
    if base.map is None:
        raise ValueError("normalised divides a scorer's map element by element, and this scorer has none")
    require_within("floor", floor, "(0, inf)")
    if fraction is not None:
        require_within("fraction", fraction, "(0, 1]")
    base_map = base.map

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        fitting_rows, rows = divided(reference, held_out)
        fitted = base.fit(params, state, fitting_rows)
        key = jax.random.key(0)
        # maps of all held-out rows would not fit in memory; only their running mean is kept
        mean = mean_in_chunks(lambda batch: base_map(fitted, key, batch), rows)
        # the floor is relative, so that it does not depend on the unit of the error
        overall = mean.mean()
        tiny = jnp.finfo(mean.dtype).tiny
        return {"base": fitted, "divisor": jnp.maximum(mean, jnp.maximum(floor * overall, tiny))}

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return base_map(fitted["base"], rng, batch) / fitted["divisor"][None]

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        values = score_map(fitted, rng, batch)
        return mean_per_example(values, batch.mask) if fraction is None else top_mean(values, fraction, batch.mask)

    return Scorer(fit, apply, score_map)


def energy(batch: Batch) -> Array:
    """`log(1 + sum of squares)` of each example's target, `[B]`: a measure of its content.

    Args:
      batch: examples with a numeric target.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.normalisation import energy
      >>> from jaxae.types import Batch
      >>> [round(e, 3) for e in energy(Batch(jnp.array([[0.0, 0.0], [1.0, 1.0]]))).tolist()]
      [0.0, 1.099]
    """
    # log1p: an empty input has complexity 0 instead of -inf
    return jnp.log1p(sum_per_example(jnp.asarray(target_of(batch), jnp.float32) ** 2, batch.mask))


def roughness(batch: Batch) -> Array:
    """`log(1 + sum of squared differences between neighbouring pixels)`, `[B]`.

    Args:
      batch: examples whose target is images `[B, H, W, C]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.normalisation import roughness
      >>> from jaxae.types import Batch
      >>> flat, edge = jnp.ones((2, 2, 1)), jnp.array([[[0.0], [1.0]], [[0.0], [1.0]]])
      >>> [round(r, 3) for r in roughness(Batch(jnp.stack([flat, edge]))).tolist()]
      [0.0, 1.099]
    """
    images = jnp.asarray(target_of(batch), jnp.float32)
    if images.ndim != 4:
        raise ValueError(f"roughness is for images [B, H, W, C], got {images.shape}: use energy")
    return jnp.log1p(sum(sum_per_example(jnp.diff(images, axis=axis) ** 2) for axis in (1, 2)))


def relative(base: Scorer, exponent: ArrayLike = 1.0, offset: ArrayLike = 1.0) -> Scorer:
    """The score divided by the energy of the target: `score / (offset + sum of squares)^exponent`.

    With a squared error and exponent 1, or a distance and exponent 1/2, this is the relative error, which does not
    depend on the contrast or the size of an image. Nothing is fitted. The map is divided by the same number.

    Args:
      base: a scorer whose score is not negative.
      exponent: power of the energy; 0 leaves the score unchanged.
      offset: energy added to that of the target, in the unit of a sum of squares, above 0; it keeps the score of empty
        inputs finite.

    Raises:
      ValueError: the offset is not above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import relative
      >>> from jaxae.types import Batch, Scorer
      >>> base = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: batch.x[:, 0])
      >>> relative(base).apply({}, None, Batch(jnp.array([[1.0], [3.0]]))).tolist()
      [0.5, 0.30000001192092896]
    """
    require_within("offset", offset, "(0, inf)")
    require_within("exponent", exponent, "(-inf, inf)")

    def divisor(batch: Batch) -> Array:
        squares = sum_per_example(jnp.asarray(target_of(batch), jnp.float32) ** 2, batch.mask)
        return jnp.power(offset + squares, exponent)

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return base.apply(fitted, rng, batch) / divisor(batch)

    base_map = base.map

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        assert base_map is not None
        values = base_map(fitted, rng, batch)
        # one number per example for all elements of its map, so that map and score stay in one unit
        return values / divisor(batch).reshape(-1, *(1,) * (values.ndim - 1))

    return Scorer(base.fit, apply, None if base_map is None else score_map)


def complexity_normalised(
    base: Scorer, measure: Callable[[Batch], Array] = energy, held_out: int | None = None
) -> Scorer:
    """The score divided by the usual score of inputs of the same complexity.

    Small and simple images reconstruct well, anomalous or not. On held-out normals `log score` is regressed
    on `measure` by least squares, `log score ~ a + b c(x)`, and the score becomes `score / exp(a + b c(x))`: about 1
    for a normal of any complexity. A slope b below 0 is set to 0: it would raise the scores of complex inputs.

    Args:
      base: a scorer whose score is not negative.
      measure: complexity `Batch -> [B]`, such as `energy` or `roughness`, of the batch that `base` reads (put
        `prepared` outside, so that pixels are scaled).
      held_out: number of held-out rows, the last of the reference, to which no parameter was fitted; None: a fifth.

    Raises:
      ValueError: in `fit`, as `held_out.divided`.

    Source: on likelihood and complexity: Serrà et al. 2020, "Input Complexity and Out-of-distribution Detection
    with Likelihood-based Generative Models"; the regression is not from the paper.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import complexity_normalised
      >>> from jaxae.types import Batch, Scorer
      >>> base = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: 3 * jnp.exp(2 * batch.x[:, 0]))
      >>> scorer = complexity_normalised(base, measure=lambda batch: batch.x[:, 0], held_out=3)
      >>> fitted = scorer.fit({}, {}, Batch(jnp.array([[0.0], [0.0], [1.0], [2.0]])))
      >>> [round(s, 3) for s in scorer.apply(fitted, None, Batch(jnp.array([[5.0], [7.0]]))).tolist()]
      [1.0, 1.0]
    """

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        fitting_rows, rows = divided(reference, held_out)
        fitted = base.fit(params, state, fitting_rows)
        key = jax.random.key(0)
        scores, complexity = in_chunks(lambda batch: (base.apply(fitted, key, batch), measure(batch)), rows)
        # a ratio of scores is a difference of logs, which a regression can remove
        logs = jnp.log(jnp.maximum(scores, jnp.finfo(jnp.float32).tiny))
        weight = row_weights(rows) / row_weights(rows).sum()
        mean_log, mean_complexity = (logs * weight).sum(), (complexity * weight).sum()
        # weighted least squares of log score on complexity: b = covariance / variance, a = mean log - b mean complexity
        offset = complexity - mean_complexity
        variance, covariance = (offset**2 * weight).sum(), (offset * (logs - mean_log) * weight).sum()
        # a constant complexity has variance 0: slope 0, a plain division by the geometric mean
        slope = jnp.maximum(covariance, 0) / jnp.where(variance > 0, variance, 1)
        return {"base": fitted, "slope": slope, "intercept": mean_log - slope * mean_complexity}

    def usual_score(fitted: PyTree, batch: Batch) -> Array:
        return jnp.exp(fitted["intercept"] + fitted["slope"] * measure(batch))

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return base.apply(fitted["base"], rng, batch) / usual_score(fitted, batch)

    base_map = base.map

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        assert base_map is not None
        values = base_map(fitted["base"], rng, batch)
        return values / usual_score(fitted, batch).reshape(-1, *(1,) * (values.ndim - 1))

    return Scorer(fit, apply, None if base_map is None else score_map)
