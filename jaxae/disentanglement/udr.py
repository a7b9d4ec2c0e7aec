"""Unsupervised disentanglement ranking: models that disentangle agree on the dimensions across seeds."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.disentanglement.checks import as_codes
from jaxae.files.messages import shown
from jaxae.numerics import require_count, require_within


def udr(
    codes: ArrayLike,
    kl: ArrayLike | None = None,
    *,
    method: str = "lasso",
    least_kl: float = 0.01,
    penalty: float = 0.1,
    steps: int = 300,
) -> Float[Array, " M"]:
    """UDR: for each of M models the median, over the other models, of their agreement up to order and sign.

    Between models i and j the similarity `R [D, D]` of every pair of dimensions gives the score `(mean_b max_a R^2 /
    sum_a R + mean_a max_b R^2 / sum_b R) / 2`, which is 1 where each dimension has one counterpart. No labels are read.

    Args:
      codes: `[M, N, D]`, the same N examples encoded by M models that differ in their seed alone.
      kl: `[M, D]` nats, mean KL of each dimension from the prior; None counts all dimensions.
      method: similarity of two dimensions, "lasso" (coefficients of a sparse regression of j's dimensions on all of
        i's) or "spearman" (rank correlation).
      least_kl: KL in nats at or below which a dimension is left out.
      penalty: weight alpha of the lasso's L1 term in `|y - X w|^2 / 2N + alpha |w|_1` on standardised codes.
      steps: number of sweeps of coordinate descent.

    Returns:
      `[M]` in 0..1, higher is better.

    Raises:
      ValueError: fewer than 2 models or rows, another method.

    Source: Duan et al. 2020, "Unsupervised Model Selection for Variational Disentangled Representation Learning",
    section 4; alpha 0.1 and 0.01 nats are the published values.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import udr
      >>> codes = jax.random.normal(jax.random.key(0), (500, 3))
      >>> [round(float(s), 2) for s in udr(jnp.stack([codes, -codes[:, ::-1]]), method="spearman")]  # 1 but for chance
      [0.93, 0.93]
    """
    codes = as_codes(codes)
    if codes.ndim != 3 or codes.shape[0] < 2 or codes.shape[1] < 2 or codes.shape[2] < 1:
        raise ValueError(f"UDR compares 2 models or more on 2 rows or more, codes [M, N, D]; got shape {codes.shape}")
    if method not in ("lasso", "spearman"):
        raise ValueError(f'method must be "lasso" or "spearman"; got {shown(method)}')
    require_within("least_kl", least_kl, "[0, inf)")
    require_within("penalty", penalty, "[0, inf)")
    steps = require_count("steps", steps)
    if kl is not None:
        kl = as_codes(kl, "kl")
        if kl.shape != codes.shape[::2]:
            raise ValueError(f"kl must be [M, D] = {codes.shape[::2]}, as the codes have it; got shape {kl.shape}")
    active = jnp.ones(codes.shape[::2], bool) if kl is None else kl > least_kl
    if method == "spearman":
        codes = jax.vmap(jax.vmap(_ranks, 1, 1))(codes)
    # standardised codes make the product of two models' codes a matrix of correlations; idle dimensions become zeros
    spread = codes.std(1, keepdims=True)
    codes = (codes - codes.mean(1, keepdims=True)) / jnp.where(spread > 0, spread, 1) * active[:, None]

    def similarity(first, second):
        # the lasso needs only X^T X / n and X^T Y / n
        gram, cross = first.T @ first / len(first), first.T @ second / len(first)
        return jnp.abs(cross if method == "spearman" else _lasso(gram, cross, penalty, steps))

    def score(i, j):
        is_pair_active = active[i][:, None] & active[j][None]
        # idle dimensions of either model are left out
        similarities = jnp.where(is_pair_active, similarity(codes[i], codes[j]), 0)
        return (_strength(similarities, active[j]) + _strength(similarities.T, active[i])) / 2

    models = jnp.arange(len(codes))
    # pair by pair: a vmap over pairs would hold M^2 matrices of correlations
    scores = jax.lax.map(lambda i: jax.lax.map(lambda j: score(i, j), models), models)
    # a model is not compared with itself
    return jnp.clip(jnp.nanmedian(jnp.where(models[:, None] == models[None], jnp.nan, scores), 0), 0, 1)


def _strength(r, active):
    """Mean over active columns of `max^2 / sum`; a column of zeros counts 0."""
    total = r.sum(0)
    strength = jnp.where(total > 0, r.max(0) ** 2 / jnp.where(total > 0, total, 1), 0)
    return (strength * active).sum() / jnp.maximum(active.sum(), 1)


def _lasso(gram, cross, penalty, steps):
    """Coordinate descent, all targets at once: `[D, D]` coefficients."""

    def sweep(w, _):
        def update(d, w):
            # soft threshold of the correlation of dimension d with the residual that leaves d out
            correlation = cross[d] - gram[d] @ w + gram[d, d] * w[d]
            shrunk = jnp.sign(correlation) * jnp.maximum(jnp.abs(correlation) - penalty, 0)
            return w.at[d].set(shrunk / jnp.where(gram[d, d] > 0, gram[d, d], 1))

        return jax.lax.fori_loop(0, len(gram), update, w), None

    return jax.lax.scan(sweep, jnp.zeros_like(cross), None, length=steps)[0]


def _ranks(values):
    """Ranks from 1; equal values share the mean of their ranks."""
    ordered = jnp.sort(values)
    low, high = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (low + high + 1) / 2.0
