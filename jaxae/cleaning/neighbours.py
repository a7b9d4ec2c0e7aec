"""Cleaning contaminated training rows by the distance of each row to its neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from jaxae.downstream.logistic import as_features
from jaxae.numerics import require_count, require_within

_CHUNK_BYTES = 32 * 2**20  # memory of the distances of one chunk of rows


def kept_by_neighbours(
    x: ArrayLike,
    contamination: float,
    k: int | None = None,
    spare: float = 1.5,
    exponent: float = 0.5,
    rounds: int = 4,
) -> tuple[Bool[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Which rows to train on, when a share of them are unlabelled anomalies.

    A row's score is its squared distance to the k-th nearest of the rows kept so far, over `(1 + |x|^2)^exponent`. The
    rows that score highest are left out and the neighbours counted again without them, `rounds` times. Anomalies that
    form a cluster score high only where k exceeds the size of the cluster, so k grows with the contamination.

    Args:
      x: `[N, D]` training rows, scaled as the model reads them.
      contamination: share of anomalies among the rows, in [0, 1).
      k: rank of the neighbour; None takes a ninth of the expected anomalies, at least 20 and at most N - 1.
      spare: number of rows left out for each expected anomaly, at least 1: losing a normal row costs less than
        training on an anomaly.
      exponent: power of the row's energy in the divisor; 0 compares plain distances, larger values tolerate larger
        distances of rows with large norm (bright images).
      rounds: number of rounds, at least 1.

    Returns:
      `[N]` bool, the rows to keep, and `[N]` float32, the scores of the last round.

    Raises:
      ValueError: a number is out of its range, or there are too few rows.

    Source: k-th neighbour distances: Ramaswamy, Rastogi and Shim 2000; counting again without the outliers: iterated
    trimming, Rousseeuw and Leroy 1987, "Robust Regression and Outlier Detection".

    Example:
      >>> import numpy as np
      >>> from jaxae.cleaning import kept_by_neighbours
      >>> x = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
      >>> x[:20] += 8
      >>> kept, _ = kept_by_neighbours(x, contamination=0.05)
      >>> int(kept.sum()), bool(kept[:20].any())
      (370, False)
    """
    x = as_features("x", x)
    count = x.shape[0]
    require_within("contamination", contamination, "[0, 1)")
    require_within("spare", spare, "[1, inf)")
    require_within("exponent", exponent, "[0, inf)")
    contamination, spare, exponent = float(contamination), float(spare), float(exponent)
    rounds = require_count("rounds", rounds)
    dropped = round(spare * contamination * count)
    k = min(max(20, round(contamination * count / 9)), count - 1) if k is None else require_count("k", k)
    if not 1 <= k < count - dropped:
        raise ValueError(
            f"{k} neighbours are too many for {count} rows of which {dropped} are left out: give fewer, or more rows"
        )
    # spare neighbours beyond k, since some of the listed ones will be left out
    num_listed = min(count - 1, k + round(2 * k * dropped / count) + 20)
    distance, index = (np.asarray(a) for a in jax.jit(_neighbours, static_argnums=1)(x, num_listed))
    energy = (1 + np.asarray(jnp.sum(x**2, -1))) ** exponent
    is_kept, score = np.ones(count, bool), np.zeros(count)
    for _ in range(rounds):
        # position of the k-th kept neighbour in each list: the first at which k kept ones are counted
        position = np.argmax(np.cumsum(is_kept[index], axis=1) == k, axis=1)
        # fewer than k listed neighbours are kept (a cluster of anomalies): the last listed one is a lower bound
        position = np.where(is_kept[index].sum(1) < k, num_listed - 1, position)
        score = distance[np.arange(count), position] / energy
        is_kept = np.ones(count, bool)
        is_kept[np.argsort(-score, kind="stable")[:dropped]] = False
    return is_kept, score.astype(np.float32)


def _neighbours(x: Array, k: int) -> tuple[Array, Array]:
    """Squared distances and indices of each row's k nearest other rows, the nearest first."""
    count = x.shape[0]
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, one row of the N x N matrix at a time
    norms = jnp.sum(x**2, -1)

    def of(row: Array) -> tuple[Array, Array]:
        distance = norms[row] + norms - 2 * jnp.matmul(x[row], x.T, precision=jax.lax.Precision.HIGHEST)
        nearest, index = jax.lax.top_k(jnp.where(jnp.arange(count) == row, -jnp.inf, -distance), k)
        return jnp.maximum(-nearest, 0), index

    at_once = max(1, min(count, _CHUNK_BYTES // (4 * count)))
    return jax.lax.map(of, jnp.arange(count), batch_size=at_once)
