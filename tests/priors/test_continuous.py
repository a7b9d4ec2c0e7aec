"""Flows, mixtures and the sphere: densities in two dimensions, Jacobians, draws, and scikit-learn beside EM."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from jaxae import bottlenecks, networks, priors

KEY = jax.random.key
FLOWS = {"coupling": priors.coupling_flow(8), "autoregressive": priors.autoregressive_flow(8)}
POSTERIOR_FLOWS = {"planar": networks.planar(3), "inverse_autoregressive": networks.inverse_autoregressive(8)}


def bent(params, seed=3):
    """Parameters far from where they start, so that a flow is one."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: np.float32(leaf + 0.3 * rng.normal(size=leaf.shape)), params)


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_a_bent_flow_integrates_to_one_and_is_what_its_draws_follow(name):
    prior = FLOWS[name]
    params = bent(jax.jit(prior.init)(KEY(0), jnp.zeros((1, 2))))
    line = np.linspace(-20, 20, 801, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    log_prob = jax.jit(prior.log_prob)
    density = np.exp(np.asarray(log_prob(params, grid), np.float64)) * 0.05**2
    np.testing.assert_allclose(density.sum(), 1, rtol=2e-3)
    like = jax.ShapeDtypeStruct((20_000, 2), jnp.float32)
    drawn = np.asarray(jax.jit(lambda rng: prior.sample(params, rng, like))(KEY(1)))
    moments = density @ grid, density @ (grid[:, 0] * grid[:, 1])
    np.testing.assert_allclose(drawn.mean(0), moments[0], atol=0.05)
    np.testing.assert_allclose((drawn[:, 0] * drawn[:, 1]).mean(), moments[1], atol=0.1)
    # not the normal it started from: the entropy of the draws is that of the density
    np.testing.assert_allclose(-log_prob(params, drawn).mean(), -(density * log_prob(params, grid)).sum(), atol=0.05)


def test_a_conditional_flow_reads_its_condition():
    prior = priors.coupling_flow(8, conditional=True)
    z, labels = jnp.zeros((2, 3)), jnp.eye(2)
    params = bent(jax.jit(prior.init)(KEY(0), z, labels))
    found = jax.jit(prior.log_prob)(params, z, labels)
    assert abs(float(found[0] - found[1])) > 1e-3
    with pytest.raises(ValueError, match="reads a condition"):
        prior.log_prob(params, z)


@pytest.mark.parametrize("name", sorted(POSTERIOR_FLOWS))
def test_a_posterior_flows_log_determinant_is_that_of_its_jacobian(name):
    flow = POSTERIOR_FLOWS[name]
    z, context = jax.random.normal(KEY(0), (2, 4, 3))
    params = bent(jax.jit(flow.init)(KEY(1), z, context))
    apply = jax.jit(flow.apply)
    jacobian = jax.jit(jax.vmap(jax.jacobian(lambda z, c: flow.apply(params, z[None], c[None])[0][0])))(z, context)
    sign, expected = np.linalg.slogdet(np.asarray(jacobian, np.float64))
    np.testing.assert_allclose(apply(params, z, context)[1], expected, rtol=1e-4, atol=1e-5)
    assert (sign != 0).all()
    to_context = jax.grad(lambda c: apply(params, z, c)[0].sum())(context)
    assert float(jnp.abs(to_context).max()) > 0


def test_a_masked_network_reads_what_comes_before_alone():
    network = networks.autoregressive_mlp(7, 9, num_outputs=1)
    x, c = jax.random.normal(KEY(0), (1, 4)), jnp.ones((1, 2))
    params = bent(jax.jit(network.init)(KEY(1), x, c))
    to_x, to_c = jax.jit(jax.jacobian(lambda x, c: network.apply(params, x, c)[0, :, 0], (0, 1)))(x, c)
    np.testing.assert_array_equal(np.asarray(to_x)[:, 0] != 0, np.tri(4, k=-1) > 0)
    assert bool((to_c != 0).all())


def test_a_full_mixture_is_scipys():
    prior = priors.full_mixture(2)
    factor = np.array([[[1.0, 0], [0.5, 2.0]], [[0.3, 0], [-1.0, 0.7]]], np.float32)
    mean, z = np.array([[0, 1.0], [2, -1]], np.float32), np.array([[0.3, 0.2], [2, 0]], np.float32)
    params = {"logits": jnp.log(jnp.array([0.25, 0.75])), "mean": jnp.asarray(mean), "factor": jnp.asarray(factor)}
    parts = list(zip((0.25, 0.75), mean, factor, strict=True))
    each = [w * stats.multivariate_normal(m, f @ f.T).pdf(z) for w, m, f in parts]
    np.testing.assert_allclose(jax.jit(prior.log_prob)(params, z), np.log(sum(each)), rtol=1e-5)
    drawn = np.asarray(jax.jit(prior.sample)(params, KEY(0), jnp.zeros((40_000, 2))))
    np.testing.assert_allclose(drawn.mean(0), [0.25, 0.75] @ mean, atol=0.05)
    second = sum(w * (f @ f.T + np.outer(m, m)) for w, m, f in parts)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), second, atol=0.12)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_em_reaches_scikit_learns_mixture(covariance):
    rng = np.random.default_rng(0)
    shape = np.array([[1.0, 0.6], [0.0, 0.5]])
    rows = np.concatenate([rng.normal(size=(200, 2)) @ shape, 3 + 0.4 * rng.normal(size=(100, 2))]).astype(np.float32)
    theirs = GaussianMixture(2, covariance_type=covariance[:4], tol=1e-9, max_iter=500, random_state=0).fit(
        rows.astype(float)
    )
    # rows that only pad, far away
    padded = np.concatenate([rows, np.full((5, 2), 1e3, np.float32)])
    weight = jnp.asarray(np.arange(305) < 300, jnp.float32)
    fit = jax.jit(lambda x, w: priors.fit_mixture(x, 2, KEY(0), covariance, weight=w))
    params = fit(padded, weight)
    prior = priors.full_mixture(2) if covariance == "full" else priors.mixture(2)
    np.testing.assert_allclose(
        jax.jit(prior.log_prob)(params, jnp.asarray(rows)), theirs.score_samples(rows.astype(float)), atol=2e-3
    )
    order = np.argsort(params["mean"][:, 0])
    np.testing.assert_allclose(params["mean"][order], theirs.means_[np.argsort(theirs.means_[:, 0])], atol=2e-3)


def test_em_takes_more_components_than_it_needs():
    params = jax.jit(lambda rng: priors.fit_mixture(jnp.zeros((6, 2)), 4, rng, num_steps=20))(KEY(0))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))
    with pytest.raises(ValueError, match="6 rows take 1 to 6"):
        priors.fit_mixture(jnp.zeros((6, 2)), 7, KEY(0))
    with pytest.raises(ValueError, match="diagonal or full"):
        priors.fit_mixture(jnp.zeros((6, 2)), 2, KEY(0), "tied")


@pytest.mark.parametrize(("size", "area"), [(1, 2.0), (2, 2 * np.pi), (3, 4 * np.pi)])
def test_the_spheres_density_is_one_over_its_area(size, area):
    sphere = priors.hypersphere()
    np.testing.assert_allclose(sphere.log_prob((), jnp.ones((2, size))), -np.log(area), rtol=1e-6)
    drawn = sphere.sample((), KEY(0), jnp.zeros((20_000, size)))
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), np.eye(size) / size, atol=0.02)


def test_the_vamp_prior_is_the_mean_of_the_pseudo_inputs_posteriors():
    """By scipy, from the encoder's own output at the pseudo-inputs."""
    encoder = networks.mlp(4)
    layer = bottlenecks.vamp(encoder, 3, initial=jnp.arange(15.0).reshape(3, 5) / 15)
    x = jax.random.normal(KEY(0), (6, 5))
    params, _ = jax.jit(layer.init)(KEY(1), x)
    code, _ = jax.jit(layer.apply)(params, (), KEY(2), x)
    mean, log_variance = np.split(np.asarray(encoder.apply(params["encoder"], params["pseudo_inputs"])), 2, -1)
    scale = np.exp(10 * np.tanh(log_variance / 10) / 2)
    z = np.asarray(code.latent)
    density = stats.norm.pdf(z[:, None], mean[None], scale[None]).prod(-1).mean(1)
    own = stats.norm.logpdf(z, code.posterior.mean, np.exp(code.posterior.log_variance / 2)).sum(-1)
    np.testing.assert_allclose(code.rate, own - np.log(density), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="must be of shape"):
        bottlenecks.vamp(encoder, 4, initial=jnp.zeros((3, 5))).init(KEY(1), x)


def test_a_ladders_rate_is_that_of_its_two_levels():
    """The lower prior reads the upper latent: with it moved, the density of the same lower latent changes."""
    local = bottlenecks.nested(networks.mlp(4), bottlenecks.gaussian(priors.conditional_normal(networks.mlp(4))))
    top = bottlenecks.nested(networks.mlp(2), bottlenecks.gaussian(), networks.mlp(3))
    ladder = bottlenecks.hierarchical(top, local, conditional=True)
    h = jax.random.normal(KEY(0), (5, 6))
    params, state = jax.jit(ladder.init)(KEY(1), h)
    code, _ = jax.jit(ladder.apply)(params, state, None, h)
    above, _ = jax.jit(top.apply)(params[0], state[0], None, h)
    apart = jax.jit(local.apply)
    below, _ = apart(params[1], state[1], None, jnp.concatenate([h, above.latent], -1), above.latent)
    np.testing.assert_allclose(code.rate, above.rate + below.rate, rtol=1e-5)
    np.testing.assert_allclose(code.latent, jnp.concatenate([above.latent, below.latent], -1), rtol=1e-6)
    assert ladder.sample(params, state, KEY(2), h).shape == code.latent.shape
    moved, _ = apart(params[1], state[1], None, jnp.concatenate([h, above.latent], -1), above.latent + 1)
    assert float(jnp.abs(moved.rate - below.rate).min()) > 0
