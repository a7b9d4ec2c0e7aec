"""Metrics of a training on disk: JSON lines, and TensorBoard events on request."""

import json
import math
import os
import pathlib
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from jaxae.files.kinds import maybe, number, record, whole
from jaxae.files.reading import read_json_lines


def metrics_log(
    path: str | os.PathLike, step: int = 0, tensorboard: str | os.PathLike | None = None
) -> Callable[[Mapping[str, Any]], None]:
    """A function that appends metrics as one JSON line; lines after `step` that a killed run left are dropped first.

    Args:
      path: path of the `.jsonl` file.
      step: step from which training continues; 0 starts an empty file.
      tensorboard: folder for TensorBoard events; None writes none.

    Returns:
      `metrics -> None`; `metrics["step"]` is the training step, the other values are numbers.

    Raises:
      ValueError: TensorBoard is asked for and tensorboardX is not installed, or the file is no metrics log.

    Example:
      >>> import tempfile, pathlib
      >>> from jaxae.train import metrics_log
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     log = metrics_log(pathlib.Path(folder) / "metrics.jsonl")
      ...     log({"step": 10, "loss": 0.5})
      ...     print((pathlib.Path(folder) / "metrics.jsonl").read_text().strip())
      {"step": 10, "loss": 0.5}
    """
    path = pathlib.Path(path)
    writer = None if tensorboard is None else _tensorboard(tensorboard, step)
    kept_lines = [line for line in _lines(path) if line["step"] <= step]
    rewritten = path.with_name(f".{path.name}.partial")
    rewritten.write_text("".join(json.dumps(line) + "\n" for line in kept_lines), encoding="utf-8")
    os.replace(rewritten, path)

    def log(metrics: Mapping[str, Any]) -> None:
        now = int(metrics["step"])
        values = {name: float(value) for name, value in metrics.items() if name != "step"}
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": now, **finite}, allow_nan=False) + "\n")
        if writer is not None:
            for name, value in values.items():
                writer.add_scalar(name, value, now)

    if writer is not None:
        weakref.finalize(log, writer.close)  # queued events are written when the process ends at the latest
    return log


def _lines(path):
    if not path.is_file():
        return []
    try:
        return read_json_lines(path, record({"step": whole()}, others=maybe(number(-1e300, 1e300))))
    except ValueError as error:
        raise ValueError(f"{path} is not a metrics log of jaxae: choose another file ({error})") from None


def _tensorboard(folder, step):
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ValueError("TensorBoard events need tensorboardX: pip install 'jaxae[tensorboard]'") from None
    # events after `step` are of the run that was killed
    return SummaryWriter(os.fspath(folder), purge_step=step + 1 if step else None)
