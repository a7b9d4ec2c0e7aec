"""Penalties on latents: numbers from second implementations or by hand, rows that only pad, and refusals."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from jaxae import bottlenecks, likelihoods, networks, objectives, priors
from jaxae.model import autoencoder
from jaxae.types import Batch, Code, Gaussian, Network, Output

KEY = jax.random.key
RNG = np.random.default_rng(0)
ROWS, SIZE = 5, 3
MEAN, LOG_VARIANCE, LATENT, OTHER = RNG.normal(size=(4, ROWS, SIZE)).astype(np.float32)
X = RNG.normal(size=(ROWS, 4)).astype(np.float32)


def output(latent=LATENT, mean=MEAN, log_variance=LOG_VARIANCE):
    posterior = Gaussian(jnp.asarray(mean), jnp.asarray(log_variance))
    return Output(Code(jnp.asarray(latent), jnp.zeros(len(latent)), posterior=posterior), jnp.zeros((len(latent), 4)))


def value(penalty, out=None, weight=None, rng=None):
    out = output() if out is None else out
    return jax.jit(lambda w, o: penalty({}, {}, rng, Batch(jnp.asarray(X), weight=w), o))(weight, out)


def given(*_):
    return jnp.asarray(OTHER)


# ---- golden values --------------------------------------------------------------------------------------------


def log_densities():
    """`[i, j, d]`, by scipy."""
    return stats.norm.logpdf(LATENT[:, None], MEAN[None], np.exp(LOG_VARIANCE / 2)[None])


@pytest.mark.parametrize("num_rows", [None, 1000])
def test_total_correlation_weighted_as_the_paper_writes_it(num_rows):
    log_q, shift = log_densities(), np.log(ROWS * (num_rows or 1))
    joint = logsumexp(log_q.sum(-1), 1) - shift
    marginals = (logsumexp(log_q, 1) - shift).sum(-1)
    np.testing.assert_allclose(value(objectives.total_correlation(num_rows)), joint - marginals, rtol=1e-5)


def test_total_correlation_stratified_is_the_mean_of_the_papers_over_which_row_comes_last():
    """q(z_i), not its logarithm, is what the average is taken of: Chen et al. 2018, equation S.6."""
    n, m = 100, ROWS - 1
    density = np.exp(log_densities().sum(-1))
    found = value(objectives.total_correlation(n, "stratified"))
    for i in range(ROWS):
        others = [j for j in range(ROWS) if j != i]
        published = [
            density[i, i] / n
            + sum(density[i, j] / m for j in others if j != last)
            + (n - m) / (n * m) * density[i, last]
            for last in others
        ]
        weights = np.full(ROWS, (1 - 1 / n) / m)
        weights[i] = 1 / n
        marginals = logsumexp(log_densities()[i], 0, b=weights[:, None]).sum()
        expected = np.log(np.mean(published)) - marginals
        np.testing.assert_allclose(found[i], expected, rtol=1e-4)


def test_total_correlation_of_independent_and_of_equal_dimensions():
    """Standard normal posteriors all alike: 0. Two equal dimensions that the code knows well: log of the spread."""
    alike = output(LATENT, np.zeros_like(MEAN), np.zeros_like(MEAN))
    np.testing.assert_allclose(value(objectives.total_correlation(), alike), 0, atol=1e-5)
    line = np.arange(ROWS, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    sharp = output(line, line, np.full_like(line, -8))  # each row alone explains its latent: log M from one dimension
    np.testing.assert_allclose(value(objectives.total_correlation(), sharp), np.log(ROWS), rtol=1e-4)


@pytest.mark.parametrize(("variant", "diagonal", "ratio"), [("i", None, 10), ("ii", None, 1), ("ii", 3.0, 3)])
def test_dip_is_numpys_covariance(variant, diagonal, ratio):
    covariance = np.cov(MEAN.T, bias=True) + (variant == "ii") * np.diag(np.exp(LOG_VARIANCE).mean(0))
    away = covariance - np.diag(np.diag(covariance))
    expected = (away**2).sum() + ratio * ((np.diag(covariance) - 1) ** 2).sum()
    np.testing.assert_allclose(value(objectives.dip(variant, diagonal)), expected, rtol=1e-5)


KERNELS = {
    "rbf": (objectives.rbf([0.5, 2.0]), lambda d: sum(np.exp(-d / (2 * SIZE * s)) for s in (0.5, 2.0))),
    "imq": (objectives.inverse_multiquadratic([0.5, 2.0]), lambda d: sum(6 * s / (6 * s + d) for s in (0.5, 2))),
}


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_mmd_over_all_pairs_of_scipys_distances(name):
    kernel, by_numpy = KERNELS[name]
    own, other, both = (
        by_numpy(cdist(a, b, "sqeuclidean")) for a, b in ((LATENT, LATENT), (OTHER, OTHER), (LATENT, OTHER))
    )
    away = ~np.eye(ROWS, dtype=bool)
    expected = own[away].mean() + other[away].mean() - 2 * both.mean()
    np.testing.assert_allclose(value(objectives.mmd(given, kernel)), expected, rtol=1e-5)


def test_mmd_has_mean_zero_where_the_distributions_are_one():
    penalty = objectives.mmd(lambda p, s, rng, b, o: jax.random.normal(rng, (64, 2)))

    def one(key):
        z = jax.random.normal(jax.random.fold_in(key, 1), (64, 2))
        return penalty({}, {}, key, Batch(z), Output(Code(z, jnp.zeros(64)), z))

    found = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY(0), 200)))
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(200)


def test_squared_jacobian_exact_both_ways_and_by_probes():
    a = RNG.normal(size=(3, 7)).astype(np.float32)
    wide, narrow = (lambda x: jnp.sin(x @ a)), (lambda x: jnp.sin(x @ a.T))
    for function, inner in ((wide, LATENT @ a), (narrow, None)):
        x = LATENT if inner is not None else RNG.normal(size=(ROWS, 7)).astype(np.float32)
        m = a if inner is not None else a.T
        expected = ((np.cos(x @ m)[:, None] * m[None]) ** 2).sum((1, 2))
        exact = jax.jit(lambda x, f=function: objectives.squared_jacobian(f, x))(x)
        np.testing.assert_allclose(exact, expected, rtol=1e-4)
        probed = jax.jit(lambda x, f=function: objectives.squared_jacobian(f, x, KEY(0), 4000))(x)
        np.testing.assert_allclose(probed, expected, rtol=0.1)


def test_contractive_and_decoder_gradient_of_linear_maps():
    def linear(size):
        return Network(lambda rng, x, c=None: jnp.full((x.shape[-1], size), 2.0), lambda p, x, c=None: x @ p)

    model = autoencoder(linear(3), bottlenecks.identity(), linear(4), likelihoods.gaussian())
    params, state = model.init(KEY(0), jnp.asarray(X))
    out, _ = model.apply(params, state, None, jnp.asarray(X))
    for penalty in (objectives.contractive(model), objectives.decoder_gradient(model)):
        found = penalty(params, state, None, Batch(jnp.asarray(X)), out)
        np.testing.assert_allclose(found, np.full(ROWS, 4.0 * 3 * 4), rtol=1e-6)
    assert float(objectives.decoder_norm(params, state, None, Batch(X), out)) == 4.0 * 12


def test_activation_kl_is_scipys_entropy():
    mean = (1 / (1 + np.exp(-LATENT))).mean(0)
    expected = sum(stats.entropy([0.1, 0.9], [a, 1 - a]) for a in mean)
    np.testing.assert_allclose(value(objectives.activation_kl(0.1)), expected, rtol=1e-5)
    far = value(objectives.activation_kl(0.1), output(np.full_like(LATENT, 50.0)))
    np.testing.assert_allclose(far, SIZE * (0.1 * np.log(0.1) + 0.9 * (np.log(0.9) + 50)), rtol=1e-4)


# ---- rows that only pad ---------------------------------------------------------------------------------------

REFERENCE = {"mmd": objectives.mmd(given), "mmd_rbf": objectives.mmd(given, objectives.rbf())}
OVER_ROWS = {
    **REFERENCE,
    "weighted": objectives.total_correlation(50),
    "stratified": objectives.total_correlation(50, "stratified"),
    "dip_i": objectives.dip("i"),
    "dip_ii": objectives.dip("ii"),
    "activation_kl": objectives.activation_kl(),
}


@pytest.mark.parametrize("name", sorted(OVER_ROWS))
def test_padding_changes_nothing_and_gets_no_gradient(name):
    penalty, weight = OVER_ROWS[name], jnp.array([1.0, 1, 0, 1, 0])
    counts = np.asarray(weight) > 0

    def padded(latent, mean):
        found = penalty({}, {}, None, Batch(X, weight=weight), output(latent, mean))
        return (jnp.broadcast_to(found, (ROWS,)) * weight).sum() / weight.sum()

    run = jax.jit(jax.value_and_grad(padded, (0, 1)))
    found, slopes = run(jnp.asarray(LATENT), jnp.asarray(MEAN))
    alone = penalty
    if name in REFERENCE:
        kernel = objectives.rbf() if name == "mmd_rbf" else None
        alone = objectives.mmd(lambda *_: jnp.asarray(OTHER[counts]), kernel)
    few = alone({}, {}, None, Batch(X[counts]), output(LATENT[counts], MEAN[counts], LOG_VARIANCE[counts]))
    np.testing.assert_allclose(found, jnp.mean(few), rtol=1e-5)
    assert all(not np.asarray(slope)[~counts].any() for slope in slopes)
    junk = np.where(counts[:, None], LATENT, 1e3).astype(np.float32)
    assert run(jnp.asarray(junk), jnp.asarray(MEAN))[0] == found


def test_shuffled_latents_keep_their_marginals_and_leave_padding_out():
    weight = jnp.array([1.0, 1, 0, 1, 1])
    counts = np.asarray(weight) > 0
    seen = set()
    shuffle = jax.jit(lambda rng: objectives.permuted({}, {}, rng, Batch(X, weight=weight), output()))
    for seed in range(20):
        found = np.asarray(shuffle(KEY(seed)))
        np.testing.assert_array_equal(np.sort(found[counts], 0), np.sort(LATENT[counts], 0))
        np.testing.assert_array_equal(found[~counts], LATENT[~counts])
        seen.add(found.tobytes())
    assert len(seen) > 15


# ---- two players ----------------------------------------------------------------------------------------------


def linear_critic():
    return Network(lambda rng, x, c=None: jnp.ones((x.shape[-1], 1)), lambda p, x, c=None: x @ p)


def two_players(loss="ratio"):
    encoder = Network(lambda rng, x, c=None: jnp.ones(()), lambda p, x, c=None: p * x)
    layer = bottlenecks.identity(priors.standard_normal())
    model = autoencoder(encoder, layer, networks.identity, likelihoods.gaussian())
    return objectives.adversarial(
        objectives.elbo(model), "divergence", linear_critic(), lambda *a: jnp.ones((ROWS, 4)), 2.0, loss
    )


@pytest.mark.parametrize("loss", ["ratio", "non_saturating"])
def test_each_player_learns_from_its_own_term_alone(loss):
    objective = two_players(loss)
    batch = Batch(jnp.asarray(X))
    params, state = objective.init(KEY(0), batch)

    def metric(name):
        return lambda p: objective.apply(p, state, None, batch, 0)[1][2][name].mean()

    to_term, to_critic = (jax.jit(jax.grad(metric(name)))(params) for name in ("divergence", "critic"))
    logit = X.sum(1)
    slope = logit if loss == "ratio" else logit / (1 + np.exp(-logit))
    np.testing.assert_allclose(to_term["model"]["encoder"], slope.mean(), rtol=1e-5)
    np.testing.assert_array_equal(to_term["critic"], 0)
    np.testing.assert_array_equal(to_critic["model"]["encoder"], 0)
    # by hand: the cross-entropy's slope is (sigmoid(l) - label) times the input
    sigmoid = 1 / (1 + np.exp(-logit))
    by_hand = ((sigmoid - 1)[:, None] * X + 1 / (1 + np.exp(-4.0))).mean(0) / 2
    np.testing.assert_allclose(to_critic["critic"][:, 0], by_hand, rtol=1e-4, atol=1e-6)
    total, (_, _, metrics) = objective.apply(params, state, None, batch, 0)
    expected = metrics["nll"] + 2 * metrics["divergence"] + metrics["critic"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_allclose(metrics["critic_accuracy"], (logit > 0) / 2, rtol=1e-6)


def test_a_critic_learns_the_log_ratio_of_two_normals():
    """`log N(1, 1) / N(0, 1) = z - 1/2`: a linear critic trained by the objective's own cross-entropy finds it."""
    z, r = stats.norm.ppf((np.arange(500) + 0.5) / 500) + 1, stats.norm.ppf((np.arange(500) + 0.5) / 500)
    critic = Network(lambda rng, x, c=None: jnp.zeros(2), lambda p, x, c=None: p[0] * x + p[1])
    layer = bottlenecks.identity()
    model = autoencoder(networks.identity, layer, networks.identity, likelihoods.gaussian())
    other = jnp.asarray(r, jnp.float32)[:, None]
    objective = objectives.adversarial(objectives.elbo(model), "kl", critic, lambda *a: other, 1.0, "ratio")
    batch = Batch(jnp.asarray(z, jnp.float32)[:, None])
    params, state = objective.init(KEY(0), batch)

    @jax.jit
    def descend(critic_params):
        def loss(p):
            return objective.apply({**params, "critic": p}, state, None, batch, 0)[1][2]["critic"].mean()

        return jax.lax.fori_loop(0, 800, lambda i, p: p - 2.0 * jax.grad(loss)(p), critic_params)

    found = descend(params["critic"])
    np.testing.assert_allclose(found, [1.0, -0.5], atol=0.02)
    estimate = objective.apply({**params, "critic": found}, state, None, batch, 0)[1][2]["kl"].mean()
    np.testing.assert_allclose(estimate, 0.5, atol=0.02)  # KL(N(1, 1) || N(0, 1))


# ---- pairs ----------------------------------------------------------------------------------------------------


def test_pairs_average_what_they_share_by_hand():
    """Dimension 0 differs much, 1 little: 1 is shared, its mean and variance averaged."""
    encoder = Network(lambda rng, x, c=None: (), lambda p, x, c=None: x)  # x is mean and log-variance
    decoder = Network(lambda rng, z, c=None: (), lambda p, z, c=None: jnp.concatenate([z, z], -1))
    model = autoencoder(encoder, bottlenecks.gaussian(), decoder, likelihoods.gaussian())
    objective = objectives.ada_gvae(model, beta=2.0)
    variance = np.array([[1.0, 1.0], [1.0, 3.0]])
    mean = np.array([[0.0, 1.0], [5.0, 2.0]])
    raw = 10 * np.arctanh(np.log(variance) / 10)  # the bottleneck bounds what it reads
    x = jnp.asarray(np.concatenate([mean, raw], -1), jnp.float32)[None]
    params, state = objective.init(KEY(0), Batch(x))
    loss, (out, _, metrics) = jax.jit(lambda x: objective.apply(params, state, None, Batch(x), 0))(x)
    means, variances = np.array([[0, 1.5], [5, 1.5]]), np.array([[1, 2.0], [1, 2.0]])
    kl = ((variances + means**2 - 1 - np.log(variances)) / 2).sum(1).mean()
    nll = [stats.norm.logpdf(np.asarray(x[0, i]) - np.tile(means[i], 2)).sum() for i in (0, 1)]
    np.testing.assert_allclose(metrics["penalty"], [kl], rtol=1e-5)
    np.testing.assert_allclose(loss, [-np.mean(nll) + 2 * kl], rtol=1e-5)
    assert metrics["shared"].tolist() == [0.5]
    assert out.prediction.shape == (1, 4)
    with pytest.raises(ValueError, match="reads pairs"):
        objective.init(KEY(0), Batch(x[0]))


# ---- refusals -------------------------------------------------------------------------------------------------

REFUSED = [
    (lambda: objectives.total_correlation(estimator="mean"), "weighted or stratified"),
    (lambda: objectives.total_correlation(estimator="stratified"), "needs num_rows"),
    (lambda: objectives.total_correlation(0), "at least 1"),
    (lambda: objectives.dip("iii"), "variant"),
    (lambda: objectives.dip("i", -1.0), "0 or more"),
    (lambda: objectives.rbf([]), "scales above 0"),
    (lambda: objectives.inverse_multiquadratic([1.0, -1.0]), "scales above 0"),
    (lambda: objectives.activation_kl(1.0), r"\(0, 1\)"),
    (lambda: objectives.squared_jacobian(jnp.sin, jnp.ones((1, 1)), None, 0), "at least 1"),
    (lambda: two_players("wasserstein"), "ratio or non_saturating"),
    (lambda: bottlenecks.top_k(0), "at least 1"),
    (lambda: bottlenecks.identity(priors.mixture(2)).init(KEY(0), jnp.ones((1, 2))), "without parameters"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_arguments_get_one_line(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_penalty_on_the_posterior_says_what_it_needs():
    plain = Output(Code(jnp.zeros((2, 2)), jnp.zeros(2)), jnp.zeros((2, 4)))
    for penalty in (objectives.total_correlation(), objectives.dip()):
        with pytest.raises(ValueError, match="normal posterior"):
            value(penalty, plain)
    model = autoencoder(networks.mlp(2), bottlenecks.identity(), networks.mlp(4), likelihoods.gaussian())
    with pytest.raises(ValueError, match="a model with a prior"):
        objectives.prior_draws(model)
    with pytest.raises(ValueError, match="decoded_draws needs a model with a prior"):
        objectives.decoded_draws(model)


def test_a_critic_of_decoded_draws_teaches_the_decoder_alone():
    line = Network(lambda rng, x, condition=None: jnp.linspace(-1, 1, x.shape[-1])[:, None], lambda p, x, c=None: x @ p)
    layer = bottlenecks.gaussian()
    model = autoencoder(networks.mlp(4), layer, networks.mlp(X.shape[1]), likelihoods.gaussian())
    plain = objectives.elbo(model)
    seen = objectives.decoded_draws(model)
    objective = objectives.adversarial(plain, "misled", line, objectives.targets, 3.0, seen=seen)
    batch = Batch(jnp.asarray(X), target=2 * jnp.asarray(X))
    params, state = objective.init(KEY(0), batch)

    def misled(params):
        return jax.nn.softplus(seen(params["model"], state["model"], None, batch, None) @ params["critic"]).sum()

    own = jax.grad(lambda p: objective.apply(p, state, None, batch, 0)[0].sum())(params)
    alone = jax.grad(lambda p: plain.apply(p, state, None, batch, 0)[0].sum())(params)
    added = jax.tree.map(lambda a, b: a - b, own["model"], alone["model"])
    chex.assert_trees_all_close(added["encoder"], jax.tree.map(jnp.zeros_like, added["encoder"]))
    chex.assert_trees_all_close(
        added["decoder"],
        jax.tree.map(lambda g: 3 * g, jax.grad(misled)(params)["model"]["decoder"]),
        rtol=1e-4,
        atol=1e-4,
    )
    # the critic's cross-entropy by hand: decoded draws are the latents' side, targets the reference's
    made = seen(params["model"], state["model"], None, batch, None)
    entropy = jax.grad(lambda w: (jax.nn.softplus(-made @ w) + jax.nn.softplus(batch.target @ w)).sum() / 2)(
        params["critic"]
    )
    np.testing.assert_allclose(own["critic"], entropy, rtol=1e-4, atol=1e-4)


def test_one_trace_serves_every_step_of_a_schedule():
    objective = two_players()
    scheduled = objectives.penalized(objective, "sparsity", objectives.absolute_sum, lambda step: 0.1 * step)
    batch = Batch(jnp.asarray(X))
    params, state = scheduled.init(KEY(0), batch)
    apply = jax.jit(chex.assert_max_traces(scheduled.apply, n=1))
    first, second = (apply(params, state, KEY(1), batch, step)[0] for step in (jnp.int32(0), jnp.int32(10)))
    np.testing.assert_allclose(second - first, np.abs(X).sum(1), rtol=1e-4)
