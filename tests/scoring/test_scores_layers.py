"""Error along the encoder's layers, with the layers computed by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import bottlenecks, likelihoods, networks
from jaxae.model import autoencoder
from jaxae.scoring.scores.layers import normalised_pathway, pathway, simple_pathway
from jaxae.types import Batch, Network

RNG = np.random.default_rng(0)
X = np.float32(RNG.normal(size=(200, 5)))
ENCODER = networks.mlp(4, 3, 2, activation=jax.nn.relu)
MODEL = autoencoder(ENCODER, bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())
PARAMS, STATE = jax.jit(MODEL.init)(jax.random.key(0), X[:1])


def by_numpy(x):
    """Differences of input and layers, before their non-linearity."""
    dense = [jax.tree.map(np.float64, PARAMS["encoder"]["params"][f"Dense_{i}"]) for i in range(3)]
    output = jax.tree.map(np.float64, PARAMS["decoder"]["params"]["Dense_0"])

    def layers(x):
        found = [x]
        for i, layer in enumerate(dense):
            x = (np.maximum(x, 0) if i else x) @ layer["kernel"] + layer["bias"]
            found.append(x)
        return found

    reconstruction = layers(x)[-1] @ output["kernel"] + output["bias"]
    return np.concatenate([a - b for a, b in zip(layers(x), layers(reconstruction), strict=True)], -1)


def test_layers_are_compared_in_their_order():
    expected = by_numpy(X)
    assert expected.shape == (200, 5 + 4 + 3 + 2)
    np.testing.assert_allclose(jax.jit(pathway(MODEL, ENCODER))(PARAMS, STATE, Batch(X)), expected, atol=1e-5)
    without = jax.jit(pathway(MODEL, ENCODER, with_input=False))(PARAMS, STATE, Batch(X))
    np.testing.assert_allclose(without, expected[:, 5:], atol=1e-5)


def test_simple_and_normalised_scores_by_numpy():
    differences = by_numpy(X)
    scorer = simple_pathway(MODEL, ENCODER)
    got = jax.jit(scorer.apply)(scorer.fit(PARAMS, STATE), None, Batch(X))
    np.testing.assert_allclose(got, (differences**2).sum(-1), rtol=1e-4)
    # the paper's score: projections on the singular directions of the training rows, over the singular values (with
    # the input they would be of less than full rank: the first layer is linear in it)
    first, new = by_numpy(X[:150])[:, 5:], by_numpy(X[150:])[:, 5:]
    _, singular, directions = np.linalg.svd(first - first.mean(0), full_matrices=False)
    projected = (new - first.mean(0)) @ directions.T / singular
    scorer = normalised_pathway(MODEL, ENCODER, shrinkage=0.0, with_input=False)
    fitted = jax.jit(scorer.fit)(PARAMS, STATE, Batch(X[:150]))
    got = jax.jit(scorer.apply)(fitted, None, Batch(X[150:]))
    np.testing.assert_allclose(got, 150 * (projected**2).sum(-1), rtol=2e-2)


def test_convolutions_know_their_layers_rows_first():
    encoder = networks.conv_encoder((9, 7, 2), 3, channels=(4, 6))
    x = jnp.asarray(np.float32(RNG.normal(size=(3, 9, 7, 2))))
    params = jax.jit(encoder.init)(jax.random.key(0), x)
    layers = jax.jit(encoder.hidden)(params, x)
    assert {layer.shape[0] for layer in layers} == {3}
    assert layers[0].shape == (3, 5, 4, 4)
    np.testing.assert_allclose(layers[-1], jax.jit(encoder.apply)(params, x), atol=1e-5)


def test_an_encoder_without_layers_is_refused():
    with pytest.raises(ValueError, match="does not know its layers"):
        pathway(MODEL, Network(ENCODER.init, ENCODER.apply))
    wide = autoencoder(ENCODER, bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian(None))
    with pytest.raises(ValueError, match=r"shape \(1, 2\) is not the input's \(1, 5\)"):
        pathway(wide._replace(likelihood=likelihoods.gaussian()._replace(mean=lambda p: p[:, :2])), ENCODER)(
            PARAMS, STATE, Batch(X[:1])
        )
