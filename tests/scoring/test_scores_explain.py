"""Heat maps, contributions and nearest normals, by NumPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxae import likelihoods, scoring
from jaxae.scoring.scores import explain, latent
from jaxae.types import Autoencoder, Batch, Code, Output, Scorer

RNG = np.random.default_rng(0)
IMAGES = np.float32(RNG.gamma(2.0, size=(60, 4, 3, 2)))
SELF = Scorer(
    lambda params, state, reference: {"seen": reference.x},
    lambda fitted, rng, batch: batch.x.max((1, 2, 3)),
    lambda fitted, rng, batch: batch.x,
)


def test_heat_maps_are_in_units_of_the_normals_highest_pixels():
    scorer = explain.heat_maps(SELF, held_out=25, quantile=0.8)
    fitted = scorer.fit({}, {}, Batch(IMAGES))
    np.testing.assert_array_equal(fitted["base"]["seen"], IMAGES[:35])
    pixels = IMAGES.mean(-1)
    unit = np.quantile(pixels[35:].max((1, 2)), 0.8)
    np.testing.assert_allclose(scorer.map(fitted, None, Batch(jnp.asarray(IMAGES))), pixels / unit, rtol=1e-5)
    np.testing.assert_allclose(scorer.apply(fitted, None, Batch(jnp.asarray(IMAGES))), IMAGES.max((1, 2, 3)))
    weight = np.ones(60, np.float32)
    weight[50:] = 0
    some = scorer.fit({}, {}, Batch(IMAGES, weight=weight))
    np.testing.assert_allclose(some["unit"], np.quantile(pixels[35:50].max((1, 2)), 0.8), rtol=1e-5)


def test_heat_maps_through_the_detector():
    scorer = explain.heat_maps(SELF)
    detect = scoring.detector(scorer, scoring.thresholds.quantile(0.5), with_map=True)
    fitted = detect.fit({}, {}, IMAGES, IMAGES[:5])
    verdict = jax.jit(detect.apply)(fitted, IMAGES[:7])
    assert verdict.map.shape == (7, 4, 3)


def test_contributions_are_the_addends_of_a_mean():
    def halve(params, state, rng, x, condition=None):
        return Output(Code(x, x[:, 0]), x / 2), state

    model = Autoencoder(None, halve, None, None, None, None, likelihoods.gaussian())
    x = jnp.asarray(np.float32(RNG.normal(size=(9, 5)))).at[3].set(0)
    for kind in ("l2", "l1"):
        scorer = scoring.reconstruction(model, kind)
        fitted = scorer.fit((), ())
        score, where = (f(fitted, None, Batch(x)) for f in (scorer.apply, scorer.map))
        found = jax.jit(explain.contributions)(score, where)
        np.testing.assert_allclose(found.value.sum(-1), score, rtol=1e-5)
        order = np.argsort(-np.asarray(where), -1, kind="stable")
        np.testing.assert_array_equal(found.element, order)
        np.testing.assert_allclose(found.value, np.take_along_axis(np.asarray(where), order, -1) / 5, rtol=1e-5)


def test_an_even_map_has_its_score_parted_equally():
    found = explain.contributions(jnp.array([6.0]), jnp.zeros((1, 3)))
    np.testing.assert_allclose(found.value, [[2.0, 2.0, 2.0]], rtol=1e-6)


def test_nearest_normals_are_scikit_learns():
    normal, new = np.float32(RNG.normal(size=(50, 4))), np.float32(RNG.normal(size=(6, 4)))
    distances, index = NearestNeighbors(n_neighbors=3).fit(normal).kneighbors(new)
    found = explain.nearest_normals(latent.inputs, (), (), Batch(normal), Batch(jnp.asarray(new)), k=3)
    np.testing.assert_array_equal(found.row, index)
    np.testing.assert_allclose(found.distance, distances, rtol=1e-5)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="this scorer has none"):
        explain.heat_maps(SELF._replace(map=None))
    with pytest.raises(ValueError, match=r"strictly between 0 and 1; got 1\.0"):
        explain.heat_maps(SELF, quantile=1.0)
    with pytest.raises(ValueError, match="got 0"):
        explain.nearest_normals(latent.inputs, (), (), Batch(jnp.ones((2, 2))), Batch(jnp.ones((1, 2))), k=0)
