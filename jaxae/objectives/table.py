"""One row for each objective and penalty, over small models of rows with five numbers."""

import jax.numpy as jnp

from jaxae import bottlenecks, likelihoods, networks, priors, transforms
from jaxae.model import autoencoder
from jaxae.objectives.ada_gvae import ada_gvae
from jaxae.objectives.adversarial import adversarial
from jaxae.objectives.combinators import combined, partial, penalized, prepared
from jaxae.objectives.contractive import contractive
from jaxae.objectives.dip import dip
from jaxae.objectives.elbo import elbo
from jaxae.objectives.factor import factor
from jaxae.objectives.iwae import iwae
from jaxae.objectives.likelihood import negative_log_prob
from jaxae.objectives.mmd import mmd
from jaxae.objectives.references import decoded_draws, permuted, prior_draws, targets
from jaxae.objectives.regularised import decoder_gradient, decoder_norm, latent_norm
from jaxae.objectives.robust import decomposition, outlier_exposure, supervised, trimmed
from jaxae.objectives.sparse import absolute_sum, activation_kl
from jaxae.objectives.total_correlation import total_correlation
from jaxae.types import Autoencoder, Bottleneck, Objective, Penalty


def _model(bottleneck: Bottleneck, width: int) -> Autoencoder:
    return autoencoder(networks.mlp(6, width), bottleneck, networks.mlp(6, 5), likelihoods.gaussian())


def _ae() -> Autoencoder:
    return _model(bottlenecks.identity(), 3)


def _vae() -> Autoencoder:
    return _model(bottlenecks.gaussian(), 6)


def _charged(model: Autoencoder, penalty: Penalty) -> Objective:
    return penalized(elbo(model), "charge", penalty, 0.5)


def _misled() -> Objective:
    model, critic = _vae(), networks.mlp(6, 1)
    return adversarial(elbo(model), "misled", critic, targets, 1.0, seen=decoded_draws(model))


def _against_prior() -> Objective:
    model = _vae()
    return adversarial(elbo(model), "divergence", networks.mlp(6, 1), prior_draws(model), 1.0)


def _piwae() -> Objective:
    model = _vae()
    return combined([partial(iwae(model, 2, 2), "decoder"), partial(iwae(model, 4), "encoder")], [1.0, 1.0])


OBJECTIVES = {
    "elbo": lambda: elbo(_vae(), capacity=0.5),
    "iwae": lambda: iwae(_vae(), 2, 2),
    "ada_gvae": lambda: ada_gvae(_vae()),
    "negative_log_prob": lambda: negative_log_prob(priors.mixture(3)),
    "prepared": lambda: prepared(elbo(_ae()), transforms.gaussian_noise(0.1)),
    "penalized": lambda: _charged(_ae(), latent_norm),
    "combined": _piwae,
    "partial": lambda: partial(elbo(_vae()), "encoder"),
    "adversarial": _against_prior,
    "adversarial_decoder": _misled,
    "factor": lambda: factor(elbo(_vae()), networks.mlp(6, 1), 1.0),
    "trimmed": lambda: trimmed(elbo(_ae()), 0.25),
    "outlier_exposure": lambda: outlier_exposure(elbo(_ae()), 0.25, soft=True),
    "decomposition": lambda: decomposition(elbo(_ae()), 0.25),
    "supervised": lambda: supervised(elbo(_ae()), jnp.ones((3, 5)), num=2),
    "absolute_sum": lambda: _charged(_ae(), absolute_sum),
    "activation_kl": lambda: _charged(_ae(), activation_kl()),
    "contractive": lambda: (lambda model: _charged(model, contractive(model)))(_ae()),
    "decoder_gradient": lambda: (lambda model: _charged(model, decoder_gradient(model)))(_ae()),
    "decoder_norm": lambda: _charged(_ae(), decoder_norm),
    "latent_norm": lambda: _charged(_ae(), latent_norm),
    "dip": lambda: _charged(_vae(), dip("i")),
    "mmd": lambda: (lambda model: _charged(model, mmd(prior_draws(model))))(_vae()),
    "total_correlation": lambda: _charged(_vae(), total_correlation(100, "stratified")),
    "permuted": lambda: adversarial(elbo(_vae()), "independence", networks.mlp(6, 1), permuted, 1.0),
}
"""Name to constructor without arguments: what the contract tests walk through. Batches are rows `[B, 5]` (pairs
`[B, 2, 5]` for "ada_gvae")."""
