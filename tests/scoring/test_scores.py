"""Reconstruction scores with numbers by hand, and scorers made of scorers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxae import likelihoods, scoring
from jaxae.numerics.filters import gaussian_blur
from jaxae.scoring.scores.reconstruction import KINDS, top_mean
from jaxae.types import Autoencoder, Batch, Code, Output, Scorer


def unused(*_):
    raise AssertionError("scores call apply alone")


def scaled_model():
    """A model whose reconstruction is `params * x`, whatever the key says."""

    def apply(params, state, rng, x, condition=None):
        assert rng is None  # scores are deterministic inside the model
        z = x.reshape(x.shape[0], -1)
        prediction = params * x if condition is None else params * x + condition
        return Output(Code(z, z[:, 0]), prediction), state

    return Autoencoder(unused, apply, unused, unused, None, None, likelihoods.gaussian(1.0))


MODEL = scaled_model()
X = jnp.array([[[[1.0, 2.0]], [[4.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 8.0]]]])  # [2, 2, 1, 2]
HALF = {"params": jnp.float32(0.5), "state": ()}  # errors are x / 2


def score(kind, batch, fraction=0.1):
    scorer = scoring.reconstruction(MODEL, kind, fraction)
    return scorer.apply(HALF, None, batch), scorer.map(HALF, None, batch)


def test_kinds_by_hand():
    batch = Batch(X)
    for kind, scores, element in (
        ("l1", [(0.5 + 1 + 2) / 4, 1.0], 2.0),
        ("l2", [(0.25 + 1 + 4) / 4, 4.0], 4.0),
        ("top_fraction", [4.0, 16.0], 4.0),
        ("nll", [0.5 * 5.25 + 2 * np.log(2 * np.pi), 8 + 2 * np.log(2 * np.pi)], 2 + 0.5 * np.log(2 * np.pi)),
    ):
        got, where = score(kind, batch)
        np.testing.assert_allclose(got, scores, rtol=1e-6, err_msg=kind)
        assert where.shape == X.shape  # channels are kept
        np.testing.assert_allclose(where[0, 1, 0, 0], element, rtol=1e-6)
    np.testing.assert_allclose(score("top_fraction", batch, 0.5)[0], [(4 + 1) / 2, 8.0])
    np.testing.assert_allclose(score("top_fraction", batch, 1.0)[0], score("l2", batch)[0])


def test_map_adds_up_to_the_score():
    mask = jnp.array([[[[1, 0]], [[1, 1]]], [[[1, 1]], [[1, 0]]]], jnp.float32)
    for batch, counts in ((Batch(X), [4, 4]), (Batch(X, mask=mask), [3, 3])):
        for kind in ("l1", "l2", "nll"):
            got, where = score(kind, batch)
            total = where.sum((1, 2, 3))
            np.testing.assert_allclose(got, total if kind == "nll" else total / np.array(counts), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_elements_do_not_count_even_when_missing(kind):
    mask = jnp.ones_like(X).at[:, 1].set(0)
    target = jnp.where(mask > 0, X, jnp.nan)
    got, where = score(kind, Batch(X, target=target, mask=mask), 1.0)
    # the window of "smooth" and "ssim" reaches over the edge of what counts, where the residual is 0
    there = Batch(X * mask, target=X * mask) if kind in ("smooth", "ssim") else Batch(X[:, :1])
    expected = score(kind, there._replace(mask=mask) if kind in ("smooth", "ssim") else there, 1.0)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert not where[:, 1].any()
    np.testing.assert_allclose(score(kind, Batch(X, target=target, mask=mask[..., :1]), 1.0)[0], expected, rtol=1e-6)


def test_target_and_condition_are_read():
    np.testing.assert_allclose(score("l1", Batch(X, target=X / 2))[0], [0, 0])
    np.testing.assert_allclose(score("l1", Batch(X, condition=X / 2))[0], [0, 0])


def test_top_mean_equals_a_sort():
    rng = np.random.default_rng(0)
    values = np.float32(rng.normal(size=(6, 5, 7)) ** 2 * 10.0 ** rng.integers(-20, 20, (6, 1, 1)))
    values[1, :3] = values[1, 0, 0]  # ties
    values[2] = 0
    values[3, 2:] = 0
    mask = rng.integers(0, 2, (6, 5, 7))
    mask[4] = 0
    mask[5] = 1
    selected = jax.jit(top_mean)
    for fraction in (0.01, 0.1, 0.2, 0.5, 1.0):
        size = max(1, int(np.ceil(fraction * 35 - 1e-6)))
        expected = np.sort(values.reshape(6, -1), -1)[:, -size:].mean(-1)
        np.testing.assert_allclose(selected(values, fraction), expected, rtol=1e-5)
        for row, got in enumerate(np.asarray(selected(values, fraction, mask))):
            kept = np.sort(values[row][mask[row] > 0])
            size = int(np.ceil(fraction * kept.size - 1e-6))
            np.testing.assert_allclose(got, kept[-size:].mean() if kept.size else 0, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_trace_under_jit_and_vmap(kind):
    scorer = scoring.reconstruction(MODEL, kind)
    for function in (scorer.apply, scorer.map):
        expected = function(HALF, None, Batch(X))
        np.testing.assert_allclose(jax.jit(lambda x, f=function: f(HALF, None, Batch(x)))(X), expected, rtol=1e-6)
        rows = jax.vmap(lambda x, f=function: f(HALF, None, Batch(x[None]))[0])(X)
        np.testing.assert_allclose(rows, expected, rtol=1e-6)


def test_ssim_equals_one_by_scipy():
    rng = np.random.default_rng(0)
    images = np.float32(rng.uniform(size=(2, 13, 9, 2)))
    scorer = scoring.reconstruction(MODEL, "ssim")
    got = scorer.map({"params": jnp.float32(0.8), "state": ()}, None, Batch(jnp.asarray(images)))
    for row in range(2):
        for channel in range(2):
            x = images[row, :, :, channel].astype(np.float64)
            np.testing.assert_allclose(1 - got[row, :, :, channel], ssim_by_scipy(x, 0.8 * x), atol=2e-5)
    same = scorer.apply({"params": jnp.float32(1), "state": ()}, None, Batch(jnp.asarray(images)))
    np.testing.assert_allclose(same, 0, atol=1e-5)
    scaled = scoring.reconstruction(MODEL, "ssim", data_range=255.0)
    wide = scaled.map({"params": jnp.float32(0.8), "state": ()}, None, Batch(255 * jnp.asarray(images)))
    np.testing.assert_allclose(wide, got, atol=1e-4)


def ssim_by_scipy(x, y):
    """Wang et al. 2004, equation 13, over scipy's Gaussian filter of 11 x 11 pixels, mirrored at the edges."""

    def mean(values):
        return gaussian_filter(values, 1.5, truncate=3.5, mode="reflect")

    x_variance, y_variance = (mean(a * a) - mean(a) ** 2 for a in (x, y))
    luminance = (2 * mean(x) * mean(y) + 1e-4) / (mean(x) ** 2 + mean(y) ** 2 + 1e-4)
    return luminance * (2 * (mean(x * y) - mean(x) * mean(y)) + 9e-4) / (x_variance + y_variance + 9e-4)


def test_blur_equals_scipys():
    rng = np.random.default_rng(0)
    images = np.float32(rng.normal(size=(1, 5, 12, 1)))
    for sigma, mode, reflect in ((1.0, "constant", False), (2.0, "reflect", True)):
        expected = gaussian_filter(images[0, :, :, 0].astype(np.float64), sigma, truncate=4.0, mode=mode)
        got = gaussian_blur(jnp.asarray(images), sigma, reflect=reflect)
        np.testing.assert_allclose(got[0, :, :, 0], expected, atol=1e-6)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="unknown kind of reconstruction score 'mse'; there are l2, l1"):
        scoring.reconstruction(MODEL, "mse")
    with pytest.raises(ValueError, match=r"fraction must lie in \(0, 1\]; got 0"):
        scoring.reconstruction(MODEL, "top_fraction", 0)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 1, 2\) is not the target's \(2, 2, 1, 1\)"):
        score("l2", Batch(X, target=X[..., :1]))
    with pytest.raises(ValueError, match="data_range must be above 0 and finite; got 0"):
        scoring.reconstruction(MODEL, "ssim", data_range=0)
    with pytest.raises(ValueError, match=r'"ssim" score is for images \[B, H, W, C\], got \(2, 4\)'):
        score("ssim", Batch(X.reshape(2, 4)))
    with pytest.raises(ValueError, match="num must be at least 1; got 0"):
        scoring.averaged(scoring.reconstruction(MODEL), 0)
    with pytest.raises(ValueError, match="give them a key"):
        scoring.averaged(scoring.reconstruction(MODEL), 2).apply(HALF, None, Batch(X))


def test_prepared_passes_reference_and_map_through():
    def scale(rng, batch):
        return Batch(batch.x / 255)

    base = scoring.reconstruction(MODEL, "l1")
    scorer = scoring.prepared(base, scale)
    np.testing.assert_allclose(scorer.apply(HALF, None, Batch(255 * X)), base.apply(HALF, None, Batch(X)), rtol=1e-6)
    np.testing.assert_allclose(scorer.map(HALF, None, Batch(255 * X)), base.map(HALF, None, Batch(X)), rtol=1e-6)
    seen = scoring.prepared(Scorer(lambda p, s, reference: reference, lambda f, rng, batch: batch.x), scale)
    assert seen.fit((), (), Batch(jnp.full((1, 1), 510.0))).x.tolist() == [[2.0]]
    assert seen.fit((), (), None) is None
    assert seen.map is None


def test_averaged_over_corruptions_is_the_mean_of_its_draws():
    def corrupt(rng, batch):
        return batch._replace(x=batch.x + jax.random.normal(rng, batch.x.shape), target=batch.x)

    base = scoring.prepared(scoring.reconstruction(MODEL, "l2"), corrupt)
    scorer, key = scoring.averaged(base, 5), jax.random.key(3)
    for name in ("apply", "map"):
        draws = [getattr(base, name)(HALF, k, Batch(X)) for k in jax.random.split(key, 5)]
        np.testing.assert_allclose(getattr(scorer, name)(HALF, key, Batch(X)), np.mean(draws, 0), rtol=1e-5)
        assert not np.allclose(draws[0], draws[1])
    # score and map see the same draw, and the same key gives the same score
    np.testing.assert_allclose(
        scorer.map(HALF, key, Batch(X)).mean((1, 2, 3)), scorer.apply(HALF, key, Batch(X)), rtol=1e-5
    )
    np.testing.assert_array_equal(scorer.apply(HALF, key, Batch(X)), scorer.apply(HALF, key, Batch(X)))


def test_ensemble_reduces_its_members():
    base = scoring.reconstruction(MODEL, "l1")
    factors = jnp.array([0.0, 0.5, 2.0])
    for reduce, by_numpy in (("mean", np.mean), ("median", np.median), ("max", np.max), ("spread", np.std)):
        scorer = scoring.ensemble(base, reduce)
        fitted = scorer.fit(factors, {"unused": jnp.zeros(3)}, None)
        for name in ("apply", "map"):
            members = [getattr(base, name)({"params": f, "state": ()}, None, Batch(X)) for f in factors]
            got = getattr(scorer, name)(fitted, None, Batch(X))
            np.testing.assert_allclose(got, by_numpy(members, 0), rtol=1e-6)
    assert scoring.ensemble(base._replace(map=None)).map is None
    with pytest.raises(ValueError, match="unknown reduction of an ensemble 'sum'; there are mean, median"):
        scoring.ensemble(base, "sum")
