"""Score and threshold as one function, to compile, to save and to load."""

from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.detector.compose import detector, rethresholded, row_scores
from jaxae.scoring.detector.loading import LoadedDetector, load_detector
from jaxae.scoring.detector.open_set import cost_table, open_set
from jaxae.scoring.detector.saving import save_detector

__all__ = [
    "LoadedDetector",
    "cost_table",
    "detector",
    "load_detector",
    "open_set",
    "rethresholded",
    "row_scores",
    "save_detector",
]

check_arguments(__name__)
