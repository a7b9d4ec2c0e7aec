"""What a run is, on disk: its folder, its contents, its deal, its table of scores."""

from jaxae.numerics.arguments import check_arguments
from jaxae.runs.contents import ENTRIES, SERVES, Entry, require_served
from jaxae.runs.deal import Deal
from jaxae.runs.folder import (
    next_free,
    read_config,
    require_file,
    start,
    write_arrays,
    write_csv,
    write_json,
    write_whole,
)
from jaxae.runs.reading import Run, Scores, read_run
from jaxae.runs.scores_table import write_scores

__all__ = [
    "ENTRIES",
    "SERVES",
    "Deal",
    "Entry",
    "Run",
    "Scores",
    "next_free",
    "read_config",
    "read_run",
    "require_file",
    "require_served",
    "start",
    "write_arrays",
    "write_csv",
    "write_json",
    "write_scores",
    "write_whole",
]

check_arguments(__name__)
