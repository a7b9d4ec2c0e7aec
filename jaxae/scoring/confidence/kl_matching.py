"""Divergence of an example's class probabilities from the mean probabilities of each class."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.scoring.confidence.logits import Logits, require_classes
from jaxae.scoring.scores.latent import reference_features
from jaxae.types import Batch, PyTree, Scorer


def kl_matching(logits: Logits) -> Scorer:
    """`min_k KL(p || d_k)`, nats, with d_k the mean probabilities of the reference rows that are classified as k.

    An example whose probability is spread over classes that are rarely confused scores high; one spread over classes
    that are often confused does not. Classes that are predicted for no reference row are left out.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`; the reference needs no labels.

    Raises:
      ValueError: in `fit`, there is no reference.

    Source: Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings", section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.kl_matching(lambda params, state, batch: batch.x)
      >>> fitted = scorer.fit({}, {}, Batch(jnp.log(jnp.array([[0.75, 0.25], [0.25, 0.75]]))))
      >>> scores = scorer.apply(fitted, None, Batch(jnp.log(jnp.array([[0.75, 0.25], [0.5, 0.5]]))))
      >>> [round(abs(score), 4) for score in scores.tolist()]
      [0.0, 0.1438]
    """

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        values, weight = reference_features(logits, params, state, reference)
        require_classes(values)
        p = jax.nn.softmax(values)
        # templates by predicted class: the reference may be unlabelled
        chosen = (values.argmax(-1)[:, None] == jnp.arange(values.shape[-1])[None]) * weight[:, None]
        count = chosen.sum(0)
        templates = chosen.T @ p / jnp.where(count > 0, count, 1)[:, None]
        # a mean probability that rounds to 0 would make the divergence infinite
        log_templates = jnp.log(jnp.maximum(templates, jnp.finfo(jnp.float32).tiny))
        return {"params": params, "state": state, "templates": log_templates, "seen": count > 0}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        log_p = jax.nn.log_softmax(logits(fitted["params"], fitted["state"], batch).astype(jnp.float32))
        gap = log_p[:, None] - fitted["templates"][None]
        # KL(p || d) = sum p (log p - log d)
        divergence = jnp.sum(jnp.exp(log_p)[:, None] * gap, -1)
        return jnp.where(fitted["seen"][None], divergence, jnp.inf).min(-1)

    return Scorer(fit, apply)
