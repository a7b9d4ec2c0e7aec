"""Objectives: what training minimises, and combinators that take an objective and return one."""

from jaxae.objectives.combinators import combined, partial, penalized, prepared
from jaxae.objectives.elbo import elbo, negative_log_likelihood
from jaxae.objectives.iwae import iwae, log_weights
from jaxae.objectives.likelihood import negative_log_prob
from jaxae.objectives.robust import decomposition, outlier_exposure, supervised, trimmed

__all__ = [
    "combined",
    "decomposition",
    "elbo",
    "iwae",
    "log_weights",
    "negative_log_likelihood",
    "negative_log_prob",
    "outlier_exposure",
    "partial",
    "penalized",
    "prepared",
    "supervised",
    "trimmed",
]
