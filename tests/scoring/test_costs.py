"""Cost tables, least-cost actions, two thresholds, per-example costs, regret and bands: by hand and by brute force."""

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from jaxae.scoring import costs, thresholds
from jaxae.scoring.costs import per_example as example_costs
from jaxae.scoring.costs import reject
from jaxae.scoring.costs.bands import cost_bands
from jaxae.scoring.detector.open_set import cost_table
from jaxae.types import CostTable

SIZE = 9
FEW = settings(max_examples=25, deadline=None)
SCORES = arrays(np.float32, SIZE, elements=st.sampled_from(np.float32([-2, -0.5, 0, 1, 1.5, 3, 7])))
LABELS = arrays(np.int32, SIZE, elements=st.integers(0, 1))
WEIGHTS = arrays(np.float32, SIZE, elements=st.sampled_from(np.float32([0.5, 1, 3])))
COSTS = st.sampled_from([0.0, 0.25, 1.0, 4.0, 30.0])
TABLE = CostTable.binary(10.0, 1.0)


def candidates(scores):
    return [*sorted(set(scores.tolist())), np.inf]


def rates(labels, weight, anomaly_rate):
    weight = weight.astype(np.float64)
    share = np.where(labels == 1, anomaly_rate, 1 - anomaly_rate)
    return weight * share / np.array([weight[labels == 0].sum(), weight[labels == 1].sum()])[labels]


def two_classes(labels):
    assume(0 < labels.sum() < SIZE)


def test_tables():
    by_truth = CostTable.with_reject(10.0, 1.0, (0.5, 2.0))
    np.testing.assert_array_equal(by_truth.costs, np.float32([[0, 1, 0.5], [10, 0, 2]]))
    stacked = jax.vmap(lambda r: CostTable.with_reject(10.0, 1.0, r))(jnp.array([0.5, 3.0]))
    np.testing.assert_array_equal(stacked.costs[1], np.float32([[0, 1, 3], [10, 0, 3]]))
    with pytest.raises(ValueError, match=r"not negative; got reject \(0.5, -1.0\)"):
        CostTable.with_reject(10.0, 1.0, (0.5, -1.0))
    with pytest.raises(ValueError, match=r"not both 0; got miss 10.0, false alarm nan"):
        CostTable.with_reject(10.0, float("nan"), 1.0)


def test_wrong_costs_are_named():
    labels, scores = jnp.array([0, 1]), jnp.array([0.0, 1.0])
    for value in (-1.0, np.nan, np.inf):
        table = CostTable(jnp.array([[0.0, 1.0], [value, 0.0]]))
        with pytest.raises(ValueError, match=rf"got {value:g} at \[1, 0\] \(1 of 4 are wrong\)"):
            costs.expected_cost_curve(labels, scores, table)
        with pytest.raises(ValueError, match=rf"got {value:g} at \[1, 0\]"):
            reject.bayes_action(jnp.array([[0.5, 0.5]]), table)
    with pytest.raises(ValueError, match=r"\(2, 3\), truth by action; got \(2, 2\)"):
        reject.three_way(labels, scores, CostTable.binary(1.0, 1.0))
    with pytest.raises(ValueError, match=r"got \(1, 3\) and \(2, 2\)"):
        reject.bayes_action(jnp.ones((1, 3)) / 3, CostTable.binary(1.0, 1.0))
    with pytest.raises(ValueError, match="row 1 sums to 2"):
        reject.bayes_action(jnp.array([[0.5, 0.5], [1.0, 1.0]]), CostTable.binary(1.0, 1.0))
    with pytest.raises(ValueError, match=r"lower threshold must not be above the upper one; got 2.0 and 1.0"):
        reject.three_way_action(scores, 2.0, 1.0)
    with pytest.raises(ValueError, match=r"cost ratios must be finite and not negative; got -1 at \[1\]"):
        costs.optimal_thresholds(labels, scores, jnp.array([1.0, -1.0]))


def test_least_cost_action_by_hand():
    # Chow: a human is asked where min(p miss, (1 - p) fa) > reject: 10 p > 0.5 and 1 - p > 0.5
    anomalous = np.float32([0.0, 0.049, 0.051, 0.49, 0.51, 1.0])
    probabilities = np.stack([1 - anomalous, anomalous], 1)
    table = CostTable.with_reject(10.0, 1.0, 0.5)
    assert reject.bayes_action(probabilities, table).tolist() == [0, 0, 2, 2, 1, 1]
    assert reject.bayes_action(probabilities, CostTable(jnp.ones((2, 4)))).tolist() == [0] * 6
    # classes 0 and 1, and unknown: an unknown example that gets a class costs 10, a refusal 1, a mix-up 5
    classes = np.float32([[0.9, 0.05, 0.05], [0.6, 0.35, 0.05], [0.1, 0.85, 0.05], [0.02, 0.95, 0.03]])
    # refusals cost 0.95, 0.95, 0.95, 0.97; the classes 0.75, 2.25, 1.0 and 0.4
    got = reject.bayes_action(classes, cost_table(2, 10.0, 1.0, 5.0))
    assert got.tolist() == [0, 2, 2, 1]
    assert got.dtype == jnp.int32


@FEW
@given(
    arrays(np.float32, (4, 3), elements=st.sampled_from(np.float32([0.5, 1, 2, 5]))),
    arrays(np.float32, (3, 4), elements=COSTS),
)
def test_no_action_costs_less(raw, values):
    probabilities = raw / raw.sum(1, keepdims=True)
    action = np.asarray(reject.bayes_action(probabilities, CostTable(jnp.asarray(values))))
    expected = probabilities.astype(np.float64) @ values
    np.testing.assert_allclose(expected[np.arange(4), action], expected.min(1), rtol=1e-5, atol=1e-6)


def cost_of_pair(labels, scores, share, table, low, high):
    action = np.where(scores >= high, 1, np.where(scores < low, 0, 2))
    return float((share * table[labels, action]).sum())


three_way = jax.jit(reject.three_way)


@FEW
@given(SCORES, LABELS, WEIGHTS, arrays(np.float32, (2, 3), elements=COSTS), st.sampled_from([0.05, 0.3, 0.8]))
def test_three_way_is_the_best_of_all_pairs(scores, labels, weight, table, rate):
    two_classes(labels)
    low, high, cost = map(float, three_way(labels, scores, CostTable(jnp.asarray(table)), rate, weight))
    share, limits = rates(labels, weight, rate), candidates(scores)
    best = min(cost_of_pair(labels, scores, share, table, a, b) for a in limits for b in limits if a <= b)
    assert low <= high
    assert cost == pytest.approx(best, rel=1e-5, abs=1e-5)
    assert cost_of_pair(labels, scores, share, table, low, high) == pytest.approx(best, rel=1e-5, abs=1e-5)
    action = np.asarray(reject.three_way_action(scores, low, high))
    assert float((share * table[labels, action]).sum()) == pytest.approx(best, rel=1e-5, abs=1e-5)


@FEW
@given(SCORES, LABELS, WEIGHTS, st.sampled_from([30.0, 1e9]))
def test_a_human_too_dear_is_not_asked(scores, labels, weight, price):
    two_classes(labels)
    low, high, cost = three_way(labels, scores, CostTable.with_reject(10.0, 1.0, price), 0.2, weight)
    curve = costs.expected_cost_curve(labels, scores, CostTable.binary(10.0, 1.0), 0.2, weight)
    assert low == high
    np.testing.assert_allclose(cost, curve.oracle, rtol=1e-5, atol=1e-6)


def test_a_human_who_costs_nothing_is_asked_wherever_classes_overlap():
    labels, scores = np.array([0, 0, 1, 0, 1, 1]), np.float32([1, 2, 3, 4, 5, 6])
    low, high, cost = reject.three_way(labels, scores, CostTable.with_reject(10.0, 1.0, 0.0))
    assert low <= 3
    assert high > 4
    assert cost == 0
    assert reject.three_way_action(np.float32([np.nan, np.inf, -np.inf]), 3.0, 5.0).tolist() == [2, 1, 0]


def test_costs_of_each_example_by_hand():
    # two normal payments (a check costs 2), frauds of 900, 30 and 1
    table = np.float32([[0, 2], [900, 2], [30, 2], [1, 2], [0, 2]])
    scores = np.float32([0.5, 0.9, 0.5, 0.7, 0.1])
    curve = example_costs.example_cost_curve(scores, table)
    # none flagged 931; from 0.9: 33; from 0.7: 34; from 0.5 (two at once): 8; all: 10
    np.testing.assert_allclose(curve.cost, np.array([931, 33, 34, 8, 8, 10]) / 5, rtol=1e-6)
    assert (float(curve.oracle_threshold), float(curve.always), float(curve.never)) == (0.5, 2.0, np.float32(186.2))
    weight = np.float32([1, 0, 1, 2, 1])
    # the fraud of 900 weighs nothing: 0 + 2 + 2 x 2 + 0 over a weight of 5
    paid = example_costs.expected_cost_per_example(table, scores >= 0.6, weight)
    np.testing.assert_allclose(paid, (0 + 30 + 2 * 2 + 0) / 5, rtol=1e-6)
    np.testing.assert_allclose(example_costs.expected_cost_per_example(table, np.array([0, 1, 1, 0, 0])), 1.0)
    with pytest.raises(ValueError, match=r"0\.\.1, the costs' columns; got 0\.\.2"):
        example_costs.expected_cost_per_example(table, np.array([0, 1, 2, 0, 0]))
    with pytest.raises(ValueError, match=r"costs \(5, 2\), scores \(4,\)"):
        example_costs.example_cost_curve(scores[:4], table)
    with pytest.raises(ValueError, match=r"shape \[N, 2\], accept and flag; got \(5, 3\)"):
        example_costs.example_cost_curve(scores, np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"got nan at \[0, 1\]"):
        example_costs.example_cost_curve(scores[:1], np.float32([[0, np.nan]]))


example_curve = jax.jit(example_costs.example_cost_curve)


@FEW
@given(SCORES, arrays(np.float32, (SIZE, 2), elements=COSTS), WEIGHTS)
def test_example_cost_curve_equals_brute_force(scores, values, weight):
    curve = example_curve(scores, values, weight)
    for threshold, cost in zip(np.asarray(curve.threshold), np.asarray(curve.cost), strict=True):
        paid = (weight * values[np.arange(SIZE), (scores >= threshold).astype(int)]).sum() / weight.sum()
        assert cost == pytest.approx(paid, rel=1e-5, abs=1e-5)
        assert curve.oracle <= cost


@FEW
@given(LABELS, SCORES, WEIGHTS)
def test_example_costs_of_one_table_are_the_table(labels, scores, weight):
    two_classes(labels)
    table = CostTable.binary(10.0, 1.0)
    share = np.float32(rates(labels, weight, 0.1))
    got = example_curve(scores, np.asarray(table.costs)[labels], share)
    np.testing.assert_allclose(got.cost, costs.expected_cost_curve(labels, scores, table, 0.1, weight).cost, atol=1e-5)


optimal, rule_fit = (
    jax.jit(costs.optimal_thresholds),
    jax.jit(
        lambda dev, labels, weight, ratio: thresholds.expected_cost(CostTable.binary(ratio, 1.0), 0.1).fit(
            dev, dev, labels, weight
        )["threshold"]
    ),
)


@FEW
@given(SCORES, LABELS, WEIGHTS)
def test_optimal_threshold_of_each_ratio_is_the_rules(scores, labels, weight):
    two_classes(labels)
    assume(scores.min() < scores.max())
    ratios = np.float32([0, 0.3, 1, 5, 9, 20, 1e4])
    got = np.asarray(optimal(labels, scores, ratios, 0.1, weight))
    assert got.tolist() == [float(rule_fit(scores, labels, weight, ratio)) for ratio in ratios]
    assert (got[1:] <= got[:-1]).all()


jit_regret = jax.jit(costs.regret)


@FEW
@given(SCORES, LABELS, WEIGHTS, st.floats(-3, 8, width=32))
def test_regret_is_never_negative_and_nothing_for_the_oracle(scores, labels, weight, threshold):
    two_classes(labels)
    table = CostTable.binary(7.0, 3.0)
    got = jit_regret(labels, scores, threshold, table, 0.1, weight)
    curve = costs.expected_cost_curve(labels, scores, table, 0.1, weight)
    paid = costs.expected_cost(labels, scores, table, 0.1, weight, threshold)
    assert got >= 0
    np.testing.assert_allclose(got, paid - min(curve.oracle, curve.always, curve.never), atol=1e-5)
    assert jit_regret(labels, scores, curve.oracle_threshold, table, 0.1, weight) == 0


def test_bands_are_wide_as_the_exact_resampling_distribution():
    # two normals and two anomalies: each resampled class has 0, 1 or 2 of its lower row, with chances 1/4, 1/2, 1/4;
    # λ = 2 misses anomaly 1 (10 x share x 0.5) and alarms for normal 3 (1 x share x 0.5)
    labels, scores = np.array([0, 0, 1, 1]), np.float32([0, 3, 1, 4])
    of = jax.jit(lambda level: cost_bands(labels, scores, TABLE, jax.random.key(0), 0.5, None, 2.0, 999, level))
    bands, inner = of(0.95), of(0.5)
    # costs 0, 0.25, 0.5 (chances 1/16, 2/16, 1/16), + 2.5 (twice), + 5: the outer 1/16 hold the 95 % interval
    assert [float(end[0]) for end in (bands.cost_low, bands.cost, bands.cost_high)] == [0.0, 2.75, 5.5]
    # the lower quarter ends at 0.5 | 2.5, the upper one at 3.0 | 5.0
    assert float(inner.cost_low[0]) in (0.5, 2.5)
    assert float(inner.cost_high[0]) in (3.0, 5.0)


@chex.assert_max_traces(n=1)
def traced_bands(labels, scores, costs, rng, rate, weight):
    return cost_bands(labels, scores, CostTable(costs), rng, rate, weight, num=64)


bands_of = jax.jit(traced_bands)


def test_bands_of_stacked_tables_are_those_of_each_with_one_trace():
    rng = np.random.default_rng(0)
    labels, scores = np.arange(60) % 3 == 0, np.round(rng.normal(size=60), 1).astype(np.float32)
    weight = rng.choice(np.float32([0.5, 1, 2]), 60)
    stack = jnp.stack([CostTable.binary(10.0, 1.0).costs, jnp.array([[0.5, 1.0], [4.0, 2.0]])])
    rates = jnp.array([0.05, 0.4])
    labels = labels.astype(np.int32)
    curve_of = jax.jit(costs.expected_cost_curve)
    for key in map(jax.random.key, (1, 2)):
        bands = bands_of(labels, scores, stack, key, rates, weight)
        for table, rate, cost, regret in zip(stack, rates, bands.cost, bands.regret, strict=True):
            curve = curve_of(labels, scores, CostTable(table), rate, weight)
            # 61 points, none left out: the curve itself, the oracle's regret 0
            np.testing.assert_array_equal(bands.threshold, curve.threshold)
            np.testing.assert_allclose(cost, curve.cost, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(regret, curve.cost - curve.oracle, atol=1e-5)
            assert (regret >= 0).all()
        # always-flag and never-flag cost what the table says, however rows are drawn
        np.testing.assert_allclose(bands.cost_low[:, 0], bands.cost_high[:, 0], rtol=1e-5)
    alone = jax.jit(cost_bands, static_argnames="num")(labels, scores, CostTable(stack[1]), key, 0.4, weight, num=64)
    assert alone.cost.shape == (61,)
    for name in ("cost_low", "cost_high", "regret_low", "regret_high"):
        np.testing.assert_allclose(getattr(alone, name), getattr(bands, name)[1], rtol=1e-5, atol=1e-5)


def test_intervals_cover_what_they_should():
    # normals N(0, 1), anomalies N(1.5, 1): the true cost and the least one are known
    rate, limit, repeats = 0.1, 0.7, 100
    labels = np.repeat([0, 1], [160, 60])
    true = {t: rate * 10 * norm.cdf(t - 1.5) + (1 - rate) * norm.sf(t) for t in np.linspace(-3, 4, 701)}
    cost = rate * 10 * norm.cdf(limit - 1.5) + (1 - rate) * norm.sf(limit)
    extra = cost - min(true.values())
    shift = 1.5 * jnp.asarray(labels, jnp.float32)

    def one(key):
        draw, again = jax.random.split(key)
        scores = jax.random.normal(draw, labels.shape) + shift
        return cost_bands(labels, scores, CostTable.binary(10.0, 1.0), again, rate, threshold=limit, num=120)

    bands = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), repeats))
    covered = np.mean((bands.cost_low <= cost) & (cost <= bands.cost_high))
    assert 0.87 <= covered <= 0.99
    np.testing.assert_allclose(np.mean(bands.cost), cost, rtol=0.05)
    regret_covered = np.mean((bands.regret_low <= extra) & (extra <= bands.regret_high))
    assert regret_covered >= 0.8
    assert (np.asarray(bands.regret_low) >= 0).all()


def test_wrong_bands_are_named():
    labels, scores, key = np.array([0, 1]), np.float32([0, 1]), jax.random.key(0)
    table = CostTable.binary(1.0, 1.0)
    for match, arguments in {
        r"\(2, 2\) or \(T, 2, 2\), truth by action; got \(2, 3\)": {"table": CostTable(jnp.ones((2, 3)))},
        r"for each table; got \(3,\) for costs \(2, 2\)": {"table": table, "anomaly_rate": np.full(3, 0.1)},
        r"anomaly_rate must lie strictly between 0 and 1; got 1\.0": {"table": table, "anomaly_rate": 1.0},
        r"num must be at least 2; got 1": {"table": table, "num": 1},
        r"confidence must lie strictly between 0 and 1; got 95": {"table": table, "confidence": 95},
        r"got -1 at \[1, 0\]": {"table": CostTable(jnp.array([[0.0, 1.0], [-1.0, 0.0]]))},
    }.items():
        with pytest.raises(ValueError, match=match):
            cost_bands(labels, scores, rng=key, **arguments)
    with pytest.raises(ValueError, match="got 2 of anomalies, 0 of normals"):
        cost_bands(np.ones(2, int), scores, table, key)
