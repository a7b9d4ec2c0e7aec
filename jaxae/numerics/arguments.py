"""The check at the doors: public functions refuse arguments of another kind than their annotations say.

A room calls `check_arguments(__name__)` at its end. What its public functions get is then compared with the annotation
of the parameter: a number, a text, an array of numbers with so many axes, a part of such a contract. Ranges and what
depends on values stay with each function, and so does a function that is imported from its own file.
"""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from jax import Array

from jaxae.files.messages import shown
from jaxae.numerics.kinds import OtherKind, as_key, as_kind, options_of, require_option


def check_arguments(room: str) -> None:
    """Let the public functions of a module refuse arguments of another kind than annotated.

    Public are the names in `__all__`; without it, the functions that the module defines and whose names have no
    underscore in front. Functions in the module's tables (dicts) are replaced likewise.

    Args:
      room: `__name__` of the module, whose last statement this is.

    Example:
      >>> from jaxae.scoring import metrics
      >>> metrics.auroc([0, 1], None)
      Traceback (most recent call last):
      ValueError: auroc: scores must be an array of numbers; got None
    """
    module = sys.modules[room]
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == room]
    for name in getattr(module, "__all__", own):
        value = getattr(module, name)
        if inspect.isfunction(value) and not name.startswith("_"):
            setattr(module, name, with_checked_arguments(value))
        elif isinstance(value, dict):
            checked = {key: with_checked_arguments(part) for key, part in value.items() if _is_public(part, module)}
            value.update(checked)


def _is_public(part: Any, module: types.ModuleType) -> bool:
    return inspect.isfunction(part) and part.__name__ in getattr(module, "__all__", ())


def with_checked_arguments(function: Callable) -> Callable:
    """The function, with a check of its arguments' kinds in front; the same object for the same function.

    Lists of numbers and what numpy reads as an array are given to the function as arrays.

    Args:
      function: any function with annotations; parameters without one take anything.

    Raises:
      ValueError: when called: an argument is of another kind, or named sizes of axes differ.

    Example:
      >>> from jaxae.numerics.arguments import with_checked_arguments
      >>> def half(n: int) -> float:
      ...     return n / 2
      >>> with_checked_arguments(half)(2.5)
      Traceback (most recent call last):
      ValueError: half: n must be a whole number; got 2.5
    """
    if hasattr(function, "_checks_arguments"):
        return function
    made = getattr(function, "_checked", None)
    if made is not None and made.__wrapped__ is function:  # decorators copy attributes
        return made
    signature = inspect.signature(function)

    @functools.cache
    def kinds() -> dict[str, Any]:  # at the first call, when every module that an annotation names is there
        hints = typing.get_type_hints(function, include_extras=True)
        return {name: hints[name] for name in signature.parameters if hints.get(name, Any) is not Any}

    @functools.wraps(function)
    def checked(*args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:  # too many, too few or unknown arguments: Python's own message names them
            return function(*args, **kwargs)
        sizes: dict[str, int] = {}
        for name, kind in kinds().items():
            if name in given.arguments:
                given.arguments[name] = _taken(signature.parameters[name], kind, given.arguments[name], sizes, function)
        return function(*given.args, **given.kwargs)

    checked._checks_arguments = True  # pyright: ignore[reportAttributeAccessIssue]
    # kept by the function itself: a cache of ours would keep every rule and detector that was ever made
    function._checked = checked  # pyright: ignore[reportFunctionMemberAccess]
    return checked


def _taken(parameter: inspect.Parameter, kind: Any, value: Any, sizes: dict, function: Callable) -> Any:
    """The value of one parameter as the function takes it, or a ValueError."""
    name = parameter.name
    try:
        if name in ("rng", "key") and Array in options_of(kind):
            return as_key(kind, value)
        if parameter.kind is parameter.VAR_POSITIONAL:
            return tuple(as_kind(kind, part, sizes) for part in value)
        if parameter.kind is not parameter.VAR_KEYWORD:
            taken = as_kind(kind, value, sizes)
            if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool):
                require_option(taken, parameter.default)
            return taken
        taken = {}
        hints = _keywords(kind)
        for name, part in value.items():
            # an unknown keyword is left to Python, whose own message names it
            taken[name] = as_kind(hints[name], part, sizes) if hints and name in hints else part
        return taken
    except OtherKind as error:
        given = value[name] if parameter.kind is parameter.VAR_KEYWORD else value
        told = error if error.is_whole else f" must be {error}; got {shown(given)}"
        raise ValueError(f"{function.__name__}: {name}{told}") from None


@functools.cache
def _keywords(kind: Any) -> dict[str, Any] | None:
    """The keywords that `**kwargs: Unpack[...]` allows and their kinds; None where any is allowed."""
    if typing.get_origin(kind) is typing.Unpack:
        (kind,) = typing.get_args(kind)
    return typing.get_type_hints(kind, include_extras=True) if typing.is_typeddict(kind) else None
