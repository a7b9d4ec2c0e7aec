"""Priors `p(z | condition)`: inside a bottleneck, or fitted to latents or symbols after training."""

import jax.numpy as jnp

from jaxae.networks import mlp
from jaxae.numerics.arguments import check_arguments
from jaxae.priors.autoregressive import autoregressive
from jaxae.priors.fit_mixture import fit_mixture
from jaxae.priors.flows import autoregressive_flow, coupling_flow
from jaxae.priors.full_mixture import full_mixture
from jaxae.priors.hypersphere import hypersphere
from jaxae.priors.masked import masked
from jaxae.priors.mixture import mixture
from jaxae.priors.normal import conditional_normal, standard_normal
from jaxae.priors.standardised import standardised
from jaxae.priors.unigram import fit_unigram, uniform, unigram

PRIORS = {
    "standard_normal": standard_normal,
    "mixture": lambda: mixture(3),
    "full_mixture": lambda: full_mixture(3),
    "coupling_flow": lambda: coupling_flow(8),
    "autoregressive_flow": lambda: autoregressive_flow(8),
    "hypersphere": hypersphere,
    "conditional_normal": lambda: conditional_normal(mlp(2)),
    "standardised": lambda: standardised(full_mixture(2), jnp.array(1.0), jnp.array(2.0)),
}
"""Name to constructor without arguments, over continuous latents: the members that the contract tests check.

Latents of "hypersphere" are unit vectors, "conditional_normal" needs a condition.
"""

SYMBOL_PRIORS = {"autoregressive": autoregressive, "masked": masked, "unigram": unigram, "uniform": uniform}
"""Name to constructor `(num_codes, ...)`, over symbols: what the contract tests and `jaxae train-prior` read."""

__all__ = [
    "PRIORS",
    "SYMBOL_PRIORS",
    "autoregressive",
    "autoregressive_flow",
    "conditional_normal",
    "coupling_flow",
    "fit_mixture",
    "fit_unigram",
    "full_mixture",
    "hypersphere",
    "masked",
    "mixture",
    "standard_normal",
    "standardised",
    "uniform",
    "unigram",
]

check_arguments(__name__)
