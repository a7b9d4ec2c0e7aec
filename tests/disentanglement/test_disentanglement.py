"""Scores of disentanglement, each against a second implementation.

The references here are written after the definitions in disentanglement_lib (Locatello et al. 2019,
github.com/google-research/disentanglement_lib, evaluation/metrics), on NumPy and scikit-learn.
"""

import functools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.svm import LinearSVC

from jaxae import disentanglement as dis
from jaxae.disentanglement.dci import completeness, disentanglement
from jaxae.disentanglement.modularity import modularity_of
from jaxae.scoring.metrics.bootstrap import bootstrap

KEY = jax.random.key
SIZES = (3, 4, 5)


def drawn(seed=0, num=400, noise=0.3, width=4):
    """Codes that mix factors and noise."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(0, size, num) for size in SIZES], 1)
    mix = np.eye(len(SIZES), width) + noise * rng.normal(size=(len(SIZES), width))
    codes = (factors / np.array(SIZES)) @ mix + 0.1 * noise * rng.normal(size=(num, width))
    return codes.astype(np.float32), factors.astype(np.int32)


def identity(factors):
    return factors.astype(jnp.float32)


def turned(factors):
    """Each pair of neighbouring factors, scaled alike, turned by 45 degrees."""
    z = factors / jnp.array(SIZES, jnp.float32)[None]
    return jnp.stack([z[:, 0] + z[:, 1], z[:, 0] - z[:, 1], z[:, 2] + z[:, 0]], 1)


def on(score, *arrays, **given):
    return score(*map(jnp.asarray, arrays), **given)


@functools.cache
def of_rows(*scores):
    """Scores of rows as one compiled program of codes and factors."""
    return jax.jit(lambda *rows, weight=None: [score(*rows, factor_sizes=SIZES, weight=weight) for score in scores])


def counted(codes, factors, bins=20):
    columns = [np.digitize(z, np.histogram(z, bins)[1][:-1]) for z in codes.T]
    matrix = np.array([[mutual_info_score(v, z) for v in factors.T] for z in columns])
    return matrix, np.array([mutual_info_score(v, v) for v in factors.T])


# ---- scores of rows -------------------------------------------------------------------------------------------


def test_information_and_its_gaps_are_those_of_the_reference():
    codes, factors = drawn()
    expected, entropy = counted(codes, factors)
    (information, of_factor), mig, mig_sup, modularity = of_rows(
        dis.mutual_information, dis.mig, dis.mig_sup, dis.modularity
    )(codes, factors)
    np.testing.assert_allclose(information, expected, atol=1e-5)
    np.testing.assert_allclose(of_factor, entropy, rtol=1e-5)
    ordered = np.sort(expected, 0)[::-1]
    np.testing.assert_allclose(mig, np.mean((ordered[0] - ordered[1]) / entropy), atol=1e-5)
    shares = np.sort(expected / entropy, 1)[:, ::-1]
    np.testing.assert_allclose(mig_sup, np.mean(shares[:, 0] - shares[:, 1]), atol=1e-5)
    squared = expected**2
    delta = (squared.sum(1) - squared.max(1)) / (squared.max(1) * (factors.shape[1] - 1))
    np.testing.assert_allclose(modularity, np.mean(1 - delta), atol=1e-4)


def test_a_weight_counts_as_often_as_a_row():
    codes, factors = drawn(num=60)
    times = np.random.default_rng(1).integers(1, 4, 60)
    many = np.repeat(codes, times, 0), np.repeat(factors, times, 0)
    scores = of_rows(dis.mig, dis.mig_sup, dis.modularity)
    np.testing.assert_allclose(scores(codes, factors, weight=times), scores(*many), rtol=1e-4)

    def mig(factors, codes, weight):
        return of_rows(dis.mig)(codes, factors, weight=weight)[0]

    interval = jax.jit(partial(bootstrap, mig, rng=KEY(0), num=20, stratified=False))(factors, codes)
    assert interval.low < interval.high


def test_sap_is_that_of_linear_machines_and_of_correlations():
    (codes, factors), (test_codes, test_factors) = drawn(0), drawn(1)
    matrix = np.zeros((4, 3))
    for d in range(4):
        for f in range(3):
            machine = LinearSVC(C=0.01, class_weight="balanced", tol=1e-8, max_iter=100_000)
            machine.fit(codes[:, d : d + 1], factors[:, f])
            matrix[d, f] = np.mean(machine.predict(test_codes[:, d : d + 1]) == test_factors[:, f])
    ordered = np.sort(matrix, 0)[::-1]
    ours = on(dis.sap, codes, factors, test_codes, test_factors)
    np.testing.assert_allclose(ours, np.mean(ordered[0] - ordered[1]), atol=0.003)
    squared = np.corrcoef(codes.T, factors.T)[:4, 4:] ** 2
    gaps = np.sort(squared, 0)[::-1]
    np.testing.assert_allclose(on(dis.sap, codes, factors, continuous=True), np.mean(gaps[0] - gaps[1]), atol=1e-5)


def test_boosted_trees_are_those_of_scikit_learn_where_bins_hold_single_values():
    codes, factors = drawn(num=500)
    codes, test_codes = np.round(codes * 8), np.round(drawn(1, num=100)[0] * 8)
    test = drawn(1, num=100)[1]
    for f, size in [(1, SIZES[1])]:
        model = GradientBoostingClassifier(n_estimators=15, random_state=0).fit(codes, factors[:, f])
        ours = on(
            partial(dis.boosted_trees, num_classes=size, num_trees=15),
            codes,
            factors[:, f],
            test_codes=jnp.asarray(test_codes),
            test_classes=jnp.asarray(test[:, f]),
        )
        np.testing.assert_allclose(ours.importance, model.feature_importances_, atol=0.01)  # ties
        np.testing.assert_allclose(ours.train_accuracy, model.score(codes, factors[:, f]), atol=0.005)
        np.testing.assert_allclose(ours.test_accuracy, model.score(test_codes, test[:, f]), atol=0.011)


def entropy_score(matrix, axis):
    p = (matrix + 1e-11) / (matrix + 1e-11).sum(axis, keepdims=True)
    entropy = -(p * np.log(p)).sum(axis) / np.log(matrix.shape[axis])
    return np.sum((1 - entropy) * matrix.sum(axis) / matrix.sum())


both = jax.jit(lambda matrix: (disentanglement(matrix), completeness(matrix)))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(2, 4))
def test_dci_of_a_matrix_is_that_of_the_reference(seed, width, number):
    rng = np.random.default_rng(seed)
    matrix = rng.random((width, number)) * (rng.random((width, number)) < 0.7) + np.eye(width, number)
    found = both(matrix)
    np.testing.assert_allclose(found, (entropy_score(matrix, 1), entropy_score(matrix, 0)), atol=1e-5)


def test_dci_and_modularity_by_hand():
    idle = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose([disentanglement(idle), completeness(idle)], 1.0, atol=1e-6)
    np.testing.assert_allclose(modularity_of(idle), 2 / 3, rtol=1e-6)
    twice = jnp.concatenate([jnp.eye(5), jnp.eye(5)])
    np.testing.assert_allclose(disentanglement(twice), 1.0, atol=1e-6)
    np.testing.assert_allclose(completeness(twice), 1 - np.log(2) / np.log(10), rtol=1e-5)
    np.testing.assert_allclose(modularity_of(twice.T), 1 - 1 / 9, rtol=1e-5)
    assert float(disentanglement(jnp.zeros((3, 3)))) == 0.0


def test_explicitness_is_the_area_of_logistic_regression():
    (codes, factors), (test_codes, test_factors) = drawn(0), drawn(1)
    mean, scale = codes.mean(0), codes.std(0)
    areas = []
    for f, size in enumerate(SIZES):
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit((codes - mean) / scale, factors[:, f])
        predicted = model.predict_proba((test_codes - mean) / scale)
        areas.append(roc_auc_score(np.eye(size)[test_factors[:, f]], predicted))
    np.testing.assert_allclose(
        jax.jit(partial(dis.explicitness, factor_sizes=SIZES))(codes, factors, test_codes, test_factors),
        np.mean(areas),
        atol=1e-3,
    )


def test_irs_is_that_of_the_reference():
    codes, factors = drawn()
    most = np.abs(codes - codes.mean(0)).max(0)
    spread = np.zeros((4, 3))
    for f, size in enumerate(SIZES):
        for value in range(size):
            rows = codes[factors[:, f] == value]
            spread[:, f] += np.percentile(np.abs(rows - rows.mean(0)), 99, axis=0) / size
    expected = np.average((1 - spread / most[:, None]).max(1), weights=most)
    np.testing.assert_allclose(jax.jit(partial(dis.irs, factor_sizes=SIZES))(codes, factors), expected, rtol=1e-4)


# ---- scores of groups -----------------------------------------------------------------------------------------


def votes_of_reference(codes_of, rng, num, size, overall):
    votes = np.zeros((len(SIZES), len(overall)), int)
    for _ in range(num):
        f = rng.integers(len(SIZES))
        factors = np.stack([rng.integers(0, s, size) for s in SIZES], 1)
        factors[:, f] = factors[0, f]
        votes[f, np.argmin(np.var(codes_of(factors), 0, ddof=1) / overall)] += 1
    return votes


def test_factor_vae_score_is_that_of_the_reference_within_the_spread_of_its_draws():
    def codes_of(factors):
        return np.asarray(turned(jnp.asarray(factors)))

    rng = np.random.default_rng(0)
    overall = np.var(codes_of(np.stack([rng.integers(0, s, 2000) for s in SIZES], 1)), 0, ddof=1)
    train, test = (votes_of_reference(codes_of, rng, num, 16, overall) for num in (600, 600))
    expected = test[train.argmax(0), np.arange(3)].sum() / test.sum()
    source = dis.from_generator(turned, SIZES, batch_size=None)
    score = partial(dis.factor_vae_score, source, num_train=2000, num_test=2000, group_size=16, num_variance=2000)
    ours = jax.jit(score)(KEY(0))
    assert 0.5 < expected < 0.95
    np.testing.assert_allclose(ours, expected, atol=0.06)  # three deviations of 600 votes


def test_beta_vae_score_is_that_of_the_reference_within_the_spread_of_its_draws():
    rng = np.random.default_rng(0)

    def point():
        f = rng.integers(len(SIZES))
        first, second = (np.stack([rng.integers(0, s, 2) for s in SIZES], 1) for _ in range(2))
        second[:, f] = first[:, f]
        codes = [np.asarray(part) @ np.array([[1.0, 0.4, 0], [0.3, 1, 0.2], [0, 0.1, 1]]) for part in (first, second)]
        return np.abs(codes[0] - codes[1]).mean(0), f

    points, labels = zip(*(point() for _ in range(1600)), strict=True)
    model = LogisticRegression(max_iter=1000).fit(points[:800], labels[:800])
    expected = model.score(points[800:], labels[800:])
    mix = jnp.array([[1.0, 0.4, 0], [0.3, 1, 0.2], [0, 0.1, 1]])
    source = dis.from_generator(lambda factors: factors @ mix, SIZES, batch_size=500)
    ours = jax.jit(lambda rng: dis.beta_vae_score(source, rng, num_train=1500, num_test=1500, group_size=2))(KEY(0))
    assert 0.5 < expected < 0.97
    np.testing.assert_allclose(ours, expected, atol=0.05)


def test_groups_share_the_factor_and_nothing_else():
    rows = np.stack(np.unravel_index(np.arange(60), SIZES), 1).astype(np.int32)
    for source in (
        dis.from_generator(identity, SIZES, batch_size=7),
        dis.from_table(dis.code_table(identity, SIZES, 8), SIZES),
        dis.from_arrays(rows.astype(np.float32), rows),
    ):
        held = jnp.array([0, 1, 2, 2, 1, 0] * 5)
        groups = np.asarray(jax.jit(source.sharing, static_argnums=2)(KEY(0), held, 12))
        assert groups.shape == (30, 12, 3)
        for group, f in zip(groups, np.asarray(held), strict=True):
            still = group.min(0) == group.max(0)
            assert still[f]
            assert not still.all()
        codes, factors = source.sample(KEY(1), 20)
        np.testing.assert_array_equal(codes, factors)


# ---- what every score owes ------------------------------------------------------------------------------------

QUICK = dis.Protocol(num_train=300, num_test=150, group_size=16, num_variance=300, num_trees=8)


@functools.cache
def compiled(name):
    """A score of a table of codes, compiled once for all representations."""
    return jax.jit(lambda table: dis.SCORES[name](dis.from_table(table, SIZES), KEY(3), QUICK))


def scored(represent, names):
    table = dis.code_table(represent, SIZES)
    found = {name: compiled(name)(table) for name in names}
    return {k: float(v["disentanglement"] if isinstance(v, dict) else v) for k, v in found.items()}


def test_the_factors_themselves_score_best_and_turned_ones_less():
    names = sorted(set(dis.SCORES) - {"explicitness"})  # a linear reader does not mind a turn
    best, less = scored(identity, names), scored(turned, names)
    for name in set(names) - {"sap", "irs"}:
        assert best[name] > 0.98, name
    for name in names:
        assert less[name] < best[name] - 0.05, name


@pytest.mark.parametrize("name", ["mig", "mig_sup", "modularity", "irs", "factor_vae", "dci"])
def test_order_and_sign_of_dimensions_do_not_matter(name):
    def other(factors):
        return turned(factors)[:, ::-1] * jnp.array([-4.0, 0.5, 2.0])[None]

    tolerance = {"irs": 0.2, "mig": 0.02, "modularity": 0.02, "mig_sup": 0.02}.get(name, 0.02)
    if name == "irs":  # weighs dimensions by their size

        def other(factors):
            return -turned(factors)[:, ::-1]

    a, b = scored(turned, [name])[name], scored(other, [name])[name]
    np.testing.assert_allclose(a, b, atol=tolerance)


def test_scores_compile_once_and_vmap_over_seeds_and_models():
    tables = jnp.stack([dis.code_table(represent, SIZES) for represent in (identity, turned)])

    def score(table, rng):
        source = dis.from_table(table, SIZES)
        return jnp.stack([dis.SCORES[name](source, rng, QUICK) for name in ("mig", "factor_vae")])

    together = jax.jit(jax.vmap(chex.assert_max_traces(score, n=1), (0, None)))
    values = together(tables, KEY(0))
    np.testing.assert_allclose(values[1], jax.jit(score)(tables[1], KEY(0)), rtol=1e-4)
    assert (values[0] > values[1] + 0.05).all()
    together(tables, KEY(1))


def test_evaluate_gives_an_interval_for_each_score():
    source = dis.from_generator(turned, SIZES, batch_size=None)
    found = dis.evaluate(source, KEY(0), QUICK, scores=("mig", "dci"), repetitions=4, together=2)
    assert set(found) == {"mig", *(f"dci_{part}" for part in dis.DCI._fields[:-1])}
    for interval in found.values():
        assert interval.low <= interval.value <= interval.high
    assert found["mig"].low < found["mig"].high
    with pytest.raises(ValueError, match="no protocol 'mine'"):
        dis.evaluate(source, KEY(0), "mine")
    with pytest.raises(ValueError, match="no score 'sip'"):
        dis.evaluate(source, KEY(0), scores=("sip",))


def strength(r):
    total = r.sum(0)
    return np.mean(np.where(total > 0, r.max(0) ** 2 / np.where(total > 0, total, 1), 0))


def test_udr_is_that_of_the_reference():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 3))
    codes = np.stack([base, base[:, ::-1] * [-1, 2, 1], base @ np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1.0]])])
    codes = (codes + 0.1 * rng.normal(size=codes.shape)).astype(np.float32)
    kl = np.array([[1, 1, 1], [1, 1, 0.001], [1, 1, 1]], np.float32)
    scaled = ((codes - codes.mean(1, keepdims=True)) / codes.std(1, keepdims=True)).astype(float)
    for method in ("lasso", "spearman"):
        scores = np.zeros((3, 3))
        for i, j in [(i, j) for i in range(3) for j in range(3) if i != j]:
            if method == "lasso":
                r = np.zeros((3, 3))
                given, asked = np.flatnonzero(kl[i] > 0.01), np.flatnonzero(kl[j] > 0.01)
                machine = Lasso(alpha=0.1, tol=1e-6).fit(scaled[i][:, given], scaled[j][:, asked])
                r[np.ix_(given, asked)] = np.abs(machine.coef_).T
            else:
                r = np.abs(spearmanr(codes[i], codes[j])[0][:3, 3:])
            r = r[kl[i] > 0.01][:, kl[j] > 0.01]
            scores[i, j] = (strength(r) + strength(r.T)) / 2
        expected = [np.median(np.delete(scores[:, i], i)) for i in range(3)]
        np.testing.assert_allclose(on(dis.udr, codes, kl, method=method), expected, atol=1e-3)


# ---- bad input ------------------------------------------------------------------------------------------------


def test_bad_input_is_refused_in_one_line():
    codes, factors = drawn(num=50)
    wrong = [
        (codes, factors[:40], r"with one N are needed; got shapes \(50, 4\), \(40, 3\)"),
        (codes, np.where(np.arange(3) == 1, 2, factors), r"factor 1 is constant \(2 in all 50 rows\)"),
        (codes, factors + 0.25, r"factor 0 is continuous \(3 values in 50 rows, such as [0-2]\.25\)"),
        (codes, factors - 1, r"factor 0 must be 0\.\.K - 1; found -1\.\.1"),
        (
            np.where(codes == codes[7, 2], np.nan, codes),
            factors,
            "codes: 1 values are NaN .* first in row 7",
        ),
    ]
    for z, v, message in wrong:
        with pytest.raises(ValueError, match=message):
            dis.from_arrays(z, v)
    with pytest.raises(ValueError, match="pass factor_sizes"):
        jax.jit(dis.mig)(codes, factors)
    with pytest.raises(ValueError, match="needs 2 of them; codes have 1"):
        on(dis.mig, codes[:, :1], factors)
    with pytest.raises(ValueError, match="protocol draws 10000 rows, but there are 50"):
        dis.SCORES["mig"](dis.from_arrays(codes, factors), KEY(0), dis.PROTOCOLS["locatello2019"])
    with pytest.raises(ValueError, match="value 2 of factor 0 has one row only"):
        dis.from_arrays(codes[:5], np.array([[0], [0], [1], [1], [2]]))
    with pytest.raises(ValueError, match="group_size must be at least 2; got 1"):
        dis.factor_vae_score(dis.from_arrays(codes, factors), KEY(0), group_size=1)
    with pytest.raises(ValueError, match="give test_codes"):
        on(dis.sap, codes, factors)
    with pytest.raises(ValueError, match="2 models or more"):
        dis.udr(jnp.zeros((1, 5, 2)))
    with pytest.raises(ValueError, match="at least 2 repetitions"):
        dis.repeated(jnp.ones(1))


def test_all_idle_dimensions_score_nothing():
    source = dis.from_generator(lambda factors: jnp.zeros((len(factors), 3)), SIZES, batch_size=None)
    found = jax.jit(lambda rng: dis.factor_vae_score(source, rng, num_train=50, num_test=50, num_variance=50))(KEY(0))
    assert float(found) == 0.0
    codes, factors = jnp.zeros((50, 3)), source.sample(KEY(0), 50)[1]
    for score in (dis.mig, dis.modularity, dis.irs):
        assert float(jax.jit(partial(score, factor_sizes=SIZES))(codes, factors)) == 0.0
