"""Confidences that read a classifier's logits alone; the score is the negated confidence."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.files.messages import shown
from jaxae.numerics import require_count, require_within
from jaxae.scoring.scores.reconstruction import fit_model
from jaxae.types import Autoencoder, Batch, PyTree, Scorer

Logits = Callable[[PyTree, PyTree, Batch], Array]
"""`(params, state, batch) -> [B, K]`: `logits_of(model)`, `ensemble_logits(...)`, or any function of this form."""


def logits_of(model: Autoencoder) -> Logits:
    """The classifier's logits: `model.decode(params, model.encode(params, state, x).latent)`.

    Args:
      model: a classifier, such as one of `downstream.classifier`.

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
    """The first K logits of a head with further outputs for auxiliary classes (`downstream.turned`, `spliced`).

    Args:
      logits: logit function of the whole head.
      num_classes: number of classes K.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> head = lambda params, state, batch: batch.x
      >>> confidence.known_logits(head, 2)({}, {}, Batch(jnp.array([[1.0, 2.0, 3.0]]))).tolist()
      [[1.0, 2.0]]
    """
    num_classes = require_count("num_classes", num_classes)
    # outputs of auxiliary classes would take probability from the known ones
    return lambda params, state, batch: logits(params, state, batch)[:, :num_classes]


def ensemble_logits(logits: Logits, average: str = "probability") -> Logits:
    """Logits of a deep ensemble, whose params and state have a leading axis of M members.

    "probability": `log (1/M) sum_m softmax(l_m)`, the mean prediction, for maximum softmax and entropy.
    "logit": `(1/M) sum_m l_m`, which keeps the size of the logits, for maximum logit and energy.

    Args:
      logits: logit function of one member.
      average: quantity that is averaged, "probability" or "logit".

    Raises:
      ValueError: another average.

    Source: Lakshminarayanan, Pritzel and Blundell 2017, "Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> member = lambda params, state, batch: params[None] * batch.x
      >>> ensemble = confidence.ensemble_logits(member, "logit")
      >>> ensemble(jnp.array([[1.0, 0.0], [3.0, 0.0]]), {}, Batch(jnp.array([[2.0, 2.0]]))).tolist()
      [[4.0, 0.0]]
    """
    if average not in ("probability", "logit"):
        raise ValueError(f'average must be "probability" or "logit"; got {shown(average)}')

    def combined(params: PyTree, state: PyTree, batch: Batch) -> Array:
        member_logits = jax.vmap(logits, (0, 0, None))(params, state, batch)
        if average == "logit":
            return member_logits.mean(0)
        # log of a mean of probabilities, in logs to keep small ones: logsumexp - log M
        return jax.nn.logsumexp(jax.nn.log_softmax(member_logits), 0) - jnp.log(member_logits.shape[0])

    return combined


def max_softmax(logits: Logits, temperature: ArrayLike = 1.0) -> Scorer:
    """`1 - max_k p_k` with `p = softmax(l / T)`: the probability of all classes but the chosen one.

    The order is that of -c for the confidence `c = max_k p_k`. It is summed over the other classes, so that confident
    examples, whose c rounds to 1, do not tie.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`.
      temperature: temperature T > 0 of the softmax; `temperature_scaled` fits it.

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
    """`-max_k l_k`, which depends on the size of the logits, unlike the softmax.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`.

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
    """The free energy, `-T log sum_k exp(l_k / T)`: low where the logit of any class is high.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`.
      temperature: temperature T > 0; the limit at 0 is `max_logit`.

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
    # logsumexp stays finite for large logits, unlike the sum of exponentials
    return _scorer(logits, lambda values: -(temperature * jax.nn.logsumexp(values / temperature, -1)))


def entropy(logits: Logits) -> Scorer:
    """`-sum_k p_k log p_k`, nats: 0 where one class has probability 1, log K where all are equal.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`.

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
        require_classes(values)
        # log_softmax instead of the log of softmax: a probability that underflows to 0 would make 0 * -inf
        log_p = jax.nn.log_softmax(values)
        return -jnp.sum(jnp.exp(log_p) * log_p, -1)

    return _scorer(logits, score)


def doubt(logits: Float[Array, "B K"]) -> Float[Array, " B"]:
    """`1 - max_k softmax(l)_k`, with full relative precision where it is small.

    Args:
      logits: `[B, K]`, logits of each example.
    """
    require_classes(logits)
    top = logits.argmax(-1)
    # p_k / p_max; with r their sum over the other classes, 1 - p_max = r / (1 + r)
    ratios = jnp.exp(logits - logits.max(-1, keepdims=True))
    other_classes = jnp.where(jnp.arange(logits.shape[-1])[None] == top[:, None], 0, ratios).sum(-1)
    return other_classes / (1 + other_classes)


def require_classes(logits: Array) -> None:
    """Raise for logits of a single class, whose probability is 1 for every example: the score would be constant."""
    if logits.ndim != 2 or logits.shape[-1] < 2:
        raise ValueError(f"probabilities of classes need logits [B, K] of at least 2 classes; got {logits.shape}")


def _scorer(logits: Logits, score: Callable) -> Scorer:
    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return score(logits(fitted["params"], fitted["state"], batch).astype(jnp.float32))

    return Scorer(fit_model, apply)


def _require_temperature(temperature: ArrayLike) -> None:
    require_within("temperature", temperature, "(0, inf)")
