"""Bottlenecks: what stands between encoder and decoder. One algorithm a file, all of the same contract."""

from jaxae.bottlenecks.gaussian import gaussian
from jaxae.bottlenecks.identity import identity
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
    "nested": lambda: nested(mlp(8), vector_quantizer(8), mlp(8)),
}
"""Name to constructor without arguments: what the contract tests walk through."""

__all__ = ["BOTTLENECKS", "gaussian", "identity", "nested", "vector_quantizer"]
