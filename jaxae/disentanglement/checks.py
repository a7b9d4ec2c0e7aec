"""Errors in one line for codes and factors; only concrete values are checked."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.files.messages import shown
from jaxae.numerics import first_nonfinite, in_float32, is_traced, real_array, require_count


def checked(
    codes: ArrayLike, factors: ArrayLike, factor_sizes: Sequence[int] | None = None, prefix: str = ""
) -> tuple[Array, Array, tuple[int, ...]]:
    """Codes as float32, factors as int32, and the number of values of each factor.

    Args:
      codes: `[N, D]`, finite.
      factors: `[N, F]` whole numbers 0..size - 1, at least two values each; bool and floating ones that are whole too.
      factor_sizes: number of values of each factor; None counts them, which needs concrete factors.
      prefix: what errors put before "codes" and "factors", such as "test ".

    Raises:
      ValueError: shapes that do not fit, codes that are no numbers, not finite or merged by float32, factors that are
        text or of another kind, constant, continuous, negative or beyond their size, or traced factors without sizes.

    Example:
      >>> import numpy as np
      >>> from jaxae.disentanglement.checks import checked
      >>> codes, factors, sizes = checked(np.zeros((4, 2)), np.array([[False], [True], [True], [False]]))
      >>> str(codes.dtype), factors[:, 0].tolist(), sizes
      ('float32', [0, 1, 1, 0], (2,))
    """
    rows, values = as_codes(codes, f"{prefix}codes"), real_array(f"{prefix}factors", factors, objects=True)
    shapes = rows.shape, values.shape
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][0] != shapes[1][0] or 0 in (*shapes[0], *shapes[1]):
        raise ValueError(
            f"{prefix}codes [N, D] and factors [N, F] with one N are needed; got shapes {shapes[0]}, {shapes[1]}"
        )
    sizes = None if factor_sizes is None else checked_sizes(factor_sizes, shapes[1][1])
    # the number of values decides shapes, so it cannot be read from traced factors
    if is_traced(values):
        if sizes is None:
            raise ValueError("factors are traced here (jit, vmap): pass factor_sizes, the number of values of each")
    else:
        sizes = _sizes_of_values(np.asarray(values), sizes, bool(prefix))
    return rows, jnp.asarray(values).astype(jnp.int32), sizes


def checked_parts(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike,
    test_factors: ArrayLike,
    factor_sizes: Sequence[int] | None = None,
) -> tuple[Array, Array, Array, Array, tuple[int, ...]]:
    """`checked` for a train and a test part, whose widths must agree; the test part may lack values of a factor."""
    codes, factors, sizes = checked(codes, factors, factor_sizes)
    test_codes, test_factors, _ = checked(test_codes, test_factors, sizes, "test ")
    if test_codes.shape[1] != codes.shape[1]:
        raise ValueError(f"train and test differ: codes {codes.shape} and {test_codes.shape}")
    return codes, factors, test_codes, test_factors, sizes


def as_codes(codes: ArrayLike, name: str = "codes") -> Array:
    """Codes as float32, each dimension checked by itself: real numbers, finite, told apart by float32."""
    array = real_array(name, codes)
    if is_traced(array):
        return jnp.asarray(array, jnp.float32)
    count, first = first_nonfinite(array)
    if count:
        width = array.shape[-1] if array.ndim else 1
        raise ValueError(f"{name}: {count} values are NaN or infinite, the first in row {first // max(width, 1)}")
    if array.ndim == 2 and array.dtype.itemsize > 4:
        for d, column in enumerate(np.asarray(array).T):
            in_float32(f"dimension {d} of {name}", column)
    return jnp.asarray(array, jnp.float32)


def checked_sizes(sizes: Any, count: int | None = None, least: int = 2) -> tuple[int, ...]:
    """The number of values of each factor, as a tuple of ints from `least` on, `count` of them."""
    try:
        listed = tuple(sizes)
    except TypeError:
        raise ValueError(f"factor sizes must be a sequence of whole numbers; got {shown(sizes)}") from None
    if count is not None and len(listed) != count:
        raise ValueError(f"{count} factors need as many sizes; got {shown(listed)}")
    whole = tuple(require_count(f"the size of factor {f}", size) for f, size in enumerate(listed))
    if not whole:
        raise ValueError("at least one factor is needed; got no sizes")
    if min(whole) < least:
        raise ValueError(
            f"factor {whole.index(min(whole))} is constant (1 value); leave it out, nothing can vary with it"
        )
    return whole


def _sizes_of_values(factors: np.ndarray, sizes: tuple[int, ...] | None, partial: bool) -> tuple[int, ...]:
    """The number of values of each factor; `partial`: a factor may have one value alone."""
    for f, column in enumerate(factors.T):
        if column.dtype.kind not in "iub" and not (column == np.round(column)).all():
            odd = column[~(column == np.round(column))][0]
            raise ValueError(
                f"factor {f} is continuous ({len(np.unique(column))} values in {len(column)} rows, such as "
                f"{odd:.4g}); classes 0..K-1 are needed: bin it first"
            )
        low, high = column.min(), column.max()
        if low == high and not partial:
            raise ValueError(f"factor {f} is constant ({low:.6g} in all {len(column)} rows); leave it out")
        if low < 0 or high >= (2**31 if sizes is None else sizes[f]):
            limit = "K" if sizes is None else sizes[f]
            raise ValueError(f"factor {f} must be 0..{limit} - 1; found {low:.6g}..{high:.6g}")
    return tuple(int(high) + 1 for high in factors.max(0)) if sizes is None else sizes


def require_gap(codes: ArrayLike) -> None:
    """Raise for codes of a single dimension, which have no gap between the best two."""
    shape = real_array("codes", codes).shape
    if len(shape) == 2 and shape[1] < 2:
        raise ValueError(f"a gap between the best two dimensions needs 2 of them; codes have {shape[1]}")


def require_factors(what: str, factors: ArrayLike) -> None:
    """Raise for fewer than two factors; `what` says why two are needed."""
    shape = real_array("factors", factors, objects=True).shape
    if len(shape) != 2 or shape[1] < 2:
        raise ValueError(f"{what} needs two; got {shape[1] if len(shape) == 2 else f'shape {shape}'}")
