"""Explicitness: how well a linear classifier predicts each factor's value from the codes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.disentanglement.checks import checked_parts
from jaxae.downstream.logistic import fit_logistic, predict_logits
from jaxae.numerics import require_within
from jaxae.scoring.metrics.ranking import auroc


def explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike,
    test_factors: ArrayLike,
    *,
    factor_sizes: Sequence[int] | None = None,
    penalty: float = 1.0,
) -> Float[Array, ""]:
    """The mean AUROC, one value of a factor against the rest, of logistic regression on standardised codes.

    Args:
      codes: `[N, D]`, codes of the train part.
      factors: `[N, F]`, factors of the train part, whole numbers 0..K-1.
      test_codes: `[M, D]`, codes of the test part.
      test_factors: `[M, F]`, factors of the test part; values that do not occur in it do not count.
      factor_sizes: number of values of each factor; needed where factors are traced.
      penalty: inverse weight C of the squared coefficients of the regression, beside a sum over rows.

    Returns:
      A scalar: 1/2 is chance, 1 is perfect.

    Raises:
      ValueError: see `checks.checked`.

    Source: Ridgeway and Mozer 2018, section 3; not rescaled from 1/2..1 to 0..1, as in Locatello et al. 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import explicitness
      >>> factors = jnp.array([[a, b] for a in range(2) for b in range(3)])
      >>> codes = factors.astype(jnp.float32)
      >>> float(explicitness(codes, factors, codes, factors)) > 0.8
      True
    """
    codes, factors, test_codes, test_factors, sizes = checked_parts(
        codes, factors, test_codes, test_factors, factor_sizes
    )
    require_within("penalty", penalty, "(0, inf)")
    # standardised by the train part, so that the penalty means the same for every dimension
    mean, scale = codes.mean(0, keepdims=True), codes.std(0, keepdims=True)
    train, test = ((part - mean) / jnp.where(scale > 0, scale, 1) for part in (codes, test_codes))
    areas = []
    for f, size in enumerate(sizes):
        # scikit-learn's C weighs a sum over N rows: l2 of a mean is 1 / (C N)
        model = fit_logistic(train, factors[:, f], size, 1 / (penalty * len(codes)), tolerance=1e-4)
        probabilities = jax.nn.softmax(predict_logits(model, test))
        values = jnp.arange(size)
        area = jax.vmap(lambda k, p, f=f: auroc((test_factors[:, f] == k).astype(jnp.int32), p))(
            values, probabilities.T
        )
        # AUROC is NaN for a value that the test part lacks
        areas.append(jnp.nanmean(area))
    return jnp.stack(areas).mean()
