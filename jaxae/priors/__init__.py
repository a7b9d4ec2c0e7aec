"""Priors `p(z | condition)`: inside a bottleneck, or fitted to latents after training."""

from jaxae.priors.mixture import mixture
from jaxae.priors.normal import conditional_normal, standard_normal

PRIORS = {"standard_normal": standard_normal, "mixture": lambda: mixture(3)}
"""Name to constructor without arguments: what the contract tests walk through."""

__all__ = ["PRIORS", "conditional_normal", "mixture", "standard_normal"]
