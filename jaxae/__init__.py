"""jaxae: autoencoders in JAX, from raw data to a trusted decision.

The rooms are loaded when they are first named (`jaxae.presets`, `jaxae.scoring`, ...), so that `import jaxae` costs
next to nothing.
"""

import importlib

__version__ = "0.1.0"

_ROOMS = (
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
    "testing",
    "train",
    "transforms",
    "types",
)


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"jaxae.{name}")
    raise AttributeError(f"module 'jaxae' has no attribute {name!r}")


def __dir__():
    return ["__version__", *_ROOMS]
