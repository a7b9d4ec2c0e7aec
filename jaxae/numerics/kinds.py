"""What an annotation asks for: whether a value is of that kind, and the words for it."""

import functools
import math
import os
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NewType

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import AbstractArray

from jaxae.numerics.values import as_number, as_whole, is_traced, real_array
from jaxae.settings import union_of
from jaxae.types import Autoencoder, Likelihood
from jaxae.types.values import TREE

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
# of a path; no name or option is longer
_LONGEST_TEXT = 4096
# no size, count or seed is larger; XLA ends the process where the size of an array overflows 64 bits
_LARGEST = 2**32 - 1
# what stands for numpy's ArrayLike
ROWS = NewType("ROWS", np.ndarray)
# the members of jax's ArrayLike: together they mean numbers, apart from `complex`, which no function here computes with
_NUMBERS = frozenset(typing.get_args(ArrayLike))


class OtherKind(ValueError):
    """A value of another kind. The message says what was expected.

    Attributes:
      is_whole: whether the message is all that follows the name of the value, and says what was found too.
    """

    def __init__(self, message: str, is_whole: bool = False):
        super().__init__(message)
        self.is_whole = is_whole


def as_kind(kind: Any, value: Any, sizes: dict) -> Any:
    """The value, if it is of this kind; lists of numbers as arrays."""
    options = options_of(kind)
    problem = None
    for option in options:
        try:
            return _as_one(option, value, sizes)
        except OtherKind as error:
            if len(options) == 1 or error.is_whole:
                problem = error
    raise problem or OtherKind(words(kind))


@functools.cache
def options_of(kind: Any) -> tuple[Any, ...]:
    """The kinds of a union, with jax's ArrayLike as one of them, simple ones first."""
    options = union_of(kind)
    if set(options) >= _NUMBERS:
        options = (ArrayLike, *(option for option in options if option not in _NUMBERS))
    elif bytes in options and complex in options:  # numpy's ArrayLike: anything that is an array, texts too
        options = (ROWS, *(option for option in options if option is type(None)))
    elif np.dtype in options and str in options:
        options = (np.dtype, *(option for option in options if option is type(None)))
    # None first: it is no array, but many things can be made one
    return tuple(sorted(options, key=lambda option: option is not type(None)))


def _as_one(kind: Any, value: Any, sizes: dict) -> Any:
    origin = typing.get_origin(kind)
    if is_tree(kind):
        return _as_tree(value)
    if origin is Annotated:
        return as_kind(origin_of(kind), value, sizes)
    if kind is Any or kind is object or isinstance(kind, typing.TypeVar):
        return value
    if kind in (ArrayLike, Array, np.ndarray, ROWS) or _is_annotated_array(kind):
        return _as_array(kind, value, sizes)
    if kind is np.dtype:
        return _require(_is_dtype(value), kind, value)
    if kind is float:
        traced = isinstance(value, Array) and value.ndim == 0 and jnp.issubdtype(value.dtype, jnp.floating)
        real = as_number(value) is not None and not isinstance(value, bool | np.bool_)
        return _require(real or (is_traced(value) and traced), kind, value)
    if kind is int:
        whole = None if isinstance(value, bool | np.bool_) else as_whole(value)
        if whole is not None and not -_LARGEST <= whole <= _LARGEST:
            raise OtherKind(f"a whole number of at most {_LARGEST}")
        _require(whole is not None, kind, value)
        return whole
    if kind is bool:
        return _require(isinstance(value, bool | np.bool_), kind, value)
    if origin is typing.Literal:
        return _require(value in typing.get_args(kind), kind, value)
    if origin in (tuple, Sequence, list):
        return _as_sequence(kind, value, sizes)
    if origin is Iterable or kind is Iterable:
        return _require(isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping), kind, value)
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        return _require(isinstance(value, Mapping), kind, value)
    if origin is Callable or kind is Callable or getattr(kind, "_is_protocol", False):
        return _require(callable(value) and not hasattr(value, "_fields"), kind, value)
    if kind is str and isinstance(value, str) and len(value) > _LONGEST_TEXT:
        raise OtherKind(f"a text of at most {_LONGEST_TEXT} characters")
    if kind is os.PathLike or origin is os.PathLike:
        return _require(isinstance(value, os.PathLike), kind, value)
    expected = origin or kind
    if not isinstance(expected, type):
        return value
    fields = getattr(expected, "_fields", None)
    is_kin = fields is not None and getattr(value, "_fields", None) == fields and not isinstance(value, type)
    if kind is not type and not is_kin:
        _require(isinstance(value, expected), kind, value)
    if fields is not None:
        _require_filled(expected, value)
    return value


def _require_filled(kind: Any, value: Any) -> None:
    """Raise for a NamedTuple with None in a field that may not be None."""
    for name in _needed(kind):
        if getattr(value, name) is None:
            raise OtherKind(f"{words(kind)} whose {name} is not None")


@functools.cache
def _needed(kind: Any) -> tuple[str, ...]:
    """The functions that a part must have."""
    if kind in (Autoencoder, Likelihood):  # a score reads some of their functions alone, and may be given only those
        return ()
    hints = typing.get_type_hints(kind)
    return tuple(name for name in kind._fields if _is_function_or_part(hints[name]))


def _is_function_or_part(hint: Any) -> bool:
    function = getattr(hint, "_is_protocol", False) or hint is Callable or typing.get_origin(hint) is Callable
    return function or (isinstance(hint, type) and hasattr(hint, "_fields"))


def is_tree(kind: Any) -> bool:
    """Whether an annotation is `jaxae.types.PyTree`."""
    return typing.get_origin(kind) is Annotated and kind.__metadata__ == (TREE,)


def origin_of(kind: Any) -> Any:
    """What `Annotated` is put around."""
    return typing.get_args(kind)[0]


def _as_tree(value: Any) -> Any:
    """A tree whose leaves are arrays, numbers, keys, or stand for arrays by their shape and dtype."""
    for leaf in jax.tree.leaves(value):
        if not _is_abstract(leaf):
            as_numbers(leaf)
    return value


def _is_abstract(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype") and not isinstance(leaf, np.ndarray | np.generic | Array)


def _require(holds: bool, kind: Any, value: Any) -> Any:
    if not holds:
        raise OtherKind(words(kind))
    return value


def _is_annotated_array(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, AbstractArray)


def _is_dtype(value: Any) -> bool:
    try:
        jnp.dtype(value)
    except TypeError:
        return False
    return value is not None


def as_key(kind: Any, value: Any) -> Any:
    """A typed key, or one of the older kind: two words of 32 bits."""
    if value is None and type(None) in options_of(kind):
        return value
    typed = isinstance(value, Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    words_of_old = isinstance(value, Array) and value.dtype == jnp.uint32 and value.shape == (2,)
    if value is None or (not (typed and value.ndim == 0) and not words_of_old):
        raise OtherKind("a single key (jax.random.key(seed))" + (" or None" if type(None) in options_of(kind) else ""))
    return value


def require_option(value: Any, default: float | int) -> None:
    """Raise for a number's place taken by an array with axes, a truth value, NaN or infinity; tracers pass."""
    if value is None or callable(value) or isinstance(value, str) or hasattr(value, "_fields"):
        return
    if np.ndim(value) or isinstance(value, bool | np.bool_):
        raise OtherKind("one number")
    number = as_number(value)
    # infinity is a value where the default says so
    if number is not None and (math.isnan(number) or (abs(number) > _LARGEST_FLOAT and not math.isinf(default))):
        raise OtherKind("a finite number")


def _as_sequence(kind: Any, value: Any, sizes: dict) -> Any:
    parts = typing.get_args(kind)
    listed = isinstance(value, list | tuple | range) and not hasattr(value, "_fields")
    if not listed and not (isinstance(value, np.ndarray) and value.ndim == 1):
        raise OtherKind(words(kind))
    if typing.get_origin(kind) is tuple and parts and parts[-1] is not Ellipsis:
        if len(value) != len(parts):
            raise OtherKind(words(kind))
        expected: Iterable[Any] = parts
    else:
        expected = [parts[0] if parts else Any] * len(value)
    try:
        for part, entry in zip(expected, value, strict=True):
            as_kind(part, entry, {})
    except OtherKind:
        raise OtherKind(words(kind)) from None
    return value


def _as_array(kind: Any, value: Any, sizes: dict) -> Any:
    if kind is ROWS:
        return _as_rows(value)
    array = as_numbers(value)
    if kind is Array or _is_annotated_array(kind):
        array = _on_device(array)
    if kind is np.ndarray and not np.ndim(array):
        raise OtherKind("an array with rows")
    if kind is not ArrayLike and isinstance(array, bool | int | float):
        # a function that declares an array reads its shape; a number alone would get no further than that
        array = np.asarray(array)
        if kind is Array:
            raise OtherKind("an array of numbers")
    if _is_annotated_array(kind):
        _require_axes(kind, np.shape(array), sizes)
        if _is_whole(kind):
            array = _as_whole_numbers(kind, array)
    return array


def _is_whole(kind: Any) -> bool:
    return isinstance(kind.dtypes, tuple) and "int32" in kind.dtypes and "float32" not in kind.dtypes


def _as_whole_numbers(kind: Any, array: Any) -> Any:
    """Numbers that indices and classes may be: floats only if they are whole, none beyond 32 bits."""
    if is_traced(array):
        return _require(not jnp.issubdtype(array.dtype, jnp.floating), kind, array)
    values = np.asarray(array)
    limits = np.iinfo(np.int32)
    if not values.size or (values.dtype.kind in "bi" and values.dtype.itemsize <= 4):
        return array
    if not ((limits.min <= values) & (values <= limits.max)).all():  # NaN too
        raise OtherKind(f"{words(kind)} of at most {limits.max}")
    if values.dtype.kind in "iu":
        return array
    return values.astype(np.int32) if (values == np.floor(values)).all() else _require(False, kind, array)


def _on_device(array: Any) -> Any:
    """A NumPy array as the JAX array that an annotation promises; whole numbers beyond 32 bits as floats."""
    if not isinstance(array, np.ndarray | np.generic):
        return array
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size:
        limits = np.iinfo(np.int32)
        if array.min() < limits.min or array.max() > limits.max:
            array = array.astype(np.float32)
    if array.dtype == np.float64 and bool((np.isfinite(array) & (np.abs(array) > _LARGEST_FLOAT)).any()):
        raise OtherKind(f"an array of numbers up to {_LARGEST_FLOAT:.3g}, as float32 holds them")
    return jnp.asarray(array)


def _as_rows(value: Any) -> Any:
    """An array of anything: rows of a table may be texts."""
    if value is None or isinstance(value, Mapping | set | str | bytes) or hasattr(value, "_fields"):
        raise OtherKind("an array")
    try:
        array = value if isinstance(value, Array | np.ndarray) else np.asarray(value)
    except ValueError:
        raise OtherKind("an array, all of whose rows have one length") from None
    if array.ndim == 0 or (isinstance(array, np.ndarray) and array.dtype.names is not None):
        raise OtherKind("an array with rows, without named fields")
    return array


def as_numbers(value: Any) -> Any:
    """The value if it is an array or a number, what NumPy reads as an array of numbers as one, or an `OtherKind`."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > np.iinfo(np.int32).max:
        return float(value)  # jax takes no Python integers beyond 32 bits
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return value  # functions that take keys say so by name
    if value is None or isinstance(value, str | bytes | Mapping | set | type) or hasattr(value, "_fields"):
        raise OtherKind("an array of numbers")
    try:
        return real_array("", value, objects=True)
    except ValueError as error:
        raise OtherKind(str(error), is_whole=True) from None


def _require_axes(kind: Any, shape: Any, sizes: dict) -> None:
    """The axes that jaxtyping's annotation names: their number, and equal sizes for equal names."""
    dims = kind.dim_str.split()
    free = next((i for i, dim in enumerate(dims) if dim.startswith("*") or dim == "..."), None)
    if len(shape) < len(dims) - (free is not None) or (free is None and len(shape) != len(dims)):
        raise OtherKind(words(kind))
    # with a free part the axes before it are counted from the front, those behind it from the end
    behind = 0 if free is None else len(dims) - free - 1
    pairs = list(zip(dims[:free], shape, strict=False))
    pairs += zip(dims[len(dims) - behind :], shape[len(shape) - behind :], strict=True)
    for dim, size in pairs:
        if not isinstance(size, int):  # an exported program's symbol
            continue
        if dim.isdigit() and int(dim) != size:
            raise OtherKind(words(kind))
        if dim.isidentifier() and sizes.setdefault(dim, size) != size:
            raise OtherKind(f"{words(kind)} with {dim} = {sizes[dim]} as before")


_WORDS = {
    ROWS: "an array with rows",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    bytes: "bytes",
    type(None): "None",
    Any: "anything",
    np.dtype: "a dtype",
    np.ndarray: "an array of numbers",
    Array: "an array of numbers",
    ArrayLike: "an array of numbers",
    os.PathLike: "a path",
    dict: "a dict",
    Mapping: "a dict",
    Callable: "a function",
}


def words(kind: Any) -> str:
    """What an annotation asks for, as a noun for a message.

    Example:
      >>> from jaxae.numerics.kinds import words
      >>> words(tuple[int, ...]), words(str | None)
      ('a tuple of whole numbers', 'a text or None')
    """
    options = options_of(kind)
    if len(options) > 1:
        return " or ".join(dict.fromkeys(words(option) for option in (*options[1:], options[0])))
    kind = next(iter(options), Any)
    if is_tree(kind):
        return TREE
    if typing.get_origin(kind) is Annotated:
        return words(origin_of(kind))
    if kind in _WORDS:
        return _WORDS[kind]
    if _is_annotated_array(kind):
        return f"an array of {'whole ' if _is_whole(kind) else ''}numbers [{', '.join(kind.dim_str.split())}]"
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(map(repr, parts))
    if origin in (tuple, Sequence, list) and parts:
        if parts[-1] is Ellipsis or origin is not tuple:
            plural = {int: "whole numbers", float: "numbers", str: "texts", bool: "truth values"}.get(parts[0])
            return f"a tuple of {plural or words(parts[0]) + ' each'}"
        return f"a tuple of {len(parts)} ({', '.join(words(part) for part in parts)})"
    if origin in _WORDS:
        return _WORDS[origin]
    if getattr(kind, "_is_protocol", False):
        return "a function"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"
