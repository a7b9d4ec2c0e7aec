"""What a run folder holds, read back; every file but the settings may be absent."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxae.data import schema as schemas
from jaxae.files import arrays, reading
from jaxae.files import kinds as values
from jaxae.files.arrays import Array
from jaxae.files.kinds import Kind
from jaxae.files.messages import first_line, listed, shown
from jaxae.files.reading import read_json_lines
from jaxae.runs import kinds

CONFIG = "config.json"
COLUMNS = ("index", "source", "score", "p_value", "is_anomaly", "label")


class Scores(NamedTuple):
    """The rows of `scores.csv`.

    Attributes:
      row: `[N]` int64, the index in the test part.
      source: N names of the rows in their source.
      score: `[N]` float32.
      p_value: `[N]` float32.
      is_anomaly: `[N]` bool.
      label: `[N]` int64, 1 anomaly, 0 normal; None unless every row has one.
    """

    row: np.ndarray
    source: tuple[str, ...]
    score: np.ndarray
    p_value: np.ndarray
    is_anomaly: np.ndarray
    label: np.ndarray | None


class Run(NamedTuple):
    """A run folder's contents.

    Attributes:
      folder: where it lies.
      config: settings.
      deal: what `deal.json` says: source, schema, sizes of the parts; empty if there is none.
      metrics: figures of merit; empty if there are none.
      log: the records of `metrics.jsonl`.
      scores: the test part's, or None.
      dev: arrays of `dev.npz`: "scores", "labels", "calibration", "costs".
      examples: arrays of `examples.npz`: "input", "reconstruction", "map", "score", "kind".
      samples: `[n, H, W, C]` or `[n, D]`, or None.
      walks: arrays of `walks.npz`: "traversals", "dimensions", "kl", "interpolations".
    """

    folder: Path
    config: dict
    deal: dict
    metrics: dict
    log: list[dict]
    scores: Scores | None
    dev: dict[str, np.ndarray]
    examples: dict[str, np.ndarray]
    samples: np.ndarray | None
    walks: dict[str, np.ndarray]


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
      ValueError: the folder holds no `config.json`, or a file in it cannot be read.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} is no run folder: it holds no {CONFIG}")
    return Run(
        folder,
        read_settings(folder / CONFIG),
        _deal(folder / "deal.json"),
        read_json(folder / "metrics.json", kinds.METRICS),
        read_json_lines(log, kinds.LOG) if (log := folder / "metrics.jsonl").is_file() else [],
        _scores(folder / "scores.csv"),
        read_arrays(folder / "dev.npz", kinds.DEV, kinds.DEV_TOO),
        read_arrays(folder / "examples.npz", kinds.EXAMPLES, kinds.EXAMPLES_TOO),
        read_arrays(folder / "samples.npz", kinds.SAMPLES).get("images"),
        read_arrays(folder / "walks.npz", kinds.WALKS, kinds.WALKS_TOO),
    )


def _deal(path: Path) -> dict[str, Any]:
    facts = read_json(path, kinds.DEAL_SHOWN)
    if facts:
        schemas.from_json(str(path), facts["schema"])
    return facts


def read_settings(path: Path) -> dict[str, Any]:
    """What a `config.json` says, each setting of the kind that its command has for it.

    Raises:
      ValueError: it is damaged, or of no command of jaxae.
    """
    config = reading.read_json(path, values.mapping(values.anything))
    command = config.get("command")
    if not isinstance(command, str) or command not in kinds.SETTINGS:
        raise ValueError(f"{path} is not of jaxae: command is {shown(command)}, not {listed(kinds.SETTINGS)}")
    return values.check(path, config, kinds.config(command))


def read_json(path: Path, kind: Kind) -> dict[str, Any]:
    """The object that a JSON file holds; empty if there is none.

    Raises:
      ValueError: it is not valid JSON, or not of this kind.
    """
    return reading.read_json(path, kind) if path.is_file() else {}


def read_arrays(
    path: Path, needed: Mapping[str, Array], optional: Mapping[str, Array] | None = None, others: Array | None = None
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`; empty if there is none.

    Raises:
      ValueError: it is damaged, or holds other arrays than these.
    """
    return arrays.read_arrays(path, needed, optional, others) if path.is_file() else {}


def _scores(path: Path) -> Scores | None:
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file, strict=True))
    except (ValueError, csv.Error, OSError) as error:
        raise ValueError(f"{path} is no table of scores: {first_line(error)}") from None
    if absent := [name for name in COLUMNS if header.count(name) != 1]:
        raise ValueError(f"{path} does not hold the columns {','.join(COLUMNS)} once each: {listed(absent)}")
    place = {name: header.index(name) for name in COLUMNS}
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"{path}, line {number} has {len(row)} fields, the first line has {len(header)}")

    def column(name: str, read: Any, dtype: Any, wanted: str) -> np.ndarray:
        column_values = []
        for number, row in enumerate(rows, 2):
            field = row[place[name]]
            try:
                column_values.append(read(field))
            except (ValueError, OverflowError):
                raise ValueError(f"{path}, line {number}: {name} is {shown(field)}; it must be {wanted}") from None
        return np.array(column_values, dtype)

    labels = [row[place["label"]] for row in rows]
    return Scores(
        column("index", _index, np.int64, "a whole number"),
        tuple(row[place["source"]] for row in rows),
        # of a row that overflowed, infinite or none
        column("score", _float32, np.float32, "a number"),
        column("p_value", _share, np.float32, "a number in [0, 1]"),
        column("is_anomaly", _bit, bool, "0 or 1"),
        column("label", _bit, np.int64, "0, 1 or empty") if rows and all(labels) else None,
    )


def _no() -> Any:
    raise ValueError


def _index(field: str) -> int:
    value = int(field)
    return value if 0 <= value < 2**62 else _no()


def _float32(field: str) -> float:
    value = float(field)
    return value if not math.isfinite(value) or abs(value) <= values.LARGEST else _no()


def _bit(field: str) -> int:
    value = float({"true": "1", "false": "0"}.get(field.lower(), field))
    return int(value) if value in (0, 1) else _no()


def _share(field: str) -> float:
    value = float(field)
    return value if 0 <= value <= 1 else _no()
