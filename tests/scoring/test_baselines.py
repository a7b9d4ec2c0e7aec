"""Baselines against numpy and scipy; higher is more anomalous for all."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import gaussian_kde

from jaxae.scoring.scores import baselines

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(60, 3)) @ np.array([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.2]])
TEST = RNG.normal(size=(11, 3)) * 2


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_every_baseline_ranks_far_above_near(name):
    score = baselines.BASELINES[name]()(TRAIN)
    near, far = score(TRAIN.mean(0)[None]), score(TRAIN.mean(0)[None] + 30.0)
    assert near.shape == (1,)
    assert near.dtype == np.float64
    assert far[0] > near[0]
    np.testing.assert_array_equal(score(TEST), baselines.BASELINES[name]()(TRAIN)(TEST))


def test_knn_and_lof_by_hand():
    distances = np.sort(cdist(TEST, TRAIN))
    np.testing.assert_allclose(baselines.knn(5)(TRAIN)(TEST), distances[:, 4])
    np.testing.assert_allclose(baselines.knn(5)(TRAIN[:3])(TEST), np.sort(cdist(TEST, TRAIN[:3]))[:, 2])

    k, own = 4, np.sort(cdist(TRAIN, TRAIN))[:, 1:]

    def reach(distance):  # local reachability density
        index = np.argsort(distance)[:, :k]
        near = np.take_along_axis(distance, index, 1)
        return 1 / np.maximum(near, own[:, k - 1][index]).mean(1), index

    apart = cdist(TRAIN, TRAIN) + np.diag(np.full(len(TRAIN), np.inf))
    density, _ = reach(apart)
    tested, index = reach(cdist(TEST, TRAIN))
    np.testing.assert_allclose(baselines.lof(k)(TRAIN)(TEST), (density[index] / tested[:, None]).mean(1), rtol=1e-6)


def test_pca_and_mahalanobis_by_numpy():
    mean = TRAIN.mean(0)
    _, _, axes = np.linalg.svd(TRAIN - mean)
    np.testing.assert_allclose(baselines.pca(2)(TRAIN)(TEST), ((TEST - mean) @ axes[2]) ** 2)
    covariance = np.cov(TRAIN.T, bias=True)
    for shrinkage in (0.0, 0.3):
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 3 * np.eye(3)
        expected = np.einsum("ni,ij,nj->n", TEST - mean, np.linalg.inv(shrunk), TEST - mean)
        np.testing.assert_allclose(baselines.mahalanobis(shrinkage)(TRAIN)(TEST), expected)
    constant = np.concatenate([TRAIN, np.ones((60, 1))], 1)
    far = baselines.mahalanobis()(constant)(np.concatenate([TEST, np.ones((11, 1))], 1))
    np.testing.assert_allclose(far, baselines.mahalanobis()(TRAIN)(TEST))


def test_kde_is_scipys():
    line = TRAIN[:, :1]
    expected = -gaussian_kde(line[:, 0], bw_method=0.4).logpdf(TEST[:, 0])
    width = 0.4 * line.std(ddof=1)
    np.testing.assert_allclose(baselines.kde(width)(line)(TEST[:, :1]), expected)


def test_support_vectors_and_trees():
    score = baselines.one_class_svm(nu=0.2)(TRAIN)
    assert abs((score(TRAIN) > 1e-6).mean() - 0.2) <= 0.05  # nu bounds the share outside
    two = baselines.isolation_forest(trees=50, max_samples=2)(np.array([[0.0], [1.0]]))
    # one cut isolates either of two rows: depth 1 = c(2), so the score is 2^-1
    np.testing.assert_allclose(two(np.array([[0.0], [1.0]])), 0.5)


def test_errors_have_numbers(monkeypatch):
    with pytest.raises(ValueError, match=r"table \[n, D\]; got \(3,\)"):
        baselines.knn()(np.ones(3))
    with pytest.raises(ValueError, match=r"table \[n, 3\]; got \(2, 2\)"):
        baselines.knn()(TRAIN)(np.ones((2, 2)))
    with pytest.raises(ValueError, match="1 of 3 values are not"):
        baselines.knn()(TRAIN)(np.array([[1.0, np.nan, 0.0]]))
    with pytest.raises(ValueError, match="at least 2 training rows; got 1"):
        baselines.lof()(np.ones((1, 2)))

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(ValueError, match=r"pip install 'jaxae\[baselines\]'"):
        baselines.knn()(TRAIN)


@pytest.mark.parametrize("variance", [0.9, 0.999, None, 3, 5, 50])
@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("rows", [4, 200])
def test_pca_never_spans_every_row(variance, width, rows):
    # isotropic rows: each direction holds an equal share, so that 0.9 of the variance takes all of them
    train = np.random.default_rng(0).normal(size=(rows, width))
    scores = baselines.pca(variance)(train)(np.random.default_rng(1).normal(size=(50, width)))
    assert (scores > 1e-6).mean() > 0.9
    assert len(np.unique(scores.round(9))) > 25


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_no_baseline_scores_all_rows_alike(name):
    rng = np.random.default_rng(0)
    for train in (rng.normal(size=(60, 4)), rng.normal(size=(60, 2)), rng.normal(size=(3, 4))):
        scores = baselines.BASELINES[name]()(train)(3 * rng.normal(size=(40, train.shape[1])))
        assert np.isfinite(scores).all()
        assert np.ptp(scores) > 1e-6 * np.abs(scores).max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: baselines.knn(0), "k must be at least 1; got 0"),
        (lambda: baselines.lof(0), "k must be at least 1; got 0"),
        (lambda: baselines.pca(0), "the number of components must be at least 1; got 0"),
        (lambda: baselines.pca(1.0), "the share of variance must lie strictly between 0 and 1; got 1.0"),
        (lambda: baselines.pca(np.float64(5)), "the share of variance must lie strictly between 0 and 1; got 5.0"),
        (lambda: baselines.mahalanobis(1.5), r"shrinkage must lie in \[0, 1\]; got 1.5"),
        (lambda: baselines.kde(0.0), "bandwidth must be above 0 and finite; got 0.0"),
        (lambda: baselines.kde("scot"), "bandwidth must be a number above 0 or one of scott, silverman; got 'scot'"),
        (lambda: baselines.one_class_svm(nu=0.0), r"nu must lie in \(0, 1\]; got 0.0"),
        (lambda: baselines.one_class_svm(gamma=-1.0), "gamma must be above 0 and finite; got -1.0"),
        (lambda: baselines.isolation_forest(max_samples=1), "max_samples must be at least 2; got 1"),
        (lambda: baselines.isolation_forest(trees=0), "trees must be at least 1; got 0"),
        (lambda: baselines.isolation_forest(seed=-1), "seed must be at least 0; got -1"),
        (lambda: baselines.pca()(np.ones((9, 3))), "all 9 training rows are equal"),
        (lambda: baselines.mahalanobis()(np.ones((9, 3))), "all 9 training rows are equal"),
        (lambda: baselines.knn()(np.full((9, 3), "a")), "rows must be real numbers; got text, such as 'a'"),
        (lambda: baselines.knn()(np.ma.array(np.ones((9, 3)), mask=True)), "the mask of a masked array would be lost"),
        (lambda: baselines.knn()(np.ones((9, 3)))(np.ones((2, 3)) + 1j), "rows must be real numbers; got complex"),
        (lambda: baselines.knn()(np.ones((0, 3))), r"rows must be a table \[n, D\]; got \(0, 3\)"),
    ],
)
def test_what_a_baseline_cannot_use_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
