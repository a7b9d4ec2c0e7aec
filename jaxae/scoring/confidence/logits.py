"""Confidences that read a classifier's logits alone: the score is higher where the classifier is less sure."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import as_number
from jaxae.scoring.scores.reconstruction import fit_model
from jaxae.types import Autoencoder, Batch, PyTree, Scorer

Logits = Callable[[PyTree, PyTree, Batch], Array]
"""`(params, state, batch) -> [B, K]`: `logits_of(model)`, `ensemble_logits(...)`, or any function of this form."""


def logits_of(model: Autoencoder) -> Logits:
    """What the classifier's head gives: `model.decode(params, model.encode(params, state, x).latent)`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream, networks
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> model, _ = downstream.classifier(networks.mlp(4), networks.mlp(3), 3)
      >>> params, state = model.init(jax.random.key(0), jnp.ones((2, 5)))
      >>> confidence.logits_of(model)(params, state, Batch(jnp.ones((2, 5)))).shape
      (2, 3)
    """

    def logits(params: PyTree, state: PyTree, batch: Batch) -> Array:
        output, _ = model.apply(params, state, None, batch.x, batch.condition)
        return output.prediction.astype(jnp.float32)

    return logits


def known_logits(logits: Logits, num_classes: int) -> Logits:
    """The first K logits of a head that has more: classes of turned or spliced images (`downstream.turned`).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> head = lambda params, state, batch: batch.x
      >>> confidence.known_logits(head, 2)({}, {}, Batch(jnp.array([[1.0, 2.0, 3.0]]))).tolist()
      [[1.0, 2.0]]
    """
    return lambda params, state, batch: logits(params, state, batch)[:, :num_classes]


def ensemble_logits(logits: Logits, average: str = "probability") -> Logits:
    """Logits of a deep ensemble, whose params and state carry a leading axis of M members.

    "probability": `log (1/M) sum_m softmax(l_m)`, the ensemble as one predictor, for maximum softmax and entropy.
    "logit": `(1/M) sum_m l_m`, which keeps the logits' size, for maximum logit and energy.

    Args:
      logits: of one member.
      average: "probability" or "logit".

    Raises:
      ValueError: another average.

    Source: Lakshminarayanan, Pritzel and Blundell 2017, "Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> member = lambda params, state, batch: params[None] * batch.x
      >>> both = confidence.ensemble_logits(member, "logit")
      >>> both(jnp.array([[1.0, 0.0], [3.0, 0.0]]), {}, Batch(jnp.array([[2.0, 2.0]]))).tolist()
      [[4.0, 0.0]]
    """
    if average not in ("probability", "logit"):
        raise ValueError(f'average must be "probability" or "logit"; got {average!r}')

    def combined(params: PyTree, state: PyTree, batch: Batch) -> Array:
        each = jax.vmap(logits, (0, 0, None))(params, state, batch)
        if average == "logit":
            return each.mean(0)
        return jax.nn.logsumexp(jax.nn.log_softmax(each), 0) - jnp.log(each.shape[0])

    return combined


def max_softmax(logits: Logits, temperature: ArrayLike = 1.0) -> Scorer:
    """`1 - max_k p_k` with `p = softmax(l / T)`: how much probability the chosen class leaves to the others.

    The order is that of -c for the confidence `c = max_k p_k`. It is summed from the other classes, so that the
    confident examples, whose c rounds to 1, do not all tie.

    Args:
      logits: `(params, state, batch) -> [B, K]`.
      temperature: T > 0; see `temperature_scaled` for one that is fitted.

    Raises:
      ValueError: the temperature is not positive.

    Source: Hendrycks and Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
    Neural Networks".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.max_softmax(lambda params, state, batch: batch.x)
      >>> scorer.apply(scorer.fit({}, {}), None, Batch(jnp.log(jnp.array([[3.0, 1.0]])))).tolist()
      [0.25]
    """
    _require_temperature(temperature)
    return _scorer(logits, lambda values: doubt(values / temperature))


def max_logit(logits: Logits) -> Scorer:
    """`-max_k l_k`: unlike the softmax it keeps how large the evidence is, not only how one-sided.

    Source: Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings"; for open sets Vaze
    et al. 2022, "Open-Set Recognition: a Good Closed-Set Classifier is All You Need".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.max_logit(lambda params, state, batch: batch.x)
      >>> scorer.apply(scorer.fit({}, {}), None, Batch(jnp.array([[3.0, 1.0]]))).tolist()
      [-3.0]
    """
    return _scorer(logits, lambda values: -values.max(-1))


def energy(logits: Logits, temperature: ArrayLike = 1.0) -> Scorer:
    """The free energy, `-T log sum_k exp(l_k / T)`: low where any class is likely.

    Args:
      logits: `(params, state, batch) -> [B, K]`.
      temperature: T > 0; towards 0 the score becomes `max_logit`.

    Raises:
      ValueError: the temperature is not positive.

    Source: Liu et al. 2020, "Energy-based Out-of-distribution Detection", equation 4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.energy(lambda params, state, batch: batch.x)
      >>> round(float(scorer.apply(scorer.fit({}, {}), None, Batch(jnp.zeros((1, 2))))[0]), 4)
      -0.6931
    """
    _require_temperature(temperature)
    return _scorer(logits, lambda values: -(temperature * jax.nn.logsumexp(values / temperature, -1)))


def entropy(logits: Logits) -> Scorer:
    """`-sum_k p_k log p_k`, nats: 0 where one class has it all, log K where all are alike.

    Source: Shannon 1948; as a score: Macêdo et al. 2021, "Entropic Out-of-Distribution Detection".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.entropy(lambda params, state, batch: batch.x)
      >>> round(float(scorer.apply(scorer.fit({}, {}), None, Batch(jnp.zeros((1, 2))))[0]), 4)
      0.6931
    """

    def score(values: Array) -> Array:
        log_p = jax.nn.log_softmax(values)
        return -jnp.sum(jnp.exp(log_p) * log_p, -1)

    return _scorer(logits, score)


def doubt(logits: Float[Array, "B K"]) -> Float[Array, " B"]:
    """`1 - max_k softmax(l)_k`, to full relative precision where it is tiny."""
    top = logits.argmax(-1)
    ratios = jnp.exp(logits - logits.max(-1, keepdims=True))
    others = jnp.where(jnp.arange(logits.shape[-1])[None] == top[:, None], 0, ratios).sum(-1)
    return others / (1 + others)


def _scorer(logits: Logits, score: Callable) -> Scorer:
    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return score(logits(fitted["params"], fitted["state"], batch).astype(jnp.float32))

    return Scorer(fit_model, apply)


def _require_temperature(temperature: ArrayLike) -> None:
    if (number := as_number(temperature)) is not None and not 0 < number < float("inf"):
        raise ValueError(f"the temperature must be a positive finite number; got {temperature}")
