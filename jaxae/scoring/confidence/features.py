"""Confidences that read a classifier's features: distances of an example from the classes."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import require_count
from jaxae.scoring.confidence.labelled import class_means, labelled_outputs
from jaxae.scoring.scores import latent
from jaxae.scoring.scores.covariance import require_shrinkage, shrunk_covariance, whitening
from jaxae.scoring.scores.latent import Features
from jaxae.types import Batch, PyTree, Scorer


def mahalanobis(
    features: Features, num_classes: int, shrinkage: str | ArrayLike = "ledoit_wolf", relative: bool = False
) -> Scorer:
    """Squared Mahalanobis distance to the nearest class: `min_k (f - m_k)^T C^-1 (f - m_k)`.

    C is the covariance within the classes, shared by all. With `relative` the distance `(f - m)^T S^-1 (f - m)` to all
    rows, with their mean m and covariance S, is subtracted: directions that do not separate classes then cancel.

    Args:
      features: feature function `(params, state, batch) -> [B, D]`, such as `latent.encoded(model)`.
      num_classes: number of classes K; the reference's `target` holds the labels, `[N, 1]`.
      shrinkage: shrinkage of both covariances, see `covariance.shrunk_covariance`.
      relative: whether the distance to all rows is subtracted from the distance to the nearest class.

    Raises:
      ValueError: an unknown shrinkage; in `fit`, no reference, labels that are not 0..K-1, or a class without rows.

    Source: Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks"; relative: Ren et al. 2021, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> scorer = confidence.mahalanobis(latent.inputs, num_classes=2, shrinkage=0.0)
      >>> x, labels = jnp.array([[-1.0], [1.0], [9.0], [11.0]]), jnp.array([[0], [0], [1], [1]])
      >>> fitted = scorer.fit({}, {}, Batch(x, target=labels))
      >>> [round(score, 3) for score in scorer.apply(fitted, None, Batch(jnp.array([[0.0], [8.0]]))).tolist()]
      [0.0, 4.0]
    """
    require_shrinkage(shrinkage)
    num_classes = require_count("num_classes", num_classes)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        rows, labels, weight = labelled_outputs(features, params, state, reference, num_classes)
        means = class_means(rows, labels, weight, num_classes)
        # rows less their class's mean: the covariance within the classes
        _, within, _ = shrunk_covariance(rows - means[labels], shrinkage, weight)
        fitted = {"params": params, "state": state, "means": means, "within": whitening(within)}
        if relative:
            mean, overall, _ = shrunk_covariance(rows, shrinkage, weight)
            fitted |= {"mean": mean, "whole": whitening(overall)}
        return fitted

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        rows = features(fitted["params"], fitted["state"], batch).astype(jnp.float32)
        # W with |x W|^2 = x^T C^-1 x, so distances are sums of squares
        nearest = _squared(rows[:, None] - fitted["means"][None], fitted["within"]).min(-1)
        return nearest - _squared(rows - fitted["mean"][None], fitted["whole"]) if relative else nearest

    return Scorer(fit, apply)


def knn(features: Features, k: int = 50) -> Scorer:
    """Distance to the k-th nearest training row, with all features normalised to length 1.

    Args:
      features: feature function `(params, state, batch) -> [B, D]`, such as `latent.encoded(model)`.
      k: number of neighbours. The reference needs no labels; a random subset of a large one suffices.

    Raises:
      ValueError: as `latent.knn`.

    Source: Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> scorer = confidence.knn(latent.inputs, k=1)
      >>> fitted = scorer.fit({}, {}, Batch(jnp.array([[3.0, 0.0]])))
      >>> [round(score, 4) for score in scorer.apply(fitted, None, Batch(jnp.array([[7.0, 0.0], [0.0, 1.0]]))).tolist()]
      [0.0, 1.4142]
    """
    return latent.knn(unit_length(features), k)


def unit_length(features: Features) -> Features:
    """Features divided by their length; zero vectors stay zero.

    Args:
      features: feature function `(params, state, batch) -> [B, D]`.
    """

    def normalised(params: PyTree, state: PyTree, batch: Batch) -> Array:
        rows = features(params, state, batch).astype(jnp.float32)
        # tiny instead of 0: a row of zeros stays zero
        return rows / jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), jnp.finfo(jnp.float32).tiny)

    return normalised


def joined(*features: Features) -> Features:
    """Features of several models concatenated, each normalised to length 1; params and state are tuples.

    Squared distances of the concatenation are sums over the models, so that `knn` compares examples by all of them.

    Args:
      *features: feature function of each model, such as `latent.encoded(model)`.

    Raises:
      ValueError: no features; (in use) as many params are not given.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> features = confidence.joined(latent.inputs, latent.inputs)
      >>> [round(v, 2) for v in features(((), ()), ((), ()), Batch(jnp.array([[3.0, 4.0]])))[0].tolist()]
      [0.6, 0.8, 0.6, 0.8]
    """
    if not features:
        raise ValueError("joined needs at least one feature function")

    def concatenated(params: PyTree, state: PyTree, batch: Batch) -> Array:
        if not len(params) == len(state) == len(features):
            raise ValueError(f"{len(features)} models need as many params and states; got {len(params)}, {len(state)}")
        parts = [unit_length(f)(p, s, batch) for f, p, s in zip(features, params, state, strict=True)]
        return jnp.concatenate(parts, -1)

    return concatenated


def four_turns(features: Features) -> Features:
    """Features of an image rotated by 0, 1, 2 and 3 quarter turns, each of length 1, concatenated: `[B, 4 D]`.

    For a model that was trained to classify rotations (`downstream.turned`): an unknown image that resembles a class
    upright may not resemble it rotated.

    Args:
      features: feature function `(params, state, batch) -> [B, D]`.

    Raises:
      ValueError: (in use) images that are not square, `[B, N, N, C]`.

    Source: as Golan and El-Yaniv 2018, "Deep Anomaly Detection Using Geometric Transformations", with distances
    instead of probabilities.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> rows = lambda params, state, batch: batch.x[:, 0, :, 0]
      >>> image = jnp.array([[1.0, 0.0], [0.0, 3.0]])[None, :, :, None]
      >>> confidence.four_turns(rows)((), (), Batch(image)).tolist()
      [[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]]
    """
    single = unit_length(features)

    def rotations(params: PyTree, state: PyTree, batch: Batch) -> Array:
        if batch.x.ndim != 4 or batch.x.shape[1] != batch.x.shape[2]:
            raise ValueError(f"four_turns: images must be square, [B, N, N, C], got shape {batch.x.shape}")
        rotated_batches = (batch._replace(x=jnp.rot90(batch.x, quarter, (1, 2))) for quarter in range(4))
        return jnp.concatenate([single(params, state, rotated) for rotated in rotated_batches], -1)

    return rotations


def _squared(rows: Float[Array, "*dims D"], whitening_: Float[Array, "D D"]) -> Float[Array, "*dims"]:
    return jnp.sum(jnp.matmul(rows, whitening_, precision=jax.lax.Precision.HIGHEST) ** 2, -1)
