"""What a run is, on disk."""

from jaxae.runs.folder import next_free, read_config, start, write_arrays, write_csv, write_json, write_whole
from jaxae.runs.scores_table import write_scores

__all__ = [
    "next_free",
    "read_config",
    "start",
    "write_arrays",
    "write_csv",
    "write_json",
    "write_scores",
    "write_whole",
]
