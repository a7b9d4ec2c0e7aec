"""What the files of a run hold, key by key, for the readers."""

from typing import Any

from jaxae.files import kinds
from jaxae.files.arrays import Array
from jaxae.files.kinds import Kind, anything, fixed, flag, mapping, maybe, number, record, sequence, text, whole
from jaxae.settings import (
    DetectSettings,
    OpenSetSettings,
    TrainPriorSettings,
    TrainSettings,
    Within,
    annotation,
    union_of,
)

SETTINGS: dict[str, type] = {
    "detect": DetectSettings,
    "open-set": OpenSetSettings,
    "train": TrainSettings,
    "train-prior": TrainPriorSettings,
}
"""Command to the settings that its config.json holds."""

# keys that earlier versions did not write, and that have a default where they are read
LATER = frozenset({"bottleneck", "view", "wrong_class_cost"})
_FACTS: dict[str, Kind] = {"version": text, "normal": maybe(sequence(text)), "model": text}
_PRIOR_FACTS: dict[str, Kind] = {
    "shape": sequence(whole(1, 2**24), most=8),
    "rows": whole(1, 2**40),
    "model_step": whole(),
    "num_codes": whole(1, 2**31),
    "classes": sequence(text),
    "class_shares": sequence(number(0, 1)),
}


def config(command: str) -> Kind:
    """What the config.json of a command holds: its settings, each of its own kind, and facts of the run.

    Example:
      >>> from jaxae.files.kinds import check
      >>> from jaxae.runs import kinds
      >>> check("config.json", {"command": "train", "epochs": "ten"}, kinds.config("train"))
      Traceback (most recent call last):
      ValueError: config.json: epochs is 'ten'; it must be a whole number in [1, 1000000]
    """
    settings = SETTINGS[command]
    own = {name: _of_field(settings, name) for name in settings._fields}  # pyright: ignore[reportAttributeAccessIssue]
    facts = _FACTS | (_PRIOR_FACTS if command == "train-prior" else {})
    return record({"command": kinds.one_of(command)}, {**own, **facts}, others=anything)


def needed(command: str) -> list[str]:
    """Keys of a config.json without which a run cannot be read further."""
    names = {*SETTINGS[command]._fields} - LATER  # pyright: ignore[reportAttributeAccessIssue]
    if command == "train-prior":
        names |= {"shape", "rows", "model_step"}
    return sorted(names)


def _of_field(settings: type, name: str) -> Kind:
    hint, limit = annotation(settings, name)
    options = [option for option in union_of(hint) if option is not type(None)]
    kind = _of_type(options[0], limit)
    return maybe(kind) if len(options) < len(union_of(hint)) else kind


def _of_type(hint: Any, limit: Any) -> Kind:
    if union_of(hint) != (hint,):
        return maybe(_of_type(next(option for option in union_of(hint) if option is not type(None)), limit))
    if getattr(hint, "__origin__", None) is tuple:
        parts = hint.__args__
        if parts[-1] is Ellipsis:
            return sequence(_of_type(parts[0], None))
        return fixed(*(_of_type(part, None) for part in parts))
    if hint is int:
        return whole(int(limit.low), int(limit.high)) if isinstance(limit, Within) else whole(-kinds.MOST_WHOLE)
    if hint is float and isinstance(limit, Within):
        return number(max(limit.low, -kinds.LARGEST), min(limit.high, kinds.LARGEST))
    return {str: text, bool: flag, float: number()}.get(hint, mapping(anything))


_DEAL: dict[str, Kind] = {
    "version": kinds.one_of(1),
    "source": record(
        {"spec": text, "path": maybe(text), "name": text, "label_column": maybe(text), "digest": text},
        others=anything,
    ),
    "label_names": maybe(sequence(text)),
    "normal": sequence(text),
    "num_train": maybe(whole()),
    "sizes": mapping(whole()),
    "taught": whole(),
    "left_out": maybe(whole()),
    "schema": record({"kind": text, "dtype": text, "parts": sequence(mapping(anything), 1)}, others=anything),
    "rows_digest": text,
}
DEAL = record(_DEAL, others=anything)
"""deal.json."""
DEAL_SHOWN = record({name: _DEAL[name] for name in ("source", "schema")}, _DEAL, others=anything)
"""What the report and `info` show of it."""

CARD = record(
    {},
    {
        "config": mapping(anything),
        "padded_batch": whole(1, 2**16),
        "sizes": mapping(whole()),
        "schema": record({"kind": text, "dtype": text, "parts": sequence(mapping(anything), 1)}, others=anything),
        "label_column": maybe(text),
        "normal": sequence(text),
        "classes": sequence(text, 2),
        "calibration": mapping(anything),
    },
    others=anything,
)
"""What the jobs tell a saved detector about itself, in its card.json."""

_measured = maybe(number())
_MERITS = (
    "auroc",
    "recall",
    "false_alarm_rate",
    "precision",
    "f1",
    "average_precision",
    "expected_cost",
    "expected_cost_oracle",
    "expected_cost_always",
    "expected_cost_never",
)
METRICS = record(
    {},
    {
        **{name + end: _measured for name in _MERITS for end in ("", "_raw")},
        "threshold": _measured,
        "anomaly_rate": maybe(number(0, 1)),
        "sizes": mapping(whole()),
        "flagged": number(0, 1),
        "seconds": maybe(number(0)),
        "steps": whole(),
        "guarantees": maybe(record({}, {"lines": sequence(text)}, others=anything)),
    },
    others=anything,
)
"""metrics.json, of a run or of its prior."""

LOG = record({"step": whole()}, others=maybe(number(-1e300, 1e300)))
"""A line of metrics.jsonl."""

_PARTS = ("train", "validation", "calibration", "dev", "certify", "test")
ROWS = {f"rows_{part}": Array("iu", (part,), 0) for part in _PARTS}
ROWS |= {"taught": Array("iu", ("taught",), 0), "digests": Array("u", ("N",)), "classes": Array("iu", ("N",), -1)}
ROWS_TOO = {"left_out": Array("iu", ("left",), 0), "groups": Array("iu", ("N",))}
"""deal.npz."""

STANDARDISE = {"mean": Array("f", ("D",)), "scale": Array("f", ("D",), 0)}
"""standardise.npz."""

_score = Array("f", ("n",))
DEV = {"calibration": Array("f", ("c",)), "costs": Array("f", (2, 2), 0)}
DEV_TOO = {"scores": _score, "labels": Array("iub", ("n",), 0, 1)}
"""dev.npz."""

EXAMPLES = {name: Array("f", ("n", "...")) for name in ("input", "reconstruction", "map")}
EXAMPLES |= {"kind": Array("U", ("n",))}
EXAMPLES_TOO = {"score": _score, "is_anomaly": Array("biu", ("n",), 0, 1), "label": Array("iu", ("n",), -1, 1)}
"""examples.npz."""

WALKS = {
    "traversals": Array("f", ("K", "S", "H", "W", "C")),
    "dimensions": Array("iu", ("K",), 0),
    "kl": Array("f", ("K",)),
}
WALKS_TOO = {"interpolations": Array("f", ("M", "T", "H", "W", "C"))}
"""walks.npz."""

SAMPLES = {"images": Array("fu", ("n", "D", "..."))}
"""samples.npz."""
