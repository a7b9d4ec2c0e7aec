"""How many anomalies unlabelled data holds, judged by scores."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.scoring.checks import require_finite, require_open_unit, require_vectors


class Contamination(NamedTuple):
    """An estimate of the share of anomalies.

    Attributes:
      share: the estimate, in [0, 1].
      low: lower end of its interval.
      high: upper end.
    """

    share: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def contamination(
    scores: ArrayLike, clean: ArrayLike, confidence: ArrayLike = 0.95, quantile: ArrayLike = 0.8
) -> Contamination:
    """The share of anomalies among unlabelled scores, from how few of them score as low as clean normals do.

    With t the given quantile of the clean scores, F the share of scores up to t: `1 - F(unlabelled) / F(clean)`. Both
    samples must be new to the model: scores of rows that it was trained on are too low. Anomalies that score below t
    count as normal, so the estimate is low rather than high, and the interval (of the two samples' chance alone)
    covers what can be told apart, not more. Nothing is assumed about the distribution of scores; without clean scores
    something must be, and it decides the result: mixtures of two normals, or a normal fitted to the lower part, put
    14 to 38 % of anomalies into clean Fashion-MNIST scores.

    Args:
      scores: `[n]`, unlabelled.
      clean: `[m]`, of known normals, drawn as the normals among the unlabelled.
      confidence: of the interval, in (0, 1).
      quantile: in (0, 1); a higher one misses fewer anomalies and has less to count.

    Raises:
      ValueError: scores are not finite vectors, or a number is outside (0, 1).

    Source: Storey 2002, "A Direct Approach to False Discovery Rates" (the estimate of the share of true nulls);
    the interval of a ratio of shares: Katz et al. 1978.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import contamination
      >>> clean = jnp.arange(1000.0)
      >>> found = contamination(jnp.concatenate([clean, jnp.full(250, 2000.0)]), clean)
      >>> round(float(found.share), 3), bool(found.low < 0.2 < found.high)
      (0.2, True)
    """
    require_open_unit("confidence", confidence)
    require_open_unit("quantile", quantile)
    require_vectors(scores=scores)
    require_vectors(clean=clean)
    require_finite("scores", scores)
    require_finite("clean scores", clean)
    scores, clean = jnp.asarray(scores, jnp.float32), jnp.asarray(clean, jnp.float32)
    limit = jnp.quantile(clean, quantile)
    low, reference = jnp.mean(scores <= limit), jnp.mean(clean <= limit)
    # half a row keeps the logarithm finite where no score lies below the limit
    ratio = jnp.maximum(low, 0.5 / scores.size) / reference
    deviation = jnp.sqrt((1 - low) / (scores.size * ratio * reference) + (1 - reference) / (clean.size * reference))
    spread = jnp.exp(ndtri((1 + jnp.asarray(confidence, jnp.float32)) / 2) * deviation)
    shares = jnp.clip(1 - jnp.stack([low / reference, ratio * spread, ratio / spread]), 0, 1)
    return Contamination(shares[0], shares[1], jnp.maximum(shares[2], shares[0]))
