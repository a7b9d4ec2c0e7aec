"""What a value of JSON must be, as functions that refuse everything else with the key and what stands there."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from jaxae.files.messages import listed, number_shown, shown

Kind = Callable[[str, Any], None]
"""`(where, value)`: raises a ValueError that begins with `where` if the value is of another kind."""

LARGEST = 3.5e38
"""Largest magnitude of a number: what is written comes from float32."""
MOST_WHOLE = 2**53


def text(where: str, value: Any) -> None:
    """A text that can be written out again."""
    if not isinstance(value, str):
        _refuse(where, value, "a text")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        _refuse(where, value, "a text without zero bytes and lone surrogates")


def flag(where: str, value: Any) -> None:
    """True or false."""
    if not isinstance(value, bool):
        _refuse(where, value, "true or false")


def anything(where: str, value: Any) -> None:
    """Any value of JSON, its texts and numbers as `text` and `number` have them."""
    if isinstance(value, dict):
        for key, part in value.items():
            text(f"{where}, a key", key)
            anything(_below(where, key), part)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            anything(f"{where}[{index}]", part)
    elif isinstance(value, str):
        text(where, value)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) <= 1e300:
        _refuse(where, value, "a number that a float holds")


def number(low: float | int = -LARGEST, high: float | int = LARGEST) -> Kind:
    """A finite number in `[low, high]`."""

    def kind(where: str, value: Any) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            _refuse(where, value, "a number" + _range(low, high, LARGEST))

    return kind


def whole(low: int = 0, high: int = MOST_WHOLE) -> Kind:
    """A whole number in `[low, high]`."""

    def kind(where: str, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            _refuse(where, value, "a whole number" + _range(low, high, MOST_WHOLE))

    return kind


def one_of(*values: Any) -> Kind:
    """One of these values, of its own type."""

    def kind(where: str, value: Any) -> None:
        if not any(type(value) is type(other) and value == other for other in values):
            _refuse(where, value, ("one of " if len(values) > 1 else "") + ", ".join(map(repr, values)))

    return kind


def maybe(inner: Kind) -> Kind:
    """The inner kind, or null."""

    def kind(where: str, value: Any) -> None:
        if value is not None:
            inner(where, value)

    return kind


def either(*kinds: Kind) -> Kind:
    """One of several kinds; where none fits, the first says what is wrong."""

    def kind(where: str, value: Any) -> None:
        errors = []
        for inner in kinds:
            try:
                return inner(where, value)
            except ValueError as error:
                errors.append(error)
        raise errors[0]

    return kind


def sequence(inner: Kind, least: int = 0, most: int | None = None) -> Kind:
    """A list of values of one kind."""

    def kind(where: str, value: Any) -> None:
        if not isinstance(value, list):
            _refuse(where, value, "a list")
        if len(value) < least or (most is not None and len(value) > most):
            many = f"{least} values" if least == most else f"at least {least} values" if most is None else "another"
            _refuse(where, value, f"a list of {many}")
        for index, part in enumerate(value):
            inner(f"{where}[{index}]", part)

    return kind


def fixed(*kinds: Kind) -> Kind:
    """A list with one value of each kind."""

    def kind(where: str, value: Any) -> None:
        sequence(lambda where, part: None, len(kinds), len(kinds))(where, value)
        for index, (inner, part) in enumerate(zip(kinds, value, strict=True)):
            inner(f"{where}[{index}]", part)

    return kind


def mapping(inner: Kind) -> Kind:
    """An object whose values are of one kind, whatever its keys."""
    return record({}, others=inner)


def record(needed: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None, others: Kind | None = None) -> Kind:
    """An object with these keys.

    Args:
      needed: key to kind.
      optional: alike, of keys that may be absent.
      others: kind of every other key's value; None: there is no other key.
    """
    known = {**needed, **(optional or {})}

    def kind(where: str, value: Any) -> None:
        if not isinstance(value, dict):
            if where.endswith(": "):
                raise ValueError(f"{where[:-2]} holds no JSON object, but {type(value).__name__}")
            _refuse(where, value, "an object")
        if absent := [key for key in needed if key not in value]:
            raise ValueError(f"{where}{' has no' if not where.endswith(': ') else 'it has no'} {listed(absent)}")
        for key, part in value.items():
            text(f"{where} a key", key)
            inner = known.get(key, others)
            if inner is None:
                raise ValueError(f"{where} holds {shown(key)}, which is no key of it; there are {listed(known, 20)}")
            inner(_below(where, key), part)

    return kind


def check(path: str | os.PathLike, value: Any, kind: Kind) -> Any:
    """A value that was read from a file, if it is of this kind.

    Raises:
      ValueError: in one line with the file, the key, what stands there and what may.

    Example:
      >>> from jaxae.files import kinds
      >>> kinds.check("a.json", {"epochs": "ten"}, kinds.record({"epochs": kinds.whole(1)}))
      Traceback (most recent call last):
      ValueError: a.json: epochs is 'ten'; it must be a whole number, at least 1
    """
    kind(f"{os.fspath(path)}: ", value)
    return value


def _below(where: str, key: str) -> str:
    name = key if key.isidentifier() else shown(key)
    return f"{where}{name}" if where.endswith(": ") else f"{where}.{name}"


def _range(low: float | int, high: float | int, largest: float | int) -> str:
    if low <= -largest and high >= largest:
        return ""
    return f", at least {number_shown(low)}" if high >= largest else f" in [{number_shown(low)}, {number_shown(high)}]"


def _refuse(where: str, value: Any, wanted: str) -> None:
    raise ValueError(f"{where} is {shown(value)}; it must be {wanted}")
