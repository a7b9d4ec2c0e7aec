"""Fréchet distance, precision and recall, bits: beside closed forms and second implementations."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from jaxae.generation import (
    bits_per_dimension,
    classifier_features,
    discretized_normal,
    frechet_distance,
    normal_frechet,
    precision_recall,
)


def covariance(rng, size, rank=None):
    a = rng.normal(size=(size, size if rank is None else rank))
    return a @ a.T


def test_distance_of_diagonal_normals_in_closed_form():
    rng = np.random.default_rng(0)
    (a, b), (s, t) = rng.normal(size=(2, 6)), rng.uniform(0.1, 3, (2, 6))
    expected = ((a - b) ** 2).sum() + ((s - t) ** 2).sum()
    assert normal_frechet(a, np.diag(s**2), b, np.diag(t**2)) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_distance_is_that_by_scipys_matrix_root(seed, size):
    rng = np.random.default_rng(seed)
    (a, b), cov_a, cov_b = rng.normal(size=(2, size)), covariance(rng, size), covariance(rng, size)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = ((a - b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    found = normal_frechet(a, cov_a, b, cov_b)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert normal_frechet(b, cov_b, a, cov_a) == pytest.approx(found, rel=1e-6, abs=1e-6)
    assert normal_frechet(a, cov_a, a, cov_a) == pytest.approx(0, abs=1e-6)


def test_covariances_without_full_rank_need_no_help():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 50))  # rank 2 of 50, and fewer rows than columns
    shifted = features + 0.5
    assert frechet_distance(features, shifted) == pytest.approx(50 * 0.25, rel=1e-9)
    assert frechet_distance(features, 2 * features) == pytest.approx(
        (features.mean(0) ** 2).sum() + np.trace(np.cov(features.T)), rel=1e-6
    )


def test_features_are_taken_for_normal_with_unbiased_covariance():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(50, 3)), 2 + rng.normal(size=(40, 3)) * [1, 2, 3]
    moments = [(x.mean(0), np.cov(x.T)) for x in (a, b)]
    assert frechet_distance(a, b) == pytest.approx(normal_frechet(*moments[0], *moments[1]), rel=1e-12)


def test_precision_and_recall_beside_scikit_learn():
    rng = np.random.default_rng(3)
    real, generated = rng.normal(size=(1200, 4)), 0.6 * rng.normal(size=(1100, 4)) + [1, 0, 0, 0]

    def within(queries, members, k):
        radius = NearestNeighbors(n_neighbors=k + 1).fit(members).kneighbors(members)[0][:, k]
        distance = np.linalg.norm(queries[:, None] - members[None], axis=-1)
        return (distance <= radius).any(1).mean()

    found = precision_recall(real, generated, k=3)
    assert found == (within(generated, real, 3), within(real, generated, 3))
    assert found[0] > found[1] > 0
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real, real + 100) == (0.0, 0.0)


def test_discretized_normal_is_the_mass_of_each_level():
    levels = jnp.arange(256)
    for mean, scale in ((0.0, 0.02), (0.31, 0.1), (1.0, 0.005), (0.5, 3.0)):
        log_p = np.asarray(discretized_normal(levels, jnp.full(256, mean), jnp.float32(scale)), np.float64)
        assert np.exp(log_p).sum() == pytest.approx(1, rel=1e-4)
        edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
        upper = scipy.stats.norm.logsf(edges, mean, scale)
        lower = scipy.stats.norm.logcdf(edges, mean, scale)
        right = edges[:-1] > mean
        far, near = np.where(right, upper[:-1], lower[1:]), np.where(right, upper[1:], lower[:-1])
        expected = far + np.log1p(-np.exp(near - far))
        np.testing.assert_allclose(log_p, expected, rtol=2e-3, atol=2e-3)
    assert float(bits_per_dimension(jnp.log(2.0) * 30, 10)) == pytest.approx(3.0)


def test_features_tell_classes_apart():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 200)
    x = rng.integers(0, 40, (200, 6)).astype(np.uint8)
    x[labels == 1, :3] += 200
    space = classifier_features(x, labels, epochs=100)
    assert space.features(x).shape == (200, 128)
    np.testing.assert_allclose(space.features(x[:5]), space.features(x[:5] / np.float32(255)), rtol=1e-4, atol=1e-5)
    assert (space.classes(x) == labels).mean() > 0.95
    halves = [space.features(x[labels == 1][i::2]) for i in (0, 1)]
    across = frechet_distance(space.features(x[labels == 0]), halves[0])
    assert across > 3 * frechet_distance(*halves)


BAD = {
    "one row": (lambda: frechet_distance(np.zeros((1, 2)), np.zeros((4, 2))), r"\(1, 2\) and \(4, 2\)"),
    "widths": (lambda: frechet_distance(np.zeros((3, 2)), np.zeros((4, 5))), r"\(3, 2\) and \(4, 5\)"),
    "NaN": (lambda: frechet_distance(np.full((3, 2), np.nan), np.zeros((4, 2))), "NaN"),
    "shapes": (lambda: normal_frechet([0.0], [[1.0]], [0.0, 1.0], [[1.0]]), r"\(1,\), \(1, 1\), \(2,\)"),
    "k": (lambda: precision_recall(np.zeros((3, 2)), np.zeros((4, 2)), k=3), "k 3"),
    "one class": (lambda: classifier_features(np.zeros((4, 2)), np.zeros(4, int)), "1 classes"),
    "labels": (lambda: classifier_features(np.zeros((4, 2)), np.arange(3)), r"\(3,\) for \(4, 2\)"),
    "no dimension": (lambda: bits_per_dimension(jnp.zeros(2), 0), "got 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    call, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        call()
