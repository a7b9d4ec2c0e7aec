"""Checks and conversions of argument values: traced or concrete, key or None, number or schedule, finite or not."""

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
        return float(value)
    if not isinstance(value, np.generic | np.ndarray | Array) or is_traced(value):
        return None
    real = any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))
    return float(value) if real and value.ndim == 0 else None


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


def require_whole(owner: str, **numbers: object) -> None:
    """Raise for arguments that are no whole numbers of 32 bits; their ranges are the caller's.

    Args:
      owner: name of the function, for the error.
      **numbers: arguments by name.

    Raises:
      ValueError: one is another kind of number, or none.

    Example:
      >>> from jaxae.numerics import require_whole
      >>> require_whole("residual", depth=3)
    """
    for name, value in numbers.items():
        if (whole := as_whole(value)) is None or isinstance(value, bool | np.bool_):
            raise ValueError(f"{owner}: {name} must be a whole number, got {_shown(value)}")
        if abs(whole) >= 2**31:
            raise ValueError(f"{owner}: {name} must be below 2**31, got {value}")


def require_real(owner: str, **numbers: object) -> None:
    """Raise for arguments that are neither real numbers, arrays of such, traced values, nor schedules.

    Args:
      owner: name of the function, for the error.
      **numbers: arguments by name.

    Raises:
      ValueError: one is text, complex, a list or None.

    Example:
      >>> import optax
      >>> from jaxae.numerics import require_real
      >>> require_real("elbo", beta=optax.linear_schedule(0.0, 1.0, 10), capacity=3)
    """
    for name, value in numbers.items():
        if callable(value) or as_number(value) is not None or is_traced(value):
            continue
        kinds = (jnp.bool_, jnp.integer, jnp.floating)
        if isinstance(value, np.ndarray | Array) and any(jnp.issubdtype(value.dtype, kind) for kind in kinds):
            continue
        raise ValueError(f"{owner}: {name} must be a real number, got {_shown(value)}")


def require_part(owner: str, kind: type, **parts: object) -> None:
    """Raise for arguments that are not of a contract, such as `Bottleneck`.

    Args:
      owner: name of the function, for the error.
      kind: the NamedTuple that each must be.
      **parts: arguments by name.

    Raises:
      ValueError: one is of another kind.

    Example:
      >>> from jaxae import priors
      >>> from jaxae.numerics import require_part
      >>> from jaxae.types import Prior
      >>> require_part("gaussian", Prior, prior=priors.standard_normal())
    """
    for name, value in parts.items():
        if not isinstance(value, kind):
            raise ValueError(f"{owner}: {name} must be a jaxae.types.{kind.__name__}, got {_shown(value)}")


def _shown(value):
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"a {type(value).__name__}"


def split_keys(rng: Array | None, num: int) -> tuple:
    """`num` keys from one; `num` times None from None, so that a call with `rng=None` stays deterministic."""
    return (None,) * num if rng is None else tuple(jax.random.split(rng, num))


def at_step(weight: ArrayLike | Schedule, step: Array | int) -> Any:
    """A schedule's value at a step; a number (perhaps traced, for a vmap over it) is its own value."""
    return weight(step) if callable(weight) else weight


def first_nonfinite(tree: PyTree) -> tuple[int, int]:
    """How many elements of a floating array are NaN or infinite, and the flat index of the first (-1: none)."""
    values = np.asarray(tree)
    if not np.issubdtype(values.dtype, np.floating):
        return 0, -1
    # on the host: the message needs the position, which a traced check could not give
    bad = ~np.isfinite(values.ravel())
    return int(bad.sum()), int(bad.argmax()) if bad.any() else -1
