"""float64 scores that float32 would merge or overflow: ranked where the order is enough, refused elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from jaxae import numerics
from jaxae.scoring import bounds, conformal, costs, metrics, thresholds
from jaxae.scoring.guarantees import calibrate
from jaxae.scoring.metrics import bootstrap
from jaxae.types import CostTable, Verdict

RNG = np.random.default_rng(0)
LABELS = (np.arange(300) % 5 == 0).astype(np.int32)
# rounded to quarters of which several rows share one: true ties have to stay ties
EVIDENCE = np.round(4 * (RNG.gamma(2.0, size=300) + LABELS)) / 4
WEIGHT = RNG.integers(1, 4, size=300)
TABLE = CostTable.binary(miss=10.0, false_alarm=1.0)

# monotone transforms: the ranking, ties included, is that of EVIDENCE
TRANSFORMS = {
    "one minus a probability": lambda s: 1 - 10.0 ** (-2 * s),
    "an offset": lambda s: s + 1e9,
    "a factor that overflows": lambda s: s * 1e39,
    "a factor that underflows": lambda s: s * 1e-50,
    "integers beyond 2^24": lambda s: (4 * s).astype(np.int64) + 2**40,
    "integers beyond 2^53": lambda s: (4 * s).astype(np.int64) + 2**60,
    "extended precision": lambda s: s.astype(np.longdouble) + 1e9,
}

ORDER_ALONE = {
    "auroc": metrics.auroc,
    "average_precision": metrics.average_precision,
    "fpr_at_tpr": metrics.fpr_at_tpr,
    "tnr_at_fnr": metrics.tnr_at_fnr,
    "best_f1": metrics.best_f1,
    "best_f_beta": lambda y, s, w: metrics.best_f_beta(y, s, w, 2.0),
    "precision_at_k": lambda y, s, w: metrics.precision_at_k(y, s, w, 20),
    "recall_at_k": lambda y, s, w: metrics.recall_at_k(y, s, w, 20),
    "oscr": lambda y, s, w: metrics.oscr(y, WEIGHT > 1, s, w),
    "pixel_auroc": lambda y, s, w: metrics.pixel_auroc(y.reshape(3, 10, 10), s.reshape(3, 10, 10)),
    "per_region_overlap": lambda y, s, w: metrics.per_region_overlap(y.reshape(3, 10, 10), s.reshape(3, 10, 10)),
    "p_values": lambda y, s, w: conformal.p_values(s[y == 0], s[y == 1]),
    "cross_p_values": lambda y, s, w: conformal.cross_p_values(s[:200], np.arange(200) % 2, s[200:].reshape(2, 50)),
    "jackknife_plus_p_values": lambda y, s, w: conformal.jackknife_plus_p_values(
        s[:200], np.arange(200) % 2, s[200:].reshape(2, 50)
    ),
    "weighted_p_values": lambda y, s, w: conformal.weighted_p_values(
        s[:200], s[200:], WEIGHT[:200] / 2, WEIGHT[200:] / 2
    ),
    "bootstrap": lambda y, s, w: jnp.stack(bootstrap(metrics.auroc, y, s, jax.random.key(0), num=20, weight=w)),
    "expected cost in a summary": lambda y, s, w: jnp.asarray(
        list(costs.summary(y, Verdict(s, None, None, y == 1), TABLE, 0.1).values())
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", [name for name in ORDER_ALONE if name != "expected cost in a summary"])
def test_what_depends_on_the_order_has_it_from_the_callers_precision(name, transform):
    call = ORDER_ALONE[name]
    ranks = scipy.stats.rankdata(EVIDENCE, "dense").astype(np.float32)
    np.testing.assert_array_equal(
        call(LABELS, TRANSFORMS[transform](EVIDENCE), WEIGHT), call(LABELS, ranks, WEIGHT), strict=True
    )


def test_a_summary_ranks_too():
    ranks = scipy.stats.rankdata(EVIDENCE, "dense").astype(np.float32)
    call = ORDER_ALONE["expected cost in a summary"]
    np.testing.assert_array_equal(call(LABELS, EVIDENCE + 1e9, None), call(LABELS, ranks, None))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_scikit_learn_agrees(transform):
    scores = TRANSFORMS[transform](EVIDENCE)
    exact = scores.astype(np.float64) if scores.dtype.kind == "f" else scores
    for weight in (None, WEIGHT):
        for ours, theirs in (
            (metrics.auroc, sklearn.metrics.roc_auc_score),
            (metrics.average_precision, sklearn.metrics.average_precision_score),
        ):
            expected = theirs(LABELS, exact, sample_weight=weight)
            np.testing.assert_allclose(ours(LABELS, scores, weight), expected, rtol=1e-6)


def _fit(rule):
    return lambda s: rule.fit(s, s, LABELS)


IN_THE_SCORES_UNIT = {
    "roc_curve": lambda s: metrics.roc_curve(LABELS, s),
    "precision_recall_curve": lambda s: metrics.precision_recall_curve(LABELS, s),
    "contamination": lambda s: metrics.contamination(s, s),
    "contamination, clean": lambda s: metrics.contamination(EVIDENCE.astype(np.float32), s),
    "expected_cost_curve": lambda s: costs.expected_cost_curve(LABELS, s, TABLE),
    "optimal_thresholds": lambda s: costs.optimal_thresholds(LABELS, s, np.array([1.0, 10.0])),
    "regret": lambda s: costs.regret(LABELS, s, float(np.median(s)), TABLE),
    "cost_bands": lambda s: costs.cost_bands(LABELS, s, TABLE, jax.random.key(0), num=2),
    "example_cost_curve": lambda s: costs.example_cost_curve(s, np.stack([LABELS, 1 - LABELS], 1)),
    "three_way": lambda s: costs.three_way(LABELS, s, CostTable.with_reject(10.0, 1.0, 0.5)),
    "rank_bound": lambda s: bounds.rank_bound(s, float(np.median(s))),
    "calibrate, certify": lambda s: calibrate(
        thresholds.conformal(0.1), np.float32(EVIDENCE), certify=s, certify_labels=LABELS
    ),
    "calibration": _fit(thresholds.conformal(0.05)),
    "calibration, quantile": _fit(thresholds.quantile(0.95)),
    "calibration, mad": _fit(thresholds.mad()),
    "dev, expected cost": lambda s: thresholds.expected_cost(TABLE).fit(np.float32(EVIDENCE), s, LABELS),
    "dev, recall": lambda s: thresholds.recall(0.9).fit(np.float32(EVIDENCE), s, LABELS),
    "dev, youden": lambda s: thresholds.youden().fit(np.float32(EVIDENCE), s, LABELS),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", IN_THE_SCORES_UNIT)
def test_what_is_in_the_scores_unit_refuses_with_the_two_values(name, transform):
    scores = TRANSFORMS[transform](EVIDENCE)
    with pytest.raises(ValueError, match=r"one number in float32|float32 holds numbers up to 3.4e38") as error:
        IN_THE_SCORES_UNIT[name](scores)
    assert "\n" not in str(error.value)
    assert any(advice in str(error.value) for advice in ("subtract an offset", "divide them"))


@pytest.mark.parametrize("name", IN_THE_SCORES_UNIT)
def test_plain_float64_scores_are_taken(name):
    # a few rows may meet by chance: of 300 draws two are nearer to each other than float32's step
    scores = EVIDENCE + RNG.uniform(0, 0.2, size=300)
    scores[1] = np.nextafter(scores[0], 10)
    IN_THE_SCORES_UNIT[name](scores)


DECISIONS = {
    "confusion": lambda s, limit: metrics.confusion(LABELS, s, None, limit),
    "expected_cost": lambda s, limit: costs.expected_cost(LABELS, s, TABLE, threshold=limit),
    "false_alarm_bound": bounds.false_alarm_bound,
    "miss_rate_bound": bounds.miss_rate_bound,
    "three_way_action, low": lambda s, limit: costs.three_way_action(s, limit, 3 * limit),
    "three_way_action, high": lambda s, limit: costs.three_way_action(s, 0.0, limit),
    "apply": lambda s, limit: thresholds.quantile(0.5).apply(
        {"threshold": jnp.float32(limit), "calibration": jnp.arange(3.0), "p_value": jnp.arange(4.0)}, s
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions_refuse_scores_that_float32_cannot_tell_from_the_threshold(name):
    near_one = 1 - 10.0 ** (-2 * EVIDENCE)
    with pytest.raises(ValueError, match=r"scores: \d+ values between 0\.99.* and .* are one number in float32, 1;"):
        DECISIONS[name](near_one, 1.0)
    with pytest.raises(ValueError, match=r"scores: float32 holds numbers up to 3.4e38; got \S+e\+39"):
        DECISIONS[name](EVIDENCE * 1e39, 1.0)
    # what merges far from λ changes no decision
    DECISIONS[name](near_one, 0.5)


def test_a_threshold_fitted_in_float32_decides_on_the_same_scores():
    scores = EVIDENCE + 0.1
    limit = float(thresholds.recall(1.0).fit(scores, scores, LABELS)["threshold"])
    assert limit != scores[LABELS == 1].min()  # rounded to float32
    assert metrics.recall(LABELS, scores, None, limit) == 1


class TestCast:
    @pytest.mark.parametrize("size", [10, 50, 500, 20_000])
    def test_chance_ties_pass_and_merged_ones_do_not(self, size):
        normal = RNG.normal(size=size)
        np.testing.assert_array_equal(numerics.in_float32("x", normal), normal.astype(np.float32))
        np.testing.assert_array_equal(numerics.in_float32("x", 20 * normal - 1500), np.float32(20 * normal - 1500))
        with pytest.raises(ValueError, match="one number in float32, 1e"):
            numerics.in_float32("x", normal + 1e9)

    def test_values_equal_to_the_bit_are_one_value(self):
        saturated = np.r_[np.ones(900), RNG.uniform(size=100)]
        np.testing.assert_array_equal(numerics.in_float32("x", saturated), saturated.astype(np.float32))

    def test_ranks_keep_order_and_ties_beyond_float32s_whole_numbers(self):
        values = RNG.permutation(np.repeat(np.arange(1000) + 1e12, 3))
        ranks = np.asarray(numerics.ranked("x", values))
        np.testing.assert_array_equal(scipy.stats.rankdata(ranks, "dense"), scipy.stats.rankdata(values, "dense"))
        assert ranks.dtype == np.float32
        assert np.isfinite(ranks).all()
        # exact values are themselves
        assert numerics.ranked("x", np.array([0.5, -3.0])).tolist() == [0.5, -3.0]

    def test_traced_values_are_cast(self):
        traced = jax.jit(lambda x: (numerics.in_float32("x", x), numerics.ranked("x", x)))(np.array([0.1, 2.0]))
        np.testing.assert_array_equal(traced, np.float32([[0.1, 2.0]] * 2))
