"""Rules that read clean calibration scores alone, so they need no anomaly at all."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import as_number
from jaxae.scoring.checks import require_open_unit
from jaxae.scoring.guarantees import bounds
from jaxae.scoring.guarantees.binomial import lower_tail
from jaxae.scoring.guarantees.conformal import p_value_table
from jaxae.scoring.thresholds.rule import next_above, rule
from jaxae.types import Threshold


def quantile(q: ArrayLike) -> Threshold:
    """λ is the q-quantile of the calibration scores, linear between order statistics (NumPy's default).

    About 1 - q of normal examples are flagged; `false_alarm_rate` and `conformal` are exact about it.

    Args:
      q: in (0, 1).

    Raises:
      ValueError: `q` is outside (0, 1); in `fit`, scores are not finite or all equal.

    Source: Hyndman and Fan 1996, "Sample Quantiles in Statistical Packages", definition 7.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> rule = thresholds.quantile(0.5)
      >>> float(rule.fit(jnp.array([1.0, 2.0, 4.0, 9.0]))["threshold"])
      3.0
    """
    require_open_unit("q", q)
    return rule(lambda calibration, dev, labels, weight: jnp.quantile(calibration, q), reads="rank")


def false_alarm_rate(alpha: ArrayLike) -> Threshold:
    """The least λ with at most a share alpha of the calibration scores at or above it.

    It bounds the rate on the calibration scores themselves. For new normal examples use `conformal`, which is
    stricter by one score: its false-alarm rate is at most alpha on average over calibration sets.

    Args:
      alpha: in (0, 1).

    Raises:
      ValueError: `alpha` is outside (0, 1); in `fit`, scores are not finite or all equal, or there are fewer than
        1 / alpha of them, when not one may be flagged.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> rule = thresholds.false_alarm_rate(0.25)
      >>> fitted = rule.fit(jnp.array([1.0, 2.0, 4.0, 9.0]))
      >>> rule.apply(fitted, jnp.array([4.0, 5.0])).is_anomaly.tolist()
      [False, True]
    """
    require_open_unit("alpha", alpha)

    def choose(calibration, dev, labels, weight):
        count = calibration.shape[0]
        shares = np.arange(1, count + 1, dtype=np.float32) / np.float32(count)
        _require_enough(count, shares[0], alpha, math.ceil)
        return _above(calibration, jnp.sum(shares <= jnp.float32(alpha)))

    return rule(choose, reads="rank")


def conformal(alpha: ArrayLike) -> Threshold:
    """Flags exactly where `p_value <= alpha`: a new normal example is flagged with probability at most alpha.

    The probability is over calibration set and example together, which must be exchangeable; nothing is assumed
    about their distribution or the score. λ is the least number above the calibration score of rank
    `floor(alpha (n + 1))` from the top.

    Args:
      alpha: in (0, 1).

    Raises:
      ValueError: `alpha` is outside (0, 1); in `fit`, scores are not finite or all equal, or there are fewer than
        1 / alpha - 1 of them, when nothing could ever be flagged.

    Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", proposition 2.4; Laxhammar
    and Falkman 2010, "Conformal prediction for distribution-independent anomaly detection".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> rule = thresholds.conformal(0.25)
      >>> verdict = rule.apply(rule.fit(jnp.array([1.0, 2.0, 9.0])), jnp.array([9.0, 9.5]))
      >>> verdict.p_value.tolist(), verdict.is_anomaly.tolist()
      ([0.5, 0.25], [False, True])
    """
    require_open_unit("alpha", alpha)

    def choose(calibration, dev, labels, weight):
        count = calibration.shape[0]
        shares = p_value_table(count)
        _require_enough(count, shares[0], alpha, lambda needed: math.ceil(needed) - 1)
        return _above(calibration, jnp.sum(shares <= jnp.float32(alpha)) - 1)

    return rule(choose, reads="rank")


def false_alarm_bound(alpha: ArrayLike, confidence: ArrayLike = 0.95) -> Threshold:
    """λ whose false-alarm rate is at most alpha with the given confidence over the calibration set.

    `conformal` keeps to alpha on average over calibration sets: about half of them give a λ that exceeds it. Here at
    most a share `1 - confidence` does: λ is the least number above the calibration score that has k others above it,
    k the largest with `P(Binomial(n, alpha) <= k) <= 1 - confidence`. Tied scores only make it stricter.

    Args:
      alpha: in (0, 1).
      confidence: in (0, 1), usually above one half.

    Raises:
      ValueError: a number is outside (0, 1); in `fit`, scores are not finite or all equal, or too few: without one
        flagged, n of them bound the rate by alpha only if `(1 - alpha)^n <= 1 - confidence`.

    Source: Wilks 1941, "Determination of Sample Sizes for Setting Tolerance Limits".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> calibration = jnp.arange(100.0)
      >>> fitted = thresholds.false_alarm_bound(0.05).fit(calibration)
      >>> int((calibration >= fitted["threshold"]).sum())
      1
    """
    require_open_unit("alpha", alpha)
    require_open_unit("confidence", confidence)

    def choose(calibration, dev, labels, weight):
        count = calibration.shape[0]
        rate, sureness = as_number(alpha), as_number(confidence)
        if rate is not None and sureness is not None:
            least = bounds.needed(rate, sureness)
            if count < least:
                raise ValueError(
                    f"{count} calibration scores are too few for a rate of {alpha:g} at confidence {confidence:g}: "
                    f"at least {least} are needed (or a larger rate, or less confidence)"
                )
        return _above(calibration, _tolerated(count, alpha, confidence))

    return rule(choose, reads="rank")


def _tolerated(count: int, alpha: ArrayLike, confidence: ArrayLike) -> Array:
    """The largest k with `P(Binomial(count, alpha) <= k) <= 1 - confidence`; -1 where not even 0 is."""
    alpha = jnp.asarray(alpha, jnp.float32)
    # 1 - 0.9 is below 0.1: the margin keeps the sample sizes that are needed exactly
    risk = jnp.asarray(1 - confidence, jnp.float32) * (1 + 1e-6)

    def halve(_, ends):
        few, many = ends
        k = (few + many) // 2
        allowed = lower_tail(k, count, alpha, 1 - alpha) <= risk
        return jnp.where(allowed, k, few), jnp.where(allowed, many, k)

    # the tail is summed up to the mean, beyond which confidences are below one half
    many = jnp.floor(count * alpha).astype(jnp.int32) + 1
    return jax.lax.fori_loop(0, count.bit_length() + 1, halve, (jnp.full_like(many, -1), many))[0]


def _above(calibration: Array, allowed: Array) -> Array:
    """The least λ with at most `allowed` of the ascending calibration scores at or above it."""
    count = calibration.shape[0]
    # Unchecked under vmap over alpha: too few scores allow none, which rank -1 says and the clip must not hide.
    limit = next_above(calibration[jnp.clip(count - 1 - allowed, 0, count - 1)])
    return jnp.where(allowed < 0, jnp.inf, limit)


def _require_enough(count: int, least_share: np.floating, alpha: ArrayLike, needed) -> None:
    if (rate := as_number(alpha)) is not None and least_share > np.float32(rate):
        least = needed(round(1 / rate, 6))
        raise ValueError(
            f"{count} calibration scores are too few for a rate of {alpha:g}: at least {least} are needed "
            "(or a larger rate)"
        )
