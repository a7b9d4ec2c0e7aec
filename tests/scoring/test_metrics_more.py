"""Ranking at k, regions, open sets, p-values, F-beta: beside scikit-learn, scipy and plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from jaxae.scoring import metrics
from jaxae.scoring.metrics.ordering import descending, from_order_key, order_key, sort_with_labels

FAST = settings(max_examples=20, deadline=None)
EXTREMES = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-40, 3.4e38, -3.4e38, 1.0, -1.0, 1.0000001, 2.0**-126], np.float32)
RANKING = ("f_beta", "best_f_beta", "best_f1", "tnr_at_fnr", "precision_at_k", "recall_at_k")
jitted = {name: jax.jit(getattr(metrics, name)) for name in RANKING}
jitted |= {"descending": jax.jit(descending), "sort_with_labels": jax.jit(sort_with_labels)}


@st.composite
def rows(draw):
    """Labels of both classes, scores with many ties, whole or broken weights."""
    count = 16  # one shape, so that each metric compiles once
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.permutation(np.arange(count) % 2)
    scores = draw(st.sampled_from([rng.integers(0, 4, count), rng.normal(size=count), rng.choice(EXTREMES, count)]))
    weight = draw(st.sampled_from([None, rng.integers(1, 4, count), rng.choice([0.5, 1.0, 3.0], count)]))
    return labels, np.float32(scores), weight


@FAST
@given(rows())
def test_ordering_is_numpys(data):
    labels, scores, _ = data
    np.testing.assert_array_equal(scores[np.asarray(jitted["descending"](scores))], np.sort(scores)[::-1])
    np.testing.assert_array_equal(np.asarray(from_order_key(order_key(jnp.asarray(scores)))), scores)
    ordered, flags = (np.asarray(a) for a in jitted["sort_with_labels"](scores, labels))
    np.testing.assert_array_equal(ordered, np.sort(scores)[::-1])
    for value in np.unique(scores):
        assert flags[ordered == value].sum() == labels[scores == value].sum()


def test_scores_of_all_exponents_and_both_signs_are_sorted_too():
    scores = np.concatenate([EXTREMES, [np.float32(1.1e-45)]]).astype(np.float32)
    ordered, flags = sort_with_labels(jnp.asarray(scores), jnp.asarray(scores > 0, jnp.int32))
    np.testing.assert_array_equal(ordered, np.sort(scores)[::-1])
    np.testing.assert_array_equal(flags, np.sort(scores)[::-1] > 0)


@FAST
@given(rows(), st.floats(0.2, 3))
def test_f_beta_and_its_best(data, beta):
    labels, scores, weight = data
    decisions = [scores >= limit for limit in np.unique(scores)]
    every = [sk.fbeta_score(labels, flagged, beta=beta, sample_weight=weight, zero_division=0) for flagged in decisions]
    np.testing.assert_allclose(jitted["f_beta"](labels, decisions[0], weight, None, beta), every[0], rtol=1e-5)
    np.testing.assert_allclose(jitted["best_f_beta"](labels, scores, weight, beta), max(every), rtol=1e-5)
    if beta > 1:
        one = jitted["best_f1"](labels, scores, weight)
        np.testing.assert_allclose(one, jitted["best_f_beta"](labels, scores, weight, 1.0), rtol=1e-6)


@FAST
@given(rows(), st.sampled_from([0.0, 0.05, 0.25, 0.5]))
def test_normals_passed_at_a_miss_rate(data, fnr):
    labels, scores, weight = data
    mass = np.ones(len(labels)) if weight is None else weight
    best = 0.0
    for limit in np.append(np.unique(scores), np.inf):
        flagged = scores >= limit
        missed = mass[~flagged & (labels == 1)].sum() / mass[labels == 1].sum()
        if missed <= fnr:
            best = max(best, mass[~flagged & (labels == 0)].sum() / mass[labels == 0].sum())
    np.testing.assert_allclose(jitted["tnr_at_fnr"](labels, scores, weight, fnr), best, rtol=1e-5, atol=1e-6)


@FAST
@given(rows(), st.integers(1, 4))
def test_what_k_inspections_find_is_the_mean_over_orders_of_ties(data, k):
    labels, scores, _ = data
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        order = rng.permutation(len(scores))
        found.append(labels[order][np.argsort(-scores[order], kind="stable")[:k]].sum())
    ours = float(jitted["precision_at_k"](labels, scores, None, k)) * k
    assert abs(ours - np.mean(found)) < 5 * np.std(found) / 20 + 1e-5
    np.testing.assert_allclose(jitted["recall_at_k"](labels, scores, None, k), ours / labels.sum(), rtol=1e-5)


def test_oscr_counts_pairs():
    rng = np.random.default_rng(0)
    known, correct = rng.integers(0, 2, 40), rng.integers(0, 2, 40)
    confidence = np.float32(rng.integers(0, 6, 40))
    won = [
        float(correct[i]) * ((confidence[i] > confidence[j]) + 0.5 * (confidence[i] == confidence[j]))
        for i in np.flatnonzero(known)
        for j in np.flatnonzero(known == 0)
    ]
    np.testing.assert_allclose(metrics.oscr(known, correct, confidence), np.mean(won), rtol=1e-6)
    # with every class right it is AUROC
    np.testing.assert_allclose(
        metrics.oscr(known, np.ones(40, int), confidence), sk.roc_auc_score(known, confidence), rtol=1e-6
    )
    twice = metrics.oscr(known, correct, confidence, np.full(40, 2))
    np.testing.assert_allclose(twice, np.mean(won), rtol=1e-6)


def _maps():
    rng = np.random.default_rng(3)
    masks = np.zeros((3, 12, 12), int)
    masks[0, 1:4, 1:5], masks[0, 8, 8], masks[1, 5:9, 2:4] = 1, 1, 1
    return masks, np.float32(np.round(rng.normal(size=masks.shape) + masks, 1))


def test_pixels_are_rows():
    masks, maps = _maps()
    np.testing.assert_allclose(
        metrics.pixel_auroc(masks, maps), sk.roc_auc_score(masks.ravel(), maps.ravel()), rtol=1e-6
    )
    first = metrics.pixel_auroc(masks, maps, np.array([1, 0, 0]))
    np.testing.assert_allclose(first, sk.roc_auc_score(masks[0].ravel(), maps[0].ravel()), rtol=1e-6)


@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
def test_per_region_overlap_equals_a_loop_over_thresholds_and_regions(max_fpr):
    masks, maps = _maps()
    regions = []
    for image, mask in enumerate(masks):
        found, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(image, found == number) for number in range(1, count + 1)]
    assert len(regions) == 3
    x, y = [0.0], [0.0]
    for limit in np.unique(maps)[::-1]:
        x.append((maps[masks == 0] >= limit).mean())
        y.append(np.mean([(maps[image][region] >= limit).mean() for image, region in regions]))
    fine = np.linspace(0, max_fpr, 200_001)
    expected = np.trapezoid(np.interp(fine, x, y), fine) / max_fpr
    np.testing.assert_allclose(metrics.per_region_overlap(masks, maps, max_fpr=max_fpr), expected, rtol=1e-4)
    traced = jax.jit(metrics.per_region_overlap)(metrics.region_share(masks), maps, None, max_fpr)
    np.testing.assert_allclose(traced, expected, rtol=1e-4)


def test_excess_of_p_values_is_the_one_sided_kolmogorov_smirnov_statistic():
    rng = np.random.default_rng(0)
    labels, p_values = rng.integers(0, 2, 60), np.float32(rng.beta(0.7, 1, 60))
    expected = stats.kstest(p_values[labels == 0], "uniform", alternative="greater").statistic
    np.testing.assert_allclose(metrics.p_value_excess(labels, p_values), expected, rtol=1e-5)
    # p-values that promise too little never exceed
    assert float(metrics.p_value_excess(np.array([0, 0, 1]), np.array([1.0, 1.0, 0.0]))) == 0.0


def test_one_trace_for_two_calls():
    traced = []

    @jax.jit
    def all_of_them(labels, scores, weight):
        traced.append(None)
        return (
            metrics.tnr_at_fnr(labels, scores, weight),
            metrics.best_f1(labels, scores, weight),
            metrics.precision_at_k(labels, scores, weight, jnp.float32(3)),
            metrics.oscr(labels, labels, scores, weight),
            metrics.p_value_excess(labels, scores, weight),
        )

    labels, scores = jnp.arange(8) % 2, jnp.linspace(0, 1, 8)
    for weight in (jnp.ones(8), jnp.arange(1.0, 9.0)):
        assert all(np.isfinite(value) for value in all_of_them(labels, scores, weight))
    assert len(traced) == 1


LABELS, SCORES = np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3], np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.tnr_at_fnr(LABELS, SCORES, fnr=1.0), r"fnr must lie in \[0, 1\); got 1.0"),
        (lambda: metrics.precision_at_k(LABELS, SCORES, k=4), "k must be above 0 and at most 3; got 4"),
        (lambda: metrics.recall_at_k(LABELS, SCORES, np.ones(3) / 2, k=2), "at most 1.5; got 2"),
        (lambda: metrics.best_f_beta(LABELS, SCORES, beta=0.0), "beta must be above 0"),
        (lambda: metrics.oscr(LABELS, np.array([0, 2, 1]), SCORES), "correct must be 0 or 1; got 2"),
        (
            lambda: metrics.oscr(np.ones(3, int), LABELS, SCORES),
            "known and unknown rows with weight; got 3 of",
        ),
        (
            lambda: metrics.p_value_excess(LABELS, SCORES + 1),
            "p-values must lie in .*; 3 of 3 do not, the first 1",
        ),
        (lambda: metrics.p_value_excess(np.ones(3, int), SCORES), "judged on normals; none of the 3 rows"),
        (lambda: metrics.pixel_auroc(LABELS, SCORES), r"must be \[n, H, W\] alike"),
        (lambda: metrics.pixel_auroc(*_maps(), weight=np.ones(2)), "one for each of the 3 images"),
        (lambda: metrics.per_region_overlap(*_maps(), max_fpr=0.0), r"max_fpr must lie in \(0, 1\]; got 0.0"),
        (lambda: jax.jit(metrics.per_region_overlap)(*_maps()), "regions cannot be found in traced masks"),
        (lambda: metrics.region_share(np.zeros((2, 2))), r"masks must be \[n, H, W\]; got shape \(2, 2\)"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
