"""What a setting may be: its type, its range or its names, read from the class of the settings."""

import importlib
import math
import numbers
import types
import typing
from typing import Annotated, Any, NamedTuple, TypeVar

from jaxae.files.messages import number_shown, shown


class Within(NamedTuple):
    """A range of numbers.

    Attributes:
      low: least value.
      high: largest value.
      open: whether the ends themselves are excluded.
      open_high: whether the upper end alone is excluded.
    """

    low: float | int
    high: float | int
    open: bool = False
    open_high: bool = False

    def __str__(self) -> str:
        left, right = "(" if self.open else "[", ")" if self.open or self.open_high else "]"
        return f"{left}{number_shown(self.low)}, {number_shown(self.high)}{right}"

    def holds(self, value: float | int) -> bool:
        """Whether the value lies in the range."""
        above = self.low < value if self.open else self.low <= value
        return above and (value < self.high if self.open or self.open_high else value <= self.high)


class Named(NamedTuple):
    """Names that a setting may have.

    Attributes:
      source: the names themselves, or `package.module:TABLE` that holds them as keys.
      importable: whether `package.module:function` may stand for a part of somebody else's.
      besides: further names.
    """

    source: str | tuple[str, ...]
    importable: bool = False
    besides: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """All names, in the order of their table; the table's module is imported now."""
        if isinstance(self.source, tuple):
            return [*self.source, *self.besides]
        module, _, table = self.source.partition(":")
        return [*getattr(importlib.import_module(module), table), *self.besides]


def described(settings: type) -> dict[str, str]:
    """The fields of a class of settings and what they are, from its docstring.

    Example:
      >>> from jaxae import settings
      >>> settings.described(settings.TrainSettings)["seed"]
      'seed for the data split, parameter initialisation, batch order and noise.'
    """
    texts: dict[str, str] = {}
    name = ""
    for line in (settings.__doc__ or "").partition("Attributes:")[2].splitlines():
        word, colon, rest = line.strip().partition(": ")
        if colon and word in settings._fields and line.startswith(" " * 6) and line[6] != " ":
            name = word
            texts[name] = rest
        elif line.strip():
            texts[name] += " " + line.strip()
    return texts


def annotation(settings: type, name: str) -> tuple[Any, Within | Named | None]:
    """The type of a field, and the range or the names that it is limited to."""
    hint = typing.get_type_hints(settings, include_extras=True)[name]
    limit = None
    for part in (hint, *union_of(hint)):
        if typing.get_origin(part) is Annotated:
            limit = part.__metadata__[0]
    return typing.get_type_hints(settings)[name], limit


def union_of(kind: Any) -> tuple[Any, ...]:
    """The types of a union; any other type by itself.

    Example:
      >>> from jaxae.settings import union_of
      >>> union_of(int | None), union_of(str)
      ((<class 'int'>, <class 'NoneType'>), (<class 'str'>,))
    """
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if union else (kind,)


Settings = TypeVar("Settings", bound=tuple)


def checked(settings: Settings) -> Settings:
    """The settings, their numbers as Python's own, if every value is of its field's type and within its limits.

    Raises:
      ValueError: a value of another type, out of its range, not finite, or a name that there is not.

    Example:
      >>> from jaxae.settings import TrainSettings, checked
      >>> checked(TrainSettings(seed=-1))
      Traceback (most recent call last):
      ValueError: seed must lie in [0, 4294967295]; got -1
    """
    values: dict[str, Any] = {}
    for name, given in settings._asdict().items():  # pyright: ignore[reportAttributeAccessIssue]
        kind, limit = annotation(type(settings), name)
        value: Any = _plain(given)
        if not _is(value, kind):
            raise ValueError(f"{name} must be {_words(kind)}; got {shown(given)}")
        if not _is_finite(value):
            raise ValueError(f"{name} must be finite; got {shown(given)}")
        if isinstance(limit, Within) and value is not None and not limit.holds(value):
            raise ValueError(f"{name} must lie in {limit}; got {shown(value)}")
        if isinstance(limit, Named) and value is not None:
            _require_named(name, value, limit)
        values[name] = value
    return type(settings)(**values)


def _is_finite(value: Any) -> bool:
    numbers_of = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(number) for number in numbers_of if isinstance(number, float))


def _require_named(name: str, value: str, limit: Named) -> None:
    if limit.importable and ":" in value:
        return
    if value not in (names := limit.names()):
        more = ", or package.module:function" if limit.importable else ""
        raise ValueError(f"there is no {name} {shown(value)}; there are {', '.join(names)}{more}")


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays without axes as Python has them, lists as tuples."""
    if isinstance(value, list | tuple):
        return tuple(_plain(part) for part in value)
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value


def _is(value: Any, kind: Any) -> bool:
    if len(options := union_of(kind)) > 1:
        return any(_is(value, option) for option in options)
    if kind is type(None):
        return value is None
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        if not isinstance(value, tuple):
            return False
        parts = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(parts) == len(value) and all(map(_is, value, parts))
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(kind) or kind)


def _words(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", type(None): "None"}
    if len(options := union_of(kind)) > 1:
        return " or ".join(_words(option) for option in options)
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        if parts[-1] is Ellipsis:
            return "names"
        return f"{len(parts)} values ({', '.join(_words(part) for part in parts)})"
    return names.get(kind, "keywords with their values")
