"""Objectives, which training minimises, their penalties, and combinators that return an objective."""

from jaxae.numerics.arguments import check_arguments
from jaxae.objectives.ada_gvae import ada_gvae
from jaxae.objectives.adversarial import adversarial
from jaxae.objectives.combinators import combined, partial, penalized, prepared
from jaxae.objectives.contractive import contractive, squared_jacobian
from jaxae.objectives.dip import dip
from jaxae.objectives.elbo import elbo, negative_log_likelihood
from jaxae.objectives.factor import factor
from jaxae.objectives.iwae import iwae, log_weights
from jaxae.objectives.likelihood import negative_log_prob
from jaxae.objectives.mmd import inverse_multiquadratic, mmd, rbf
from jaxae.objectives.references import decoded_draws, latent_rows, permuted, prior_draws, targets
from jaxae.objectives.regularised import decoder_gradient, decoder_norm, latent_norm
from jaxae.objectives.robust import decomposition, outlier_exposure, supervised, trimmed
from jaxae.objectives.sparse import absolute_sum, activation_kl
from jaxae.objectives.table import OBJECTIVES
from jaxae.objectives.total_correlation import total_correlation

__all__ = [
    "OBJECTIVES",
    "absolute_sum",
    "activation_kl",
    "ada_gvae",
    "adversarial",
    "combined",
    "contractive",
    "decoded_draws",
    "decoder_gradient",
    "decoder_norm",
    "decomposition",
    "dip",
    "elbo",
    "factor",
    "inverse_multiquadratic",
    "iwae",
    "latent_norm",
    "latent_rows",
    "log_weights",
    "mmd",
    "negative_log_likelihood",
    "negative_log_prob",
    "outlier_exposure",
    "partial",
    "penalized",
    "permuted",
    "prepared",
    "prior_draws",
    "rbf",
    "squared_jacobian",
    "supervised",
    "targets",
    "total_correlation",
    "trimmed",
]

check_arguments(__name__)
