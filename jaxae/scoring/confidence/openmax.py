"""The logits of a class "none of them", from how far training examples stray from the means of their classes."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxae.numerics import require_count
from jaxae.numerics.bisection import bisected
from jaxae.scoring.confidence.labelled import class_means, labelled_outputs
from jaxae.scoring.confidence.logits import Logits
from jaxae.types import Batch, PyTree, Scorer

STEPS = 60  # of the bisection: beyond what float32 can tell


def openmax(logits: Logits, num_classes: int, tail: int = 20, revised: int = 3) -> Scorer:
    """`log P(unknown | x)`: logits of classes whose mean is far are moved to an additional class, the unknown.

    For each class a Weibull distribution F_k is fitted to the largest distances of its correctly classified rows from
    their mean logits m_k. With the classes in the order of their logits, i = 1, 2, ..., revised,
    `v_k <- v_k (1 - c_i)`, `c_i = (revised + 1 - i) / revised * F_k(|v - m_k|)`, and the unknown class gets the
    difference, `v_0 = sum v_k c_i`; P is the softmax of all of them. Distances are fitted without a shift, which would
    make the result depend on their unit.

    Args:
      logits: logit function `(params, state, batch) -> [B, K]`.
      num_classes: number of classes K; the reference's `target` holds the labels, `[N, 1]`.
      tail: number of largest distances of a class that are fitted, at least 2; a class with fewer rows uses all.
      revised: number of largest logits that are reduced, at least 1; K where it is more.

    Raises:
      ValueError: `tail` or `revised` is too small; in `fit`, no reference, labels that are not 0..K-1, or a class
        without rows that are classified right.

    Source: Bendale and Boult 2016, "Towards Open Set Deep Networks", algorithms 1 and 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import confidence
      >>> from jaxae.types import Batch
      >>> scorer = confidence.openmax(lambda params, state, batch: batch.x, num_classes=2)
      >>> x = jnp.array([[4.0, 0.0], [5.0, 0.0], [7.0, 0.0], [0.0, 4.0], [0.0, 5.0], [0.0, 7.0]])
      >>> labels = jnp.array([[0], [0], [0], [1], [1], [1]])
      >>> fitted = scorer.fit({}, {}, Batch(x, target=labels))
      >>> known, unknown = scorer.apply(fitted, None, Batch(jnp.array([[6.0, 0.0], [6.0, 6.0]]))).tolist()
      >>> known < -2 < -1 < unknown
      True
    """
    num_classes = require_count("num_classes", num_classes, 2)
    tail, revised = require_count("tail", tail, 2), require_count("revised", revised)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        rows, labels, weight = labelled_outputs(logits, params, state, reference, num_classes)
        correct_weight = weight * (rows.argmax(-1) == labels)
        means = class_means(rows, labels, correct_weight, num_classes)
        distance = jnp.linalg.norm(rows - means[labels], axis=-1)
        count = min(tail, len(rows))

        def fit_class(k):
            member = (labels == k) & (correct_weight > 0)
            largest = jnp.sort(jnp.where(member, distance, -jnp.inf))[-count:]
            return fit_weibull(largest, jnp.isfinite(largest))

        shape, scale = jax.lax.map(fit_class, jnp.arange(num_classes))
        return {"params": params, "state": state, "means": means, "shape": shape, "scale": scale}

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        values = logits(fitted["params"], fitted["state"], batch).astype(jnp.float32)
        distance = jnp.linalg.norm(values[:, None] - fitted["means"][None], axis=-1)
        cdf = -jnp.expm1(-((distance / fitted["scale"][None]) ** fitted["shape"][None]))
        # c_i of rank i = 1.. is (revised + 1 - i) / revised; ranks count from 0 here
        rank = jnp.argsort(jnp.argsort(-values, -1), -1)  # 0 for the largest
        num_revised = min(revised, num_classes)
        reduction = cdf * jnp.maximum(num_revised - rank, 0) / num_revised
        unknown = jnp.sum(values * reduction, -1)
        known = jax.nn.logsumexp(values * (1 - reduction), -1)
        # log of exp(v_0) / (exp(v_0) + sum exp(v_k)) = -softplus(logsumexp(v) - v_0)
        return -jax.nn.softplus(known - unknown)

    return Scorer(fit, apply)


def fit_weibull(values: Float[Array, " n"], counts: Bool[Array, " n"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Shape and scale of `F(x) = 1 - exp(-(x / scale)^shape)` by maximum likelihood.

    The shape solves `sum x^c log x / sum x^c - 1 / c = mean log x`; `scale = (mean x^c)^(1 / c)`. Equal values
    have a shape of 10,000, the upper end of the search.

    Args:
      values: `[n]`, values to fit, not negative.
      counts: `[n]` bool, which values are observed, at least one.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.confidence.openmax import fit_weibull
      >>> x = -jnp.log1p(-(jnp.arange(999.0) + 0.5) / 999)  # exponential: shape 1, scale 1
      >>> [round(float(v), 2) for v in fit_weibull(x, x >= 0)]
      [1.0, 1.0]
    """
    largest = jnp.maximum(jnp.where(counts, values, 0).max(), jnp.finfo(jnp.float32).tiny)
    # in units of the largest value no power exceeds 1
    logs = jnp.where(counts, jnp.log(jnp.maximum(values / largest, jnp.finfo(jnp.float32).tiny)), 0)
    total = counts.sum()

    def moments(shape):
        powers = jnp.where(counts, jnp.exp(shape * logs), 0)
        return powers.sum(), (powers * logs).sum()

    def is_large_enough(log_shape):
        power_sum, log_sum = moments(jnp.exp(log_shape))
        # sum x^c log x / sum x^c - 1 / c rises with c: below the mean of log x, c is too small
        return ~(log_sum / power_sum - jnp.exp(-log_shape) < logs.sum() / total)

    low, high = bisected(is_large_enough, jnp.log(jnp.float32(1e-2)), jnp.log(jnp.float32(1e4)), STEPS)
    shape = jnp.exp((low + high) / 2)
    return shape, largest * jnp.exp(jnp.log(moments(shape)[0] / total) / shape)
