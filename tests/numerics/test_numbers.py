"""Numbers are checked whatever made them: Python, NumPy or JAX; traced ones pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import bottlenecks, downstream, likelihoods, networks, objectives, presets, priors, scoring, transforms
from jaxae.model import autoencoder
from jaxae.numerics import as_number, as_whole
from jaxae.scoring import confidence, metrics, thresholds
from jaxae.types import Batch, CostTable, Scorer

MODEL = autoencoder(networks.mlp(2), bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())
ELBO = objectives.elbo(MODEL)
BASE = Scorer(lambda p, s, r: {}, lambda f, r, b: b.x.sum(-1), lambda f, r, b: b.x)
LABELS, SCORES = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4], np.float32)

# name: (what is made of a number, a number that it must refuse)
RANGED = {
    "gaussian_noise": (transforms.gaussian_noise, -1),
    "feature_dropout": (transforms.feature_dropout, 2),
    "salt_and_pepper": (transforms.salt_and_pepper, 2),
    "lfq entropy": (lambda x: bottlenecks.lfq(4, entropy=x), -1),
    "lfq temperature": (lambda x: bottlenecks.lfq(4, temperature=x), 0),
    "bsq diversity": (lambda x: bottlenecks.bsq(4, diversity=x), -1),
    "vq commitment": (lambda x: bottlenecks.vector_quantizer(8, commitment=x), -1),
    "vq decay": (lambda x: bottlenecks.vector_quantizer(8, decay=x), 1),
    "vq restart_below": (lambda x: bottlenecks.vector_quantizer(8, restart_below=x), 1),
    "vq orthogonality": (lambda x: bottlenecks.vector_quantizer(8, orthogonality=x), 1),
    "vq gumbel temperature": (lambda x: bottlenecks.vector_quantizer(8, estimator="gumbel", temperature=x), 0),
    "sim_vq": (lambda x: bottlenecks.sim_vq(8, commitment=x), -1),
    "bernoulli": (lambda x: bottlenecks.bernoulli(4, temperature=x), 0),
    "categorical": (lambda x: bottlenecks.categorical(2, 2, temperature=x), -1),
    "fsq": (lambda x: bottlenecks.fsq((3, 3), noise_dropout=x), 2),
    "gaussian": (lambda x: bottlenecks.gaussian(free_bits=x), -1),
    "latent_quantizer": (lambda x: bottlenecks.latent_quantizer((3, 3), commitment=x), -1),
    "latent_quantizer quantization": (lambda x: bottlenecks.latent_quantizer((3, 3), quantization=x), 0),
    "likelihoods.gaussian": (likelihoods.gaussian, 0),
    "likelihoods.laplace": (likelihoods.laplace, -1),
    "autoregressive": (lambda x: priors.autoregressive(4, temperature=x), 0),
    "masked": (lambda x: priors.masked(4, choice_temperature=x), -1),
    "unigram": (lambda x: priors.unigram(4, top_p=x), 2),
    "activation_kl": (objectives.activation_kl, 1),
    "rbf": (lambda x: objectives.rbf([x]), 0),
    "dip": (lambda x: objectives.dip(diagonal=x), -1),
    "trimmed": (lambda x: objectives.trimmed(ELBO, x), 1),
    "outlier_exposure": (lambda x: objectives.outlier_exposure(ELBO, x), -1),
    "decomposition": (lambda x: objectives.decomposition(ELBO, x), 1),
    "ciwae": (lambda x: presets.ciwae((5,), mixing=x), 2),
    "cross_entropy": (lambda x: downstream.classifier(networks.mlp(4), networks.mlp(3), 3, label_smoothing=x), 1),
    "quantile": (thresholds.quantile, 95),
    "conformal": (thresholds.conformal, 5),
    "false_alarm_rate": (thresholds.false_alarm_rate, 0),
    "false_alarm_bound": (lambda x: thresholds.false_alarm_bound(0.1, x), 95),
    "recall": (thresholds.recall, 2),
    "precision": (thresholds.precision, 2),
    "f_beta": (thresholds.f_beta, 0),
    "expected_cost": (lambda x: thresholds.expected_cost(CostTable.binary(1.0, 1.0), x), 5),
    "mad": (thresholds.mad, 0),
    "iqr": (thresholds.iqr, -1),
    "extreme_value": (thresholds.extreme_value, 1),
    "extreme_value below the tail": (lambda x: thresholds.extreme_value(0.2, x), 0),
    "mixture": (thresholds.mixture, 1),
    "fpr_at_tpr": (lambda x: metrics.fpr_at_tpr(LABELS, SCORES, x), 2),
    "reconstruction": (lambda x: scoring.reconstruction(MODEL, "top_fraction", fraction=x), 2),
    "normalised": (lambda x: scoring.normalised(BASE, floor=x), 0),
    "relative": (lambda x: scoring.relative(BASE, offset=x), 0),
    "surprisal": (lambda x: scoring.surprisal(MODEL, 4, smoothing=x), 0),
    "latent.mahalanobis": (lambda x: scoring.latent.mahalanobis(scoring.latent.inputs, x), 2),
    "confidence.energy": (lambda x: confidence.energy(confidence.logits_of(MODEL), x), 0),
    "CostTable.binary": (lambda x: CostTable.binary(x, 1.0), -1),
    "CostTable.with_reject": (lambda x: CostTable.with_reject(1.0, 1.0, x), -1),
}
KINDS = {
    "python": float,
    "float32": np.float32,
    "int64": np.int64,
    "array": lambda x: np.asarray(x, np.float32),
    "jax": lambda x: jnp.asarray(x, jnp.float32),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("name", sorted(RANGED))
def test_a_number_out_of_range_is_refused_whatever_made_it(name, kind):
    make, number = RANGED[name]
    with pytest.raises(ValueError, match=r"\d") as error:
        make(KINDS[kind](number))
    assert "\n" not in str(error.value)


def test_traced_numbers_pass():
    betas = jnp.array([0.5, 2.0])
    x = jnp.ones((3, 5))
    params, state = ELBO.init(jax.random.key(0), Batch(x))
    mapped = jax.vmap(lambda beta: objectives.trimmed(ELBO, beta / 8).apply(params, state, None, Batch(x), 0)[0])
    assert mapped(betas).shape == (2, 3)
    noisy = jax.jit(lambda scale: transforms.gaussian_noise(scale)(jax.random.key(0), Batch(x)).x)
    assert noisy(jnp.float32(0.1)).shape == x.shape
    levels = jax.vmap(lambda q: thresholds.quantile(q).fit(SCORES)["threshold"])(jnp.array([0.25, 0.75]))
    np.testing.assert_allclose(levels, np.quantile(SCORES, [0.25, 0.75]), rtol=1e-6)


def test_what_is_a_number():
    for value in (2, 2.0, np.float64(2), np.int8(2), np.asarray(2), jnp.asarray(2.0), jnp.bfloat16(2)):
        assert as_number(value) == 2.0
    for value in ("2", None, [2], np.ones(1), np.complex64(2), lambda step: 2, jax.random.key(0)):
        assert as_number(value) is None
    seen = []
    jax.jit(lambda x: seen.append((as_number(x), as_whole(x))))(2)
    assert seen == [(None, None)]
    assert [as_whole(v) for v in (2, np.int64(2), np.asarray(2), 2.0, "2")] == [2, 2, 2, None, None]
