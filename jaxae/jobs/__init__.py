"""The commands as functions: each reads from top to bottom over shared steps.

`fitting` (deal, folder, training), `deciding` (scores, λ, guarantees), `trained` and `fitted_prior` (a model and a
prior as functions of rows) are the steps; a job never imports a job.
"""

from jaxae.jobs.calibrate import calibrate
from jaxae.jobs.detect import detect
from jaxae.jobs.open_set import open_set
from jaxae.jobs.sample import sample
from jaxae.jobs.score import score
from jaxae.jobs.train import train
from jaxae.jobs.train_prior import train_prior
from jaxae.numerics.arguments import check_arguments
from jaxae.settings import (
    CalibrateSettings,
    DetectSettings,
    OpenSetSettings,
    SampleSettings,
    ScoreSettings,
    TrainPriorSettings,
    TrainSettings,
)

__all__ = [
    "CalibrateSettings",
    "DetectSettings",
    "OpenSetSettings",
    "SampleSettings",
    "ScoreSettings",
    "TrainPriorSettings",
    "TrainSettings",
    "calibrate",
    "detect",
    "open_set",
    "sample",
    "score",
    "train",
    "train_prior",
]

check_arguments(__name__)
