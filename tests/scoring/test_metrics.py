"""Metrics against scikit-learn, ties and weights included, and by hand where classes are missing."""

import warnings

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays

from jaxae.scoring import costs, metrics
from jaxae.scoring.metrics.curves import operating_points
from jaxae.types import CostTable

SIZE = 24
FEW = settings(max_examples=40, deadline=None)
LABELS = arrays(np.int32, SIZE, elements=st.integers(0, 1))
# Few values make ties; wide ones and equal scores throughout are drawn too.
SCORES = st.one_of(
    arrays(np.float32, SIZE, elements=st.sampled_from(np.float32([-2.5, -1, 0, 0.25, 1, 3e4]))),
    arrays(np.float32, SIZE, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)),
    st.just(np.ones(SIZE, np.float32)),
)
WEIGHTS = arrays(np.float32, SIZE, elements=st.sampled_from(np.float32([0, 0.5, 1, 3])))
CASE = (LABELS, SCORES, WEIGHTS)
NAMES = ("auroc", "average_precision", "fpr_at_tpr")
DECIDED = ("confusion", "precision", "recall", "f1", "false_alarm_rate")
jitted = {name: jax.jit(getattr(metrics, name)) for name in (*NAMES, *DECIDED, "prevalence_weight")}

all_points, roc_curve = jax.jit(operating_points), jax.jit(metrics.roc_curve)
pr_curve, cost_curve = jax.jit(metrics.precision_recall_curve), jax.jit(costs.expected_cost_curve)


def has_both(labels, weight):
    return (weight * labels).sum() > 0 and (weight * (1 - labels)).sum() > 0


def sk_fpr(labels, scores, weight, tpr=0.95):
    false_alarms, hits, _ = sk.roc_curve(labels, scores, sample_weight=weight, drop_intermediate=False)
    return false_alarms[np.argmax(hits >= tpr - 1e-9)]


@FEW
@given(*CASE)
def test_ranking_metrics_equal_scikit_learn(labels, scores, weight):
    assume(has_both(labels, weight))
    expected = {
        "auroc": sk.roc_auc_score(labels, scores, sample_weight=weight),
        "average_precision": sk.average_precision_score(labels, scores, sample_weight=weight),
        "fpr_at_tpr": sk_fpr(labels, scores, weight),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(jitted[name](labels, scores, weight), value, rtol=2e-6, atol=1e-6, err_msg=name)


@FEW
@given(*CASE)
def test_curves_equal_scikit_learn(labels, scores, weight):
    assume(has_both(labels, weight))
    points = all_points(labels, scores, weight)
    # repeated points of ties dropped, they are scikit-learn's
    first = np.append(True, np.diff(points.threshold) != 0)
    false_alarms, hits, thresholds = (np.asarray(v)[first] for v in roc_curve(labels, scores, weight))
    expected = sk.roc_curve(labels, scores, sample_weight=weight, drop_intermediate=False)
    kept = np.isin(thresholds, expected[2])  # rows without weight make no point there
    for got, want in zip((false_alarms, hits, thresholds), expected, strict=True):
        np.testing.assert_allclose(got[kept], want, rtol=1e-6, atol=1e-6)
    precision, recall, _ = (
        np.asarray(v)[first][kept][1:] for v in metrics.precision_recall_curve(labels, scores, weight)
    )
    want_precision, want_recall, _ = sk.precision_recall_curve(labels, scores, sample_weight=weight)
    np.testing.assert_allclose(precision[::-1], want_precision[:-1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(recall[::-1], want_recall[:-1], rtol=1e-6, atol=1e-6)


@FEW
@given(*CASE, st.sampled_from([-1.0, 0.25, 0.3]))
def test_decision_metrics_equal_scikit_learn(labels, scores, weight, threshold):
    assume(weight.sum() > 0)
    decisions = scores >= threshold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where a class is missing
        expected = {
            "confusion": sk.confusion_matrix(labels, decisions, sample_weight=weight, labels=[0, 1]),
            "precision": sk.precision_score(labels, decisions, sample_weight=weight, zero_division=0),
            "recall": sk.recall_score(labels, decisions, sample_weight=weight, zero_division=0),
            "f1": sk.f1_score(labels, decisions, sample_weight=weight, zero_division=0),
        }
    for name, value in expected.items():
        function = jitted[name]
        np.testing.assert_allclose(function(labels, scores, weight, threshold), value, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(function(labels, decisions, weight), value, rtol=1e-6, err_msg=name)


@FEW
@given(*CASE, st.floats(0.01, 0.99))
def test_reweighted_to_an_anomaly_rate(labels, scores, weight, rate):
    assume(has_both(labels, weight))
    scaled = jitted["prevalence_weight"](labels, rate, weight)
    np.testing.assert_allclose([(scaled * labels).sum(), scaled.sum()], [rate, 1], rtol=1e-5)
    # rates within a class are untouched: AUROC stays, and precision is Bayes' rule
    auroc = jitted["auroc"]
    np.testing.assert_allclose(auroc(labels, scores, scaled), auroc(labels, scores, weight), atol=2e-6)
    hit, alarm = (jitted[name](labels, scores, weight, 0.25) for name in ("recall", "false_alarm_rate"))
    flagged = rate * hit + (1 - rate) * alarm
    bayes = rate * hit / flagged if flagged > 0 else 0
    np.testing.assert_allclose(jitted["precision"](labels, scores, scaled, 0.25), bayes, rtol=1e-4, atol=1e-6)


def test_by_hand():
    labels, scores = np.array([0, 1, 0, 1, 1]), np.array([1.0, 2.0, 2.0, 3.0, 0.0])
    # pairs (anomaly, normal): (2,1) won, (2,2) half, (3,1) and (3,2) won, (0, both) lost: 3.5 of 6
    np.testing.assert_allclose(metrics.auroc(labels, scores), 3.5 / 6, rtol=1e-6)
    # recall 1/3 at precision 1, 2/3 at 2/3, 3/3 at 3/5
    np.testing.assert_allclose(metrics.average_precision(labels, scores), (1 + 2 / 3 + 3 / 5) / 3, rtol=1e-6)
    assert metrics.fpr_at_tpr(labels, scores, tpr=0.66) == 0.5
    assert metrics.fpr_at_tpr(labels, scores, tpr=1.0) == 1.0
    assert metrics.confusion(labels, scores, threshold=2.0).tolist() == [[1, 1], [1, 2]]
    assert metrics.false_alarm_rate(labels, scores, threshold=2.0) == 0.5


@pytest.mark.parametrize("name", [*NAMES, "roc_curve", "precision_recall_curve"])
def test_a_missing_class_is_an_error_or_nan(name):
    function, scores = getattr(metrics, name), jnp.arange(4.0)
    with pytest.raises(ValueError, match=r"needs anomalies.*with weight; got 0 of anomalies, 4 of normals"):
        function(jnp.zeros(4), scores)
    with pytest.raises(ValueError, match="got 0 of anomalies"):
        function(jnp.array([0, 0, 0, 1]), scores, jnp.array([1.0, 1.0, 1.0, 0.0]))
    assert np.isnan(jax.tree.leaves(jax.jit(function)(jnp.zeros(4), scores))[-1 if name in NAMES else 1]).any()
    if "precision" not in name:
        with pytest.raises(ValueError, match="got 4 of anomalies, 0 of normals"):
            function(jnp.ones(4), scores)
        assert np.isnan(jax.jit(function)(jnp.ones(4), scores)[0 if name == "roc_curve" else ()]).any()


def test_vmaps_over_bootstrap_weights_with_one_trace():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 50), rng.normal(size=50).round(1)
    weights = rng.multinomial(50, np.full(50, 1 / 50), size=8).astype(np.float32)
    for name in (*NAMES, "f1"):
        function = getattr(metrics, name)
        extra = {"threshold": 0.0} if name == "f1" else {}
        traces = []

        def one(w, function=function, extra=extra, traces=traces):
            traces.append(1)
            return function(labels, scores, w, **extra)

        all_at_once = jax.jit(jax.vmap(one))
        expected = [jitted[name](labels, scores, w, **extra) for w in weights]
        np.testing.assert_allclose(all_at_once(weights), expected, rtol=1e-6)
        np.testing.assert_allclose(all_at_once(weights[::-1]), expected[::-1], rtol=1e-6)
        assert len(traces) == 1


def test_weights_count_rows():
    rng = np.random.default_rng(1)
    labels, scores, times = rng.integers(0, 2, 40), rng.normal(size=40).round(1), rng.integers(0, 4, 40)
    for name in NAMES:
        function = jitted[name]
        repeated = function(np.repeat(labels, times), np.repeat(scores, times))
        np.testing.assert_allclose(function(labels, scores, times), repeated, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [1.0, 2.0, 3.0]), r"labels and scores must be vectors of one length; got shapes labels \(2,\)"),
        (([0, 1], [1.0, np.nan]), "scores: 1 of 2 are NaN or infinite, the first at index 1"),
        (([0.3, 0.9], [0.0, 1.0]), r"labels must be 0 \(normal\) or 1 \(anomaly\); got 0.3"),
        (([0, 1], [0.0, 1.0], [1.0, -1.0]), "weights must be finite and not negative"),
        (([], []), "nothing to work on"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    arguments = [np.array(value) for value in arguments]
    for name in NAMES:
        with pytest.raises(ValueError, match=message) as error:
            getattr(metrics, name)(*arguments)
        assert "\n" not in str(error.value)


def test_scores_are_no_decisions():
    with pytest.raises(ValueError, match="without a threshold, decisions"):
        metrics.precision(np.array([0, 1]), np.array([0.2, 0.7]))
    with pytest.raises(ValueError, match=r"tpr must lie in \(0, 1\]; got 1.5"):
        metrics.fpr_at_tpr(np.array([0, 1]), np.array([0.2, 0.7]), tpr=1.5)
    with pytest.raises(ValueError, match="anomaly_rate must lie strictly between 0 and 1; got 1"):
        metrics.prevalence_weight(np.array([0, 1]), 1)


def brute_force_cost(labels, scores, weight, threshold, miss, false_alarm, rate):
    flagged = scores >= threshold
    missed = (weight * labels * ~flagged).sum() / (weight * labels).sum()
    alarms = (weight * (1 - labels) * flagged).sum() / (weight * (1 - labels)).sum()
    return rate * miss * missed + (1 - rate) * false_alarm * alarms


@FEW
@given(*CASE, st.sampled_from([0.05, 0.5]), st.sampled_from([1.0, 10.0]))
def test_cost_curve_equals_brute_force(labels, scores, weight, rate, miss):
    assume(has_both(labels, weight))
    table = CostTable.binary(miss, 2.0)
    curve = cost_curve(labels, scores, table, rate, weight)
    expected = [brute_force_cost(labels, scores, weight, t, miss, 2.0, rate) for t in np.asarray(curve.threshold)]
    np.testing.assert_allclose(curve.cost, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(curve.oracle, min(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([curve.always, curve.never], [(1 - rate) * 2, rate * miss], rtol=1e-6)
    at_oracle = costs.expected_cost(labels, scores, table, rate, weight, curve.oracle_threshold)
    np.testing.assert_allclose(at_oracle, curve.oracle, rtol=1e-5, atol=1e-6)


def test_costs_of_correct_decisions_count():
    table = CostTable(jnp.array([[0.5, 1.0], [10.0, 2.0]]))
    labels, decisions = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    expected = 0.2 * (10 + 2) / 2 + 0.8 * (0.5 + 1) / 2
    np.testing.assert_allclose(costs.expected_cost(labels, decisions, table, 0.2), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"costs of shape \(2, 2\).*got \(2, 3\)"):
        costs.expected_cost_curve(labels, decisions, CostTable(jnp.ones((2, 3))), 0.2)
