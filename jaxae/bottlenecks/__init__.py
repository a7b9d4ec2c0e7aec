"""Bottlenecks: what stands between encoder and decoder. One algorithm a file, all of the same contract."""

from jaxae.bottlenecks import diagnostics
from jaxae.bottlenecks.bernoulli import bernoulli
from jaxae.bottlenecks.categorical import categorical, exact_expectation
from jaxae.bottlenecks.fsq import fsq
from jaxae.bottlenecks.gaussian import gaussian
from jaxae.bottlenecks.identity import identity
from jaxae.bottlenecks.latent_quantizer import latent_quantizer
from jaxae.bottlenecks.lookup_free import bsq, lfq
from jaxae.bottlenecks.nested import nested
from jaxae.bottlenecks.vector_quantizer import vector_quantizer
from jaxae.networks import mlp
from jaxae.priors import mixture

BOTTLENECKS = {
    "identity": identity,
    "gaussian": gaussian,
    "gaussian_mixture": lambda: gaussian(prior=mixture(3)),
    "gaussian_free_bits": lambda: gaussian(free_bits=0.1),
    "vector_quantizer": lambda: vector_quantizer(8),
    "vector_quantizer_gradient": lambda: vector_quantizer(8, learn="gradient"),
    "bernoulli": lambda: bernoulli(4),
    "bernoulli_learned": lambda: bernoulli(4, prior="learned"),
    "categorical": lambda: categorical(2, 2),
    "fsq": lambda: fsq((3, 4, 5, 2)),
    "lfq": lambda: lfq(4),
    "bsq": lambda: bsq(4),
    "latent_quantizer": lambda: latent_quantizer((3, 4, 5, 2)),
    "nested": lambda: nested(mlp(8), vector_quantizer(8), mlp(8)),
}
"""Name to constructor without arguments: what the contract tests walk through."""

__all__ = [
    "BOTTLENECKS",
    "bernoulli",
    "bsq",
    "categorical",
    "diagnostics",
    "exact_expectation",
    "fsq",
    "gaussian",
    "identity",
    "latent_quantizer",
    "lfq",
    "nested",
    "vector_quantizer",
]
