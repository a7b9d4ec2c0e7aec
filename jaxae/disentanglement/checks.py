"""Errors in one line for codes and factors; only concrete values are checked."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from jaxae.numerics import first_nonfinite, is_traced


def sizes_of(codes: ArrayLike, factors: ArrayLike, factor_sizes: Sequence[int] | None = None) -> tuple[int, ...]:
    """Check codes and factors, and return the number of values of each factor.

    Args:
      codes: `[N, D]`, finite.
      factors: `[N, F]` whole numbers 0..size - 1, at least two values each.
      factor_sizes: number of values of each factor; None counts them, which needs concrete factors.

    Raises:
      ValueError: shapes that do not fit, codes that are not finite, factors that are constant, continuous, negative or
        beyond their size, or traced factors without sizes.

    Example:
      >>> import numpy as np
      >>> from jaxae.disentanglement.checks import sizes_of
      >>> sizes_of(np.zeros((4, 2)), np.array([[0], [2], [1], [0]]))
      (3,)
    """
    shapes = np.shape(codes), np.shape(factors)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][0] != shapes[1][0] or 0 in (*shapes[0], *shapes[1]):
        raise ValueError(f"codes [N, D] and factors [N, F] with one N are needed; got shapes {shapes[0]}, {shapes[1]}")
    if not is_traced(codes) and (bad := first_nonfinite(codes))[0]:
        raise ValueError(f"codes: {bad[0]} values are NaN or infinite, the first in row {bad[1] // shapes[0][1]}")
    if factor_sizes is not None and len(factor_sizes) != shapes[1][1]:
        raise ValueError(f"{shapes[1][1]} factors need as many sizes; got {tuple(factor_sizes)}")
    # the number of values decides shapes, so it cannot be read from traced factors
    if is_traced(factors):
        if factor_sizes is None:
            raise ValueError("factors are traced here (jit, vmap): pass factor_sizes, the number of values of each")
        sizes = tuple(factor_sizes)
    else:
        sizes = _sizes_of_values(np.asarray(factors), factor_sizes)
    if min(sizes) < 2:
        raise ValueError(
            f"factor {sizes.index(min(sizes))} is constant (1 value); leave it out, nothing can vary with it"
        )
    return sizes


def _sizes_of_values(factors: np.ndarray, sizes: Sequence[int] | None) -> tuple[int, ...]:
    for f, column in enumerate(factors.T):
        if column.dtype.kind not in "iub" and not (column == np.round(column)).all():
            raise ValueError(
                f"factor {f} is continuous ({len(np.unique(column))} values in {len(column)} rows, such as "
                f"{column[column != np.round(column)][0]:.4g}); classes 0..K-1 are needed: bin it first"
            )
        low, high = int(column.min()), int(column.max())
        if low == high:
            raise ValueError(f"factor {f} is constant ({low} in all {len(column)} rows); leave it out")
        if low < 0 or (sizes is not None and high >= sizes[f]):
            raise ValueError(f"factor {f} must be 0..{'K' if sizes is None else sizes[f]} - 1; found {low}..{high}")
    return tuple(int(high) + 1 for high in factors.max(0)) if sizes is None else tuple(sizes)


def require_gap(codes: ArrayLike) -> None:
    """Raise for codes of a single dimension, which have no gap between the best two."""
    if np.ndim(codes) == 2 and np.shape(codes)[1] < 2:
        raise ValueError(f"a gap between the best two dimensions needs 2 of them; codes have {np.shape(codes)[1]}")
