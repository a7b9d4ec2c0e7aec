"""jaxae: autoencoders in JAX, from raw data to a trusted decision.

The rooms are loaded when they are first named (`jaxae.presets`, `jaxae.scoring`, ...), so that `import jaxae` costs
next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers, which cannot follow `__getattr__`
    from jaxae import (
        bottlenecks,
        checkpoint,
        cleaning,
        data,
        disentanglement,
        downstream,
        generation,
        jobs,
        likelihoods,
        model,
        networks,
        numerics,
        objectives,
        parallel,
        presets,
        priors,
        recipes,
        report,
        runs,
        scoring,
        settings,
        testing,
        train,
        transforms,
        types,
    )

__version__ = "0.2.0"

__all__ = [
    "bottlenecks",
    "checkpoint",
    "cleaning",
    "data",
    "disentanglement",
    "downstream",
    "generation",
    "jobs",
    "likelihoods",
    "model",
    "networks",
    "numerics",
    "objectives",
    "parallel",
    "presets",
    "priors",
    "recipes",
    "report",
    "runs",
    "scoring",
    "settings",
    "testing",
    "train",
    "transforms",
    "types",
]
"""The public rooms. What a room's own `__all__` leaves out is not public."""


def __getattr__(name: str):
    if name in __all__:
        return importlib.import_module(f"jaxae.{name}")
    raise AttributeError(f"module 'jaxae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__version__", *__all__]
