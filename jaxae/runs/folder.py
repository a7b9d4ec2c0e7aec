"""Run folders: what a command writes, whole or not at all, and never over another run."""

import csv
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jaxae.files.messages import listed, shown
from jaxae.runs import kinds
from jaxae.runs.contents import ENTRIES
from jaxae.runs.reading import CONFIG, read_settings


def next_free(parent: str | os.PathLike, command: str) -> pathlib.Path:
    """The first of `parent/command-1`, `parent/command-2`, ... that does not exist.

    Example:
      >>> from jaxae.runs.folder import next_free
      >>> next_free("a-folder-that-is-not-there", "detect").name
      'detect-1'
    """
    number = 1
    while (folder := pathlib.Path(parent) / f"{command}-{number}").exists():
        number += 1
    return folder


def start(out: str | os.PathLike, config: dict, *, resume: bool = False, overwrite: bool = False) -> pathlib.Path:
    """Claim a folder for a run and write its `config.json`.

    Args:
      out: the folder; made if it is not there.
      config: the run's settings, JSON values.
      resume: whether to continue the run that the folder holds; its settings must be the same.
      overwrite: whether to remove the run that the folder holds (every entry of `runs.ENTRIES`; other files stay).

    Returns:
      The folder.

    Raises:
      ValueError: the folder is a file, holds a run and neither flag is set, holds something that is no run, holds
        a run with other settings than those to resume, or holds none to resume.
    """
    folder = pathlib.Path(out)
    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other: continue the run, or replace it")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: --out must be a folder")
    if resume and not (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f"{folder} holds no run: there is nothing to resume")
    if folder.is_dir() and any(folder.iterdir()):
        before = _existing(folder)
        if resume:
            _require_same(folder, before, config)
            for entry in ENTRIES:  # what is written at the end has to have a place
                if "." in entry.name:
                    require_file(folder / entry.name)
            return folder
        if not overwrite:
            raise ValueError(
                f"{folder} already holds a run of `jaxae {before.get('command', '?')}`: "
                "--resume continues it, --overwrite replaces it, another --out keeps both"
            )
        for entry in ENTRIES:
            path = folder / entry.name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    return folder


def read_config(run: str | os.PathLike, whole: bool = False) -> dict:
    """The settings of a run.

    Args:
      run: the folder.
      whole: whether every setting that its command has must be there.

    Raises:
      ValueError: the folder does not exist or holds no run, or its config is damaged.
    """
    folder = pathlib.Path(run)
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist: give the folder that `jaxae train` or `jaxae detect` wrote")
    if (folder / "card.json").is_file() and not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} is a saved detector, no run: give the run's own folder")
    config = _existing(folder)
    if whole and (absent := [name for name in kinds.needed(config["command"]) if name not in config]):
        raise ValueError(f"{folder / CONFIG}: it has no {listed(absent)}")
    return config


def write_json(path: str | os.PathLike, value: dict) -> None:
    """Write JSON whole or not at all; numbers that are not finite become null, as JSON has none."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"
    write_whole(path, lambda target: target.write_text(text, encoding="utf-8"))


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table whole or not at all; floats are written so that they read back to the same bits."""

    def write(target):
        with open(target, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for row in rows:
                if not isinstance(row, list | tuple):
                    raise ValueError(f"{path}: every row must be a list or tuple of values; got {shown(row)}")
                writer.writerow(row)

    write_whole(path, write)


def write_arrays(path: str | os.PathLike, **arrays: Any) -> None:
    """Write an `.npz` whole or not at all."""
    import numpy as np

    def write(target):
        with open(target, "wb") as file:
            np.savez_compressed(file, **arrays)

    write_whole(path, write)


def write_whole(path: str | os.PathLike, write: Callable[[pathlib.Path], Any]) -> None:
    """Let `write` fill a file beside `path`, then put it in place: a reader never sees half of it.

    A link stays, and the file that it leads to is replaced.

    Raises:
      ValueError: `path` is a folder, a device or a pipe.
      OSError: as `write` raises it (a full disk); what stood at `path` is untouched.
    """
    require_file(path)
    path = pathlib.Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    partial = pathlib.Path(name)
    try:
        write(partial)
        partial.chmod(0o644)  # mkstemp keeps others out; a report is to be read
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def require_file(path: str | os.PathLike) -> None:
    """Raise for a place where no file can be put: a folder, a device such as /dev/null, a pipe.

    Raises:
      ValueError: there is something at `path` that is no file.

    Example:
      >>> from jaxae import runs
      >>> runs.require_file("/dev/null")
      Traceback (most recent call last):
      ValueError: /dev/null is no file (a device, a pipe or a folder): give a path for a new file
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file (a device, a pipe or a folder): give a path for a new file")


def _existing(folder):
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} is not empty and holds no run ({CONFIG} is missing): choose another folder")
    return read_settings(path)


def _require_same(folder, before, config):
    config = _plain(config)
    for key in sorted(set(before) | set(config)):
        if before.get(key) != config.get(key):
            raise ValueError(
                f"{folder} was started with {key} = {shown(before.get(key))}, now it is {shown(config.get(key))}: "
                "resume with the same settings, or choose another --out"
            )


def _plain(value) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return _plain(value.item())
    return value
