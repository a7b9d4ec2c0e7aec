"""The residual of an example's features outside of the principal directions, as the logit of one more class."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import require_count
from jaxae.scoring.confidence.logits import Logits
from jaxae.scoring.scores.latent import Features, reference_features
from jaxae.types import Batch, PyTree, Scorer


def vim(logits: Logits, features: Features, num_directions: int | None = None) -> Scorer:
    """`a |r| - log sum_k exp(l_k)`, with r the residual of the features outside of their principal directions.

    a makes the mean of `a |r|` over the reference equal to that of the largest logit: `a |r|` is the logit of an
    additional class, "none of them". Features are centred on the reference's mean, which suits any head; the paper,
    for a linear head `W f + b`, takes `-W^+ b`.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`.
      features: feature function `(params, state, batch) -> [B, D]`; the reference needs no labels.
      num_directions: number of principal directions that are removed, below D; None: half of D.

    Raises:
      ValueError: in `fit`, no reference, or `num_directions` outside 1..D-1.

    Source: Wang et al. 2022, "ViM: Out-of-Distribution with Virtual-Logit Matching".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.scoring import latent
      >>> from jaxae.types import Batch
      >>> scorer = confidence.vim(lambda params, state, batch: jnp.ones_like(batch.x), latent.inputs)
      >>> rows = jnp.array([[-9.0, 1.0], [9.0, 1.0], [-9.0, -1.0], [9.0, -1.0]])
      >>> fitted = scorer.fit({}, {}, Batch(rows))  # the second feature is the residual, 1 on average
      >>> scores = scorer.apply(fitted, None, Batch(jnp.array([[9.0, 0.0], [9.0, 4.0]])))
      >>> round(float(scores[1] - scores[0]), 4)
      4.0
    """

    if num_directions is not None:
        num_directions = require_count("num_directions", num_directions)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        rows, weight = reference_features(features, params, state, reference, at_least=2)
        values, _ = reference_features(logits, params, state, reference)
        width = rows.shape[1]
        count = max(1, width // 2) if num_directions is None else num_directions
        if not 1 <= count < width:
            raise ValueError(f"num_directions must lie in 1..{width - 1}, below the features' {width}; got {count}")
        total = weight.sum()
        # principal directions of the reference's features, about their mean
        mean = weight @ rows / total
        centred = rows - mean[None]
        _, directions = jnp.linalg.eigh((centred * weight[:, None]).T @ centred / total)  # ascending variances
        residual_directions = directions[:, : width - count]
        residual_norm = weight @ jnp.linalg.norm(_product(centred, residual_directions), axis=-1)
        # a = mean of the largest logit / mean of |r|; both sums share the weight's total
        scale = weight @ values.max(-1) / jnp.maximum(residual_norm, jnp.finfo(jnp.float32).tiny)
        return {"params": params, "state": state, "mean": mean, "rest": residual_directions, "scale": scale}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        arrays = fitted["params"], fitted["state"], batch
        rows, values = (function(*arrays).astype(jnp.float32) for function in (features, logits))
        residual = jnp.linalg.norm(_product(rows - fitted["mean"][None], fitted["rest"]), axis=-1)
        return fitted["scale"] * residual - jax.nn.logsumexp(values, -1)

    return Scorer(fit, apply)


def _product(rows: Array, matrix: Array) -> Array:
    return jnp.matmul(rows, matrix, precision=jax.lax.Precision.HIGHEST)
