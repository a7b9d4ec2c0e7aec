"""Oriented gradients against SciPy's filters, and what makes them worth their name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxae import transforms
from jaxae.numerics.filters import gaussian_blur, oriented_gradients
from jaxae.scoring.scores.fusion import fused
from jaxae.scoring.scores.normalisation import relative
from jaxae.types import Batch, Scorer

IMAGES = np.random.default_rng(0).random((3, 13, 10, 2), np.float32)


def second_implementation(images, fine=0.7, coarse=1.5, stride=2):
    smooth = ndimage.gaussian_filter(images.astype(np.float64), (0, fine, fine, 0), mode="reflect", radius=(0, 3, 3, 0))
    down, across = np.gradient(smooth, axis=(1, 2))
    edges = np.concatenate([np.maximum(part, 0) for part in (across, -across, down, -down)], -1)
    pooled = ndimage.gaussian_filter(edges, (0, coarse, coarse, 0), mode="reflect", radius=(0, 6, 6, 0))
    return np.sqrt(pooled[:, ::stride, ::stride])


def test_gradients_equal_scipys():
    found = jax.jit(oriented_gradients)(jnp.asarray(IMAGES))
    assert found.shape == (3, 7, 5, 8)
    np.testing.assert_allclose(found, second_implementation(IMAGES), atol=2e-5)
    np.testing.assert_allclose(
        gaussian_blur(jnp.asarray(IMAGES), 1.0, reflect=True),
        ndimage.gaussian_filter(IMAGES, (0, 1, 1, 0), mode="reflect", radius=(0, 4, 4, 0)),
        atol=1e-5,
    )


def test_each_direction_has_its_map_and_a_moved_edge_stays_near():
    step = np.zeros((1, 12, 12, 1), np.float32)
    step[:, :, 6:] = 1
    maps = np.asarray(oriented_gradients(jnp.asarray(step))).sum((1, 2))[0]
    assert maps[0] > 1000 * maps[1:].max()
    turned = np.asarray(oriented_gradients(jnp.asarray(step.transpose(0, 2, 1, 3)))).sum((1, 2))[0]
    assert turned[2] > 1000 * np.delete(turned, 2).max()
    moved, other = np.roll(step, 1, 2), step.transpose(0, 2, 1, 3)
    moved[:, :, 0] = 0

    def distance(one, two):
        one, two = (oriented_gradients(jnp.asarray(images)) for images in (one, two))
        return float(jnp.square(one - two).sum())

    assert distance(step, moved) < 0.3 * distance(step, other)


def test_the_slope_is_finite_and_the_target_is_changed_alike():
    slope = jax.grad(lambda x: oriented_gradients(x).sum())(jnp.zeros((1, 6, 6, 1)))
    assert bool(jnp.isfinite(slope).all())
    batch = transforms.oriented_gradients()(None, Batch(IMAGES, target=2 * IMAGES))
    np.testing.assert_allclose(batch.target, np.sqrt(2) * batch.x, atol=1e-5)
    with pytest.raises(ValueError, match="2 x 2 pixels or more"):
        oriented_gradients(jnp.zeros((1, 1, 8, 1)))
    with pytest.raises(ValueError, match="stride 0"):
        oriented_gradients(jnp.zeros((1, 8, 8, 1)), stride=0)


def first(index):
    return Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: batch.x[:, index])


def test_relative_scores_do_not_depend_on_an_inputs_strength():
    error = Scorer(
        lambda params, state, reference: {},
        lambda fitted, rng, batch: (batch.x**2).sum(-1),
        lambda fitted, rng, batch: batch.x**2,
    )
    x = np.array([[3.0, 4.0], [6.0, 8.0]], np.float32)
    scorer = relative(error, offset=1e-6)
    np.testing.assert_allclose(scorer.apply({}, None, Batch(x)), [1, 1], rtol=1e-5)
    np.testing.assert_allclose(scorer.map({}, None, Batch(x)), [[0.36, 0.64]] * 2, rtol=1e-5)
    np.testing.assert_allclose(relative(error, 0.5, 1.0).apply({}, None, Batch(x)), [25 / 26**0.5, 100 / 101**0.5])
    with pytest.raises(ValueError, match="offset must be above 0 and finite; got 0"):
        relative(error, offset=0)


def test_logs_fuse_by_how_many_times_the_usual():
    # logs of the held-out rows: median log 2 and median deviation log 2 for both members
    rows = np.stack([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]], -1).astype(np.float32)
    scorer = fused(first(0), first(1), held_out=3, by="log")
    fitted = scorer.fit({}, {}, Batch(np.concatenate([np.ones((2, 2), np.float32), rows])))
    found = scorer.apply(fitted, None, Batch(np.array([[8.0, 20.0]], np.float32)))
    np.testing.assert_allclose(found, [np.log(4) / (1.4826 * np.log(2)) / 2], rtol=1e-5)
