"""What the checks share: comparisons of trees that say what differs, and a function that is traced once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae.types import PyTree


def require(holds: Any, message: str) -> None:
    """Refuse a property that does not hold; not an `assert`, which Python may be told to leave out.

    Raises:
      AssertionError: it does not hold.

    Example:
      >>> from jaxae.testing.properties import require
      >>> require(1 + 1 == 2, "arithmetic")
    """
    if not bool(holds):
        raise AssertionError(message)


def require_shape(value: Any, shape: Sequence[int], what: str) -> None:
    """The array has this shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import require_shape
      >>> require_shape(jnp.zeros(3), (3,), "loss")
    """
    require(np.shape(value) == tuple(shape), f"{what}: the shape must be {tuple(shape)}, got {np.shape(value)}")


def require_rows(tree: PyTree, rows: int, what: str) -> None:
    """Every leaf has so many rows.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import require_rows
      >>> require_rows({"a": jnp.zeros((2, 3))}, 2, "latent")
    """
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        require(leaf.shape[:1] == (rows,), f"{what}{name}: {rows} rows are needed, got shape {leaf.shape}")


def require_alike(found: PyTree, wanted: PyTree, what: str) -> None:
    """Two trees have one structure, the same shapes and dtypes.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import require_alike
      >>> require_alike({"a": jnp.zeros(2)}, {"a": jnp.ones(2)}, "state")
    """
    a, b = jax.tree.structure(found), jax.tree.structure(wanted)
    require(a == b, f"{what}: the structure must be {b}, got {a}")
    for (path, x), y in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        kinds = [(np.shape(leaf), jnp.result_type(leaf)) for leaf in (x, y)]
        name = jax.tree_util.keystr(path)
        require(kinds[0] == kinds[1], f"{what}{name}: shape and dtype must be {kinds[1]}, got {kinds[0]}")


def require_equal(found: PyTree, wanted: PyTree, what: str, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Two trees are alike, and equal: bit for bit, or to a tolerance; NaN equals NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import require_equal
      >>> require_equal(jnp.ones(2), jnp.ones(2) + 1e-7, "latent", atol=1e-6)
    """
    require_alike(found, wanted, what)
    paths = [path for path, _ in jax.tree.leaves_with_path(found)]
    for path, x, y in zip(paths, _values(found), _values(wanted), strict=True):
        exact = np.array_equal(x, y, equal_nan=np.issubdtype(x.dtype, np.inexact))
        near = exact or (bool(rtol or atol) and np.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True))
        if not near:
            gap = np.nanmax(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)))
            raise AssertionError(f"{what}{jax.tree_util.keystr(path)}: values differ by up to {gap:g}")


def require_finite(tree: PyTree, what: str) -> None:
    """No leaf holds NaN or infinity.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import require_finite
      >>> require_finite(jnp.ones(2), "loss")
    """
    for path, leaf in jax.tree.leaves_with_path(tree):
        bad = ~np.isfinite(np.asarray(leaf))
        name = jax.tree_util.keystr(path)
        require(not bad.any(), f"{what}{name}: values must be finite, but {bad.sum()} of {bad.size} are not")


def require_learning(gradients: PyTree, what: str) -> None:
    """Every leaf of the gradients is finite, and somewhere not zero.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import require_learning
      >>> require_learning(jnp.ones(2), "params")
    """
    require_finite(gradients, f"gradient of {what}")
    for path, leaf in jax.tree.leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        require(leaf.size == 0 or np.abs(np.asarray(leaf)).max() > 0, f"{what}{name} gets no gradient")


def differ(a: PyTree, b: PyTree) -> bool:
    """Whether any value of two trees differs.

    Example:
      >>> from jaxae.testing.properties import differ
      >>> differ([1, 2], [1, 3])
      True
    """
    pairs = zip(_values(a), _values(b), strict=True)
    return any(not np.array_equal(x, y, equal_nan=np.issubdtype(x.dtype, np.inexact)) for x, y in pairs)


def _values(tree):
    """Leaves as NumPy arrays, keys as the integers that they hold."""
    leaves = jax.tree.leaves(tree)
    is_key = [isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    return [np.asarray(jax.random.key_data(a) if key else a) for a, key in zip(leaves, is_key, strict=True)]


class Compiled:
    """A jitted function that refuses a second trace, and a trace that is not always the same program.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import Compiled
      >>> double = Compiled(lambda x: 2 * x, "double")
      >>> double(jnp.ones(2)).tolist(), double(jnp.zeros(2)).tolist()
      ([2.0, 2.0], [0.0, 0.0])
    """

    def __init__(self, function: Callable, what: str) -> None:
        self.what, self.traces = what, 0

        def counted(*arguments):
            self.traces += 1
            return function(*arguments)

        self.function, self.jitted = function, jax.jit(counted)

    def __call__(self, *arguments: PyTree) -> Any:
        result = self.jitted(*arguments)
        require(self.traces == 1, f"{self.what} compiles anew: a value, a shape or a dtype changes from call to call")
        return result

    def require_pure(self, *arguments: PyTree) -> None:
        """Two traces are one program: nothing is drawn or counted in Python while the function is traced."""
        first = self.jitted.trace(*arguments).jaxpr  # that of the calls before
        second = jax.jit(lambda *values: self.function(*values)).trace(*arguments).jaxpr
        same = str(first) == str(second) and not differ(first.consts, second.consts)
        require(same, f"{self.what} is not pure: two traces give two programs (numpy.random, a counter)")


def keys(num: int) -> Array:
    """Typed keys, the same at every call.

    Example:
      >>> from jaxae.testing.properties import keys
      >>> keys(3).shape
      (3,)
    """
    return jax.random.split(jax.random.key(0), num)


def abstract(tree: PyTree) -> PyTree:
    """Shapes and dtypes alone.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.testing.properties import abstract
      >>> abstract(jnp.zeros(2)).shape
      (2,)
    """
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf)), tree)
