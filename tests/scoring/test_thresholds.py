"""Each rule by hand and against brute force over all thresholds; ties, small samples and missing classes."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays

from jaxae.scoring import costs, metrics, thresholds
from jaxae.types import CostTable, Verdict

SIZE = 19
FEW = settings(max_examples=50, deadline=None)
TIED = st.sampled_from(np.float32([-3, -1, -0.0, 0, 1e-30, 0.1, 2, 2.0000002, 7e8]))
SCORES = st.one_of(
    arrays(np.float32, SIZE, elements=TIED),
    arrays(np.float32, SIZE, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)),
)
LABELS = arrays(np.int32, SIZE, elements=st.integers(0, 1))
WEIGHTS = arrays(np.float32, SIZE, elements=st.sampled_from(np.float32([0, 0.5, 1, 3])))
TABLE = CostTable.binary(miss=10, false_alarm=1)
RULES = {
    "quantile": thresholds.quantile(0.9),
    "false_alarm_rate": thresholds.false_alarm_rate(0.1),
    "conformal": thresholds.conformal(0.1),
    "recall": thresholds.recall(0.8),
    "best_f1": thresholds.best_f1(),
    "best_f1_at_rate": thresholds.best_f1(0.05),
    "expected_cost": thresholds.expected_cost(TABLE),
}
fit = {name: jax.jit(rule.fit) for name, rule in RULES.items()}
apply = {name: jax.jit(rule.apply) for name, rule in RULES.items()}


def decided(alpha):
    rule = thresholds.conformal(alpha)
    return jax.jit(lambda calibration, scores: rule.apply(rule.fit(calibration), scores))


CONFORMAL = {alpha: decided(alpha) for alpha in (0.05, 0.1, 0.25, 0.5, 0.9)}


def usable(*scores):
    return all(values.min() < values.max() for values in scores)


def candidates(dev):
    return [np.inf, *sorted(set(dev.tolist()), reverse=True)]


@FEW
@given(SCORES, SCORES)
def test_conformal_flags_exactly_where_the_p_value_is_small(calibration, scores):
    assume(usable(calibration))
    for alpha, decide in CONFORMAL.items():
        verdict = decide(calibration, np.append(scores, calibration))
        expected = [(1 + (calibration >= s).sum()) / (SIZE + 1) for s in np.append(scores, calibration)]
        np.testing.assert_allclose(verdict.p_value, expected, rtol=1e-6)
        np.testing.assert_array_equal(verdict.is_anomaly, verdict.p_value <= np.float32(alpha))
        np.testing.assert_array_equal(verdict.is_anomaly, verdict.score >= verdict.threshold)


@pytest.mark.parametrize("count", [9, 19, 20, 57, 199, 999])
def test_conformal_and_p_value_agree_for_every_sample_size(count):
    calibration = np.arange(count, dtype=np.float32)

    @jax.jit
    def run(alpha):
        rule = thresholds.conformal(alpha)
        return rule.apply(rule.fit(calibration), calibration + 1)

    for alpha in (0.1, 0.15, 0.2, 0.3, 0.7):
        verdict = run(alpha)
        np.testing.assert_array_equal(verdict.is_anomaly, verdict.p_value <= np.float32(alpha))
        assert verdict.is_anomaly.sum() == int(alpha * (count + 1) + 1e-9)


LEAST = {alpha: jax.jit(thresholds.false_alarm_rate(alpha).fit) for alpha in (0.06, 0.1, 0.5)}


@FEW
@given(SCORES)
def test_false_alarm_rate_is_the_least_threshold(calibration):
    assume(usable(calibration))
    for alpha, least in LEAST.items():
        limit = float(least(calibration)["threshold"])
        assert (calibration >= limit).mean() <= alpha
        # any lower threshold flags at least the next tied group, and then too many
        below = calibration[calibration < limit]
        assert (calibration >= below.max()).mean() > alpha


@FEW
@given(SCORES, SCORES, LABELS, WEIGHTS)
def test_labelled_rules_equal_brute_force(calibration, dev, labels, weight):
    assume(usable(calibration, dev) and (weight * labels).any() and (weight * (1 - labels)).any())
    limits = candidates(dev)
    got = {name: float(fit[name](calibration, dev, labels, weight)["threshold"]) for name in RULES}

    def share(truth, limit):
        mass = weight * (labels == truth)
        return float((mass * (dev >= limit)).sum() / mass.sum())

    assert got["recall"] == next(limit for limit in limits if share(1, limit) >= 0.8 - 1e-6)
    for name, rate in (("best_f1", None), ("best_f1_at_rate", 0.05)):
        mass = weight if rate is None else np.asarray(metrics.prevalence_weight(labels, rate, weight), np.float64)
        positive, negative = mass * labels, mass * (1 - labels)
        true = {t: positive[dev >= t].sum() for t in limits}
        false = {t: negative[dev >= t].sum() for t in limits}
        f1 = {t: 2 * true[t] / (true[t] + false[t] + positive.sum()) for t in limits}
        np.testing.assert_allclose(f1[got[name]], max(f1.values()), rtol=1e-5)
    cost = {t: 0.05 * 10 * (1 - share(1, t)) + 0.95 * share(0, t) for t in limits}
    np.testing.assert_allclose(cost[got["expected_cost"]], min(cost.values()), rtol=1e-5, atol=1e-7)


def test_quantile_equals_numpy():
    calibration = np.random.default_rng(0).normal(size=101).astype(np.float32)
    for q in (0.05, 0.5, 0.99):
        limit = thresholds.quantile(q).fit(calibration)["threshold"]
        np.testing.assert_allclose(limit, np.quantile(calibration, q), rtol=1e-5)


def test_by_hand():
    calibration = jnp.array([1.0, 2.0, 3.0, 4.0])
    dev, labels = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), jnp.array([0, 0, 1, 0, 1, 1])

    def limit(rule):
        return float(jax.jit(rule.fit)(calibration, dev, labels)["threshold"])

    assert limit(thresholds.recall(1.0)) == 3.0
    assert limit(thresholds.recall(0.6)) == 5.0
    assert limit(thresholds.recall(1 / 3)) == 6.0
    # λ 3: TP 3, FP 1: F1 6/7; λ 5: TP 2, FP 0: F1 4/5
    assert limit(thresholds.best_f1()) == 3.0
    # at 1 % anomalies the one false alarm costs more precision than the third anomaly is worth
    assert limit(thresholds.best_f1(0.01)) == 5.0
    # λ 3 costs (1 - P) / 3, λ 5 costs 10 P / 3: equal at P = 1/11, where the larger λ wins
    assert limit(thresholds.expected_cost(TABLE, 0.2)) == 3.0
    assert limit(thresholds.expected_cost(TABLE, 0.05)) == 5.0
    assert limit(thresholds.expected_cost(CostTable.binary(0.0, 1.0), 0.05)) == np.inf
    assert np.nextafter(np.float32(3), np.float32(4)) == limit(thresholds.false_alarm_rate(0.25))
    assert np.nextafter(np.float32(4), np.float32(5)) == limit(thresholds.conformal(0.25))


@pytest.mark.parametrize("name", RULES)
def test_every_rule_keeps_the_contract(name):
    rng = np.random.default_rng(1)
    calibration, dev, labels = rng.normal(size=SIZE), rng.normal(size=SIZE) + 1, rng.integers(0, 2, SIZE)
    rule = RULES[name]
    fitted = rule.fit(calibration, dev, labels)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(fitted))
    scores = np.append(calibration[2:], [-1e9, 1e9]).astype(np.float32)
    verdict = rule.apply(fitted, scores)
    assert isinstance(verdict, Verdict)
    assert [leaf.dtype for leaf in verdict[:4]] == [jnp.float32] * 3 + [jnp.bool_]
    np.testing.assert_array_equal(verdict.is_anomaly, verdict.score >= verdict.threshold)
    clean = calibration.astype(np.float32)
    np.testing.assert_allclose(verdict.p_value, [(1 + (clean >= s).sum()) / (SIZE + 1) for s in scores], rtol=1e-6)
    assert (verdict.action is not None) == (name == "expected_cost")
    # jitted: the same verdicts
    jitted = apply[name](fit[name](calibration, dev, labels), scores)
    for eager, compiled in zip(jax.tree.leaves(verdict), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(eager, compiled, rtol=1e-6)
    # vmapped over calibration and dev
    many = jax.jit(jax.vmap(rule.fit))(*(np.stack([a, a[::-1]]) for a in (calibration, dev, labels)))
    np.testing.assert_allclose(many["threshold"], [fitted["threshold"]] * 2, rtol=1e-6)


def test_rules_vmap_over_their_parameter():
    calibration = np.arange(99, dtype=np.float32)
    alphas = jnp.array([0.05, 0.1, 0.001])
    many = jax.jit(jax.vmap(lambda alpha: thresholds.conformal(alpha).fit(calibration)["threshold"]))(alphas)
    expected = [float(thresholds.conformal(alpha).fit(calibration)["threshold"]) for alpha in (0.05, 0.1)]
    assert many.tolist() == [*expected, np.inf]  # unchecked when traced: too few scores flag nothing
    dev, labels = np.arange(20.0), np.arange(20) % 2

    def limit(miss):
        return thresholds.expected_cost(CostTable.binary(miss, 1.0)).fit(calibration, dev, labels)["threshold"]

    misses = (1.0, 10.0, 1000.0)
    assert jax.jit(jax.vmap(limit))(jnp.array(misses)).tolist() == [float(limit(miss)) for miss in misses]


def test_the_expected_cost_rule_has_no_regret_on_its_own_dev_set():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 200)
    dev = (rng.normal(size=200) + labels).round(1)
    rule = thresholds.expected_cost(TABLE, 0.1)
    fitted = rule.fit(dev[labels == 0], dev, labels)
    verdict = rule.apply(fitted, dev)
    curve = costs.expected_cost_curve(labels, dev, TABLE, 0.1)
    cost = costs.expected_cost(labels, verdict.is_anomaly, TABLE, 0.1)
    np.testing.assert_allclose(cost, curve.oracle, rtol=1e-6)
    assert cost <= min(curve.always, curve.never)
    np.testing.assert_array_equal(verdict.action, verdict.is_anomaly)


@pytest.mark.parametrize("name", ["recall", "best_f1", "expected_cost"])
def test_without_dev_anomalies_the_error_names_the_rules_that_work(name):
    calibration, dev = np.arange(5.0), np.arange(4.0)
    for arguments in ((), (dev,), (dev, np.zeros(4, int))):
        with pytest.raises(
            ValueError, match=r"needs.*work without anomalies: quantile, false_alarm_rate, conformal"
        ) as e:
            RULES[name].fit(calibration, *arguments)
        assert "\n" not in str(e.value)
    if name != "recall":
        with pytest.raises(ValueError, match="got 4 of anomalies, 0 of normals"):
            RULES[name].fit(calibration, dev, np.ones(4, int))


@pytest.mark.parametrize(
    ("rule", "count", "least"),
    [
        (thresholds.conformal(0.05), 18, 19),
        (thresholds.conformal(0.1), 8, 9),
        (thresholds.conformal(0.3), 2, 3),
        (thresholds.conformal(0.003), 50, 333),
        (thresholds.false_alarm_rate(0.05), 19, 20),
        (thresholds.false_alarm_rate(0.1), 9, 10),
        (thresholds.false_alarm_rate(0.3), 3, 4),
    ],
)
def test_too_few_calibration_scores(rule, count, least):
    with pytest.raises(ValueError, match=f"^{count} calibration scores are too few.*at least {least} are needed"):
        rule.fit(np.arange(count, dtype=np.float32))
    assert np.isfinite(rule.fit(np.arange(least, dtype=np.float32))["threshold"])


def test_scores_that_decide_nothing_are_an_error():
    for name, rule in RULES.items():
        with pytest.raises(ValueError, match=r"calibration scores: all 30 are equal \(2\)"):
            rule.fit(np.full(30, 2.0), np.arange(4.0), np.arange(4) % 2)
        with pytest.raises(ValueError, match="calibration scores: 1 of 3 are NaN or infinite, the first at index 2"):
            rule.fit(np.array([1.0, 2.0, np.nan]), np.arange(4.0), np.arange(4) % 2)
        with pytest.raises(ValueError, match="scores: 1 of 2 are NaN or infinite"):
            rule.apply(rule.fit(np.arange(30.0), np.arange(4.0), np.arange(4) % 2), np.array([np.nan, 0]))
        if name in ("recall", "best_f1", "expected_cost"):
            with pytest.raises(ValueError, match="dev scores: all 4 are equal"):
                rule.fit(np.arange(30.0), np.ones(4), np.arange(4) % 2)
            with pytest.raises(ValueError, match=r"one length; got shapes dev \(4,\), labels \(3,\)"):
                rule.fit(np.arange(30.0), np.arange(4.0), np.array([0, 1, 0]))


def test_a_compiled_program_flags_nan():
    rule = RULES["conformal"]
    verdict = jax.jit(rule.apply)(rule.fit(np.arange(20.0)), jnp.array([jnp.nan, 0.0]))
    assert verdict.is_anomaly.tolist() == [True, False]
    assert verdict.score[0] == np.inf


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, float("nan")])
def test_rates_outside_the_unit_interval(value):
    makers = (thresholds.quantile, thresholds.false_alarm_rate, thresholds.conformal, thresholds.best_f1)
    for maker in (*makers, lambda rate: thresholds.expected_cost(TABLE, rate)):
        with pytest.raises(ValueError, match=r"must (lie strictly between 0 and 1|be a finite number); got"):
            maker(value)
    if value != 1:
        with pytest.raises(ValueError, match=r"rate must lie in \(0, 1\]; got"):
            thresholds.recall(value)


def test_a_share_that_is_reached_exactly_counts_as_reached():
    # 10 of 12.5 is 0.8; a processor's float32 division may say 0.79999995
    dev, labels = jnp.array([0.0, 1.0, 0.0]), jnp.array([1, 1, 0])
    fitted = thresholds.recall(0.8).fit(jnp.array([0.0, 1.0]), dev, labels, jnp.array([2.5, 10.0, 1.0]))
    assert float(fitted["threshold"]) == 1.0
