"""Distances from normal examples as scores: in latent space, in a classifier's features, or in input space."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.files.messages import shown
from jaxae.numerics import require_count
from jaxae.numerics.arguments import check_arguments
from jaxae.numerics.neighbours import nearest_rows
from jaxae.scoring.checks import is_traced
from jaxae.scoring.scores.covariance import require_shrinkage, shrunk_covariance, whitening
from jaxae.scoring.scores.held_out import in_chunks, require_reference, row_weights
from jaxae.types import Autoencoder, Batch, PyTree, Scorer

Features = Callable[[PyTree, PyTree, Batch], Array]
"""`(params, state, batch) -> [B, D]`: `encoded(model)`, `inputs`, or any function of this form."""

# number of reference rows that `fit` passes through the feature function at a time
CHUNK = 1024
# widest features with a covariance matrix, which then takes a gigabyte
WIDEST = 16384


def encoded(model: Autoencoder) -> Features:
    """The model's latents as features: `model.encode(x).latent`, flattened to one row per example.

    Args:
      model: the autoencoder whose latents are compared.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> model, _ = presets.ae((5,), latent_size=2)
      >>> params, state = model.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> latent.encoded(model)(params, state, Batch(jnp.ones((3, 5)))).shape
      (3, 2)
    """

    def features(params: PyTree, state: PyTree, batch: Batch) -> Array:
        code = model.encode(params, state, batch.x, batch.condition)
        return _joined(code.latent)

    return features


def inputs(params: PyTree, state: PyTree, batch: Batch) -> Array:
    """The examples themselves as features, flattened to one row per example; the model is not read.

    Args:
      params: parameters of the model, not read.
      state: state of the model, not read.
      batch: examples `[B, ...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> latent.inputs((), (), Batch(jnp.ones((3, 2, 2, 1)))).shape
      (3, 4)
    """
    return _joined(batch.x)


def knn(features: Features, k: int = 5, reduce: str = "kth") -> Scorer:
    """Euclidean distance to the nearest normals in feature space, by exact search.

    With d_1 <= d_2 <= ... the distances to the reference's rows: "kth" is `d_k`, "mean" is `(d_1 + ... + d_k) / k`.
    Rows of the reference with `weight` 0 are not in the bank. The bank holds a row per reference example: give `fit`
    a subset of a large data set. Scoring needs a few megabytes for distances, row by row as well.

    Args:
      features: feature function `(params, state, batch) -> [B, D]`.
      k: number of neighbours, at least 1.
      reduce: reduction over the k distances, "kth" or "mean".

    Raises:
      ValueError: k below 1 or an unknown `reduce`; in `fit`, no reference, fewer than k rows, or features that are not
        one row an example.

    Source: Ramaswamy, Rastogi and Shim 2000, "Efficient Algorithms for Mining Outliers from Large Data Sets"; in
    features: Bergman, Cohen and Hoshen 2020, "Deep Nearest Neighbor Anomaly Detection".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> scorer = latent.knn(latent.inputs, k=2)
      >>> fitted = scorer.fit((), (), Batch(jnp.array([[0.0], [1.0], [9.0]])))
      >>> scorer.apply(fitted, None, Batch(jnp.array([[0.0], [5.0]]))).tolist()
      [1.0, 4.0]
    """
    k = require_count("k", k)
    if reduce not in ("kth", "mean"):
        raise ValueError(f'reduce must be "kth" or "mean"; got {shown(reduce)}')

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        bank, weight = reference_features(features, params, state, reference, at_least=k)
        return {"params": params, "state": state, "bank": bank, "weight": weight}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        queries = features(fitted["params"], fitted["state"], batch)
        distances, _ = nearest_rows(queries, fitted["bank"], k, fitted["weight"])
        # nearest first: the last column is the k-th neighbour
        return distances[:, -1] if reduce == "kth" else distances.mean(-1)

    return Scorer(fit, apply)


def mahalanobis(features: Features, shrinkage: str | ArrayLike = "ledoit_wolf") -> Scorer:
    """Squared Mahalanobis distance from the normals' mean: each direction in units of the normals' deviation along it.

    `(f - m)^T C^-1 (f - m)` with m and C the mean and the shrunk covariance of the reference's features; rows of
    `weight` 0 do not count.

    Args:
      features: feature function `(params, state, batch) -> [B, D]`.
      shrinkage: shrinkage of the covariance, "ledoit_wolf", "oas" or a number in [0, 1]; see
        `covariance.shrunk_covariance`.

    Raises:
      ValueError: an unknown shrinkage; in `fit`, no reference, fewer than 2 rows, or features that are not one row an
        example or too wide for a covariance matrix.

    Source: Mahalanobis 1936; of a network's features: Lee et al. 2018, "A Simple Unified Framework for Detecting
    Out-of-Distribution Samples and Adversarial Attacks".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> scorer = latent.mahalanobis(latent.inputs, shrinkage=0.0)
      >>> fitted = scorer.fit((), (), Batch(jnp.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -2.0], [0.0, 2.0]])))
      >>> [round(s, 3) for s in scorer.apply(fitted, None, Batch(jnp.array([[1.0, 0.0], [0.0, 1.0]]))).tolist()]
      [2.0, 0.5]
    """
    require_shrinkage(shrinkage)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        rows, weight = reference_features(features, params, state, reference, at_least=2)
        if rows.shape[1] > WIDEST:
            raise ValueError(f"features {rows.shape[1]} wide have too large a covariance; the limit is {WIDEST}")
        # shrinkage keeps the covariance invertible with fewer rows than features
        mean, covariance, _ = shrunk_covariance(rows, shrinkage, weight)
        return {"params": params, "state": state, "mean": mean, "whitening": whitening(covariance)}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        centred = features(fitted["params"], fitted["state"], batch) - fitted["mean"][None]
        # W whitens: |(f - m) W|^2 = (f - m)^T C^-1 (f - m), a sum of squares that cannot be negative
        white = jnp.matmul(centred, fitted["whitening"], precision=jax.lax.Precision.HIGHEST)
        return jnp.sum(white**2, -1)

    return Scorer(fit, apply)


def reference_features(
    features: Features, params: PyTree, state: PyTree, reference: Batch | None, at_least: int = 1
) -> tuple[Float[Array, "N D"], Float[Array, " N"]]:
    """The features of a reference's rows, computed in chunks, and the rows' weights.

    Args:
      features: feature function `(params, state, batch) -> [B, D]`.
      params: parameters of the model.
      state: state of the model.
      reference: normal examples.
      at_least: least number of rows with weight.

    Raises:
      ValueError: no reference, fewer than `at_least` rows that count, or features that are not one row an example.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> rows, weight = latent.reference_features(latent.inputs, (), (), Batch(jnp.ones((3, 2))))
      >>> rows.shape, weight.tolist()
      ((3, 2), [1.0, 1.0, 1.0])
    """
    reference = require_reference(reference)
    num = jax.tree.leaves(reference.x)[0].shape[0]
    weight = row_weights(reference)
    count = num if is_traced(weight) else int(np.count_nonzero(np.asarray(weight) > 0))
    if min(num, count) < at_least:
        raise ValueError(f"this score needs at least {at_least} reference rows; got {count} that count, of {num}")
    # the encoder's activations exist for one chunk at a time
    rows = in_chunks(lambda batch: features(params, state, batch), reference, CHUNK)
    if rows.ndim != 2:
        raise ValueError(f"features must be one row an example, [B, D]; got {rows.shape}")
    return rows.astype(jnp.float32), weight


def _joined(tree: PyTree) -> Array:
    leaves = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(tree)]
    flat = [leaf.reshape(leaf.shape[0], -1) for leaf in leaves]
    # latents of several levels or groups are one row
    return flat[0] if len(flat) == 1 else jnp.concatenate(flat, -1)


check_arguments(__name__)
