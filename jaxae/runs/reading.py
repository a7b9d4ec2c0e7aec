"""What a run folder holds, read back; every file but the settings may be absent."""

import csv
import json
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np


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
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is no run folder: it holds no config.json")
    return Run(
        folder,
        read_json(folder / "config.json"),
        read_json(folder / "deal.json"),
        read_json(folder / "metrics.json"),
        _json_lines(folder / "metrics.jsonl"),
        _scores(folder / "scores.csv"),
        read_arrays(folder / "dev.npz"),
        read_arrays(folder / "examples.npz"),
        read_arrays(folder / "samples.npz").get("images"),
        read_arrays(folder / "walks.npz"),
    )


def read_json(path: Path) -> dict:
    """The object that a JSON file holds; empty if there is none.

    Raises:
      ValueError: it is not valid JSON, or no object.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object, but {type(value).__name__}")
    return value


def _json_lines(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number} is not valid JSON: {error}") from None
            # a run that was killed leaves its last line torn
    return records


def _scores(path: Path) -> Scores | None:
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        labels = [row["label"] for row in rows]
        return Scores(
            np.array([int(row["index"]) for row in rows], np.int64),
            tuple(row["source"] for row in rows),
            np.array([float(row["score"]) for row in rows], np.float32),
            np.array([float(row["p_value"]) for row in rows], np.float32),
            np.array([row["is_anomaly"].lower() in ("1", "true") for row in rows], bool),
            np.array([int(float(label)) for label in labels], np.int64) if rows and all(labels) else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} does not hold the columns index,source,score,p_value,is_anomaly,label: {error}"
        ) from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`; empty if there is none.

    Raises:
      ValueError: it is damaged, or holds what is no numbers or texts.
    """
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be read ({first})") from None
