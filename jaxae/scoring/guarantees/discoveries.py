"""Which of many examples to report as anomalies, with a bound on the share of normal ones among them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from jaxae.numerics import require_within
from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.checks import require_open_unit, require_p_values, require_vectors


class Discoveries(NamedTuple):
    """The examples that are reported as anomalies.

    Attributes:
      is_discovery: `[m]` bool, true where the q-value is at most the level.
      q_value: `[m]`, adjusted p-value: the least level at which the example is reported.
    """

    is_discovery: Bool[Array, " m"]
    q_value: Float[Array, " m"]


def benjamini_hochberg(p_values: ArrayLike, level: ArrayLike = 0.1, null_share: ArrayLike = 1.0) -> Discoveries:
    """Reports the k smallest p-values, k the largest with `p_(k) <= level k / (m null_share)`.

    The false discovery rate, the expected share of normal examples among the reported, is at most `level` times the
    share of normal examples. This is proven for independent p-values, and for split conformal p-values of independent
    examples with a common calibration set, which are positively dependent. For cross, jackknife+ and weighted p-values
    it is empirical. The least conformal p-value is 1 / (n + 1): a single anomaly among m is reported only with about
    `m / level` calibration scores or more.

    Args:
      p_values: `[m]`, p-value of each example, in [0, 1].
      level: false discovery rate allowed, in (0, 1).
      null_share: share of normal examples, such as the estimate of `storey_null_share`; 1 is always valid.

    Raises:
      ValueError: p-values are not a vector in [0, 1], or `level` is outside (0, 1).

    Source: Benjamini and Hochberg 1995, "Controlling the False Discovery Rate"; Bates et al. 2023, "Testing for
    outliers with conformal p-values", theorem 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.discoveries import benjamini_hochberg
      >>> discoveries = benjamini_hochberg(jnp.array([0.5, 0.01, 0.04, 0.03]), level=0.05)
      >>> discoveries.is_discovery.tolist(), [round(q, 4) for q in discoveries.q_value.tolist()]
      ([False, True, False, False], [0.5, 0.04, 0.0533, 0.0533])
    """
    require_open_unit("level", level)
    require_within("null_share", null_share, "(0, inf)")
    _check(p_values)
    p_values = jnp.asarray(p_values, jnp.float32)
    count = p_values.shape[0]
    order = jnp.argsort(p_values)
    rank = np.arange(1, count + 1, dtype=np.float32)
    # Benjamini and Hochberg: m p_(k) / k, the level at which rank k just passes
    scaled = p_values[order] * (np.float32(count) / rank) * null_share
    # q-value of rank k: the minimum of m p_(j) / j over ranks j >= k, by an accumulated minimum from the end
    least = jnp.minimum(jnp.flip(jnp.minimum.accumulate(jnp.flip(scaled))), 1)
    # back to the order of the examples
    q_values = jnp.zeros_like(p_values).at[order].set(least)
    return Discoveries(q_values <= level, q_values)


def storey_null_share(p_values: ArrayLike, cut: ArrayLike = 0.5) -> Float[Array, ""]:
    """An estimate of the share of normal examples, `(1 + #{p > cut}) / (m (1 - cut))`.

    It may exceed 1 and must not be clipped: the proof of its use in `benjamini_hochberg` (for independent p-values)
    would fail.

    Args:
      p_values: `[m]`, p-value of each example, in [0, 1].
      cut: p-value above which examples count as normal, in (0, 1).

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
    # p-values of normals are uniform: a share 1 - cut of them lies above the cut; the 1 keeps the estimate above 0
    return (1 + jnp.sum(p_values > cut)) / (p_values.shape[0] * (1 - jnp.asarray(cut, jnp.float32)))


def _check(p_values: ArrayLike) -> None:
    require_vectors(p_values=p_values)
    require_p_values(p_values)


check_arguments(__name__)
