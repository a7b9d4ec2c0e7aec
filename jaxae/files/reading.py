"""JSON and JSON lines, read strictly."""

import json
import math
import os
from pathlib import Path
from typing import Any

from jaxae.files.kinds import Kind, check
from jaxae.files.messages import first_line, shown

MOST_NESTED = 50


def read_json(path: str | os.PathLike, kind: Kind) -> Any:
    """What a JSON file holds.

    Args:
      path: the file.
      kind: what it must be.

    Raises:
      ValueError: it cannot be read, is no JSON (a key given twice and NaN are none), is nested deeper than 50, or is
        of another kind.
      FileNotFoundError: there is none.
    """
    return check(path, parse_json(path, _read_text(Path(path))), kind)


def parse_json(path: str | os.PathLike, content: str) -> Any:
    """A JSON text; `path` is what messages call it.

    Raises:
      ValueError: as `read_json`.

    Example:
      >>> from jaxae.files.reading import parse_json
      >>> parse_json("a.json", '{"a": 1, "a": 2}')
      Traceback (most recent call last):
      ValueError: a.json is not valid JSON: the key 'a' is given twice
    """
    try:
        value = json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        value = None
        depth = MOST_NESTED + 1
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {first_line(error)}") from None
    else:
        depth = _depth(value)
    if depth > MOST_NESTED:
        raise ValueError(f"{path} is nested more than {MOST_NESTED} deep")
    return value


def read_json_lines(path: str | os.PathLike, kind: Kind) -> list[Any]:
    """The values of a file of JSON lines; a last line without an end, which a killed writer leaves torn, is left out.

    Raises:
      ValueError: as `read_json`, with the line's number.
    """
    content = _read_text(Path(path))
    values = []
    lines = content.split("\n")
    for index, line in enumerate(lines, 1):
        where = f"{path}, line {index}"
        if not line and index == len(lines):
            break
        try:
            value = parse_json(where, line)
        except ValueError:
            if index == len(lines):
                break
            raise
        values.append(check(where, value, kind))
    return values


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {first_line(error)}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, where a file is expected") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} is given twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{shown(digits)} is larger than any float")
    return value


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, at most one more than is allowed."""
    level, depth = [value], 0
    while level and depth <= MOST_NESTED:
        level = [
            part
            for outer in level
            if isinstance(outer, dict | list)
            for part in (outer.values() if isinstance(outer, dict) else outer)
        ]
        depth += 1
    return depth
