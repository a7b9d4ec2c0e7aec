"""float64 values in float32: cast where nothing is lost, ranked where the order is enough, or refused."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae.numerics.values import is_traced, real_array


def in_float32(name: str, values: Any, around: Any = None) -> Array:
    """Values as float32, refused where that would merge what was distinct, or overflow.

    What float32 cannot tell apart shares one λ, one rank and one p-value. A few of many values meet by chance and do
    no harm: onto one number may move 2 and a thousandth of all values, of fewer than 100 one, of fewer than 20 none.

    Args:
      name: what the error calls the values.
      values: an array of real numbers; a traced one, and one that fits into float32, is cast without a check.
      around: a number with which the values are compared and nothing else, such as λ: only values that equal it in
        float32 matter then. None: all do.

    Raises:
      ValueError: as `real_array`; values that are too large, or merge.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import in_float32
      >>> in_float32("scores", np.array([0.25, 0.5])).tolist()
      [0.25, 0.5]
      >>> in_float32("scores", np.array([0.99999999, 0.999999999]))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ValueError: scores: 2 values between 0.99999999 and 0.999999999 are one number in float32, 1; ...
    """
    array, cast = _cast(name, values)
    if cast is None:
        return jnp.asarray(array, jnp.float32)
    beyond = np.isinf(cast) & np.isfinite(array)
    if beyond.any():
        raise ValueError(
            f"{name}: float32 holds numbers up to 3.4e38; got {array[beyond][0]:.6g} "
            f"({beyond.sum()} of {array.size} are too large): divide them, or give their logarithms"
        )
    if not np.array_equal(_wide(cast, array), array, equal_nan=array.dtype.kind == "f"):
        if around is None:
            _require_apart(name, np.sort(array, axis=None), array.size)
        elif not is_traced(around) and (compared := array[cast == np.asarray(around, np.float32)]).size:
            _require_apart(name, np.sort(compared), array.size)
    return jnp.asarray(cast)


def ranked(name: str, values: Any) -> Array:
    """float32 numbers in the order of the values, ties included: for what depends on the order alone.

    They are the values themselves wherever float32 holds them. Otherwise they are ranked on the host first, and the
    numbers returned mean nothing but their order.

    Args:
      name: what the error calls the values.
      values: an array of real numbers without NaN; a traced one, or one of at most 32 bits, is cast.

    Raises:
      ValueError: as `real_array`.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import ranked
      >>> first, second, third = ranked("scores", np.array([1e9 + 1, 1e9, 1e9 + 1]))
      >>> bool(second < first), bool(first == third)
      (True, True)
    """
    array, cast = _cast(name, values)
    if cast is None:
        return jnp.asarray(array, jnp.float32)
    if np.array_equal(_wide(cast, array), array):
        return jnp.asarray(cast)
    flat = array.ravel()
    order = np.argsort(flat)
    ordered = flat[order]
    rank = np.empty(flat.size, np.int32)
    rank[order] = np.cumsum(np.append(0, ordered[1:] != ordered[:-1]), dtype=np.int32)
    # the bits of positive floats, read as integers, keep their order: each rank is a normal float of its own, even
    # beyond 2^24 ranks, which the numbers 0, 1, 2... would not be
    return jnp.asarray(
        (rank + np.float32(np.finfo(np.float32).tiny).view(np.int32)).view(np.float32).reshape(array.shape)
    )


def _cast(name: str, values: Any) -> tuple[Any, np.ndarray | None]:
    """The values, and on the host their float32 cast; None where there is nothing to lose or it cannot be seen."""
    array = real_array(name, values)
    narrow = array.dtype.itemsize < 4 or array.dtype == jnp.float32
    if is_traced(array) or narrow or array.size == 0:
        return array, None
    array = np.asarray(array)
    with np.errstate(over="ignore"):
        return array, array.astype(np.float32)


def _wide(cast: np.ndarray, array: np.ndarray) -> np.ndarray:
    """The cast in a dtype in which comparing with the array is exact."""
    if array.dtype.kind == "f":
        return cast
    # float64 rounds integers beyond 2^53: those count as changed
    return np.where(np.abs(cast) < 2.0**53, cast.astype(np.float64), np.nan)


def _require_apart(name: str, ordered: np.ndarray, total: int) -> None:
    """Raise where the cast to float32 merges too many of the ascending values, out of a total."""
    with np.errstate(over="ignore"):
        cast = ordered.astype(np.float32)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # runs of equal values
    is_first = np.append(True, cast[starts[1:]] != cast[starts[:-1]])  # of those that share a float32 number
    if is_first.all():
        return
    first = np.flatnonzero(is_first)
    lengths = np.diff(np.append(starts, ordered.size))
    # of the runs that meet in one number, all but the longest move
    moved = np.add.reduceat(lengths, first) - np.maximum.reduceat(lengths, first)
    worst = int(moved.argmax())
    if moved[worst] <= (0 if total < 20 else 1 if total < 100 else 2 + total // 1000):
        return
    low = starts[first[worst]]
    high = (starts[first[worst + 1]] if worst + 1 < first.size else ordered.size) - 1
    raise ValueError(
        f"{name}: {high - low + 1} values between {ordered[low]!s} and {ordered[high]!s} are one number in float32, "
        f"{cast[low]:.9g}; subtract an offset, or give -log(1 - p) in place of a p near 1 and log(x) of a tiny x"
    )
