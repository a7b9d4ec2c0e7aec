"""The temperature that calibrates a classifier's probabilities, fitted to labelled rows it was not trained on."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxae.numerics import as_classes, as_weights, real_array, require_count
from jaxae.numerics.bisection import bisected
from jaxae.scoring.checks import require_finite
from jaxae.scoring.confidence.labelled import labelled_outputs
from jaxae.scoring.confidence.logits import Logits, doubt, require_classes
from jaxae.types import Batch, PyTree, Scorer

# bound of |log T|: logits that separate the rows without error have no best temperature
LIMIT = 5.0


def temperature_scaled(logits: Logits, num_classes: int, held_out: int | None = None) -> Scorer:
    """`1 - max_k softmax(l / T)_k` with the T that fits held-out labels best (`fit_temperature`).

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`.
      num_classes: number of classes K.
      held_out: number of held-out rows, the last of the reference, to which T is fitted; None: a fifth. The reference's
        `target` holds the labels, `[N, 1]`.

    Returns:
      A `Scorer`; its fitted "temperature" is T.

    Raises:
      ValueError: `held_out` is below 1; in `fit`, no reference, fewer rows than `held_out`, or no labels.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.temperature_scaled(lambda params, state, batch: batch.x, num_classes=2, held_out=4)
      >>> reference = Batch(jnp.array([[9.0, 0.0]] * 4), target=jnp.array([[0], [0], [0], [1]]))
      >>> fitted = scorer.fit({}, {}, reference)  # right 3 times of 4: the softmax should say 3/4
      >>> round(float(scorer.apply(fitted, None, Batch(jnp.array([[9.0, 0.0]])))[0]), 4)
      0.25
    """
    num_classes = require_count("num_classes", num_classes, 2)
    if held_out is not None:
        held_out = require_count("held_out", held_out)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        values, labels, weight = labelled_outputs(logits, params, state, reference, num_classes)
        count = held_out or max(1, len(labels) // 5)
        if count > len(labels):
            raise ValueError(f"{count} rows held out, but the reference has {len(labels)}")
        temperature = fit_temperature(values[-count:], labels[-count:], weight[-count:])
        return {"params": params, "state": state, "temperature": temperature}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        values = logits(fitted["params"], fitted["state"], batch).astype(jnp.float32)
        return doubt(values / fitted["temperature"])

    return Scorer(fit, apply)


def fit_temperature(
    logits: Float[Array, "N K"], labels: Int[Array, " N"], weight: Float[Array, " N"] | None = None
) -> Float[Array, ""]:
    """The T of the least `-mean log softmax(l / T)_y`, within e^-5..e^5.

    The loss is convex in 1/T: its slope there is the mean of `E_p[l] - l_y`, whose only zero bisection finds to
    rounding.

    Args:
      logits: `[N, K]`, logits of the rows.
      labels: `[N]`, classes 0..K-1.
      weight: `[N]`, weight of each row, 0 where a row does not count; None weighs all rows 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.confidence import fit_temperature
      >>> t = fit_temperature(jnp.array([[9.0, 0.0]] * 4), jnp.array([0, 0, 0, 1]))
      >>> round(float(9.0 / t), 4)  # log 3
      1.0986
    """
    logits = jnp.asarray(real_array("logits", logits), jnp.float32)
    require_classes(logits)
    require_finite("logits", logits)
    labels = as_classes("labels", labels, len(logits), logits.shape[-1])
    weight = as_weights(weight, len(logits))
    # logits less the logit of the label: the cancellation of large numbers happens once, not at every step
    gap = logits - jnp.take_along_axis(logits, labels[:, None], -1)

    def slope(log_temperature: Array) -> Array:
        # d loss / d(1/T) = E_p[l] - l_y, with l_y = 0 after the subtraction above
        p = jax.nn.softmax(gap * jnp.exp(-log_temperature))
        return jnp.sum(weight * jnp.sum(jnp.where(p > 0, p * gap, 0), -1))

    # where the slope is positive a larger 1/T would raise the loss: T must be at least this
    low, high = bisected(lambda value: ~(slope(value) > 0), jnp.float32(-LIMIT), jnp.float32(LIMIT))
    return jnp.exp((low + high) / 2)
