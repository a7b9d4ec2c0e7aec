"""Anomaly scores: one number for each example, higher is more anomalous."""

from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.scores import baselines, explain, latent
from jaxae.scoring.scores.combinators import averaged, ensemble, prepared
from jaxae.scoring.scores.fusion import fused
from jaxae.scoring.scores.layers import normalised_pathway, simple_pathway
from jaxae.scoring.scores.likelihood import bound
from jaxae.scoring.scores.normalisation import complexity_normalised, normalised, relative
from jaxae.scoring.scores.reconstruction import reconstruction
from jaxae.scoring.scores.surprisal import surprisal
from jaxae.scoring.scores.table import SCORERS

__all__ = [
    "SCORERS",
    "averaged",
    "baselines",
    "bound",
    "complexity_normalised",
    "ensemble",
    "explain",
    "fused",
    "latent",
    "normalised",
    "normalised_pathway",
    "prepared",
    "reconstruction",
    "relative",
    "simple_pathway",
    "surprisal",
]

check_arguments(__name__)
