"""An estimate of the share of anomalies in unlabelled data, from scores."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import in_float32
from jaxae.scoring.checks import require_finite, require_open_unit, require_vectors


class Contamination(NamedTuple):
    """An estimate of the share of anomalies.

    Attributes:
      share: scalar, estimated share of anomalies, in [0, 1].
      low: scalar, lower end of the interval.
      high: scalar, upper end of the interval.
    """

    share: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def contamination(
    scores: ArrayLike, clean: ArrayLike, confidence: ArrayLike = 0.95, quantile: ArrayLike = 0.8
) -> Contamination:
    """The share of anomalies among unlabelled scores, from the share of them that is as low as clean normal scores.

    With t the given quantile of the clean scores and F the share of scores up to t, it is
    `1 - F(unlabelled) / F(clean)`. Both samples must be new to the model: scores of training rows are too low.
    Anomalies that score below t count as normal, so the estimate tends to be low. The interval covers the chance of
    the two samples, and not anomalies that score like normals. No distribution of scores is assumed. Methods without
    clean scores must assume one, which decides their result: mixtures of two normals, or a normal fitted to the lower
    scores, find 14 to 38 % of anomalies in clean Fashion-MNIST scores.

    Args:
      scores: `[n]`, unlabelled scores.
      clean: `[m]`, scores of known normals, drawn like the normals among the unlabelled.
      confidence: confidence level of the interval, in (0, 1).
      quantile: quantile level of t in (0, 1); a higher t misses fewer anomalies but leaves fewer scores above it.

    Raises:
      ValueError: scores are not finite vectors, or a number is outside (0, 1).

    Source: Storey 2002, "A Direct Approach to False Discovery Rates" (the estimate of the share of true nulls);
    the interval of a ratio of shares: Katz et al. 1978.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import contamination
      >>> clean = jnp.arange(1000.0)
      >>> estimate = contamination(jnp.concatenate([clean, jnp.full(250, 2000.0)]), clean)
      >>> round(float(estimate.share), 3), bool(estimate.low < 0.2 < estimate.high)
      (0.2, True)
    """
    require_open_unit("confidence", confidence)
    require_open_unit("quantile", quantile)
    require_vectors(scores=scores)
    require_vectors(clean=clean)
    require_finite("scores", scores)
    require_finite("clean scores", clean)
    scores, clean = in_float32("scores", scores), in_float32("clean scores", clean)
    limit = jnp.quantile(clean, quantile)
    # normals are as often below t in both samples, anomalies (nearly) never: the ratio is the share of normals
    low, reference = jnp.mean(scores <= limit), jnp.mean(clean <= limit)
    # half a row keeps the logarithm finite where no score lies below the limit
    ratio = jnp.maximum(low, 0.5 / scores.size) / reference
    # Katz et al.: the log of a ratio of two shares has variance (1 - p1) / (n1 p1) + (1 - p2) / (n2 p2)
    deviation = jnp.sqrt((1 - low) / (scores.size * ratio * reference) + (1 - reference) / (clean.size * reference))
    spread = jnp.exp(ndtri((1 + jnp.asarray(confidence, jnp.float32)) / 2) * deviation)
    # a large ratio means few anomalies: the upper end of the ratio is the lower end of the share
    shares = jnp.clip(1 - jnp.stack([low / reference, ratio * spread, ratio / spread]), 0, 1)
    return Contamination(shares[0], shares[1], jnp.maximum(shares[2], shares[0]))
