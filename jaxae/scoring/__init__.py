"""From a model to a decision: scores, thresholds, metrics, and the detector that composes and saves them.

The sub-rooms, each above those that it may import: `batches`, `checks`, `metrics`, `costs`, `guarantees`,
`thresholds`, `scores`, `confidence`, `detector`.
"""

from jaxae.numerics.arguments import check_arguments
from jaxae.scoring import confidence, costs, metrics, thresholds
from jaxae.scoring.batches import score_batches
from jaxae.scoring.costs import summary
from jaxae.scoring.detector import (
    LoadedDetector,
    cost_table,
    detector,
    load_detector,
    open_set,
    rethresholded,
    row_scores,
    save_detector,
)
from jaxae.scoring.guarantees import Guarantees, bounds, calibrate, conformal, discoveries
from jaxae.scoring.metrics import Contamination, contamination
from jaxae.scoring.scores import (
    SCORERS,
    averaged,
    baselines,
    bound,
    complexity_normalised,
    ensemble,
    explain,
    fused,
    latent,
    normalised,
    normalised_pathway,
    prepared,
    reconstruction,
    relative,
    simple_pathway,
    surprisal,
)

__all__ = [
    "SCORERS",
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
    "cost_table",
    "costs",
    "detector",
    "discoveries",
    "ensemble",
    "explain",
    "fused",
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
    "row_scores",
    "save_detector",
    "score_batches",
    "simple_pathway",
    "summary",
    "surprisal",
    "thresholds",
]

check_arguments(__name__)
