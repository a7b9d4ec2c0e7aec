"""Training: one pure step, and one loop that scans it."""

from jaxae.numerics.arguments import check_arguments
from jaxae.train import ensemble
from jaxae.train.codes import code_monitor, countable, latent_monitor
from jaxae.train.evaluation import evaluator
from jaxae.train.loop import Fit, NonFiniteError, fit
from jaxae.train.sinks import metrics_log
from jaxae.train.step import build_step, init_state

__all__ = [
    "Fit",
    "NonFiniteError",
    "build_step",
    "code_monitor",
    "countable",
    "ensemble",
    "evaluator",
    "fit",
    "init_state",
    "latent_monitor",
    "metrics_log",
]

check_arguments(__name__)
