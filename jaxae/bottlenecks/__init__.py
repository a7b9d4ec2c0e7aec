"""Bottlenecks, between encoder and decoder: one algorithm per file, all of the same contract."""

from jaxae.bottlenecks import diagnostics
from jaxae.bottlenecks.bernoulli import bernoulli
from jaxae.bottlenecks.categorical import categorical, exact_expectation
from jaxae.bottlenecks.frozen import frozen
from jaxae.bottlenecks.fsq import fsq
from jaxae.bottlenecks.gaussian import gaussian
from jaxae.bottlenecks.grouped import grouped
from jaxae.bottlenecks.hierarchical import hierarchical
from jaxae.bottlenecks.identity import identity
from jaxae.bottlenecks.latent_quantizer import latent_quantizer
from jaxae.bottlenecks.lookup_free import bsq, lfq
from jaxae.bottlenecks.multi_scale import multi_scale
from jaxae.bottlenecks.nested import nested
from jaxae.bottlenecks.power_spherical import power_spherical
from jaxae.bottlenecks.projected import projected
from jaxae.bottlenecks.random_projection import random_projection
from jaxae.bottlenecks.residual import residual
from jaxae.bottlenecks.sim_vq import sim_vq
from jaxae.bottlenecks.top_k import top_k
from jaxae.bottlenecks.vamp import vamp
from jaxae.bottlenecks.vector_quantizer import vector_quantizer
from jaxae.networks import inverse_autoregressive, mlp
from jaxae.numerics.arguments import check_arguments
from jaxae.priors import conditional_normal, mixture

BOTTLENECKS = {
    "identity": identity,
    "top_k": lambda: top_k(2),
    "gaussian": gaussian,
    "gaussian_mixture": lambda: gaussian(prior=mixture(3)),
    "gaussian_free_bits": lambda: gaussian(free_bits=0.1),
    "gaussian_iaf": lambda: nested(mlp(6), gaussian(flow=inverse_autoregressive(8)), mlp(4)),
    "power_spherical": power_spherical,
    "vamp": lambda: vamp(mlp(6), 5),
    "ladder": lambda: hierarchical(
        nested(mlp(4), gaussian(), mlp(3)),
        nested(mlp(4), gaussian(conditional_normal(mlp(4)))),
        conditional=True,
    ),
    "vector_quantizer": lambda: vector_quantizer(8),
    "vector_quantizer_gradient": lambda: vector_quantizer(8, learn="gradient"),
    "bernoulli": lambda: bernoulli(4),
    "bernoulli_learned": lambda: bernoulli(4, prior="learned"),
    "categorical": lambda: categorical(2, 2),
    "fsq": lambda: fsq((3, 4, 5, 2)),
    "lfq": lambda: lfq(4),
    "bsq": lambda: bsq(4),
    "latent_quantizer": lambda: latent_quantizer((3, 4, 5, 2)),
    "vector_quantizer_rotation": lambda: vector_quantizer(8, estimator="rotation", seeding="kmeans", cosine=True),
    "vector_quantizer_directional": lambda: vector_quantizer(8, estimator="directional", learn="gradient"),
    "vector_quantizer_gumbel": lambda: vector_quantizer(8, estimator="gumbel", temperature=1.0),
    "vector_quantizer_drawn": lambda: vector_quantizer(8, learn="gradient", temperature=0.5, diversity=0.1),
    "sim_vq": lambda: sim_vq(8),
    "random_projection": lambda: random_projection(8, width=4),
    "nested": lambda: nested(mlp(8), vector_quantizer(8), mlp(8)),
    "projected": lambda: projected(fsq((5, 5)), 2),
    "residual": lambda: residual(vector_quantizer(8, learn="gradient", orthogonality=0.1), 3, least=1),
    "residual_shared": lambda: residual(vector_quantizer(8), 2, shared=True),
    "residual_fsq": lambda: residual(fsq((5, 5, 5, 5)), 2, scale=0.25),
    "grouped": lambda: grouped(vector_quantizer(8), 2),
    "grouped_shared": lambda: grouped(sim_vq(8), 2, shared=True),
    "grouped_residual": lambda: grouped(residual(vector_quantizer(4), 2), 2),
    "multi_scale": lambda: nested(mlp(output_shape=(2, 2, 4), flatten=True), multi_scale(vector_quantizer(8), (1, 2))),
    "frozen": lambda: frozen(vector_quantizer(8)),
    "hierarchical": lambda: hierarchical(nested(mlp(2), vector_quantizer(8), mlp(3)), vector_quantizer(8)),
}
"""Name to constructor without arguments: the members that the contract tests check."""

__all__ = [
    "BOTTLENECKS",
    "bernoulli",
    "bsq",
    "categorical",
    "diagnostics",
    "exact_expectation",
    "frozen",
    "fsq",
    "gaussian",
    "grouped",
    "hierarchical",
    "identity",
    "latent_quantizer",
    "lfq",
    "multi_scale",
    "nested",
    "power_spherical",
    "projected",
    "random_projection",
    "residual",
    "sim_vq",
    "top_k",
    "vamp",
    "vector_quantizer",
]

check_arguments(__name__)
