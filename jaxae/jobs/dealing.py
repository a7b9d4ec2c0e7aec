"""The rows that a job reads: dealt when a run starts, and found again by their content later."""

import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxae import recipes, runs
from jaxae.data import Dataset, Splits, load
from jaxae.jobs.trained import saved_standardisation
from jaxae.runs import deal as deals
from jaxae.runs import matching
from jaxae.runs.contents import STANDARDISATION
from jaxae.runs.deal import Deal
from jaxae.transforms import Standardisation

# beyond it the square of a standardised value may overflow float32
LARGEST = 1e18


# a column is said to hold outliers where its largest deviation is so many times the middle one
FAR = 1e6


class Dealt(NamedTuple):
    """A data set with its deal.

    Attributes:
      deal: who reads which row.
      parts: the rows themselves.
      taught: `[n, ...]` known anomalies that the model is taught.
      rows: part name to where its rows are in the source now.
    """

    deal: Deal
    parts: Splits
    taught: np.ndarray
    rows: dict[str, np.ndarray]


class Fresh(NamedTuple):
    """How the rows of a run that starts are dealt.

    Attributes:
      parts: part name to row numbers of the source.
      normal: names of the normal (or learnt) classes.
      taught: row numbers of known anomalies.
    """

    parts: dict[str, np.ndarray]
    normal: tuple[str, ...]
    taught: np.ndarray


def dealt_rows(
    command: str,
    settings: Any,
    dataset: Dataset,
    fresh: Callable[[], Fresh],
    out: str | os.PathLike | None,
    resume: bool,
) -> Dealt:
    """The rows of a run: dealt now, or as the run to resume dealt them.

    Args:
      command: of the command line.
      settings: with `data`, `label_column` and perhaps `group_duplicates`.
      dataset: what `data.load` gave for them.
      fresh: deals the rows of a run that starts.
      out: the run folder, or None.
      resume: whether the run in `out` is continued.

    Raises:
      ValueError: there is no run to resume, it is another command's, or its rows are not in the source any more.
    """
    if resume and out is None:
        raise ValueError("--resume continues the run in --out: say which")
    if resume and (pathlib.Path(out or "") / "config.json").is_file():
        before = runs.read_config(out or "", whole=True)["command"]
        if before != command:
            raise ValueError(f"{out} is a run of `jaxae {before}`, which `jaxae {command}` cannot resume")
    if resume and out is not None and deals.has_deal(out):
        deal = deals.read(out)
        located = matching.match(deal, dataset)
        if isinstance(located, str):
            raise ValueError(f"{settings.data} is not what the run in {out} was started with: {located}")
        return _with_rows(deal, dataset, located)
    if resume and out is not None and (pathlib.Path(out) / "checkpoints").is_dir():
        deals.read(out)  # says that there is none, and what to do
    rows = fresh()
    deal = deals.record(
        settings.data,
        dataset,
        rows.parts,
        normal=rows.normal,
        label_column=settings.label_column,
        taught=rows.taught,
        grouped=getattr(settings, "group_duplicates", False),
    )
    as_it_is = matching.Match(np.arange(len(deal.digests)), np.empty(0, np.int64), False)
    return _with_rows(deal, dataset, as_it_is)


def _with_rows(deal: Deal, dataset: Dataset, located: matching.Match) -> Dealt:
    taught, _ = deals.rows_at(dataset, located.rows[deal.taught])
    rows = {name: located.rows[numbers] for name, numbers in deal.parts.items()}
    return Dealt(deal, matching.dealt(deal, dataset, located), taught, rows)


def read_source(run: str | os.PathLike, deal: Deal) -> tuple[Dataset, matching.Match]:
    """A run's source, read again and recognised by its content.

    Args:
      run: the run folder, for messages.
      deal: its deal.

    Raises:
      ValueError: the source is not where the run recorded it, or its rows changed.

    Warns:
      UserWarning: rows were added, or stand in another order.
    """
    spec = deal.spec
    if deal.path is not None and not pathlib.Path(spec).expanduser().exists():
        if not pathlib.Path(deal.path).exists():
            raise ValueError(
                f"{spec} ({deal.path}) is where the run {run} recorded its data, and there is no such file now: "
                "`jaxae calibrate --data` gives another path; other commands need it there"
            )
        spec = deal.path
    grouped = deal.groups is not None
    dataset = load(spec, label_column=deal.label_column, group_duplicates=grouped)
    located = matching.match(deal, dataset)
    if isinstance(located, str):
        raise ValueError(f"{spec} is not what the run {run} read: {located}")
    warn_of_match(spec, located)
    return dataset, located


def warn_of_match(spec: str, located: matching.Match) -> None:
    """Say where a source has rows that its run did not read, or has them in another order."""
    if located.moved:
        warnings.warn(f"{spec}: its rows stand in another order than the run read them; they are matched", stacklevel=3)
    if len(located.new):
        warnings.warn(f"{spec}: {len(located.new)} rows are new since the run", stacklevel=3)


def standardisation_of(dealt: Dealt, out: str | os.PathLike | None) -> Standardisation | None:
    """Mean and scale of a table's training rows: as the run to resume wrote them, or from the rows."""
    path = None if out is None else pathlib.Path(out) / STANDARDISATION
    if path is not None and deals.has_deal(path.parent) and dealt.deal.left_out is not None:
        return saved_standardisation(path.parent)  # cleaning has taken rows out since
    return recipes.standardise(dealt.parts.train.x)


def require_usable(parts: Splits, names: tuple[str, ...] | None) -> None:
    """Look at a table's rows that must be normal before anything is trained on them.

    Raises:
      ValueError: a value beyond `LARGEST`, such as a fill value for what is missing.

    Warns:
      UserWarning: a column whose largest deviation is a million times its middle one.
    """
    if parts.train.x.ndim != 2:
        return
    for name in ("train", "validation", "calibration"):
        x = getattr(parts, name).x
        far = np.argwhere(np.abs(x) > LARGEST)
        if len(far):
            row, column = far[0]
            raise ValueError(
                f"{_column(names, column)}: {len(far)} values of the rows for {name} lie beyond {LARGEST:g}, the first "
                f"is {x[row, column]:g}: a fill value for what is missing? drop or replace such rows"
            )
    x = parts.train.x.astype(np.float64)
    deviation = np.abs(x - np.median(x, 0))
    middle = np.median(deviation, 0)
    ratio = np.divide(deviation.max(0), middle, out=np.zeros(x.shape[1]), where=middle > 0)
    for column in np.flatnonzero(ratio > FAR)[:3]:
        value = x[deviation[:, column].argmax(), column]
        warnings.warn(
            f"{_column(names, column)}: a training row holds {value:g}, {ratio[column]:.1g} times as far from the "
            "median as the middle row: all others become alike once the column is standardised",
            stacklevel=3,
        )


def _column(names: tuple[str, ...] | None, column: int | np.integer) -> str:
    return f"column {column}" if names is None else f"column {names[column]!r}"
