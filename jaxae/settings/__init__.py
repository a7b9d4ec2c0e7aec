"""What each job is run with: one class a command. Its fields, defaults and docstring are the command line's options.

Nothing else of jaxae and no array library is imported, so that `jaxae --help` answers at once.
"""

from jaxae.settings.commands import (
    CalibrateSettings,
    DetectSettings,
    OpenSetSettings,
    SampleSettings,
    ScoreSettings,
    TrainPriorSettings,
    TrainSettings,
)
from jaxae.settings.limits import Named, Within, annotation, checked, described, union_of

__all__ = [
    "CalibrateSettings",
    "DetectSettings",
    "Named",
    "OpenSetSettings",
    "SampleSettings",
    "ScoreSettings",
    "TrainPriorSettings",
    "TrainSettings",
    "Within",
    "annotation",
    "checked",
    "described",
    "union_of",
]
