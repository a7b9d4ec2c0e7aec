"""Classifiers: the loss against second implementations, training through the ordinary loop, pretrained encoders."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import log_loss

from jaxae import downstream, likelihoods, networks, presets, train, transforms
from jaxae.data.batches import shuffled
from jaxae.types import Batch

KEY = jax.random.key


def tiny(num_classes=3, **options):
    return downstream.classifier(networks.mlp(8, 4), networks.mlp(num_classes), num_classes, **options)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    x = rng.normal(size=(96, 5)) + 4 * np.eye(3, 5)[labels]
    return Batch(jnp.asarray(x, jnp.float32), target=jnp.asarray(labels[:, None], jnp.int32))


def test_cross_entropy_is_scikit_learns_and_smoothing_is_optaxs():
    batch = Batch(jax.random.normal(KEY(1), (6, 5)), target=jnp.array([[0], [2], [1], [1], [0], [2]]))
    for smoothing in (0.0, 0.2):
        _, objective = tiny(label_smoothing=smoothing)
        params, state = jax.jit(objective.init)(KEY(0), batch)
        loss, (output, _, metrics) = jax.jit(objective.apply)(params, state, None, batch, 0)
        p = jax.nn.softmax(output.prediction)
        np.testing.assert_allclose(metrics["nll"].mean(), log_loss(batch.target[:, 0], p, labels=[0, 1, 2]), rtol=1e-5)
        smooth = optax.smooth_labels(jax.nn.one_hot(batch.target[:, 0], 3), smoothing)
        np.testing.assert_allclose(loss, optax.softmax_cross_entropy(output.prediction, smooth), rtol=1e-5)
        np.testing.assert_array_equal(metrics["accuracy"], output.prediction.argmax(-1) == batch.target[:, 0])


def test_classifier_learns_through_the_ordinary_loop(blobs):
    model, objective = tiny()
    optimizer = optax.adam(1e-2)
    state = jax.jit(lambda rng: train.init_state(objective, optimizer, rng, blobs))(KEY(0))
    state = train.fit(train.build_step(objective, optimizer), state, shuffled(96, 32), 60, data=blobs).state
    metrics = train.evaluator(objective, blobs, 60, batch_size=40)(state)
    assert metrics["accuracy"] > 0.95
    features = model.encode(state.params["model"], state.state["model"], blobs.x).latent
    logits = model.decode(state.params["model"], features)
    assert (features.shape, logits.shape) == ((96, 4), (96, 3))
    alone = model.encode(state.params["model"], state.state["model"], blobs.x[:1]).latent
    np.testing.assert_allclose(alone, features[:1], rtol=1e-5, atol=1e-6)


def test_pretrained_encoder_is_copied_and_stays_where_it_is_frozen(blobs):
    encoder = networks.mlp(8, 4)
    autoencoder, _ = presets.ae((5,), latent_size=4, encoder=encoder)
    source, _ = autoencoder.init(KEY(5), blobs.x)
    _, objective = downstream.classifier(encoder, networks.mlp(3), 3)
    params, _ = objective.init(KEY(1), blobs)
    started = downstream.pretrained(params, {"model": source})
    jax.tree.map(np.testing.assert_array_equal, started["model"]["encoder"], source["encoder"])

    def moved(optimizer):
        updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, started), optimizer.init(started), started)
        return {
            part: bool(jnp.abs(jax.tree.leaves(tree)[0]).max() > 0) for part, tree in updates["model"].items() if tree
        }

    assert moved(downstream.fine_tuning(optax.sgd(1e-2))) == {"encoder": False, "decoder": True}
    assert moved(downstream.fine_tuning(optax.sgd(1e-2), encoder=optax.sgd(1e-3))) == {"encoder": True, "decoder": True}


def test_bad_input_is_one_line():
    x = jnp.ones((4, 5))
    _, objective = tiny()
    params, state = objective.init(KEY(0), Batch(x))
    for target in (None, jnp.zeros(4, jnp.int32), jnp.zeros((4, 1))):
        with pytest.raises(ValueError, match=r"target \[B, 1\] of whole numbers"):
            objective.apply(params, state, None, Batch(x, target=target), 0)
    with pytest.raises(ValueError, match=r"the head gives \(4, 2\), but 3 classes"):
        downstream.classifier(networks.mlp(4), networks.mlp(2), 3)[0].init(KEY(0), x)
    with pytest.raises(ValueError, match="label_smoothing must lie"):
        tiny(label_smoothing=1.0)
    other, _ = downstream.classifier(networks.mlp(8, 6), networks.mlp(3), 3)
    with pytest.raises(ValueError, match=r"is \(8, 6\), the classifier's \(8, 4\)|is \(6,\), the classifier's \(4,\)"):
        downstream.pretrained(params, other.init(KEY(0), x)[0])


def test_default_encoders_for_images_and_tables_give_features_that_are_not_negative():
    for shape in ((5, 4, 1), (6,)):
        encoder = downstream.feature_encoder(shape, 5, channels=(4,))
        x = jax.random.normal(KEY(0), (3, *shape))
        features = jax.jit(encoder.apply)(jax.jit(encoder.init)(KEY(1), x), x)
        assert features.shape == (3, 5)
        assert float(features.min()) >= 0


@pytest.mark.parametrize("num_classes", [1, 2.0])
def test_categorical_needs_classes(num_classes):
    with pytest.raises(Exception, match=r"at least 2|num_classes"):
        likelihoods.categorical(num_classes)


def test_categorical_of_several_channels_is_the_softmax_of_each():
    logits = jax.random.normal(KEY(0), (2, 3, 2 * 4))  # 4 levels of 2 channels, blocks by level
    x = jax.random.randint(KEY(1), (2, 3, 2), 0, 4)
    log_p = np.asarray(logits).reshape(2, 3, 4, 2)
    log_p = log_p - np.log(np.exp(log_p).sum(2, keepdims=True))
    grey = likelihoods.categorical(4)
    expected = np.take_along_axis(log_p, np.asarray(x)[:, :, None], 2)[:, :, 0]
    np.testing.assert_allclose(grey.log_prob(x, logits), expected, rtol=1e-5)
    np.testing.assert_allclose(grey.mean(logits), (np.exp(log_p) * np.arange(4)[:, None]).sum(2), rtol=1e-5)
    assert np.isnan(grey.log_prob(jnp.array([[[-1, 4]]]), logits[:1, :1])).all()


def test_random_affine_moves_whole_pixels_and_keeps_labels():
    image = jnp.zeros((1, 5, 7, 1)).at[0, 2, 3, 0].set(1.0)
    still = transforms.random_affine(0, 0, 0.0)(KEY(0), Batch(image, target=jnp.ones((1, 1), jnp.int32)))
    np.testing.assert_allclose(still.x, image, atol=1e-6)
    assert still.target.tolist() == [[1]]
    # a shift by (a, b) reads the image there: the bright pixel moves by minus that, its mass shared by four places
    moved = transforms.random_affine(1, 0, 0.0)(KEY(1), Batch(image)).x[0, :, :, 0]
    rows, columns = np.arange(5), np.arange(7)
    centre = float((moved.sum(1) * rows).sum()), float((moved.sum(0) * columns).sum())
    assert 0 < max(abs(centre[0] - 2), abs(centre[1] - 3)) <= 1
    np.testing.assert_allclose(moved.sum(), 1.0, rtol=1e-5)
    for amounts in ({"shift": -1}, {"scale": 1.0}):
        with pytest.raises(ValueError, match="random_affine"):
            transforms.random_affine(**amounts)
    with pytest.raises(ValueError, match=r"must be \[B, H, W, C\]"):
        transforms.random_affine()(KEY(0), Batch(jnp.ones((2, 3))))


def test_turned_images_have_the_labels_of_their_turns():
    x = jax.random.normal(KEY(0), (24, 3, 3, 2))
    labels = jnp.arange(24)[:, None] % 5
    made = downstream.turned(5)(KEY(1), Batch(x, labels))
    turns = np.asarray(made.target[:, 0]) // 5
    assert set(turns) == {0, 1, 2, 3}
    np.testing.assert_array_equal(made.target % 5, labels)
    for before, after, turn in zip(np.asarray(x), np.asarray(made.x), turns, strict=True):
        np.testing.assert_array_equal(after, np.rot90(before, turn, (0, 1)))
    untouched = downstream.turned(5)(None, Batch(x, labels))
    np.testing.assert_array_equal(untouched.x, x)
    np.testing.assert_array_equal(untouched.target, labels)


def test_spliced_images_hold_two_images_and_nothing_else():
    x = jnp.broadcast_to(jnp.arange(8.0)[:, None, None, None], (8, 9, 9, 1))
    labels = jnp.array([[0], [1], [0], [1], [1], [1], [0], [0]])
    made = downstream.spliced(unknown=2, share=0.5)(KEY(0), Batch(x, labels))
    # rows 0..3 are paired with rows 4..7: labels (0, 1), (1, 1), (0, 0), (1, 0)
    assert made.target[:, 0].tolist() == [2, 1, 0, 2, 1, 1, 0, 0]
    for row in (0, 3):
        values, counts = np.unique(made.x[row], return_counts=True)
        assert values.tolist() == [row, row + 4]
        assert counts.min() > 81 / 4  # a cut near the centre
    for row in (1, 2, 4, 5, 6, 7):
        np.testing.assert_array_equal(made.x[row], x[row])


def test_auxiliary_tasks_refuse_what_they_cannot_do():
    x = jnp.ones((4, 3, 2, 1))
    for transform in (downstream.turned(2), downstream.spliced(2)):
        with pytest.raises(ValueError, match="needs labels"):
            transform(KEY(0), Batch(x))
    with pytest.raises(ValueError, match="must be square"):
        downstream.turned(2)(KEY(0), Batch(x, jnp.zeros((4, 1), jnp.int32)))
    with pytest.raises(ValueError, match="share must lie"):
        downstream.spliced(2, share=0.6)
