"""From a model to a decision: scores, thresholds, metrics, and the detector that composes and saves them."""

from jaxae.scoring import costs, metrics, thresholds
from jaxae.scoring.batching import score_batches
from jaxae.scoring.combinators import averaged, ensemble, prepared
from jaxae.scoring.contamination import Contamination, contamination
from jaxae.scoring.detector import detector, rethresholded
from jaxae.scoring.loading import LoadedDetector, load_detector
from jaxae.scoring.saving import save_detector
from jaxae.scoring.scores import reconstruction
from jaxae.scoring.summary import summary

__all__ = [
    "Contamination",
    "LoadedDetector",
    "averaged",
    "contamination",
    "costs",
    "detector",
    "ensemble",
    "load_detector",
    "metrics",
    "prepared",
    "reconstruction",
    "rethresholded",
    "save_detector",
    "score_batches",
    "summary",
    "thresholds",
]
