"""Keywords of a preset or a prior as texts and numbers give them, such as `--set latent_size=16`."""

import inspect
import math
import typing
from collections.abc import Callable
from typing import Any

from jaxae import bottlenecks, likelihoods, priors, transforms
from jaxae.recipes.user_parts import called, is_own
from jaxae.settings import union_of
from jaxae.types import Bottleneck, Likelihood, Network, Prior

NAMED_LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "gaussian", "gaussian_learned", "laplace", "laplace_learned")
"""Likelihoods that an option may name: `likelihood=continuous_bernoulli`."""

CORRUPTIONS = ("gaussian_noise", "log_uniform_noise", "feature_dropout", "salt_and_pepper", "patch_mask")
"""Transforms that an option may name as a corruption, with the strength that the contract tests use."""

# what a network's dimension, a number of codes or of layers can be at most
_LARGEST = 2**31 - 1


def keyword_hints(function: Callable) -> dict[str, Any]:
    """The keywords that a preset or a prior takes, and their types; those of `Unpack[...]` among them.

    Example:
      >>> from jaxae import presets
      >>> from jaxae.recipes.options import keyword_hints
      >>> keyword_hints(presets.vae)["latent_size"]
      <class 'int'>
    """
    hints = typing.get_type_hints(function)
    keywords: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            for shared in typing.get_args(parameter.annotation):
                keywords |= typing.get_type_hints(shared)
        else:
            keywords[name] = hints.get(name, Any)
    return keywords


def resolved(owner: str, function: Callable, options: dict[str, Any], hidden: set[str]) -> dict[str, Any]:
    """The options as the function takes them: names become parts, and every value is of its keyword's type.

    Args:
      owner: what takes the options, for messages.
      function: a preset or the constructor of a prior.
      options: keyword to value, as JSON has it.
      hidden: keywords that are no options.

    Raises:
      ValueError: an option that there is not (those there are are listed), or a value of another type, with what the
        option takes.

    Example:
      >>> from jaxae import presets
      >>> from jaxae.recipes.options import resolved
      >>> resolved("vae", presets.vae, {"latent_size": 1.5}, {"shape"})
      Traceback (most recent call last):
      ValueError: latent_size of vae takes a whole number; got 1.5
    """
    hints = {name: hint for name, hint in keyword_hints(function).items() if name not in hidden}
    if unknown := sorted(set(options) - set(hints)):
        raise ValueError(f"{owner} has no option {', '.join(unknown)}; it has {', '.join(sorted(hints))}")
    return {name: _value(f"{name} of {owner}", value, hints[name]) for name, value in options.items()}


def _value(where: str, value: Any, hint: Any) -> Any:
    kinds = union_of(hint)
    table = _table(kinds)
    if table is not None:
        made = _part(where, value, *table)
        if made is not None or value is None:
            return made
    takes = []
    for kind, fits, words in _PLAIN:
        if kind in kinds:
            takes.append(words)
            if fits(value):
                return value
    if table is None and _has_part(kinds):
        takes.append("package.module:function")
        if is_own(value):
            return called(value, object)
    if table is not None:
        takes.append(_names(table))
    if not takes:
        raise ValueError(f"{where} cannot be given as text; compose the model in Python")
    raise ValueError(f"{where} takes {' or '.join(takes)}; got {value!r}")


_PLAIN = (
    (bool, lambda v: isinstance(v, bool), "true or false"),
    (
        int,
        lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) <= _LARGEST,
        "a whole number",
    ),
    (
        float,
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= 1e30 and math.isfinite(v),
        "a number",
    ),
    (str, lambda v: isinstance(v, str), "a name"),
    (type(None), lambda v: v is None, "null"),
)


def _table(kinds: tuple[Any, ...]) -> tuple[type, dict[str, Callable]] | None:
    """The type of a part, and the names that stand for one."""
    if Likelihood in kinds:
        return Likelihood, {name: likelihoods.LIKELIHOODS[name] for name in NAMED_LIKELIHOODS}
    if Bottleneck in kinds:
        return Bottleneck, bottlenecks.BOTTLENECKS
    if Prior in kinds:
        return Prior, priors.PRIORS
    if Network in kinds:
        return Network, {}
    if transforms.Transform in kinds:
        return Callable, {name: transforms.TRANSFORMS[name] for name in CORRUPTIONS}  # pyright: ignore[reportReturnType]
    return None


def _part(where: str, value: Any, kind: type, table: dict[str, Callable]) -> Any:
    """The part that a name or `package.module:function` stands for; what is a part already stays; None otherwise."""
    if is_own(value):
        return called(value, kind)
    if isinstance(value, str) and value in table:
        return table[value]()
    if isinstance(value, str) and table:
        raise ValueError(f"there is no {where} {value!r} by name; there are {', '.join(sorted(table))}")
    return value if isinstance(value, kind) and not isinstance(value, str) else None


def _has_part(kinds: tuple[Any, ...]) -> bool:
    plain = {kind for kind, _, _ in _PLAIN}
    return any(kind not in plain for kind in kinds)


def _names(table: tuple[type, dict[str, Callable]]) -> str:
    names = sorted(table[1])
    return f"{', '.join(names)} or package.module:function" if names else "package.module:function"
