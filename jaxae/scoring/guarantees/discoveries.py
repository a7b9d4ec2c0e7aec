"""Which of many examples to report, with a bound on the share of normal ones among them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from jaxae.scoring.checks import is_traced, require_open_unit, require_vectors


class Discoveries(NamedTuple):
    """Which examples are reported as anomalies.

    Attributes:
      is_discovery: `[m]`, where the q-value is at most the level.
      q_value: `[m]`, adjusted p-value: the least level at which the example is reported.
    """

    is_discovery: Bool[Array, " m"]
    q_value: Float[Array, " m"]


def benjamini_hochberg(p_values: ArrayLike, level: ArrayLike = 0.1, null_share: ArrayLike = 1.0) -> Discoveries:
    """Reports the k smallest p-values, k the largest with `p_(k) <= level k / (m null_share)`.

    The expected share of normal examples among the reported, the false discovery rate, is at most `level` times the
    share of normal examples: proven for independent p-values and for split conformal ones of independent examples
    that share a calibration set (which depend on each other positively). For cross, jackknife+ and weighted p-values
    it is empirical. The least conformal p-value is 1 / (n + 1): without about `m / level` calibration scores a single
    anomaly among m cannot be reported.

    Args:
      p_values: `[m]`, in [0, 1].
      level: the false discovery rate to keep to, in (0, 1).
      null_share: the share of normal examples, from `storey_null_share` to report more; 1 knows nothing.

    Raises:
      ValueError: p-values are not a vector in [0, 1], or `level` is outside (0, 1).

    Source: Benjamini and Hochberg 1995, "Controlling the False Discovery Rate"; Bates et al. 2023, "Testing for
    outliers with conformal p-values", theorem 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.discoveries import benjamini_hochberg
      >>> found = benjamini_hochberg(jnp.array([0.5, 0.01, 0.04, 0.03]), level=0.05)
      >>> found.is_discovery.tolist(), [round(q, 4) for q in found.q_value.tolist()]
      ([False, True, False, False], [0.5, 0.04, 0.0533, 0.0533])
    """
    require_open_unit("level", level)
    _check(p_values)
    p_values = jnp.asarray(p_values, jnp.float32)
    count = p_values.shape[0]
    order = jnp.argsort(p_values)
    rank = np.arange(1, count + 1, dtype=np.float32)
    scaled = p_values[order] * (np.float32(count) / rank) * null_share
    least = jnp.minimum(jnp.flip(jnp.minimum.accumulate(jnp.flip(scaled))), 1)
    q_values = jnp.zeros_like(p_values).at[order].set(least)
    return Discoveries(q_values <= level, q_values)


def storey_null_share(p_values: ArrayLike, cut: ArrayLike = 0.5) -> Float[Array, ""]:
    """The share of normal examples, from how many p-values lie above a cut: `(1 + #{p > cut}) / (m (1 - cut))`.

    It may exceed 1, and has to: clipped, the proof of its use in `benjamini_hochberg` (for independent p-values) fails.

    Args:
      p_values: `[m]`, in [0, 1].
      cut: in (0, 1).

    Raises:
      ValueError: p-values are not a vector in [0, 1], or `cut` is outside (0, 1).

    Source: Storey, Taylor and Siegmund 2004, "Strong control, conservative point estimation and simultaneous
    conservative consistency of false discovery rates".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.discoveries import storey_null_share
      >>> float(storey_null_share(jnp.array([0.01, 0.02, 0.03, 0.6, 0.04, 0.05, 0.01, 0.02])))
      0.5
    """
    require_open_unit("cut", cut)
    _check(p_values)
    p_values = jnp.asarray(p_values, jnp.float32)
    return (1 + jnp.sum(p_values > cut)) / (p_values.shape[0] * (1 - jnp.asarray(cut, jnp.float32)))


def _check(p_values: ArrayLike) -> None:
    require_vectors(p_values=p_values)
    if is_traced(p_values):
        return
    values = np.asarray(p_values)
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise ValueError(
            f"p-values must lie in [0, 1]; {bad.sum()} of {values.size} do not, the first {values[bad][0]}"
        )
