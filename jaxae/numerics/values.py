"""Values as they come: traced or concrete, a key or none, a number or a schedule, finite or not."""

from collections.abc import Callable

import jax
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxae.types import PyTree


def is_traced(*values: object) -> bool:
    """Whether any of the values is a tracer (under `jit`, `vmap`, `grad`): only its shape and dtype are known."""
    return any(isinstance(value, Tracer) for value in values)


def split_keys(rng: Array | None, num: int) -> tuple:
    """`num` keys from one; `num` times None from None, so that a call with `rng=None` stays deterministic."""
    return (None,) * num if rng is None else tuple(jax.random.split(rng, num))


def at_step(weight: float | Array | Callable, step: Array | int) -> Array | float:
    """A schedule's value at a step; a number (perhaps traced, for a vmap over it) is its own value."""
    return weight(step) if callable(weight) else weight


def first_nonfinite(tree: PyTree) -> tuple[int, int]:
    """How many elements of a floating array are NaN or infinite, and the flat index of the first (-1: none)."""
    values = np.asarray(tree)
    if not np.issubdtype(values.dtype, np.floating):
        return 0, -1
    bad = ~np.isfinite(values.ravel())
    return int(bad.sum()), int(bad.argmax()) if bad.any() else -1
