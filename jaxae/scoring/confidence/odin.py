"""The softmax at a high temperature, of an input that is perturbed towards its predicted class."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import require_within
from jaxae.scoring.confidence.logits import Logits, doubt
from jaxae.scoring.scores.reconstruction import fit_model
from jaxae.types import Batch, PyTree, Scorer


def odin(logits: Logits, temperature: float = 1000.0, step: float = 0.0014) -> Scorer:
    """`1 - max_k softmax(l(x') / T)_k` with `x' = x + step * sign(grad_x log max_k softmax(l(x) / T)_k)`.

    The perturbation raises the confidence of known classes more than that of unknown ones.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`, differentiable in a floating `batch.x`: put
        `scale_uint8` in front by `scoring.prepared`.
      temperature: temperature T > 0 of the softmax.
      step: size of the perturbation, in the unit of the scaled data, >= 0.

    Raises:
      ValueError: the temperature is not positive, or the step negative.

    Source: Liang, Li and Srikant 2018, "Enhancing The Reliability of Out-of-distribution Image Detection in Neural
    Networks".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.odin(lambda params, state, batch: batch.x, temperature=1.0, step=0.5)
      >>> scores = scorer.apply(scorer.fit({}, {}), None, Batch(jnp.array([[1.0, 0.0]])))
      >>> round(float(scores[0]), 4)  # of the logits 1.5 and -0.5
      0.1192
    """
    require_within("temperature", temperature, "(0, inf)")
    require_within("step", step, "[0, inf)")

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        def scaled(x: Array) -> Array:
            values = logits(fitted["params"], fitted["state"], batch._replace(x=x))
            return values.astype(jnp.float32) / temperature

        # examples are independent, so the gradient of the sum is each example's own
        direction = jax.grad(lambda x: jax.nn.log_softmax(scaled(x)).max(-1).sum())(batch.x)
        # the sign of the gradient alone, so that every input moves by the same amount
        return doubt(scaled(batch.x + step * jnp.sign(direction)))

    return Scorer(fit_model, apply)
