"""Binary and one-hot latents: KLs against scipy, gradients by hand, entropies against sums over all codes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from jaxae.bottlenecks.bernoulli import bernoulli
from jaxae.bottlenecks.categorical import Categorical, categorical, exact_expectation
from jaxae.bottlenecks.entropy import bit_entropy, mean_code_entropy
from jaxae.bottlenecks.lookup_free import bsq, lfq

KEY = jax.random.key
H = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)), jnp.float32)


def test_kl_of_bits_is_scipys():
    p, prior = 1 / (1 + np.exp(-H)), 1 / (1 + np.exp(-H[0]))
    layer = bernoulli(6, prior="learned")
    code, _ = layer.apply({"prior": jnp.asarray(H[0])}, (), None, H)
    want = entropy(np.stack([p, 1 - p]), np.broadcast_to(np.stack([prior, 1 - prior])[:, None], (2, 5, 6)), axis=0)
    np.testing.assert_allclose(code.penalty, want.sum(1), rtol=1e-4, atol=1e-6)
    gradient = jax.grad(lambda q: layer.apply(q, (), None, H)[0].penalty.sum())({"prior": jnp.zeros(6)})
    np.testing.assert_allclose(gradient["prior"], (0.5 - p).sum(0), rtol=1e-4, atol=1e-5)


def test_kl_of_classes_is_scipys():
    code, _ = categorical(2, 3).apply({}, (), None, H)
    want = entropy(softmax(H.reshape(5, 2, 3), -1), np.full((5, 2, 3), 1 / 3), axis=-1).sum(1)
    np.testing.assert_allclose(code.penalty, want, rtol=1e-5)


@pytest.mark.parametrize("layer", [bernoulli(6), categorical(2, 3), bernoulli(6, estimator="relaxed")])
def test_the_rate_is_the_penalty_on_average(layer):
    rates = jax.vmap(lambda k: layer.apply({}, (), k, H)[0].rate)(jax.random.split(KEY(0), 4000))
    np.testing.assert_allclose(rates.mean(0), layer.apply({}, (), None, H)[0].penalty, atol=0.08)


def test_straight_through_jacobians():
    p = 1 / (1 + np.exp(-H[:1]))
    got = jax.jacobian(lambda h: bernoulli(6).apply({}, (), KEY(1), h)[0].latent[0])(H[:1])[:, 0]
    np.testing.assert_allclose(got, np.diag((p * (1 - p))[0]), rtol=1e-5, atol=1e-7)
    got = jax.jacobian(lambda h: lfq(6).apply({}, (), KEY(1), h)[0].latent[0])(H[:1])[:, 0]
    np.testing.assert_array_equal(got, np.eye(6))
    got = jax.jacobian(lambda h: bsq(6).apply({}, (), KEY(1), h)[0].latent[0])(H[:1])[:, 0]
    norm = np.linalg.norm(H[0])
    np.testing.assert_allclose(got, (np.eye(6) - np.outer(H[0], H[0]) / norm**2) / norm, rtol=1e-4, atol=1e-6)


def test_temperature_follows_its_schedule_in_the_state():
    layer = bernoulli(6, estimator="relaxed", temperature=lambda step: jnp.where(step == 0, 1.0, 0.5))
    _, state = layer.init(KEY(0), H)
    warm, state = layer.apply({}, state, KEY(1), H)
    cold, state = layer.apply({}, state, KEY(1), H)
    assert int(state["step"]) == 2
    noise = jax.random.logistic(KEY(1), H.shape)
    np.testing.assert_allclose(warm.latent, 1 / (1 + np.exp(-H - noise)), rtol=1e-4)
    np.testing.assert_allclose(cold.latent, 1 / (1 + np.exp(-2 * (H + noise))), rtol=1e-4)


def test_exact_expectation_is_the_sum_over_all_latents():
    q, target = softmax(H.reshape(5, 2, 3), -1), np.arange(6.0)
    want = np.zeros(5)
    for i, j in itertools.product(range(3), range(3)):
        want += q[:, 0, i] * q[:, 1, j] * (target[i] + target[3 + j]) ** 2
    posterior = Categorical(jnp.asarray(H.reshape(5, 2, 3)))
    got = exact_expectation(posterior, lambda z: (z @ jnp.asarray(target, jnp.float32)) ** 2)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    with pytest.raises(ValueError, match=r"3 \*\* 2 latents are more than max_latents 8"):
        exact_expectation(posterior, lambda z: z.sum(-1), max_latents=8)


@pytest.mark.parametrize("spherical", [False, True])
def test_entropies_are_those_of_the_softmax_over_all_codes(spherical):
    scale = 6**-0.5 if spherical else 1.0
    u = H / np.linalg.norm(H, axis=1, keepdims=True) if spherical else H
    codes = scale * np.array(list(itertools.product((-1, 1), repeat=6)))
    # the distance in units of the code's scale: -|u - c|^2 / scale^2 at temperature 1
    q = softmax(-((np.asarray(u)[:, None] - codes) ** 2).sum(-1) / scale**2, -1)
    make = bsq if spherical else lfq
    code, _ = make(6, entropy=1.0, diversity=0.5, commitment=0.0, group_bits=6).apply({}, (), None, H)
    np.testing.assert_allclose(code.penalty, entropy(q, axis=1) - 0.5 * entropy(q.mean(0)), rtol=1e-4, atol=1e-5)
    committed, _ = make(6, entropy=0.0, commitment=0.5).apply({}, (), None, H)
    np.testing.assert_allclose(committed.penalty, 0.5 * ((u - scale * np.sign(u)) ** 2).sum(1), rtol=1e-4)


def test_groups_bound_the_joint_entropy_from_above():
    exact, halves, single = (float(mean_code_entropy(3 * H, group_bits=g)) for g in (6, 3, 1))
    assert exact < halves < single
    p = (1 / (1 + np.exp(-3.0 * H))).mean(0)
    np.testing.assert_allclose(single, entropy(np.stack([p, 1 - p]), axis=0).sum(), rtol=1e-5)
    assert float(bit_entropy(jnp.float32(1e4))) == 0
    assert np.isfinite(jax.grad(lambda h: mean_code_entropy(h))(1e3 * H)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bernoulli(0), "bits must be at least 1, got 0"),
        (lambda: bernoulli(3, estimator="reinforce"), "estimator"),
        (lambda: bernoulli(3, prior="flow"), "prior"),
        (lambda: bernoulli(3, temperature=0.0), "temperature"),
        (lambda: categorical(2, 1), "classes >= 2"),
        (lambda: lfq(0), "bits must be in"),
        (lambda: bsq(32), "use grouped"),
        (lambda: lfq(4, entropy=-1.0), "entropy"),
        (lambda: lfq(4, group_bits=30), "group_bits"),
        (lambda: bsq(4, temperature=-1.0), "temperature"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
