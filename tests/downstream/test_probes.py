"""Probes of features: logistic regression, the path, neighbours, label curves, baselines."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from jaxae import downstream, networks, presets


def drawn(num=300, width=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, width)).astype(np.float32)
    y = (x @ np.random.default_rng(9).normal(size=(width, classes)) + rng.gumbel(size=(num, classes))).argmax(1)
    return x, y.astype(np.int32)


def test_logistic_regression_is_that_of_scikit_learn():
    x, y = drawn()
    weight = np.random.default_rng(1).integers(0, 3, len(x))
    fit = jax.jit(chex.assert_max_traces(lambda x, y, w, l2: downstream.fit_logistic(x, y, 3, l2, weight=w), n=1))
    for c in (0.05, 10.0):
        model = LogisticRegression(C=c, tol=1e-9, max_iter=5000).fit(x, y, sample_weight=weight)
        ours = fit(jnp.asarray(x), jnp.asarray(y), jnp.asarray(weight), 1 / (c * weight.sum()))
        np.testing.assert_allclose(ours.kernel.T, model.coef_, atol=5e-3)
        predicted = jax.nn.softmax(downstream.predict_logits(ours, jnp.asarray(x)))
        np.testing.assert_allclose(predicted, model.predict_proba(x), atol=2e-3)


def test_the_path_ends_where_single_fits_end_and_dev_data_chooses():
    (x, y), (dev_x, dev_y) = drawn(60), drawn(200, seed=1)
    probe = jax.jit(lambda *parts: downstream.linear_probe(*parts, num_classes=3, path=(1.0, 0.1, 0.01)))(
        x, y, dev_x, dev_y
    )
    scaled = (x - x.mean(0)) / np.sqrt(np.mean((x - x.mean(0)) ** 2))
    model = LogisticRegression(C=1 / (float(probe.l2) * len(x)), tol=1e-9, max_iter=5000).fit(scaled, y)
    np.testing.assert_allclose(probe.model.kernel.T, model.coef_, atol=5e-3)
    right = np.mean(np.asarray(downstream.probe_classes(probe, dev_x)) == dev_y)
    np.testing.assert_allclose(probe.dev_accuracy.max(), right, atol=1e-6)
    assert float(probe.l2) == float(probe.path[probe.dev_accuracy.argmax()])
    with pytest.raises(ValueError, match="must fall"):
        downstream.linear_probe(x, y, dev_x, dev_y, path=(0.1, 1.0))


def test_neighbours_vote_as_in_scikit_learn():
    (x, y), (test, _) = drawn(80), drawn(40, seed=1)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x, test)]
    model = KNeighborsClassifier(7, weights=lambda d: np.exp((1 - d**2 / 2) / 0.1)).fit(unit[0], y)
    np.testing.assert_array_equal(downstream.knn_classes(test, x, y, k=7), model.predict(unit[1]))
    with pytest.raises(ValueError, match="between 1 and the number of rows"):
        downstream.knn_classes(test, x, y, k=81)


def test_principal_components_are_those_of_scikit_learn():
    x, _ = drawn(50)
    ours, theirs = downstream.principal_components(x, 3)(x), PCA(3).fit_transform(x)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)
    with pytest.raises(ValueError, match=r"1 to 5 components; got 6"):
        downstream.principal_components(x, 6)


def test_features_of_a_model_to_an_array_and_a_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 1), np.uint8)
    encoder = networks.mlp(8, 4, flatten=True)
    model, _ = presets.ae((6, 6, 1), encoder=encoder)
    params, state = model.init(jax.random.key(0), jnp.ones((2, 6, 6, 1)))
    encode = downstream.codes_of(model, params, state)
    features = downstream.extract(encode, images, batch_size=3, path=tmp_path / "features.npz")
    np.testing.assert_allclose(features, encode(jnp.asarray(images)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.load(tmp_path / "features.npz")["features"], features)
    layers = downstream.extract(downstream.layers_of(encoder, params["encoder"], (0, -1)), images)
    assert layers.shape == (7, 12)
    assert layers.min() >= 0
    with pytest.raises(ValueError, match="no rows"):
        downstream.extract(encode, images[:0])
    with pytest.raises(ValueError, match="does not know its layers"):
        downstream.layers_of(encoder._replace(hidden=None), params["encoder"], (0,))


def test_more_labels_help_and_draws_are_the_same_for_all_features():
    train, dev, test = (drawn(num, seed=seed) for num, seed in ((600, 0), (200, 1), (400, 2)))
    curve = downstream.label_curve(train, dev, test, (0.02, 1.0), draws=2)
    assert curve.accuracy.shape == (2, 2)
    assert curve.accuracy[1].mean() > curve.accuracy[0].mean() + 0.02
    again = downstream.label_curve(train, dev, test, (0.02,), draws=2)
    np.testing.assert_array_equal(again.accuracy[0], curve.accuracy[0])
    with pytest.raises(ValueError, match=r"fractions must lie in \(0, 1\]"):
        downstream.label_curve(train, dev, test, (1.5,))


def test_bad_labels_are_refused_in_one_line():
    x = jnp.ones((4, 2))
    with pytest.raises(ValueError, match=r"labels must be 0\.\.1; got 0\.\.2"):
        downstream.fit_logistic(x, jnp.array([0, 1, 2, 0]), 2)
    with pytest.raises(ValueError, match=r"must have one N, at least 1; got \(4, 2\), \(3,\)"):
        downstream.fit_logistic(x, jnp.array([0, 1, 0]), 2)
    with pytest.raises(ValueError, match="num_classes must be at least 2; got 1"):
        downstream.fit_logistic(x, jnp.zeros(4, jnp.int32), 1)
