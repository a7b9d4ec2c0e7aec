"""Priors `p(z | condition)`: inside a bottleneck, or fitted to latents or symbols after training."""

from jaxae.priors.autoregressive import autoregressive
from jaxae.priors.masked import masked
from jaxae.priors.mixture import mixture
from jaxae.priors.normal import conditional_normal, standard_normal
from jaxae.priors.unigram import fit_unigram, uniform, unigram

PRIORS = {"standard_normal": standard_normal, "mixture": lambda: mixture(3)}
"""Name to constructor without arguments, over continuous latents: what the contract tests walk through."""

SYMBOL_PRIORS = {"autoregressive": autoregressive, "masked": masked, "unigram": unigram, "uniform": uniform}
"""Name to constructor `(num_codes, ...)`, over symbols: what the contract tests and `jaxae train-prior` read."""

__all__ = [
    "PRIORS",
    "SYMBOL_PRIORS",
    "autoregressive",
    "conditional_normal",
    "fit_unigram",
    "masked",
    "mixture",
    "standard_normal",
    "uniform",
    "unigram",
]
