"""Metrics stay within their bounds, options within their ranges, and arrays of another kind are refused by kind."""

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.scoring import (
    bounds,
    calibrate,
    conformal,
    contamination,
    cost_table,
    costs,
    discoveries,
    metrics,
    thresholds,
)
from jaxae.scoring.metrics import bootstrap
from jaxae.types import CostTable, Verdict

LABELS = np.arange(40) % 2
SCORES = (np.random.default_rng(0).normal(size=40) + LABELS).astype(np.float32)
WEIGHT = np.ones(40, np.float32)
P_VALUES = np.linspace(0.01, 1, 40, dtype=np.float32)
MASKS, MAPS = LABELS.reshape(1, 5, 8), SCORES.reshape(1, 5, 8)
TABLE = CostTable.binary(miss=10.0, false_alarm=1.0)
THREE = CostTable.with_reject(10.0, 1.0, 0.5)

BOUNDED = {
    "auroc": metrics.auroc,
    "average_precision": metrics.average_precision,
    "fpr_at_tpr": metrics.fpr_at_tpr,
    "tnr_at_fnr": metrics.tnr_at_fnr,
    "best_f1": metrics.best_f1,
    "best_f_beta": lambda y, s, w: metrics.best_f_beta(y, s, w, 0.3),
    "precision_at_k": lambda y, s, w: metrics.precision_at_k(y, s, w, k=min(1.0, float(w.sum()))),
    "recall_at_k": lambda y, s, w: metrics.recall_at_k(y, s, w, k=float(w.sum())),
    "precision": lambda y, s, w: metrics.precision(y, s, w, 0.0),
    "recall": lambda y, s, w: metrics.recall(y, s, w, 0.0),
    "f1": lambda y, s, w: metrics.f1(y, s, w, 0.0),
    "f_beta": lambda y, s, w: metrics.f_beta(y, s, w, 0.0, 0.3),
    "false_alarm_rate": lambda y, s, w: metrics.false_alarm_rate(y, s, w, 0.0),
    "roc_curve": lambda y, s, w: jnp.stack(metrics.roc_curve(y, s, w)[:2]),
    "precision_recall_curve": lambda y, s, w: jnp.stack(metrics.precision_recall_curve(y, s, w)[:2]),
    "oscr": lambda y, s, w: metrics.oscr(y, np.ones_like(y), s, w),
    "pixel_auroc": lambda y, s, w: metrics.pixel_auroc(y[:, None, None], s[:, None, None], w),
    "per_region_overlap": lambda y, s, w: metrics.per_region_overlap(y[:, None, None], s[:, None, None], w),
    "contamination": lambda y, s, w: jnp.stack(contamination(s, s[y == 0])),
    "p_values": lambda y, s, w: conformal.p_values(np.r_[0.0, 1.0, s], s, jax.random.key(0)),
    "weighted_p_values": lambda y, s, w: conformal.weighted_p_values(np.r_[0.0, 1.0, s], s, np.r_[1.0, 1.0, w], w),
}


@st.composite
def scored_rows(draw):
    count = draw(st.sampled_from([5, 47]))  # each size is compiled anew
    labels = draw(hypothesis.extra.numpy.arrays(np.int32, count, elements=st.integers(0, 1)))
    labels[:2] = 0, 1
    floats = st.floats(-10, 10, width=32, allow_subnormal=False)
    scores = draw(hypothesis.extra.numpy.arrays(np.float32, count, elements=floats))
    weight = draw(hypothesis.extra.numpy.arrays(np.float32, count, elements=st.floats(2**-10, 2**10, width=32)))
    perfect = draw(st.sampled_from(["as drawn", "perfect", "inverted"]))
    if perfect != "as drawn":
        scores = (np.abs(scores) + 1) * np.where(labels == (perfect == "perfect"), 1, -1).astype(np.float32)
    return labels, scores, weight


@pytest.mark.parametrize("name", BOUNDED)
@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(rows=scored_rows())
def test_bounded_metrics_stay_within_0_and_1(name, rows):
    values = np.asarray(BOUNDED[name](*rows))
    assert ((values >= 0) & (values <= 1)).all(), values


@pytest.mark.parametrize("anomalies", [33, 57, 165, 333])
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_a_perfect_ranking_is_1_and_within_its_interval(anomalies, method):
    labels = (np.arange(1000) < anomalies).astype(np.int32)
    scores = np.float32(labels) + np.random.default_rng(0).uniform(0, 0.9, 1000).astype(np.float32)
    for metric, value in (
        (metrics.auroc, 1),
        (metrics.average_precision, 1),
        (metrics.fpr_at_tpr, 0),
        (metrics.tnr_at_fnr, 1),
        (metrics.best_f1, 1),
    ):
        assert metric(labels, scores) == value
        interval = bootstrap(metric, labels, scores, jax.random.key(0), num=40, method=method)
        assert interval.low <= interval.value <= interval.high
        assert interval.low >= 0
        assert interval.high <= 1
    # by weights that no binary fraction holds, 1 to rounding, and not beyond
    weight = metrics.prevalence_weight(labels, 0.05)
    assert 1 - 1e-5 < metrics.average_precision(labels, scores, weight) <= 1


def test_counts_beyond_int32_do_not_wrap():
    heavy = np.full(40, 2**30, np.int64)
    for metric in (metrics.auroc, metrics.average_precision, metrics.pixel_auroc):
        rows = (MASKS, MAPS) if metric is metrics.pixel_auroc else (LABELS, SCORES)
        weight = np.array([2**30]) if metric is metrics.pixel_auroc else heavy
        np.testing.assert_allclose(metric(*rows, weight), metric(*rows), rtol=1e-5)
    interval = bootstrap(metrics.auroc, LABELS, SCORES, jax.random.key(0), num=20, weight=np.full(40, 2**25))
    assert 0 < interval.low <= interval.high <= 1
    with pytest.raises(ValueError, match=r"weights sum to 1.2e\+40, float32 holds numbers up to 3.4e38: divide them"):
        metrics.auroc(LABELS, SCORES, np.full(40, 3e38))


# name -> (call of one option, a value inside, values outside)
UNIT = (0.5, (0.0, 1.0, 5.0, -1.0, np.nan))
POSITIVE = (0.5, (0.0, -1.0, np.nan, np.inf))
OPTIONS = {
    "quantile": (thresholds.quantile, *UNIT),
    "false_alarm_rate": (thresholds.false_alarm_rate, *UNIT),
    "conformal": (thresholds.conformal, *UNIT),
    "false_alarm_bound": (thresholds.false_alarm_bound, *UNIT),
    "false_alarm_bound, confidence": (lambda v: thresholds.false_alarm_bound(0.1, v), *UNIT),
    "recall": (thresholds.recall, 0.5, (0.0, 1.5, np.nan)),
    "precision": (thresholds.precision, 0.5, (0.0, 1.5, np.nan)),
    "precision, anomaly rate": (lambda v: thresholds.precision(0.5, v), *UNIT),
    "best_f1": (thresholds.best_f1, *UNIT),
    "f_beta": (thresholds.f_beta, *POSITIVE),
    "f_beta, anomaly rate": (lambda v: thresholds.f_beta(1.0, v), *UNIT),
    "expected_cost": (lambda v: thresholds.expected_cost(TABLE, v), *UNIT),
    "mad": (thresholds.mad, *POSITIVE),
    "iqr": (thresholds.iqr, *POSITIVE),
    "mixture": (thresholds.mixture, *UNIT),
    "mixture, upper share": (lambda v: thresholds.mixture(0.5, v), *UNIT),
    "extreme_value": (lambda v: thresholds.extreme_value(v, 0.9), *UNIT),
    "extreme_value, tail": (lambda v: thresholds.extreme_value(0.01, v), *UNIT),
    "tpr": (lambda v: metrics.fpr_at_tpr(LABELS, SCORES, tpr=v), 0.5, (0.0, 1.5, np.nan)),
    "fnr": (lambda v: metrics.tnr_at_fnr(LABELS, SCORES, fnr=v), 0.5, (-0.5, 1.0, np.nan)),
    "beta of the best": (lambda v: metrics.best_f_beta(LABELS, SCORES, beta=v), *POSITIVE),
    "beta": (lambda v: metrics.f_beta(LABELS, SCORES, threshold=0.5, beta=v), *POSITIVE),
    "k": (lambda v: metrics.precision_at_k(LABELS, SCORES, k=v), 5.0, (0.0, -1.0, 41.0, np.nan, np.inf)),
    "k of recall": (lambda v: metrics.recall_at_k(LABELS, SCORES, k=v), 5.0, (0.0, -1.0, 41.0, np.nan, np.inf)),
    "prevalence": (lambda v: metrics.prevalence_weight(LABELS, v), *UNIT),
    "contamination": (lambda v: contamination(SCORES, SCORES, v), *UNIT),
    "contamination, quantile": (lambda v: contamination(SCORES, SCORES, 0.9, v), *UNIT),
    "max_fpr": (lambda v: metrics.per_region_overlap(MASKS, MAPS, max_fpr=v), 0.5, (0.0, 1.5, np.nan)),
    "bootstrap": (lambda v: bootstrap(metrics.auroc, LABELS, SCORES, jax.random.key(0), 2, v), *UNIT),
    "cost": (lambda v: costs.expected_cost(LABELS, SCORES, TABLE, v, threshold=0.5), *UNIT),
    "cost curve": (lambda v: costs.expected_cost_curve(LABELS, SCORES, TABLE, v), *UNIT),
    "optimal thresholds": (lambda v: costs.optimal_thresholds(LABELS, SCORES, np.ones(1), v), *UNIT),
    "regret": (lambda v: costs.regret(LABELS, SCORES, 0.5, TABLE, v), *UNIT),
    "bands": (lambda v: costs.cost_bands(LABELS, SCORES, TABLE, jax.random.key(0), v, num=2), *UNIT),
    "three_way": (lambda v: costs.three_way(LABELS, SCORES, THREE, v), *UNIT),
    "cost table": (lambda v: cost_table(2, v), 0.5, (-1.0, np.nan, np.inf)),
    "miss": (lambda v: CostTable.binary(v, 1.0), 0.5, (-1.0, np.nan, np.inf)),
    "reject": (lambda v: CostTable.with_reject(1.0, 1.0, v), 0.5, (-1.0, np.nan, np.inf)),
    "upper_bound": (lambda v: bounds.upper_bound(1, 10, v), *UNIT),
    "interval": (lambda v: bounds.interval(1, 10, v), *UNIT),
    "uniform_bound": (lambda v: bounds.uniform_bound(1, 10, v), 0.5, (0.0, 1.0, 5.0, 0.4, np.nan)),
    "needed": (lambda v: bounds.needed(float(v)), *UNIT),
    "miss_rate_bound": (lambda v: bounds.miss_rate_bound(SCORES, 0.5, v), *UNIT),
    "rank_bound": (lambda v: bounds.rank_bound(SCORES, 0.5, v), *UNIT),
    "benjamini_hochberg": (lambda v: discoveries.benjamini_hochberg(P_VALUES, v), *UNIT),
    "null share": (lambda v: discoveries.benjamini_hochberg(P_VALUES, 0.1, v), *POSITIVE),
    "storey": (lambda v: discoveries.storey_null_share(P_VALUES, v), *UNIT),
}
CASTS = {
    "float64": np.float64,
    "float32": np.float32,
    "without axes": np.asarray,
    "jax": lambda v: jnp.asarray(v, jnp.float32),
    "python": float,
}


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_checked_alike_for_numbers_scalars_and_arrays_without_axes(name, cast):
    make, inside, outside = OPTIONS[name]
    make(CASTS[cast](inside))
    for value in outside:
        with pytest.raises(ValueError, match=r"must|at least 0\.5") as error:
            make(CASTS[cast](value))
        assert "\n" not in str(error.value)
    if isinstance(inside, float) and float(inside) != 95:
        with pytest.raises(ValueError, match=r"got (a|-95|\S+ -95|reject)"):
            make(np.int64(-95))


@pytest.mark.parametrize("name", [name for name, (_, *ends) in OPTIONS.items() if name not in ("needed", "cost table")])
def test_an_array_with_axes_is_no_option(name):
    if name in ("bands", "miss", "reject"):
        return
    with pytest.raises(ValueError, match=r"must be (a number and .*|one number); got float64\[2\]"):
        OPTIONS[name][0](np.array([0.2, 0.3]))


def test_a_number_that_float32_rounds_to_the_end_is_outside():
    with pytest.raises(ValueError, match=r"anomaly_rate .* got 1e-320, which is 0 in float32"):
        thresholds.expected_cost(TABLE, 1e-320)
    with pytest.raises(ValueError, match=r"q must .* got 0.9999999999, which is 1 in float32"):
        thresholds.quantile(0.9999999999)


KINDS = {
    "text": lambda a: np.asarray(a).astype(str),
    "complex numbers": lambda a: np.asarray(a) + 1j,
    "dates": lambda a: np.full(np.shape(a), "2026-01-01", "M8[D]"),
    "time spans": lambda a: np.full(np.shape(a), 1, "m8[D]"),
    "Python objects": lambda a: np.full(np.shape(a), None, object),
    "masked array": lambda a: np.ma.array(np.asarray(a), mask=np.asarray(a) > 0),
}
ROWS = {"labels": LABELS, "scores": SCORES, "weight": WEIGHT}
# every array argument of the functions that read scores
ARRAYS = {
    "auroc": (metrics.auroc, ROWS),
    "average_precision": (metrics.average_precision, ROWS),
    "recall_at_k": (metrics.recall_at_k, ROWS),
    "roc_curve": (metrics.roc_curve, ROWS),
    "confusion": (
        metrics.confusion,
        ROWS | {"threshold": np.float32(0.5)},
    ),
    "decisions": (metrics.confusion, {"labels": LABELS, "scores": LABELS, "weight": WEIGHT}),
    "prevalence_weight": (
        metrics.prevalence_weight,
        {"labels": LABELS, "anomaly_rate": np.float64(0.1)},
    ),
    "contamination": (contamination, {"scores": SCORES, "clean": SCORES}),
    "oscr": (metrics.oscr, {"is_known": LABELS, "correct": LABELS, "confidence": SCORES, "weight": WEIGHT}),
    "pixel_auroc": (metrics.pixel_auroc, {"masks": MASKS, "maps": MAPS, "weight": np.ones(1)}),
    "per_region_overlap": (metrics.per_region_overlap, {"masks": MASKS, "maps": MAPS, "weight": np.ones(1)}),
    "p_value_excess": (metrics.p_value_excess, {"labels": LABELS, "p_values": P_VALUES, "weight": WEIGHT}),
    "bootstrap": (
        lambda **arrays: bootstrap(metrics.auroc, rng=jax.random.key(0), num=2, **arrays),
        ROWS,
    ),
    "expected_cost_curve": (
        lambda costs_, **arrays: costs.expected_cost_curve(table=CostTable(costs_), **arrays),
        {"costs_": np.asarray(TABLE.costs), "labels": LABELS, "scores": SCORES, "weight": WEIGHT},
    ),
    "optimal_thresholds": (costs.optimal_thresholds, {"labels": LABELS, "scores": SCORES, "ratios": np.ones(2)}),
    "cost_bands": (
        lambda **arrays: costs.cost_bands(table=TABLE, rng=jax.random.key(0), num=2, **arrays),
        {"labels": LABELS, "scores": SCORES, "weight": WEIGHT, "threshold": np.array([0.1, 0.5])},
    ),
    "expected_cost_per_example": (
        costs.expected_cost_per_example,
        {"costs": np.ones((40, 2)), "actions": LABELS, "weight": WEIGHT},
    ),
    "example_cost_curve": (costs.example_cost_curve, {"scores": SCORES, "costs": np.ones((40, 2)), "weight": WEIGHT}),
    "bayes_action": (
        lambda p: costs.bayes_action(p, THREE),
        {"p": np.stack([P_VALUES, 1 - P_VALUES], 1)},
    ),
    "three_way": (lambda **arrays: costs.three_way(table=THREE, **arrays), {"labels": LABELS, "scores": SCORES}),
    "three_way_action": (costs.three_way_action, {"scores": SCORES, "low": np.float64(0.1), "high": np.float64(0.2)}),
    "summary": (
        lambda labels, scores, decisions: costs.summary(labels, Verdict(scores, None, None, decisions), TABLE, 0.1),
        {"labels": LABELS, "scores": SCORES, "decisions": LABELS},
    ),
    "false_alarm_bound": (bounds.false_alarm_bound, {"scores": SCORES, "threshold": np.float64(0.5)}),
    "rank_bound": (bounds.rank_bound, {"calibration": SCORES, "threshold": np.float64(0.5)}),
    "p_values": (conformal.p_values, {"calibration": SCORES, "scores": SCORES}),
    "cross_p_values": (
        conformal.cross_p_values,
        {"calibration": SCORES, "folds": LABELS, "scores": np.stack([SCORES, SCORES])},
    ),
    "weighted_p_values": (
        conformal.weighted_p_values,
        {"calibration": SCORES, "scores": SCORES, "calibration_weight": WEIGHT, "weight": WEIGHT},
    ),
    "effective_count": (conformal.effective_count, {"weight": WEIGHT}),
    "benjamini_hochberg": (discoveries.benjamini_hochberg, {"p_values": P_VALUES}),
    "storey_null_share": (discoveries.storey_null_share, {"p_values": P_VALUES}),
    "calibrate": (
        lambda **arrays: calibrate(thresholds.youden(), **arrays),
        {
            "calibration": SCORES,
            "dev": SCORES,
            "labels": LABELS,
            "weight": WEIGHT,
            "certify": SCORES,
            "certify_labels": LABELS,
        },
    ),
} | {
    name: (make().fit, {"calibration": np.abs(SCORES), "dev": SCORES, "labels": LABELS, "weight": WEIGHT})
    for name, make in thresholds.THRESHOLDS.items()
    if name not in ("false_alarm_bound", "extreme_value")
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_another_kind_are_refused_by_kind(name, kind):
    call, arrays = ARRAYS[name]
    for argument, values in arrays.items():
        hostile = KINDS[kind](values)
        with pytest.raises(
            ValueError, match=f"must be (real numbers|a number).*{kind}|must be a number|{kind}"
        ) as error:
            call(**arrays | {argument: hostile})
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 200


def test_objects_that_are_0_or_1_are_labels():
    objects = np.array([bool(label) if index % 3 else float(label) for index, label in enumerate(LABELS)], object)
    for name, (call, arrays) in ARRAYS.items():
        call(**arrays)
        for argument in {"labels", "certify_labels", "is_known", "correct", "decisions", "masks"} & arrays.keys():
            plain = call(**arrays)
            chosen = objects.reshape(np.shape(arrays[argument]))
            jax.tree.map(np.testing.assert_array_equal, call(**arrays | {argument: chosen}), plain), name
    with pytest.raises(ValueError, match=r"labels must be 0 \(normal\) or 1 \(anomaly\); got 2"):
        metrics.auroc(np.array([0, 1, 2], object), np.arange(3.0))
    with pytest.raises(ValueError, match="labels must be real numbers; got text, such as '0'"):
        metrics.auroc(np.array(["0", "1"], object), np.arange(2.0))
