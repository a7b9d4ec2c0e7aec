"""Options of the command line, made from the settings of the jobs: type, default and help stand there, once."""

import json
import typing
from collections.abc import Callable
from typing import Any

import click

from jaxae.files.messages import shown
from jaxae.settings import Named, Within, annotation, described, union_of


class Lazy(click.Option):
    """An option whose help names the members of a table; the table's module is imported when the help is shown."""

    def __init__(self, *declarations, limit: Named | None = None, **attributes):
        super().__init__(*declarations, **attributes)
        self.limit = limit

    def get_help_record(self, ctx):
        """The option and its help, with the names that it may have."""
        record = super().get_help_record(ctx)
        if record is None or self.limit is None:
            return record
        return record[0], f"{record[1]}  [{', '.join(self.limit.names())}]"


# how a field is shown where its own name and type do not say it
_METAVAR = {
    "data": "SPEC",
    "label_column": "NAME",
    "normal": "LABEL[,LABEL]",
    "known": "LABEL,LABEL[,...]",
    "labels": "NAME[,NAME]",
    "cost": "MISS:FALSE_ALARM",
    "options": "KEY=VALUE",
}
_FLAGS = {
    "options": ("--set", "options"),
    "labels": ("--label", "--labels", "labels"),
    "number": ("-n", "--number", "number"),
    "uniform": ("--uniform", "--own-prior", "uniform"),
}


def options_of(settings: type, *leave_out: str) -> Callable:
    """A decorator that adds the options of a class of settings to a command, in the order of its fields.

    A field `rule` becomes `--max-false-alarm-rate`, `--min-recall`, `--best-f1` and `--rule`; `settings_of` puts the
    values back into the class.

    Args:
      settings: one of the classes of `jaxae.settings`.
      *leave_out: fields that are no options.
    """
    fields = [name for name in settings._fields if name not in leave_out]

    def add(function: Callable) -> Callable:
        for name in reversed(fields):
            made = _rule_options(settings) if name == "rule" else [_option(settings, name)]
            for option in reversed(made):
                function = option(function)
        return function

    return add


def settings_of(kind: type, values: dict[str, Any]) -> Any:
    """The settings that parsed options stand for; what was not given keeps its default.

    Raises:
      ValueError: a text that is no cost, no rule or no `KEY=VALUE`, or two rules at once.
    """
    given = dict(values)
    if "rule" in kind._fields:
        given["rule"] = _rule_of(given)
    for name in ("normal", "known", "labels"):
        if name in given:
            given[name] = _names_of(given[name])
    if "cost" in given:
        given["cost"] = _cost_of(given["cost"], given.pop("wrong_class_cost", None) if kind_has_three(kind) else None)
    if "options" in given:
        given["options"] = _assignments_of(given["options"])
    return kind(**given)


def kind_has_three(settings: type) -> bool:
    """Whether the settings' `cost` has a third number, of a wrong class."""
    return "cost" in settings._fields and len(settings._field_defaults["cost"]) == 3


def _option(settings: type, name: str) -> Callable:
    kind, limit = annotation(settings, name)
    default = settings._field_defaults.get(name)
    text = described(settings)[name]
    flags = _FLAGS.get(name, (f"--{name.replace('_', '-')}", name))
    shown: dict[str, Any] = {"help": _help(text), "metavar": _METAVAR.get(name)}
    if kind is bool:
        return click.option(*flags, is_flag=True, default=False, help=_help(text))
    if name == "options":
        return click.option(*flags, multiple=True, help=f"{_help(text)} May be repeated.", metavar=shown["metavar"])
    if name == "cost":
        shown["default"] = ":".join(f"{cost:g}" for cost in default[:2])
        if kind_has_three(settings):
            shown["help"] = "Costs of an unknown example that gets a class, and of a known one that is called unknown."
        return click.option(*flags, **shown)
    if name not in settings._field_defaults:
        return click.option(*flags, required=True, **shown)
    if isinstance(limit, Named):
        return click.option(*flags, cls=Lazy, limit=limit, default=default, help=shown["help"], metavar="NAME")
    return click.option(*flags, type=_type(kind, limit), default=default, **shown)


def _help(text: str) -> str:
    """The sentence of a docstring as help: a capital at its start, code marks and Python's own names left out."""
    plain = text.replace("`", "").replace("whether to ", "").replace("whether ", "").replace("None:", "Default:")
    return plain[:1].upper() + plain[1:]


def _type(kind: Any, limit: Within | Named | None) -> Any:
    plain = next(option for option in union_of(kind) if option is not type(None))
    if typing.get_origin(plain) is tuple:
        return str
    if plain is int and isinstance(limit, Within):
        return click.IntRange(int(limit.low), int(limit.high))
    return plain


def _rule_options(settings: type) -> list[Callable]:
    return [
        click.option(
            "--max-false-alarm-rate", type=float, metavar="A", help="Rule: flag at most this share of normals."
        ),
        click.option("--min-recall", type=float, metavar="R", help="Rule: find at least this share of anomalies."),
        click.option("--best-f1", is_flag=True, help="Rule: the highest F1 at the deployment's anomaly rate."),
        click.option(
            "--rule",
            cls=Lazy,
            limit=Named("jaxae.recipes:RULES"),
            metavar="NAME[=VALUE]",
            help=_help(described(settings)["rule"]),
        ),
    ]


def _names_of(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as a tuple; None stays None."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _cost_of(text: str, wrong_class: float | None) -> tuple[float, ...]:
    """`10:1` as two floats, with the cost of a wrong class behind them where there is one."""
    try:
        miss, false_alarm = (float(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"--cost {shown(text)}: give MISS:FALSE_ALARM, two numbers such as 10:1") from None
    return (miss, false_alarm) if wrong_class is None else (miss, false_alarm, wrong_class)


def _rule_of(options: dict[str, Any]) -> tuple[str, float | None] | None:
    """The one rule among the options, which are taken out of them."""
    rate, recall, best_f1, other = (
        options.pop(name) for name in ("max_false_alarm_rate", "min_recall", "best_f1", "rule")
    )
    given = {
        "--max-false-alarm-rate": None if rate is None else ("false_alarm_rate", rate),
        "--min-recall": None if recall is None else ("recall", recall),
        "--best-f1": ("best_f1", None) if best_f1 else None,
        "--rule": None if other is None else _named_rule(other),
    }
    chosen = {flag: rule for flag, rule in given.items() if rule is not None}
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} exclude each other: one rule chooses the threshold")
    return next(iter(chosen.values()), None)


def _named_rule(text: str) -> tuple[str, float | None]:
    name, equals, value = text.partition("=")
    try:
        return name, float(value) if equals else None
    except ValueError:
        raise ValueError(f"--rule {shown(text)}: give NAME or NAME=NUMBER, such as mad=3") from None


def _assignments_of(texts: tuple[str, ...]) -> dict[str, Any]:
    """`KEY=VALUE` texts as a dict; values are JSON where they can be."""
    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"--set {shown(text)}: give KEY=VALUE, such as latent_size=16")
        try:
            options[key] = json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            options[key] = value
    return options
