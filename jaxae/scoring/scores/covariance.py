"""Means and covariances from few rows: shrinkage, weights, and a whitening that never divides by zero."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import require_within

SHRINKAGES = ("ledoit_wolf", "oas")


def shrunk_covariance(
    x: Float[Array, "N D"], shrinkage: str | ArrayLike = "ledoit_wolf", weight: Float[Array, " N"] | None = None
) -> tuple[Float[Array, " D"], Float[Array, "D D"], Float[Array, ""]]:
    """Mean and `(1 - a) S + a (tr S / D) I`, with S the covariance (divided by N) and a the shrinkage.

    Args:
      x: `[N, D]`, rows.
      shrinkage: estimator of a, "ledoit_wolf" or "oas", or the number a itself, in [0, 1].
      weight: `[N]`, weight of each row, 0 where a row does not count; None weighs all rows 1.

    Returns:
      `(mean [D], covariance [D, D], a)`, a the shrinkage applied.

    Raises:
      ValueError: an unknown name, or a number outside [0, 1].

    Source: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices"; Chen et al.
    2010, "Shrinkage Algorithms for MMSE Covariance Estimation", equation 23.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.covariance import shrunk_covariance
      >>> mean, covariance, _ = shrunk_covariance(jnp.array([[0.0, 0.0], [2.0, 0.0]]), shrinkage=0.5)
      >>> mean.tolist(), covariance.tolist()
      ([1.0, 0.0], [[0.75, 0.0], [0.0, 0.25]])
    """
    require_shrinkage(shrinkage)
    weight = jnp.ones(x.shape[0]) if weight is None else weight
    x = x.astype(jnp.float32)
    count, width = weight.sum(), x.shape[1]
    # where, not a product: a row of weight 0 may hold infinities or NaN
    mean = jnp.where(weight[:, None] > 0, x * weight[:, None], 0).sum(0) / count
    centred = jnp.where(weight[:, None] > 0, x - mean[None], 0)
    sample = (centred * weight[:, None]).T @ centred / count
    spherical = jnp.trace(sample) / width * jnp.eye(width)
    if isinstance(shrinkage, str):
        estimate = _ledoit_wolf if shrinkage == "ledoit_wolf" else _oas
        amount = estimate(sample, spherical, centred, weight)
    else:
        amount = jnp.asarray(shrinkage, jnp.float32)
    return mean, (1 - amount) * sample + amount * spherical, amount


def whitening(covariance: Float[Array, "D D"]) -> Float[Array, "D D"]:
    """W with `|x W|^2 = x C^-1 x`; directions without variance count as if they had the variance of rounding.

    Args:
      covariance: `[D, D]`, symmetric and positive semi-definite.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.covariance import whitening
      >>> [round(abs(w), 3) for w in jnp.diag(whitening(jnp.diag(jnp.array([4.0, 25.0])))).tolist()]
      [0.5, 0.2]
    """
    # C = V diag(v) V^T, so W = V diag(v^-1/2)
    variance, directions = jnp.linalg.eigh(covariance)
    eps, tiny = jnp.finfo(jnp.float32).eps, jnp.finfo(jnp.float32).tiny
    # eigenvalues below eps * D times the largest are rounding errors of eigh
    least = jnp.maximum(variance[-1] * eps * covariance.shape[0], tiny)
    return directions / jnp.sqrt(jnp.maximum(variance, least))[None]


def require_shrinkage(shrinkage: str | ArrayLike) -> None:
    """Raise unless `shrinkage` is a known name or a number in [0, 1]; arrays, perhaps traced, pass."""
    if isinstance(shrinkage, str) and shrinkage not in SHRINKAGES:
        raise ValueError(f"unknown shrinkage {shrinkage!r}; there are {', '.join(SHRINKAGES)}, or a number in [0, 1]")
    if not isinstance(shrinkage, str):
        require_within("shrinkage", shrinkage, "[0, 1]")


def _ledoit_wolf(sample, spherical, centred, weight):
    """`min(b^2, d^2) / d^2`: b^2 the error of the sample covariance, d^2 its distance from the multiple of I."""
    distance = jnp.sum((sample - spherical) ** 2)
    # b^2 = mean |x x^T - S|^2 / n, and mean |x x^T - S|^2 = mean |x|^4 - |S|^2
    fourth = jnp.sum(weight * jnp.sum(centred**2, -1) ** 2) / weight.sum()
    error = jnp.maximum(fourth - jnp.sum(sample**2), 0) / weight.sum()
    return jnp.where(distance > 0, jnp.minimum(error, distance) / jnp.where(distance > 0, distance, 1), 0.0)


def _oas(sample, spherical, centred, weight):
    width = sample.shape[0]
    # equation 23 with D^2 in common: tr(S^2) / D^2 and tr(S)^2 / D^2
    squares, level = jnp.mean(sample**2), spherical[0, 0] ** 2
    denominator = (weight.sum() + 1) * (squares - level / width)
    return jnp.where(
        denominator > 0, jnp.minimum((squares + level) / jnp.where(denominator > 0, denominator, 1), 1), 1.0
    )
