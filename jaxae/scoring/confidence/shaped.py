"""Energies of the logits of clipped or pruned features, as single large activations mislead the head."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import require_count
from jaxae.scoring.checks import require_open_unit
from jaxae.scoring.scores.latent import encoded, reference_features
from jaxae.scoring.scores.reconstruction import fit_model
from jaxae.types import Autoencoder, Batch, PyTree, Scorer


def react(model: Autoencoder, num_classes: int, quantile: ArrayLike = 0.9) -> Scorer:
    """The energy of the logits of `min(f, c)`: features f are clipped at c, a quantile of the reference's features.

    Args:
      model: a classifier whose features are `[B, D]`.
      num_classes: number of classes K; further outputs of the head are left out.
      quantile: quantile level of c over all features of the reference, in (0, 1).

    Raises:
      ValueError: the quantile is outside (0, 1); in `fit`, there is no reference.

    Source: Sun, Guo and Li 2021, "ReAct: Out-of-distribution Detection With Rectified Activations".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream, networks
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> model, _ = downstream.classifier(networks.mlp(4), networks.mlp(3), 3)
      >>> x = jnp.ones((5, 2))
      >>> scorer = confidence.react(model, 3)
      >>> fitted = scorer.fit(*model.init(jax.random.key(0), x), Batch(x))
      >>> scorer.apply(fitted, None, Batch(x)).shape
      (5,)
    """
    require_open_unit("quantile", quantile)
    num_classes = require_count("num_classes", num_classes)
    features = encoded(model)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        rows, weight = reference_features(features, params, state, reference)
        # rows of weight 0 become NaN, which nanquantile leaves out
        counted = jnp.where(weight[:, None] > 0, rows, jnp.nan)
        return {"params": params, "state": state, "limit": jnp.nanquantile(counted, quantile)}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        rows = features(fitted["params"], fitted["state"], batch)
        return _energy(model, num_classes, fitted["params"], jnp.minimum(rows, fitted["limit"]))

    return Scorer(fit, apply)


def ash(model: Autoencoder, num_classes: int, pruned: float = 0.65) -> Scorer:
    """The energy of the logits of pruned features: the smallest become 0, the others are multiplied by `exp(s / s')`.

    Each example loses the same share of its features; s and s' are their sums before and after (ASH-S). Features must
    not be negative; those of `downstream.feature_encoder` are not.

    Args:
      model: a classifier whose features are `[B, D]`.
      num_classes: number of classes K; further outputs of the head are left out.
      pruned: share of the features that become 0, in (0, 1).

    Raises:
      ValueError: the share is outside (0, 1).

    Source: Djurisic et al. 2023, "Extremely Simple Activation Shaping for Out-of-Distribution Detection".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream, networks
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> model, _ = downstream.classifier(downstream.feature_encoder((2,), 8), networks.mlp(3), 3)
      >>> x = jnp.ones((5, 2))
      >>> scorer = confidence.ash(model, 3)
      >>> scorer.apply(scorer.fit(*model.init(jax.random.key(0), x)), None, Batch(x)).shape
      (5,)
    """
    require_open_unit("pruned", pruned)
    num_classes = require_count("num_classes", num_classes)
    features = encoded(model)

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        rows = features(fitted["params"], fitted["state"], batch)
        # at least one feature is kept
        num_kept = max(1, rows.shape[-1] - math.floor(pruned * rows.shape[-1]))
        # ties at the least kept value are all kept
        least = jax.lax.top_k(rows, num_kept)[0][:, -1:]
        thinned = jnp.where(rows >= least, rows, 0)
        tiny = jnp.finfo(jnp.float32).tiny
        factor = jnp.exp(rows.sum(-1, keepdims=True) / jnp.maximum(thinned.sum(-1, keepdims=True), tiny))
        return _energy(model, num_classes, fitted["params"], thinned * factor)

    return Scorer(fit_model, apply)


def _energy(model: Autoencoder, num_classes: int, params: PyTree, rows: Float[Array, "B D"]) -> Float[Array, " B"]:
    decode: Callable = model.decode
    return -jax.nn.logsumexp(decode(params, rows)[:, :num_classes].astype(jnp.float32), -1)
