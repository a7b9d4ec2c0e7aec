"""From a model to a decision: scores, thresholds, metrics, and the detector that composes and saves them."""

from jaxae.scoring import (
    baselines,
    bounds,
    confidence,
    conformal,
    costs,
    discoveries,
    explain,
    latent,
    metrics,
    thresholds,
)
from jaxae.scoring.batching import score_batches
from jaxae.scoring.calibrate import Guarantees, calibrate
from jaxae.scoring.cleaning import kept_by_neighbours
from jaxae.scoring.combinators import averaged, ensemble, prepared
from jaxae.scoring.contamination import Contamination, contamination
from jaxae.scoring.detector import detector, rethresholded
from jaxae.scoring.fusion import fused
from jaxae.scoring.layers import normalised_pathway, simple_pathway
from jaxae.scoring.likelihood import bound
from jaxae.scoring.loading import LoadedDetector, load_detector
from jaxae.scoring.normalisation import complexity_normalised, normalised, relative
from jaxae.scoring.open_set import open_set
from jaxae.scoring.saving import save_detector
from jaxae.scoring.scores import reconstruction
from jaxae.scoring.summary import summary
from jaxae.scoring.surprisal import surprisal

__all__ = [
    "Contamination",
    "Guarantees",
    "LoadedDetector",
    "averaged",
    "baselines",
    "bound",
    "bounds",
    "calibrate",
    "complexity_normalised",
    "confidence",
    "conformal",
    "contamination",
    "costs",
    "detector",
    "discoveries",
    "ensemble",
    "explain",
    "fused",
    "kept_by_neighbours",
    "latent",
    "load_detector",
    "metrics",
    "normalised",
    "normalised_pathway",
    "open_set",
    "prepared",
    "reconstruction",
    "relative",
    "rethresholded",
    "save_detector",
    "score_batches",
    "simple_pathway",
    "summary",
    "surprisal",
    "thresholds",
]
