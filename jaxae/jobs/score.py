"""`jaxae score`: what a saved detector says of rows."""

import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxae import runs, scoring
from jaxae.data import Dataset, load
from jaxae.data import schema as schemas
from jaxae.files import kinds as values
from jaxae.jobs.deciding import PADDED_BATCH
from jaxae.runs import deal as deals
from jaxae.runs import kinds, matching
from jaxae.settings import ScoreSettings, checked


def score(
    detector: str | os.PathLike,
    settings: ScoreSettings,
    out: str | os.PathLike = "scores.csv",
    *,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Score all rows of a data set, labelled or not, with a saved detector.

    Columns of a table are found by their names, as training saw them.

    Args:
      detector: folder that `save_detector` wrote, or that of a run which holds one.
      settings: what to score.
      out: the `.csv` to write, see `runs.write_scores`.
      overwrite: whether to replace `out` if it exists.
      echo: takes a line for the user; None: silent.

    Returns:
      `out`.

    Raises:
      ValueError: `out` exists, no detector is there, the data is not of the kind it was trained on, or it has no such
        part.

    Warns:
      UserWarning: columns without names, or values far beyond those of training.

    Example:
      ```python
      from jaxae import jobs
      jobs.score("runs/detect-1/detector", jobs.ScoreSettings(data="new.csv"), "scores.csv")
      ```
    """
    settings, out = checked(settings), pathlib.Path(out)
    runs.require_file(out)
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists: --overwrite replaces it")
    folder = detector_folder(detector)
    loaded = scoring.load_detector(folder)
    card = values.check(folder / "card.json", loaded.card, kinds.CARD)
    schema = None if "schema" not in card else schemas.from_json(str(folder / "card.json"), card["schema"])
    dataset = load(
        settings.data,
        label_column=settings.label_column,
        scoring=True,
        columns=None if schema is None else schema.names,
        label_aside=card.get("label_column"),
    )
    if schema is not None:
        for line in schemas.differences(schema, dataset):
            warnings.warn(line, stacklevel=2)
    rows = np.arange(len(dataset.x_test)) if settings.part is None else _part_of(settings.part, folder, dataset)
    verdict = scoring.score_batches(loaded.apply, dataset.x_test[rows], card.get("padded_batch", PADDED_BATCH))
    if "classes" in card and (verdict.action is None or int(verdict.action.max()) >= len(card["classes"])):
        raise ValueError(f"{folder / 'card.json'}: classes has {len(card['classes'])} names, the program gives others")
    labels, truth = _truth_of(dataset, card.get("normal"))
    out.parent.mkdir(parents=True, exist_ok=True)
    runs.write_scores(
        out,
        verdict,
        None if labels is None else labels[rows],
        deals.source_names(dataset, rows),
        card.get("classes"),
        None if truth is None else truth[rows].tolist(),
    )
    if echo is not None:
        flagged = int(verdict.is_anomaly.sum())
        echo(f"{out}: {len(verdict.score)} rows, {flagged} flagged at λ = {float(verdict.threshold[0]):.6g}")
    return out


def detector_folder(path: str | os.PathLike) -> pathlib.Path:
    """Where a detector lies: the folder itself, or `detector/` in the folder of a run that has one.

    Raises:
      ValueError: it is the run of a command that saves no detector.
    """
    path = pathlib.Path(path)
    if (path / "config.json").is_file() and not (path / "card.json").is_file():
        runs.require_served("score", path, runs.read_config(path))
        return path / "detector"
    return path


def _part_of(part: str, folder: pathlib.Path, dataset: Dataset) -> np.ndarray:
    """Rows of one part of the run that the detector lies in, where this is its data; or of the source's own parts."""
    if deals.has_deal(folder.parent):
        deal = deals.read(folder.parent)
        located = matching.match(deal, dataset)
        if not isinstance(located, str):
            rows = located.rows[deal.parts[part]]
            if not len(rows):
                raise ValueError(f"the run in {folder.parent} has no {part} part")
            return rows
    if dataset.num_train is None or part not in ("train", "test"):
        raise ValueError(
            f"{dataset.name} has no {part} part: it has none of its own of that name, and it is not the data of a run "
            "that the detector lies in; leave out --part to score all rows"
        )
    rows = np.arange(len(dataset.x_test))
    return rows[: dataset.num_train] if part == "train" else rows[dataset.num_train :]


def _truth_of(dataset: Dataset, normal: list[str] | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`[N]` labels (1 anomaly, 0 normal, -1 not known) and names of the classes, as far as the data has them."""
    classes, names = dataset.y_test, dataset.label_names
    if classes is None or names is None:
        return None, None
    truth = np.array([*names, ""])[classes]
    if not normal:
        return None, truth
    labels = np.where(classes < 0, -1, (~np.isin(truth, normal)).astype(np.int64))
    return labels, truth
