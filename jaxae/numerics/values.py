"""Checks and conversions of argument values: traced or concrete, key or None, kind, range, finite or not."""

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxae.files.messages import shown
from jaxae.types import PyTree, Schedule


def is_traced(*values: object) -> bool:
    """Whether any of the values is a tracer (under `jit`, `vmap`, `grad`): only its shape and dtype are known."""
    return any(isinstance(value, Tracer) for value in values)


def as_number(value: object) -> float | None:
    """A concrete real number as a Python float: Python numbers, NumPy and JAX scalars and arrays without axes.

    None for everything else: traced values, schedules, arrays with axes, text.

    Args:
      value: any object.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import as_number
      >>> as_number(np.float32(0.5)), as_number(np.asarray(3)), as_number(np.ones(2)), as_number("0.5")
      (0.5, 3.0, None, None)
    """
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # a Python int beyond 1.8e308
            return math.inf if value > 0 else -math.inf
    if (
        not isinstance(value, np.generic | np.ndarray | Array)
        or isinstance(value, np.ma.MaskedArray)
        or is_traced(value)
    ):
        return None
    return float(value) if _is_real(value.dtype) and value.ndim == 0 else None


def as_whole(value: object) -> int | None:
    """A concrete whole number as a Python int; None for anything else, including 3.0.

    Args:
      value: any object.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import as_whole
      >>> as_whole(np.int64(3)), as_whole(3.0), as_whole("auto")
      (3, None, None)
    """
    try:
        return operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:  # traced values too
        return None


_INTERVALS = {
    "(0, 1)": "lie strictly between 0 and 1",
    "(0, inf)": "be above 0 and finite",
    "[0, inf)": "be at least 0 and finite",
}


def require_within(name: str, value: object, interval: str) -> None:
    """Raise unless a number lies in an interval, also after rounding to float32; a traced one without axes passes.

    Args:
      name: what the error calls the number.
      value: a Python number, a NumPy or JAX scalar or an array without axes.
      interval: the ends, with square brackets where they belong to it: "(0, 1]", "[0, inf)".

    Raises:
      ValueError: the number lies outside, is NaN, or `value` is no number.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import require_within
      >>> require_within("alpha", 0.5, "(0, 1)")
      >>> require_within("alpha", np.float32(5), "(0, 1)")
      Traceback (most recent call last):
      ValueError: alpha must lie strictly between 0 and 1; got 5.0
    """
    if is_traced(value) and np.ndim(value) == 0:  # pyright: ignore[reportArgumentType]
        return
    words = _INTERVALS.get(interval, f"lie in {interval}")
    low, high = (float(end) for end in interval[1:-1].split(","))
    number = as_number(value)
    if number is None:
        raise ValueError(f"{name} must be a number and {words}; got {shown(value)}")
    with np.errstate(over="ignore"):
        rounded = float(np.float32(number))
    for end in (number, rounded):
        above = end > low or (end == low and interval[0] == "[")
        below = end < high or (end == high and interval[-1] == "]")
        if not (above and below):
            as_float32 = f", which is {rounded:g} in float32" if end != number and number == number else ""
            raise ValueError(f"{name} must {words}; got {str(value)[:60]}{as_float32}")


def require_count(name: str, value: object, least: int = 1) -> int:
    """A concrete whole number of at least `least`, as a Python int.

    Args:
      name: what the error calls the number.
      value: a Python int, or an integer of NumPy or JAX without axes.
      least: the least value allowed.

    Raises:
      ValueError: `value` is less, beyond int32, or no whole number (3.0 is none).

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import require_count
      >>> require_count("num", np.int64(3))
      3
      >>> require_count("num", 2.5)
      Traceback (most recent call last):
      ValueError: num must be a whole number of at least 1; got 2.5
    """
    number = as_whole(value)
    if number is None:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {shown(value)}")
    if not least <= number < 2**31:
        limit = f"least {least}" if number < least else "most 2147483647"
        raise ValueError(f"{name} must be at {limit}; got {str(number)[:60]}")
    return number


# what NumPy's kinds of dtype are called in an error
_KINDS = {"U": "text", "S": "bytes", "T": "text", "c": "complex numbers", "M": "dates", "m": "time spans"}


def _is_real(dtype: Any) -> bool:
    real = any(jnp.issubdtype(dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))
    return real and getattr(dtype, "kind", "") != "m"  # time spans are integers to NumPy


def real_array(name: str, values: Any, objects: bool = False) -> Any:
    """The values as an array of bool, integers or floating numbers; any other kind is refused.

    JAX arrays (perhaps traced) and NumPy arrays come back as they are.

    Args:
      name: what the error calls the values.
      values: an array, or what NumPy makes one of (lists, pandas columns).
      objects: whether arrays of Python objects are taken where all objects are numbers, as pandas gives labels.

    Raises:
      ValueError: text, complex numbers, dates, records, random keys, Python objects, a masked array (whose mask would
        be lost), or rows of different lengths.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import real_array
      >>> real_array("labels", np.array([0, True, 1.0], object), objects=True).tolist()
      [0.0, 1.0, 1.0]
      >>> real_array("scores", ["0.5", "0.7"])
      Traceback (most recent call last):
      ValueError: scores must be real numbers; got text, such as '0.5'
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"{name}: the mask of a masked array would be lost; leave the masked rows out")
    array = values
    if not isinstance(values, Array):
        try:
            array = np.asarray(values)
            if objects and array.dtype.kind == "O":
                array = np.asarray(array.tolist())
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{name} must be an array of real numbers; got {shown(values)}") from None
    if _is_real(array.dtype):
        return array
    kind = _KINDS.get(getattr(array.dtype, "kind", ""), str(array.dtype))
    first = ""
    if isinstance(array, np.ndarray) and array.size:
        example = array.ravel()[0]
        example = example.item() if isinstance(example, np.generic) else example
        kind = f"Python objects ({type(example).__name__})" if array.dtype.kind == "O" else kind
        first = f", such as {shown(example)}"
    raise ValueError(f"{name} must be real numbers; got {kind}{first}")


def as_classes(name: str, labels: Any, count: int, num_classes: int | None = None) -> Array:
    """Class labels `[N]` as int32: whole numbers from 0, of integers, bool, floating numbers or objects.

    Args:
      name: what the error calls the labels.
      labels: `[N]`; traced ones are checked by shape and kind alone.
      count: N.
      num_classes: number of classes K, above every label; None: any.

    Raises:
      ValueError: another kind or shape, or a label that is not whole, negative or not below K.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import as_classes
      >>> as_classes("labels", np.array([0.0, 2.0]), 2, 3).tolist()
      [0, 2]
    """
    array = real_array(name, labels, objects=True)
    if array.shape != (count,):
        raise ValueError(f"{name} must be [N], one for each of the {count} rows; got shape {array.shape}")
    if not is_traced(array) and array.size:
        values = np.asarray(array)
        odd = values[~(values == np.round(values))] if values.dtype.kind == "f" else values[:0]
        if odd.size:
            raise ValueError(f"{name} must be whole numbers; got {odd[0]:.6g}")
        top = 2**31 if num_classes is None else num_classes
        if values.min() < 0 or values.max() >= top:
            raise ValueError(f"{name} must be 0..{top - 1}; got {values.min():.6g}..{values.max():.6g}")
    return jnp.asarray(array).astype(jnp.int32)


def as_weights(weight: Any, count: int) -> Array:
    """Weights of rows as float32 `[N]`, ones for None.

    Args:
      weight: `[N]`, not negative and not all 0, or None; a traced one is checked by shape and kind alone.
      count: N.

    Raises:
      ValueError: another kind or shape, a weight that is negative or not finite, all 0, or a sum beyond float32.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import as_weights
      >>> as_weights(np.array([True, False]), 2).tolist(), as_weights(None, 2).tolist()
      ([1.0, 0.0], [1.0, 1.0])
    """
    if weight is None:
        return jnp.ones(count)
    mass = real_array("weights", weight)
    if mass.shape != (count,):
        raise ValueError(f"weights must be [N], one for each of the {count} rows; got shape {mass.shape}")
    if not is_traced(mass):
        values = np.asarray(mass, np.float64)
        if not (values >= 0).all() or not values.any() or not values.sum() <= np.finfo(np.float32).max:
            raise ValueError("weights must be finite, not negative and not all 0, with a sum of at most 3.4e38")
    return jnp.asarray(mass, jnp.float32)


def split_keys(rng: Array | None, num: int) -> tuple:
    """`num` keys from one; `num` times None from None, so that a call with `rng=None` stays deterministic."""
    return (None,) * num if rng is None else tuple(jax.random.split(rng, num))


def at_step(weight: ArrayLike | Schedule, step: Array | int) -> Any:
    """A schedule's value at a step; a number (perhaps traced, for a vmap over it) is its own value."""
    return weight(step) if callable(weight) else weight


def first_nonfinite(tree: PyTree) -> tuple[int, int]:
    """How many elements of a floating array are NaN or infinite, and the flat index of the first (-1: none)."""
    values = np.asarray(tree)
    if not jnp.issubdtype(values.dtype, jnp.floating):  # NumPy's own test leaves bfloat16 out
        return 0, -1
    # on the host: the message needs the position, which a traced check could not give
    bad = ~np.isfinite(values.ravel())
    return int(bad.sum()), int(bad.argmax()) if bad.any() else -1
