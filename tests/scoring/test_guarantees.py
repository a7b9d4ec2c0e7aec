"""Bounds, conformal p-values and discoveries against SciPy, by hand and by simulation; what they refuse."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays
from scipy import stats

from jaxae.scoring import thresholds
from jaxae.scoring.guarantees import bounds, conformal
from jaxae.scoring.guarantees.calibrate import calibrate
from jaxae.scoring.guarantees.discoveries import benjamini_hochberg, storey_null_share

FEW = settings(max_examples=25, deadline=None)
TIED = arrays(np.float32, 19, elements=st.sampled_from(np.float32([-1, -0.0, 0, 0.1, 2, 2.0000002, 5])))
upper = jax.jit(jax.vmap(bounds.upper_bound, (0, None, None)))
both = jax.jit(jax.vmap(bounds.interval, (0, None, None)))


@pytest.mark.parametrize("count", [1, 7, 40, 1000, 100_000, 1_000_000])
@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.999])
def test_bounds_equal_scipy(count, confidence):
    # 1 - confidence of a traced float32 is what limits the digits at 0.999
    some = np.array([0, 1, 2, 17, count // 100, count // 20, count // 3, count - 2, count - 1, count])
    some = np.where((some < 0) | (some > count), 0, some)
    expected = np.where(some == count, 1, stats.beta.ppf(confidence, some + 1, np.maximum(count - some, 1e-9)))
    np.testing.assert_allclose(upper(some, count, confidence), expected, rtol=1e-4)
    low, high = both(some, count, confidence)
    exact = [stats.binomtest(int(k), count).proportion_ci(confidence, "exact") for k in some]
    np.testing.assert_allclose(low, [ends.low for ends in exact], rtol=1e-4)
    np.testing.assert_allclose(high, [ends.high for ends in exact], rtol=1e-4)


def test_bounds_compile_once():
    traces = []

    @jax.jit
    def bound(errors, confidence):
        traces.append(None)
        return bounds.upper_bound(errors, 100, confidence)

    assert bound(3, 0.95) < bound(3, 0.99)
    assert len(traces) == 1


@pytest.mark.parametrize(("alpha", "confidence", "errors"), [(0.05, 0.95, 0), (0.1, 0.9, 3), (0.002, 0.99, 1)])
def test_needed_is_the_least_number(alpha, confidence, errors):
    least = bounds.needed(alpha, confidence, errors)
    assert stats.binom.cdf(errors, least, alpha) <= 1 - confidence < stats.binom.cdf(errors, least - 1, alpha)
    assert bounds.upper_bound(errors, least, confidence) <= alpha < bounds.upper_bound(errors, least - 1, confidence)


def test_needed_at_the_boundary():
    assert bounds.needed(0.5, 0.75) == 2  # 0.25 exactly
    assert bounds.needed(0.1, 0.1) == 1  # 0.9, where 1 - 0.1 is no less


def test_bounds_of_scores_by_hand():
    scores = np.array([1.0, 2.0, 2.0, 3.0, 4.0])
    # two at or above 3; one below 2, the tied ones at λ are caught
    np.testing.assert_allclose(bounds.false_alarm_bound(scores, 3.0), stats.beta.ppf(0.95, 3, 3), rtol=1e-5)
    np.testing.assert_allclose(bounds.miss_rate_bound(scores, 2.0), stats.beta.ppf(0.95, 2, 4), rtol=1e-5)
    np.testing.assert_allclose(bounds.uniform_bound(2, 500, 0.9), 0.004 + np.sqrt(np.log(10) / 1000), rtol=1e-5)
    # λ just above 3: its rank is that of the score 3, one above it; just above 2: three ranks share the score
    np.testing.assert_allclose(bounds.rank_bound(scores, 3.1), stats.beta.ppf(0.95, 2, 4), rtol=1e-5)
    np.testing.assert_allclose(bounds.rank_bound(scores, 2.1), stats.beta.ppf(0.95, 4, 2), rtol=1e-5)
    assert bounds.rank_bound(scores, 1.0) == 1


def test_bounds_refuse():
    scores = np.arange(5.0)
    for call, message in (
        (lambda: bounds.miss_rate_bound(scores, 1.0, weight=np.ones(5)), "weighted rows have none: leave weight out"),
        (lambda: bounds.false_alarm_bound(np.array([1.0, np.nan]), 1.0), "scores: 1 of 2 are NaN or infinite"),
        (lambda: bounds.miss_rate_bound(np.array([]), 1.0), "no anomalous scores to count"),
        (lambda: bounds.upper_bound(1, 5, 95), "confidence must lie strictly between 0 and 1; got 95"),
        (lambda: bounds.upper_bound(6, 5), "errors must lie between 0 and the number of examples; got 6 of 5"),
        (lambda: bounds.upper_bound(0, 0), "a rate needs at least one example; got 0"),
        (lambda: bounds.uniform_bound(0, 5, 0.4), "needs a confidence of at least 0.5; got 0.4"),
        (lambda: bounds.needed(1.5), "alpha must lie strictly between 0 and 1"),
        (lambda: bounds.needed(0.1, errors=-1), "errors must be at least 0; got -1"),
    ):
        with pytest.raises(ValueError, match=message) as e:
            call()
        assert "\n" not in str(e.value)


def test_rules_and_bounds_keep_their_promise():
    def once(key):
        a, b, c = jax.random.split(key, 3)
        clean, dev = jax.random.normal(a, (120,)), jax.random.normal(b, (60,)) + 2
        certify = jax.random.normal(c, (60,)) + 2
        limit = thresholds.false_alarm_bound(0.1, 0.9).fit(clean)["threshold"]
        marginal = thresholds.conformal(0.1).fit(clean)["threshold"]
        chosen = thresholds.recall(0.9).fit(clean, dev, jnp.ones(60, int))["threshold"]
        return {
            "order": jax.scipy.stats.norm.sf(limit) > 0.1,
            "marginal": jax.scipy.stats.norm.sf(marginal),
            "rank": jax.scipy.stats.norm.sf(marginal) > bounds.rank_bound(clean, marginal, 0.9),
            "counted": jax.scipy.stats.norm.sf(chosen) > bounds.false_alarm_bound(clean, chosen, 0.9),
            "missed": jax.scipy.stats.norm.cdf(chosen - 2) > bounds.miss_rate_bound(certify, chosen, 0.9),
            "wrong": jax.scipy.stats.norm.cdf(chosen - 2) > bounds.miss_rate_bound(dev, chosen, 0.6),
        }

    share = {k: float(v.mean()) for k, v in jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(0), 2000)).items()}
    assert abs(share["marginal"] - 12 / 121) < 0.003
    for name in ("order", "rank", "counted", "missed"):
        assert 0.02 < share[name] < 0.12, (name, share)


@jax.jit
def split(calibration, scores):
    """P-values, with random ties, with weights of 1, and the verdicts at two levels."""
    rules = {alpha: thresholds.conformal(alpha) for alpha in (0.1, 0.5)}
    return (
        conformal.p_values(calibration, scores),
        conformal.p_values(calibration, scores, jax.random.key(0)),
        conformal.weighted_p_values(calibration, scores, jnp.ones(19), jnp.ones(19)),
        {alpha: rule.apply(rule.fit(calibration), scores) for alpha, rule in rules.items()},
    )


@FEW
@given(TIED, TIED)
def test_split_p_values_are_the_verdicts(calibration, scores):
    assume(calibration.min() < calibration.max())
    values, random, weighted, verdicts = split(calibration, scores)
    np.testing.assert_allclose(values, [(1 + (calibration >= s).sum()) / 20 for s in scores], rtol=1e-6)
    for alpha, verdict in verdicts.items():
        np.testing.assert_array_equal(values, verdict.p_value)
        np.testing.assert_array_equal(verdict.is_anomaly, values <= np.float32(alpha))
    np.testing.assert_allclose(weighted, values, rtol=1e-6)
    assert (random <= values).all()
    assert (np.asarray(random) >= np.float32([(calibration > s).sum() / 20 for s in scores])).all()


def test_random_ties_make_p_values_uniform():
    def once(key):
        a, b = jax.random.split(key)
        scores = jax.random.randint(a, (21,), 0, 3).astype(jnp.float32)
        return conformal.p_values(scores[:20], scores[20:], b)[0]

    values = jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(1), 3000))
    assert stats.kstest(values, "uniform").pvalue > 0.01


@FEW
@given(
    TIED,
    arrays(np.int32, 19, elements=st.integers(0, 2)),
    arrays(np.float32, (3, 4), elements=st.floats(-2, 6, width=32, allow_subnormal=False)),
)
def test_cross_and_jackknife_plus_by_their_definition(calibration, folds, scores):
    folds[:3] = [0, 1, 2]
    assume(calibration.min() < calibration.max())
    counts = sum((calibration[folds == k][:, None] >= scores[k]).sum(0) for k in range(3))
    np.testing.assert_allclose(
        conformal.jackknife_plus_p_values(calibration, folds, scores), (1 + counts) / 20, rtol=1e-6
    )
    cross = conformal.cross_p_values(calibration, folds, scores)
    np.testing.assert_allclose(cross, (3 + counts) / 22, rtol=1e-6)
    # the mean of the folds' own p-values, on which the proof rests
    sizes = np.bincount(folds, minlength=3)
    own = [(1 + (calibration[folds == k][:, None] >= scores[k]).sum(0)) / (sizes[k] + 1) for k in range(3)]
    np.testing.assert_allclose(cross, np.average(own, axis=0, weights=sizes + 1), rtol=1e-5)


def test_one_fold_is_split():
    calibration, scores = np.arange(9.0), np.array([-1.0, 4.0, 4.5, 99.0])
    split = conformal.p_values(calibration, scores)
    for p_values in (conformal.cross_p_values, conformal.jackknife_plus_p_values):
        np.testing.assert_array_equal(p_values(calibration, np.zeros(9, int), scores[None]), split)


def test_cross_and_jackknife_plus_hold_for_a_fitted_score():
    rows, alpha = 20, 0.1

    def once(key, num_folds):
        x = jax.random.normal(key, (rows + 1, 3))
        folds = jnp.arange(rows) % num_folds
        keep = (folds[None, :] != jnp.arange(num_folds)[:, None]).astype(jnp.float32)
        means = keep @ x[:rows] / keep.sum(1, keepdims=True)
        distance = jnp.sum((x[None, :, :] - means[:, None, :]) ** 2, axis=-1)  # [K, n + 1]
        calibration = distance[folds, jnp.arange(rows)]
        new = distance[:, rows:]
        return (
            conformal.cross_p_values(calibration, folds, new)[0] <= alpha,
            conformal.jackknife_plus_p_values(calibration, folds, new)[0] <= alpha,
        )

    keys = jax.random.split(jax.random.key(2), 4000)
    cross, _ = jax.jit(jax.vmap(lambda key: once(key, 2)))(keys)
    _, jackknife = jax.jit(jax.vmap(lambda key: once(key, rows)))(keys)
    assert cross.mean() <= 2 * alpha
    assert 0.05 < jackknife.mean() <= 2 * alpha


def test_weighting_corrects_a_shift():
    def once(key, weighted):
        a, b, c = jax.random.split(key, 3)
        place = jax.random.normal(a, (200,))
        new = 1 + jax.random.normal(b, (1,))
        noise = jax.random.normal(c, (201,))
        scores = jnp.append(place, new) + 0.1 * noise
        ratio = jnp.exp(jnp.append(place, new) - 0.5) if weighted else jnp.ones(201)
        return conformal.weighted_p_values(scores[:200], scores[200:], ratio[:200], ratio[200:])[0] <= 0.1

    keys = jax.random.split(jax.random.key(3), 3000)
    shares = [float(jax.jit(jax.vmap(lambda key, w=w: once(key, w)))(keys).mean()) for w in (False, True)]
    assert shares[0] > 0.25
    assert 0.06 < shares[1] < 0.12


def test_conformal_refuses():
    scores, folds = np.arange(6.0), np.arange(6) % 2
    for call, message in (
        (lambda: conformal.p_values(np.ones(5), scores), "calibration scores: all 5 are equal"),
        (lambda: conformal.p_values(scores, np.array([np.nan])), "scores: 1 of 1 are NaN"),
        (lambda: conformal.cross_p_values(scores, folds, np.zeros((3, 2))), "folds must be 0 to 2, none empty, for 3"),
        (lambda: conformal.cross_p_values(scores, folds, np.zeros(2)), r"scores must be \[K, m\]"),
        (lambda: conformal.cross_p_values(scores, folds[:5], np.zeros((2, 2))), "must be vectors of one length"),
        (lambda: conformal.weighted_p_values(scores, scores, -scores, scores), "calibration weights must not be neg"),
        (lambda: conformal.weighted_p_values(scores, scores, 0 * scores, scores), "nor all 0"),
        (lambda: conformal.weighted_p_values(scores, scores, scores[:3], scores), "must be vectors of one length"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@FEW
@given(arrays(np.float32, 23, elements=st.sampled_from(np.float32([0, 0.001, 0.01, 0.04, 0.05, 0.3, 0.5, 1]))))
def test_q_values_equal_scipy(p_values):
    expected = stats.false_discovery_control(p_values.astype(np.float64))
    found = benjamini_hochberg(p_values, 0.1)
    np.testing.assert_allclose(found.q_value, expected, rtol=1e-5)
    np.testing.assert_array_equal(found.is_discovery, found.q_value <= np.float32(0.1))
    # the step-up procedure itself
    ordered = np.sort(p_values)
    passing = np.flatnonzero(ordered <= np.float32(0.1) * np.arange(1, 24, dtype=np.float32) / 23 * (1 + 1e-6))
    limit = ordered[passing[-1]] if len(passing) else -1
    np.testing.assert_array_equal(found.is_discovery, p_values <= limit)


def test_discoveries_vmap_over_levels_and_use_the_null_share():
    p_values = np.array([0.001, 0.02, 0.03, 0.04, 0.9, 0.02])
    found = jax.vmap(lambda level: benjamini_hochberg(p_values, level).is_discovery.sum())(jnp.array([0.01, 0.05, 0.5]))
    assert found.tolist() == [1, 5, 5]
    share = storey_null_share(p_values)
    np.testing.assert_allclose(share, 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(
        benjamini_hochberg(p_values, 0.05, share).q_value[:5],
        stats.false_discovery_control(p_values)[:5] * 2 / 3,
        rtol=1e-5,
    )
    assert storey_null_share(np.full(4, 0.9)) > 1
    with pytest.raises(ValueError, match=r"p-values must lie in \[0, 1\]; 1 of 2 do not, the first 3.0"):
        benjamini_hochberg(np.array([0.1, 3.0]))
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1; got 5"):
        benjamini_hochberg(p_values, 5)


def test_calibrate_bounds_by_what_the_rule_reads():
    rng = np.random.default_rng(0)
    clean, certify = rng.normal(size=200).astype(np.float32), rng.normal(size=80).astype(np.float32) + 2
    dev, labels = rng.normal(size=100).astype(np.float32), np.arange(100) % 2
    dev = dev + 2 * labels.astype(np.float32)
    which = np.arange(80) % 4 > 0
    seen = []
    for rule in (thresholds.conformal(0.1), thresholds.youden(), thresholds.mad(2.0)):
        fitted, proven = calibrate(rule, clean, dev, labels, certify=certify, certify_labels=which, confidence=0.9)
        limit = float(fitted["threshold"])
        flagged, missed = int((clean >= limit).sum()), int((certify[which] < limit).sum())
        by_count = stats.beta.ppf(0.9, flagged + 1, 200 - flagged)
        everywhere = flagged / 200 + np.sqrt(np.log(10) / 400)
        expected = everywhere if rule.reads == "calibration" else by_count
        np.testing.assert_allclose(proven.false_alarm_bound, expected, rtol=1e-4)
        np.testing.assert_allclose(proven.miss_rate_bound, stats.beta.ppf(0.9, missed + 1, 60 - missed), rtol=1e-4)
        np.testing.assert_allclose(
            (proven.false_alarm_rate, proven.miss_rate, proven.num_calibration, proven.num_certify),
            (flagged / 200, missed / 60, 200, 60),
        )
        assert all("\n" not in line for line in proven.lines)
        seen.append(proven.lines[0].split("; ")[1])
    assert len(set(seen)) == 3
    said = ("90 % confidence", "anomalies like certify's", "may all be missed", "at least 80 %", "was not checked")
    assert all(words in line for words, line in zip(said, proven.lines, strict=True))


def test_calibrate_without_anomalies_says_how_many_it_takes():
    _, proven = calibrate(thresholds.conformal(0.1), np.arange(50.0), rows={"calibration": np.arange(50)})
    assert proven.miss_rate is proven.miss_rate_bound is None
    assert "59 of them, none missed, would prove a miss rate of at most 5 %" in proven.lines[1]
    assert len(proven.lines) == 4


def test_calibrate_refuses_rows_read_twice_and_warns_of_equal_ones():
    rule, scores = thresholds.conformal(0.1), np.arange(50.0)
    rows = {"train": np.arange(10), "calibration": np.arange(8, 58), "certify": np.array([57, 60, 60])}
    certify = {"certify": np.arange(3.0), "certify_labels": np.ones(3)}
    message = (
        "voids every guarantee: certify repeats 1 of 3, train and calibration share 2, calibration and certify share 1"
    )
    with pytest.raises(ValueError, match=message):
        calibrate(rule, scores, rows=rows, **certify)
    with pytest.raises(ValueError, match="calibration has 50 scores but 49 row numbers"):
        calibrate(rule, scores, rows={"calibration": np.arange(49)})
    with pytest.raises(ValueError, match="certify scores need labels"):
        calibrate(rule, scores, certify=np.arange(3.0))
    with pytest.raises(ValueError, match="labels must be 0"):
        calibrate(rule, scores, certify=np.arange(3.0), certify_labels=np.arange(3))
    examples = {
        "train": np.array([[1.0], [2.0]]),
        "calibration": np.array([[2.0], [3.0]]),
        "certify": np.array([[9.0]]),
    }
    with pytest.warns(UserWarning, match="examples that equal one of an earlier part: calibration 1 of 2;"):
        calibrate(rule, scores, examples=examples)
