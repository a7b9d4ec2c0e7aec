"""Values as they come: traced or concrete, a key or none, a number or a schedule, finite or not."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxae.types import PyTree, Schedule


def is_traced(*values: object) -> bool:
    """Whether any of these is known by its shape alone (under `jit`, `vmap`, `grad`)."""
    return any(isinstance(value, Tracer) for value in values)


def as_number(value: object) -> float | None:
    """A concrete real number as a Python float: Python's own, NumPy's and JAX's scalars and arrays without axes.

    None for what is checked elsewhere or not at all: traced values, schedules, arrays with axes, text.

    Example:
      >>> import numpy as np
      >>> from jaxae.numerics import as_number
      >>> as_number(np.float32(0.5)), as_number(np.asarray(3)), as_number(np.ones(2)), as_number("0.5")
      (0.5, 3.0, None, None)
    """
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, np.generic | np.ndarray | Array) or is_traced(value):
        return None
    real = any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))
    return float(value) if real and value.ndim == 0 else None


def as_whole(value: object) -> int | None:
    """A concrete whole number as a Python int; None for anything else, 3.0 included.

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


def split_keys(rng: Array | None, num: int) -> tuple:
    """`num` keys from one; `num` times None from None, so that deterministic calls stay so."""
    return (None,) * num if rng is None else tuple(jax.random.split(rng, num))


def at_step(weight: ArrayLike | Schedule, step: Array | int) -> Any:
    """A schedule's value at a step; a number (perhaps traced, for a vmap over it) is its own value."""
    return weight(step) if callable(weight) else weight


def first_nonfinite(tree: PyTree) -> tuple[int, int]:
    """How many elements of a floating array are NaN or infinite, and the flat index of the first (-1: none)."""
    values = np.asarray(tree)
    if not np.issubdtype(values.dtype, np.floating):
        return 0, -1
    bad = ~np.isfinite(values.ravel())
    return int(bad.sum()), int(bad.argmax()) if bad.any() else -1
