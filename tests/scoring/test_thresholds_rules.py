"""The rules on precision, F-beta and Youden by brute force; those without labels against NumPy, scikit-learn, SciPy."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats
from sklearn.mixture import GaussianMixture

from jaxae.scoring import thresholds
from jaxae.scoring.thresholds.extreme_value import Tail, fit_tail, tail_quantile
from jaxae.types import Verdict

SIZE = 17
FEW = settings(max_examples=25, deadline=None)
SCORES = arrays(np.float32, SIZE, elements=st.sampled_from(np.float32([-3, -0.0, 0, 0.1, 2, 2.0000002, 5, 7e8])))
LABELS = arrays(np.int32, SIZE, elements=st.integers(0, 1))
WEIGHTS = arrays(np.float32, SIZE, elements=st.sampled_from(np.float32([0.5, 1, 3])))
CALIBRATION = np.random.default_rng(0).gamma(2, size=400).astype(np.float32)
RULES = {
    "precision": thresholds.precision(0.5),
    "precision_at_rate": thresholds.precision(0.3, 0.1),
    "f_beta": thresholds.f_beta(2.0),
    "f_beta_at_rate": thresholds.f_beta(0.5, 0.1),
    "youden": thresholds.youden(),
    "mad": thresholds.mad(),
    "iqr": thresholds.iqr(),
    "mixture": thresholds.mixture(),
    "extreme_value": thresholds.extreme_value(0.001),
    "false_alarm_bound": thresholds.false_alarm_bound(0.05, 0.9),
}
fit = {name: jax.jit(rule.fit) for name, rule in RULES.items()}


@FEW
@given(SCORES, LABELS, WEIGHTS)
def test_labelled_rules_are_best_among_all_thresholds(dev, labels, weight):
    assume(dev.min() < dev.max() and 0 < labels.sum() < SIZE)
    limits = [np.inf, *sorted(set(dev.tolist()), reverse=True)]

    def rates(limit, rate=None):
        hits, alarms = ((weight * (labels == c))[dev >= limit].sum() for c in (1, 0))
        all_anomalies, all_normals = ((weight * (labels == c)).sum() for c in (1, 0))
        if rate is None:
            return hits, alarms, all_anomalies, all_normals
        return rate * hits / all_anomalies, (1 - rate) * alarms / all_normals, rate, 1 - rate

    def f_beta(limit, beta, rate=None):
        hits, alarms, anomalies, _ = rates(limit, rate)
        return (1 + beta**2) * hits / ((1 + beta**2) * hits + beta**2 * (anomalies - hits) + alarms)

    def youden(limit):
        hits, alarms, anomalies, normals = rates(limit)
        return hits / anomalies - alarms / normals

    def caught(limit, share, rate=None):
        hits, alarms, *_ = rates(limit, rate)
        return hits if hits > 0 and hits / (hits + alarms) >= share * (1 - 1e-6) else 0.0

    goals = {
        "precision": lambda t: caught(t, 0.5),
        "precision_at_rate": lambda t: caught(t, 0.3, 0.1),
        "f_beta": lambda t: f_beta(t, 2),
        "f_beta_at_rate": lambda t: f_beta(t, 0.5, 0.1),
        "youden": youden,
    }
    for name, goal in goals.items():
        got = float(fit[name](CALIBRATION, dev, labels, weight)["threshold"])
        best = max(map(goal, limits))
        np.testing.assert_allclose(goal(got), best, rtol=1e-5, atol=1e-6, err_msg=name)
        if name.startswith("precision") and best == 0:
            assert got == np.inf


def test_best_f1_is_f_beta_of_one():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 60)
    dev = rng.normal(size=60) + labels
    for rate in (None, 0.02):
        one, f1 = (
            jax.jit(rule.fit)(CALIBRATION, dev, labels)
            for rule in (thresholds.f_beta(1.0, rate), thresholds.best_f1(rate))
        )
        assert one["threshold"] == f1["threshold"]


def test_a_precision_out_of_reach_is_said_or_flags_none():
    dev, labels = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 0, 0])
    with pytest.raises(ValueError, match=r"no λ has a precision of 0.9 on dev: the best is 0.3333, at λ = 2") as e:
        thresholds.precision(0.9).fit(CALIBRATION, dev, labels)
    assert "\n" not in str(e.value)
    shares = jnp.array([0.3, 0.9])
    limit = jax.vmap(lambda share: thresholds.precision(share).fit(CALIBRATION, dev, labels)["threshold"])
    limits = jax.jit(limit)(shares)
    assert limits.tolist() == [2.0, np.inf]


def test_spread_rules_equal_scipy():
    mad = np.median(CALIBRATION) + 2.5 * stats.median_abs_deviation(CALIBRATION, scale="normal")
    np.testing.assert_allclose(thresholds.mad(2.5).fit(CALIBRATION)["threshold"], mad, rtol=1e-5)
    fence = np.quantile(CALIBRATION, 0.75) + 1.5 * stats.iqr(CALIBRATION)
    np.testing.assert_allclose(thresholds.iqr().fit(CALIBRATION)["threshold"], fence, rtol=1e-5)
    limits = jax.jit(jax.vmap(lambda k: thresholds.mad(k).fit(CALIBRATION)["threshold"]))(jnp.array([1.0, 2.5]))
    np.testing.assert_allclose(limits[1], mad, rtol=1e-5)
    with pytest.raises(
        ValueError, match="half of them lie within no distance of the median, so their spread sets no λ"
    ):
        thresholds.mad().fit(np.array([1.0, 1.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="the quartiles are equal"):
        thresholds.iqr().fit(np.array([0.0, 1.0, 1.0, 1.0, 1.0, 2.0]))


@pytest.mark.parametrize("log", [False, True])
def test_mixture_equals_scikit_learn(log):
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 800), rng.normal(5, 0.7, 120)]).astype(np.float32)
    scores = np.exp(values) if log else values
    start = np.array([[np.quantile(values, 0.4)], [np.quantile(values, 0.95)]])
    peer = GaussianMixture(2, means_init=start, tol=1e-9, max_iter=1000, reg_covar=0.0).fit(values[:, None])
    for posterior in (0.5, 0.9):
        crossing = optimize.brentq(
            lambda v, posterior=posterior: peer.predict_proba([[v]])[0, 1] - posterior, *peer.means_[:, 0]
        )
        got = thresholds.mixture(posterior, log=log).fit(scores)["threshold"]
        np.testing.assert_allclose(np.log(got) if log else got, crossing, atol=2e-3)


def test_mixture_without_a_second_group_or_of_scores_below_zero():
    values = np.linspace(-1, 1, 50)
    with pytest.raises(ValueError, match=r"needs scores above 0; the least is -1: use mixture\(log=False\)"):
        thresholds.mixture().fit(values)
    # a posterior that nothing reaches: two groups as wide as each other on one spot
    limit = thresholds.mixture(0.9999999, log=False).fit(values)["threshold"]
    assert limit > 0.5


def test_tail_quantile_equals_scipy():
    for shape in (-0.5, 0.0, 0.2, 1.0):
        tail = Tail(*map(jnp.float32, (3.0, 0.1, shape, 2.0)))
        for alpha in (0.05, 1e-3, 1e-6):
            expected = 3 + stats.genpareto.isf(alpha / 0.1, shape, scale=2.0)
            np.testing.assert_allclose(tail_quantile(tail, alpha), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.25])
def test_the_fitted_tail_is_the_one_that_scipy_drew(shape):
    scores = stats.genpareto.rvs(shape, scale=2.0, size=40_000, random_state=0).astype(np.float32)
    tail = fit_tail(np.sort(scores), 0.2)
    # what exceeds a level is generalised Pareto again: same shape, scale + shape * level
    np.testing.assert_allclose(tail.shape, shape, atol=0.06)
    np.testing.assert_allclose(tail.scale, 2 + shape * tail.level, rtol=0.06)
    excess = np.sort(scores)[-8000:] - float(tail.level)
    maximum = stats.genpareto.fit(excess, floc=0)
    np.testing.assert_allclose(tail.shape, maximum[0], atol=0.04)
    limit = float(thresholds.extreme_value(1e-4, 0.2).fit(scores)["threshold"])
    assert 0.3e-4 < stats.genpareto.sf(limit, shape, scale=2.0) < 3e-4
    # the moments by the definition
    order = np.arange(1, 8001)
    first, second = excess.mean(), (excess * (8000 - order) / 7999).mean()
    np.testing.assert_allclose(tail.shape, 2 - first / (first - 2 * second), atol=1e-3)


def test_tails_that_cannot_be_fitted():
    with pytest.raises(ValueError, match=r"50 calibration scores leave 5 for a tail of 0\.1; at least 10 are needed"):
        thresholds.extreme_value(0.01).fit(np.arange(50.0))
    with pytest.raises(ValueError, match=r"the highest 0\.1 of them are equal"):
        thresholds.extreme_value(0.01).fit(np.minimum(np.arange(200.0), 150))
    with pytest.raises(ValueError, match="alpha must be below tail_share"):
        thresholds.extreme_value(0.2)


@pytest.mark.parametrize(("alpha", "confidence"), [(0.05, 0.95), (0.01, 0.9), (0.1, 0.99), (0.3, 0.6)])
@pytest.mark.parametrize("count", [50, 400, 5000])
def test_false_alarm_bound_takes_the_rank_that_scipy_says(alpha, confidence, count):
    tolerated = int(stats.binom.ppf(1 - confidence, count, alpha)) + 1
    while tolerated >= 0 and stats.binom.cdf(tolerated, count, alpha) > 1 - confidence:
        tolerated -= 1
    rule, calibration = thresholds.false_alarm_bound(alpha, confidence), np.arange(count, dtype=np.float32)
    if tolerated < 0:
        with pytest.raises(ValueError, match="too few for a rate of"):
            rule.fit(calibration)
        return
    limit = float(rule.fit(calibration)["threshold"])
    assert (calibration >= limit).sum() == tolerated
    # the rate above that score is Beta(k + 1, n - k)
    assert stats.beta.sf(alpha, tolerated + 1, count - tolerated) <= 1 - confidence
    assert stats.beta.sf(alpha, tolerated + 2, count - tolerated - 1) > 1 - confidence


@pytest.mark.parametrize(("alpha", "confidence", "least"), [(0.05, 0.95, 59), (0.01, 0.95, 299), (0.1, 0.9, 22)])
def test_too_few_scores_for_a_bound(alpha, confidence, least):
    rule = thresholds.false_alarm_bound(alpha, confidence)
    with pytest.raises(ValueError, match=f"^{least - 1} calibration scores are too few.*at least {least} are needed"):
        rule.fit(np.arange(least - 1.0))
    scores = np.arange(float(least))
    assert (scores >= rule.fit(scores)["threshold"]).sum() == 0
    traced = jax.vmap(lambda a: thresholds.false_alarm_bound(a, confidence).fit(scores[:-1])["threshold"])
    assert jax.jit(traced)(jnp.array([alpha, 0.5]))[0] == np.inf


@FEW
@given(arrays(np.float32, 80, elements=st.sampled_from(np.float32([0, 1, 2, 3, 4]))))
def test_ties_only_make_the_bound_stricter(calibration):
    assume(calibration.min() < calibration.max())
    limit = float(fit["false_alarm_bound"](calibration)["threshold"])
    # P(Binomial(80, 0.05) <= k) is 0.017, 0.086, 0.23, ...: one may lie above
    assert (calibration >= limit).sum() <= 1
    second = np.sort(calibration)[-2]
    assert limit == (np.nextafter(second, np.float32(9)) if second else np.finfo(np.float32).tiny)


@pytest.mark.parametrize("name", RULES)
def test_the_contract(name):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 90)
    calibration, dev = rng.gamma(2, size=300), rng.gamma(2, size=90) + 2 * labels
    rule = RULES[name]
    assert rule.reads == {"false_alarm_bound": "rank"}.get(
        name, "calibration" if name in ("mad", "iqr", "mixture", "extreme_value") else "dev"
    )
    fitted = rule.fit(calibration, dev, labels)
    verdict = rule.apply(fitted, dev)
    assert isinstance(verdict, Verdict)
    np.testing.assert_array_equal(verdict.is_anomaly, verdict.score >= verdict.threshold)
    traces = []

    def once(*arguments):
        traces.append(None)
        return rule.fit(*arguments)["threshold"]

    compiled = jax.jit(jax.vmap(once))
    pairs = [np.stack([a, a[::-1]]) for a in (calibration, dev, labels)]
    many, again = compiled(*pairs), compiled(*pairs)
    assert len(traces) == 1
    np.testing.assert_array_equal(many, again)
    np.testing.assert_allclose(many, [fitted["threshold"]] * 2, rtol=1e-5)


def test_numbers_out_of_range():
    for make, message in (
        (lambda: thresholds.precision(0.0), r"precision must lie in \(0, 1\]; got 0"),
        (lambda: thresholds.precision(0.5, 2.0), "anomaly_rate must lie strictly between 0 and 1; got 2"),
        (lambda: thresholds.f_beta(0.0), "beta must be above 0 and finite; got 0"),
        (lambda: thresholds.mad(-1.0), "k must be above 0 and finite; got -1"),
        (lambda: thresholds.iqr(float("inf")), "k must be a finite number; got inf"),
        (lambda: thresholds.mixture(1.0), "posterior must lie strictly between 0 and 1"),
        (lambda: thresholds.mixture(0.5, 0.0), "upper_share must lie strictly between 0 and 1"),
        (lambda: thresholds.extreme_value(0.0), "alpha must lie strictly between 0 and 1"),
        (lambda: thresholds.false_alarm_bound(0.05, 95), "confidence must lie strictly between 0 and 1; got 95"),
        (lambda: thresholds.false_alarm_bound(5), "alpha must lie strictly between 0 and 1; got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
