"""Confidences against second implementations, and open-set decisions by hand, by cost and from disk."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from jaxae import downstream, networks, scoring, transforms
from jaxae.scoring import confidence, thresholds
from jaxae.scoring.detector.open_set import open_set
from jaxae.scoring.scores import latent
from jaxae.types import Batch, CostTable, Network, Scorer

KEY = jax.random.key
K = 3


def plain(params, state, batch):
    """Logits that are the example itself."""
    return batch.x


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, 60)
    x = rng.normal(size=(60, 4)) * [1, 2, 3, 1] + 5 * np.eye(K, 4)[labels] + 1
    return Batch(jnp.asarray(x, jnp.float32), target=jnp.asarray(labels[:, None], jnp.int32))


@functools.cache
def compiled(scorer):
    return jax.jit(lambda x, reference: scorer.apply(scorer.fit({}, {}, reference), None, Batch(x)))


def scores(scorer, x, reference=None):
    return compiled(scorer)(x, reference)


# ---- logits ---------------------------------------------------------------------------------------------------


def test_scores_of_logits_are_scipys():
    logits = 4 * jax.random.normal(KEY(0), (20, K))
    p = scipy.special.softmax(np.asarray(logits, np.float64), -1)
    cool = scipy.special.softmax(np.asarray(logits, np.float64) / 2.5, -1)
    expected = {
        "max_softmax": (confidence.max_softmax(plain), 1 - p.max(-1)),
        "temperature": (confidence.max_softmax(plain, 2.5), 1 - cool.max(-1)),
        "max_logit": (confidence.max_logit(plain), -np.asarray(logits).max(-1)),
        "energy": (confidence.energy(plain, 2.0), -2 * scipy.special.logsumexp(np.asarray(logits) / 2, -1)),
        "entropy": (confidence.entropy(plain), scipy.stats.entropy(p, axis=-1)),
    }
    for name, (scorer, values) in expected.items():
        np.testing.assert_allclose(scores(scorer, logits), values, rtol=1e-4, atol=1e-7, err_msg=name)


def test_softmax_keeps_small_doubts_apart():
    logits = jnp.array([[30.0, 0.0], [40.0, 0.0], [1000.0, 0.0]])
    found = scores(confidence.max_softmax(plain), logits)
    np.testing.assert_allclose(found, [np.exp(-30.0), np.exp(-40.0), 0], rtol=1e-5)


OF_LOGITS = [getattr(confidence, name)(plain) for name in ("max_logit", "energy", "max_softmax", "entropy")]


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.float32, (4, K), elements=st.floats(-1e4, 1e4, width=32)))
def test_scores_of_logits_stay_within_their_bounds(logits):
    logits = jnp.asarray(logits)
    largest, free, doubt, spread = (scores(scorer, logits) for scorer in OF_LOGITS)
    largest, free = -largest, -free
    slack = 1e-6 * np.abs(largest)
    assert ((largest - slack <= free) & (free <= largest + np.log(K) + 1e-5 + slack)).all()
    assert ((doubt >= 0) & (doubt <= 1 - 1 / K + 1e-6)).all()
    assert ((spread >= -1e-6) & (spread <= np.log(K) + 1e-5)).all()


def test_ensemble_averages_probabilities_or_logits():
    members = jax.random.normal(KEY(1), (5, 1, K))
    x = jax.random.normal(KEY(2), (7, K))

    def member(params, state, batch):
        return batch.x * params

    by_hand = np.asarray(members)[:, 0][:, None] * np.asarray(x)[None]
    p = scipy.special.softmax(by_hand, -1).mean(0)
    logits = confidence.ensemble_logits(member)
    scorer = confidence.max_softmax(logits)
    found = scorer.apply(scorer.fit(members, {}), None, Batch(x))
    np.testing.assert_allclose(found, 1 - p.max(-1), rtol=1e-4)
    mean = confidence.ensemble_logits(member, "logit")(members, {}, Batch(x))
    np.testing.assert_allclose(mean, by_hand.mean(0), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="average must be"):
        confidence.ensemble_logits(member, "median")


# ---- temperature ----------------------------------------------------------------------------------------------


def test_temperature_is_the_one_that_scipy_finds(rows):
    logits, labels = np.asarray(rows.x[:, :K], np.float64) * 3, np.asarray(rows.target[:, 0])

    def nll(log_t):
        return -scipy.special.log_softmax(logits / np.exp(log_t), -1)[np.arange(60), labels].mean()

    best = scipy.optimize.minimize_scalar(nll, bounds=(-3, 5), method="bounded", options={"xatol": 1e-8})
    found = jax.jit(confidence.fit_temperature)(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    np.testing.assert_allclose(found, np.exp(best.x), rtol=1e-4)
    scorer = confidence.temperature_scaled(plain, K, held_out=20)
    fitted = scorer.fit({}, {}, rows._replace(x=jnp.asarray(logits, jnp.float32)))
    last = confidence.fit_temperature(jnp.asarray(logits[-20:], jnp.float32), jnp.asarray(labels[-20:]))
    np.testing.assert_allclose(fitted["temperature"], last, rtol=1e-6)


def test_temperature_of_rows_that_are_all_right_is_the_least():
    found = confidence.fit_temperature(jnp.array([[5.0, 0.0]] * 4), jnp.zeros(4, jnp.int32))
    np.testing.assert_allclose(found, np.exp(-5.0), rtol=1e-4)


# ---- features -------------------------------------------------------------------------------------------------


def test_mahalanobis_distances_are_scikit_learns(rows):
    x, labels = np.asarray(rows.x, np.float64), np.asarray(rows.target[:, 0])
    queries = np.asarray(jax.random.normal(KEY(3), (9, 4)) * 4)
    means = np.stack([x[labels == k].mean(0) for k in range(K)])
    within = EmpiricalCovariance(assume_centered=True).fit(x - means[labels])
    nearest = np.min([within.mahalanobis(queries - m) for m in means], 0)
    whole = EmpiricalCovariance().fit(x).mahalanobis(queries)
    found = scores(confidence.mahalanobis(latent.inputs, K, 0.0), jnp.asarray(queries), rows)
    np.testing.assert_allclose(found, nearest, rtol=1e-3)
    relative = scores(confidence.mahalanobis(latent.inputs, K, 0.0, relative=True), jnp.asarray(queries), rows)
    np.testing.assert_allclose(relative, nearest - whole, rtol=1e-3, atol=1e-3)


def test_nearest_neighbours_are_scikit_learns_on_features_of_length_one(rows):
    unit = np.asarray(rows.x) / np.linalg.norm(rows.x, axis=1, keepdims=True)
    distance, _ = NearestNeighbors(n_neighbors=7).fit(unit[20:]).kneighbors(unit[:20])
    reference = Batch(3.0 * rows.x[20:])
    found = scores(confidence.knn(latent.inputs, 7), rows.x[:20], reference)
    np.testing.assert_allclose(found, distance[:, -1], rtol=1e-4)


def test_matching_of_usual_probabilities_is_scipys(rows):
    logits, queries = rows.x[:, :K], 3 * jax.random.normal(KEY(4), (9, K))
    p, q = (scipy.special.softmax(np.asarray(x, np.float64), -1) for x in (logits, queries))
    templates = [p[p.argmax(-1) == k].mean(0) for k in range(K)]
    expected = np.min([scipy.stats.entropy(q, np.broadcast_to(t, q.shape), axis=-1) for t in templates], 0)
    found = scores(confidence.kl_matching(plain), queries, rows._replace(x=logits))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    seen = scores(confidence.kl_matching(plain), queries, Batch(jnp.array([[9.0, 0.0, 0.0]])))
    one = scipy.special.softmax([9.0, 0.0, 0.0])
    np.testing.assert_allclose(seen, scipy.stats.entropy(q, np.broadcast_to(one, q.shape), axis=-1), rtol=1e-4)


def test_virtual_logit_is_that_of_scikit_learns_principal_directions(rows):
    def logits(params, state, batch):
        return batch.x[:, :K]

    queries = np.asarray(jax.random.normal(KEY(5), (9, 4)) * 3, np.float64)
    x = np.asarray(rows.x, np.float64)
    pca = PCA(1).fit(x)

    def residual(values):
        return np.linalg.norm(values - pca.inverse_transform(pca.transform(values)), axis=1)

    scale = x[:, :K].max(-1).sum() / residual(x).sum()
    expected = scale * residual(queries) - scipy.special.logsumexp(queries[:, :K], -1)
    found = scores(confidence.vim(logits, latent.inputs, 1), jnp.asarray(queries, jnp.float32), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"must lie in 1..3, below the features' 4; got 4"):
        confidence.vim(logits, latent.inputs, 4).fit({}, {}, rows)


def test_open_max_is_that_of_scipys_weibull_distributions(rows):
    logits, labels = np.asarray(rows.x[:, :K], np.float64), np.asarray(rows.target[:, 0])
    queries = 4 * np.random.default_rng(3).normal(size=(9, K))
    right = logits.argmax(-1) == labels
    assert not right.all()
    expected = []
    means = np.stack([logits[right & (labels == k)].mean(0) for k in range(K)])
    fits = []
    for k in range(K):
        distance = np.linalg.norm(logits[right & (labels == k)] - means[k], axis=1)
        fits.append(scipy.stats.weibull_min.fit(np.sort(distance)[-6:], floc=0))
    for v in queries:
        revised, unknown = v.copy(), 0.0
        for i, k in enumerate(np.argsort(-v)[:2]):
            share = (2 - i) / 2 * scipy.stats.weibull_min.cdf(np.linalg.norm(v - means[k]), *fits[k])
            revised[k], unknown = v[k] * (1 - share), unknown + v[k] * share
        expected.append(scipy.special.log_softmax([unknown, *revised])[0])
    scorer = confidence.openmax(plain, K, tail=6, revised=2)
    found = scores(scorer, jnp.asarray(queries, jnp.float32), rows._replace(x=rows.x[:, :K]))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="tail must be at least 2; got 1"):
        confidence.openmax(plain, K, tail=1)


def test_shaped_activations_are_numpys(rows):
    weights = np.random.default_rng(2).normal(size=(4, K + 1))
    head = Network(lambda rng, x, condition=None: weights, lambda params, x, condition=None: x @ params)
    model, _ = downstream.classifier(networks.identity, head, K + 1)
    params = {"encoder": (), "bottleneck": (), "decoder": jnp.asarray(weights, jnp.float32)}
    x = np.abs(np.asarray(rows.x, np.float64))

    def energy(features):
        return -scipy.special.logsumexp((features @ weights)[:, :K], -1)

    cut = energy(np.minimum(x, np.quantile(x, 0.8)))
    thinned = np.where(np.argsort(np.argsort(-x, 1), 1) < 2, x, 0)  # 2 of the 4 are kept
    grown = energy(thinned * np.exp(x.sum(1, keepdims=True) / thinned.sum(1, keepdims=True)))
    reference = Batch(jnp.asarray(x, jnp.float32))
    for scorer, expected in ((confidence.react(model, K, 0.8), cut), (confidence.ash(model, K, 0.6), grown)):
        found = scorer.apply(scorer.fit(params, (), reference), None, reference)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_odin_moves_each_example_by_its_own_gradient():
    # log max softmax of logits x is steepest along e_max - p: the largest grows, the others shrink
    x = np.array([[2.0, 1.0, 0.0], [0.0, 0.5, 3.0]])
    moved = x + 0.1 * np.where(x == x.max(1, keepdims=True), 1, -1)
    found = scores(confidence.odin(plain, 4.0, 0.1), jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, 1 - scipy.special.softmax(moved / 4, -1).max(-1), rtol=1e-5)
    for bad in ({"temperature": 0.0}, {"step": -0.1}):
        with pytest.raises(ValueError, match=r"(temperature|step) must be"):
            confidence.odin(plain, **bad)


def test_joined_features_add_the_squared_distances_of_their_models(rows):
    def scaled(params, state, batch):
        return batch.x * params[None]

    weights = jnp.array([1.0, 2.0, 0.0, 1.0]), jnp.array([0.0, 1.0, 3.0, 1.0])
    scorer = confidence.knn(confidence.joined(scaled, scaled), 1)
    fitted = scorer.fit(weights, ((), ()), rows._replace(x=rows.x[1:2]))
    parts = [np.asarray(rows.x[:2] * w[None]) for w in weights]
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    # the joined rows have length sqrt(2), which the score brings to 1
    expected = np.sqrt(sum(np.sum((part[0] - part[1]) ** 2) for part in parts) / 2)
    np.testing.assert_allclose(scorer.apply(fitted, None, Batch(rows.x[:1])), [expected], rtol=1e-5)
    with pytest.raises(ValueError, match="2 models need as many params"):
        scorer.fit(weights[:1], ((),), rows)


def test_four_turns_are_numpys_each_of_length_one():
    images = np.random.default_rng(4).random((2, 3, 3, 1), np.float32)
    turned = [np.rot90(images, quarter, (1, 2)).reshape(2, -1) for quarter in range(4)]
    expected = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in turned], 1)
    features = confidence.four_turns(lambda params, state, batch: batch.x.reshape(len(batch.x), -1))
    np.testing.assert_allclose(features((), (), Batch(jnp.asarray(images))), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="images must be square"):
        features((), (), Batch(jnp.ones((1, 2, 3, 1))))


def test_labels_that_a_score_cannot_use_are_named(rows):
    scorer = confidence.mahalanobis(latent.inputs, K)
    for reference in (None, Batch(rows.x)):
        with pytest.raises(ValueError, match="needs labelled rows"):
            scorer.fit({}, {}, reference)
    with pytest.raises(ValueError, match=r"must lie in 0..1, found 0..2"):
        confidence.mahalanobis(latent.inputs, 2).fit({}, {}, rows)
    with pytest.raises(ValueError, match="no rows of class 3"):
        confidence.mahalanobis(latent.inputs, 4).fit({}, {}, rows)
    with pytest.raises(ValueError, match="61 rows held out, but the reference has 60"):
        confidence.temperature_scaled(plain, 4, held_out=61).fit({}, {}, rows)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"temperature must be (above 0 and|a) finite"):
            confidence.energy(plain, temperature)


# ---- all of them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(confidence.CONFIDENCES))
def test_every_confidence_is_a_scorer_of_one_trace_that_finds_the_odd_row(name, rows):
    def logits(params, state, batch):
        return batch.x[:, :K] * params

    scorer = confidence.CONFIDENCES[name](logits, latent.inputs, K, 20)
    fitted = jax.jit(lambda reference: scorer.fit(jnp.full((1, 1), 2.0), {}, reference))(rows)
    apply = jax.jit(chex.assert_max_traces(lambda fitted, x: scorer.apply(fitted, None, Batch(x)), n=1))
    known = apply(fitted, rows.x[:8])
    assert known.shape == (8,)
    assert known.dtype == jnp.float32
    # at the centre of all classes no logit stands out, and across all features nothing was ever seen
    middle = rows.x.mean(0, keepdims=True) + jnp.array([[0.0, 0.0, 0.0, 9.0]])
    odd = apply(fitted, jnp.repeat(middle, 8, 0))
    assert bool(jnp.isfinite(known).all() & jnp.isfinite(odd).all())
    assert float(odd[0]) > float(jnp.median(known))


# ---- decisions ------------------------------------------------------------------------------------------------


def test_the_class_above_the_threshold_and_unknown_below():
    decide = open_set(plain, confidence.max_logit(plain), thresholds.recall(1.0))
    dev = jnp.array([[5.0, 0.0], [0.0, 6.0], [2.0, 1.0], [1.0, 3.0]])
    fitted = decide.fit({}, {}, None, dev[:2], dev, jnp.array([0, 1, 2, 2]))
    apply = jax.jit(chex.assert_max_traces(decide.apply, n=1))
    verdict = apply(fitted, jnp.array([[3.5, 0.0], [0.0, 3.5], [3.0, 2.9], [-1.0, -2.0]]))
    assert float(verdict.threshold[0]) == -3.0  # λ: a confidence of 3 is the last that is unknown
    assert verdict.action.tolist() == [0, 1, 2, 2]
    assert verdict.action.dtype == jnp.int32
    np.testing.assert_array_equal(verdict.is_anomaly, verdict.action == 2)
    apply(fitted, jnp.zeros((4, 2)))


def test_least_cost_is_that_of_a_search_over_all_thresholds():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, K + 1, 40)
    logits = rng.normal(size=(40, K)) + 2 * np.eye(K + 1, K)[truth]
    costs = rng.uniform(0.5, 3, (K + 1, K + 1)) * (1 - np.eye(K + 1))
    table, rate = CostTable(jnp.asarray(costs, jnp.float32)), 0.3
    decide = open_set(plain, confidence.max_logit(plain), table, unknown_rate=rate)
    x = jnp.asarray(logits, jnp.float32)
    fitted = decide.fit({}, {}, None, x[truth < K], x, jnp.asarray(truth))

    def cost(actions):
        each = costs[truth, actions]
        return rate * each[truth == K].mean() + (1 - rate) * each[truth < K].mean()

    score = np.asarray(-x.max(-1))
    best = min(cost(np.where(score >= level, K, logits.argmax(-1))) for level in [*score, np.inf])
    np.testing.assert_allclose(cost(np.asarray(jax.jit(decide.apply)(fitted, x).action)), best, rtol=1e-5)


def test_open_set_detector_of_a_classifier_is_saved_and_loaded(tmp_path):
    model, _ = downstream.classifier(networks.mlp(4, flatten=True), networks.mlp(K), K)
    pixels = jax.random.randint(KEY(0), (30, 3, 3, 1), 0, 256).astype(jnp.uint8)
    params, state = jax.jit(model.init)(KEY(1), pixels[:1].astype(jnp.float32))
    logits, features = confidence.logits_of(model), latent.encoded(model)
    reference = Batch(pixels, target=jnp.arange(30)[:, None] % K)
    scorers = {
        "knn": confidence.knn(features, 3),
        "temperature": confidence.temperature_scaled(logits, K),
        "brightness": Scorer(lambda *_: {}, lambda fitted, rng, batch: batch.x.mean((1, 2, 3))),
    }
    for name, scorer in scorers.items():
        decide = open_set(logits, scorer, thresholds.conformal(0.2), transform=transforms.scale_uint8())
        fitted = jax.jit(lambda *model, decide=decide: decide.fit(*model, reference, pixels[:20]))(params, state)
        expected = jax.jit(decide.apply)(fitted, pixels)
        scoring.save_detector(tmp_path / name, decide, fitted, pixels[:1], platforms=("cpu",))
        loaded = scoring.load_detector(tmp_path / name).apply(pixels)
        np.testing.assert_allclose(loaded.score, expected.score, rtol=1e-6)
        assert set(np.unique(loaded.action)) <= set(range(K + 1))
        np.testing.assert_array_equal(loaded.action == K, loaded.is_anomaly)
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        stored = sum(leaf.size for leaf in jax.tree.leaves(fitted) if jnp.issubdtype(leaf.dtype, jnp.floating))
        assert stored < 2 * size + 30 * 5 + 100  # the model's arrays once


def test_rows_do_not_depend_on_their_batch(rows):
    scorer = confidence.mahalanobis(latent.inputs, K, relative=True)
    decide = open_set(plain, scorer, thresholds.conformal(0.2))
    fitted = jax.jit(lambda rows: decide.fit({}, {}, rows, rows.x))(rows)
    apply = jax.jit(decide.apply)
    whole, part = apply(fitted, rows.x), apply(fitted, rows.x[:7])
    np.testing.assert_allclose(part.score, whole.score[:7], rtol=1e-5, atol=1e-5)


def test_labels_of_dev_must_be_classes_or_unknown(rows):
    decide = open_set(plain, confidence.max_logit(plain), CostTable(jnp.ones((5, 5))))
    x = rows.x
    with pytest.raises(ValueError, match=r"whole numbers 0..4, 4 for unknown; .* 0..5"):
        decide.fit({}, {}, None, x, x[:2], jnp.array([0, 5]))
    with pytest.raises(ValueError, match="needs known and unknown rows"):
        decide.fit({}, {}, None, x, x[:2], jnp.array([0, 1]))
    with pytest.raises(ValueError, match="needs dev rows with labels"):
        decide.fit({}, {}, None, x)
    wrong = open_set(plain, confidence.max_logit(plain), CostTable.binary(1.0, 1.0))
    with pytest.raises(ValueError, match=r"need costs \(5, 5\).*got \(2, 2\)"):
        wrong.fit({}, {}, None, x, x[:2], jnp.array([0, 4]))


@pytest.mark.parametrize("make", [confidence.max_softmax, confidence.entropy, confidence.odin, confidence.kl_matching])
def test_probabilities_of_a_single_class_are_refused(make):
    scorer = make(lambda params, state, batch: batch.x[:, :1])
    rows = Batch(jnp.arange(6.0).reshape(3, 2))
    with pytest.raises(ValueError, match=r"at least 2 classes; got \(3, 1\)"):
        scorer.apply(scorer.fit({}, {}, rows), None, rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((jnp.ones((4, 3)), jnp.array([0, 1, 2, 3])), r"labels must be 0\.\.2; got 0\.\.3"),
        (
            (jnp.ones((4, 3)), jnp.array([0, 1, 2, 0]), jnp.zeros(4)),
            "weights must be finite, not negative and not all 0",
        ),
        ((jnp.ones((4, 3)).at[1, 1].set(jnp.nan), jnp.array([0, 1, 2, 0])), "logits: 1 of 12 are NaN"),
    ],
)
def test_a_temperature_needs_logits_labels_and_weights_that_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        confidence.fit_temperature(*arguments)
