"""Rendered sprites: what the factors mean, the grid's places, the data room's names, TFDS's factors."""

from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.data import load, rooms, sprites, tfds_sets
from jaxae.data.factors import factors_at, index_of, sample_factors
from jaxae.types import Batch

SIZES = sprites.FACTOR_SIZES
render = jax.jit(lambda factors: sprites.render(factors, 32))


def centre(image):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return (rows * image).sum() / image.sum(), (columns * image).sum() / image.sum()


def test_the_grid_is_that_of_dsprites_and_places_and_factors_are_inverse():
    assert np.prod(SIZES) == 737_280
    assert np.prod(rooms.FACTOR_SIZES) == 480_000
    index = jnp.array([0, 1, 31, 32, 1024, 737_279])
    factors = factors_at(index, SIZES)
    np.testing.assert_array_equal(factors, np.stack(np.unravel_index(np.asarray(index), SIZES), -1))
    np.testing.assert_array_equal(index_of(factors, SIZES), index)
    drawn = sample_factors(jax.random.key(0), SIZES, 500)
    assert (drawn.max(0) < jnp.array(SIZES)).all()
    assert len(np.unique(drawn[:, 2])) == 40
    with pytest.raises(ValueError, match="sizes of at least 1"):
        sample_factors(jax.random.key(0), (3, 0), 2)


def test_areas_are_those_of_the_shapes():
    # a square of half width h: 4 h^2; an ellipse of half axes 1.25 h and 0.7 h: pi 1.25 0.7 h^2; in pixels of 2/32
    image = render(jnp.array([[0, 5, 0, 16, 16], [0, 0, 7, 16, 16], [1, 5, 5, 16, 16]]))
    half = 0.3 * np.array([1, 0.5, 1]) * 16
    expected = np.array([4, 4, np.pi * 1.25 * 0.7]) * half**2
    np.testing.assert_allclose(image.sum((1, 2, 3)), expected, rtol=0.03)


def test_position_moves_and_rotation_turns():
    at = render(jnp.array([[1, 3, 0, 0, 16], [1, 3, 0, 31, 16], [1, 3, 0, 16, 0]]))[..., 0]
    (_, left), (_, right), (top, _) = (centre(np.asarray(image)) for image in at)
    np.testing.assert_allclose([left, right, top], [15.5 - 0.55 * 16, 15.5 + 0.55 * 16, 15.5 - 0.55 * 16], atol=0.05)
    middle = [[2, 4, turn, 8, 8] for turn in (0, 10, 20)]
    moved = np.asarray(sprites.render(jnp.array(middle), 33))[..., 0]
    assert np.abs(moved[0] - moved[1]).max() > 0.9
    squares = np.asarray(render(jnp.array([[0, 5, 0, 4, 9], [0, 5, 10, 4, 9], [0, 5, 5, 4, 9]])))
    np.testing.assert_allclose(squares[0], squares[1], atol=1e-4)  # a quarter turn
    assert np.abs(squares[0] - squares[2]).max() > 0.9


def test_sprites_stay_inside_the_image_and_differ():
    corners = jnp.array([[s, 5, t, x, y] for s in range(3) for t in (0, 5) for x in (0, 31) for y in (0, 31)])
    image = np.asarray(render(corners))[..., 0]
    edge = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], 1)
    assert edge.max() < 0.5
    flat = np.asarray(render(sample_factors(jax.random.key(1), SIZES, 64))).reshape(64, -1)
    assert len(np.unique(flat.round(3), axis=0)) == 64
    assert flat.min() >= 0
    assert flat.max() <= 1


@pytest.mark.parametrize("world", sorted(sprites.SPRITES))
def test_worlds_compile_once_and_every_factor_shows(world):
    made = sprites.SPRITES[world]
    draw = jax.jit(chex.assert_max_traces(lambda factors: made.render(factors, 16), n=1))
    base = np.array([[1 if size > 2 else 0 for size in made.factor_sizes]])
    first = draw(jnp.asarray(base))
    assert first.shape == (1, 16, 16, 1 if world == "plain" else 3)
    for factor in range(len(made.factor_sizes)):
        other = base.copy()
        other[0, factor] += 1
        assert float(jnp.abs(draw(jnp.asarray(other)) - first).max()) > 0.02, made.factor_names[factor]


def test_bad_factors_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"factor 1 has values 0\.\.5; row 1 has 6"):
        sprites.render(jnp.array([[0, 0, 0, 0, 0], [0, 6, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"whole numbers \[B, 6\]; got \(1, 5\)"):
        sprites.render_colour(jnp.zeros((1, 5), jnp.int32))
    with pytest.raises(ValueError, match="8 pixels"):
        sprites.render(jnp.zeros((1, 5), jnp.int32), size=4)
    with pytest.raises(ValueError, match="no sprites 'blue'"):
        sprites.rendered("blue")


def test_a_transform_renders_places_and_factors_alike():
    transform = sprites.rendered("colour", 16)
    index = jnp.array([5, 77_777])
    factors = factors_at(index, sprites.SPRITES["colour"].factor_sizes)
    np.testing.assert_array_equal(transform(None, Batch(index)).x, transform(None, Batch(factors)).x)


def test_the_data_room_knows_them_with_their_factors():
    data = load("sprites:16:600", seed=3)
    assert data.x_train.shape == (600, 16, 16, 1)
    assert data.x_train.dtype == np.uint8
    assert data.x_test.shape[0] == 120
    assert data.label_names == ("square", "ellipse", "heart")
    np.testing.assert_array_equal(data.y_train, data.factors.train[:, 0])
    again = np.round(255 * np.asarray(sprites.render(jnp.asarray(data.factors.test[:4]), 16)))
    np.testing.assert_allclose(data.x_test[:4], again, atol=1)
    both = np.concatenate([data.factors.train, data.factors.test])
    assert len(np.unique(both, axis=0)) == 720
    with pytest.raises(ValueError, match="neither a size nor one of plain, colour, room"):
        load("sprites:tiny")
    with pytest.raises(ValueError, match=r"900000 \+ 180000 images of 737280"):
        load("sprites:900000")


def test_tfds_labels_are_factors(monkeypatch):
    rows = [
        {"image": np.full((8, 8, 1), i % 2, np.uint8), "label_shape": i % 3, "label_x_position": i} for i in range(9)
    ]
    feature = {
        "image": SimpleNamespace(shape=(8, 8, 1)),
        "label_shape": SimpleNamespace(shape=(), num_classes=3, names=["square", "ellipse", "heart"]),
        "label_x_position": SimpleNamespace(shape=(), num_classes=32, names=[str(i) for i in range(32)]),
    }
    info = SimpleNamespace(
        splits={"train": 9},
        features=feature,
        supervised_keys=None,
        full_name="dsprites/2.0.0",
        description="",
        name="d",
    )
    builder = SimpleNamespace(info=info, as_data_source=lambda split: rows)
    monkeypatch.setattr(tfds_sets, "_builder", lambda tfds, name, data_dir: builder)
    data = load("tfds:dsprites")
    assert data.x_train.max() == 255
    assert data.label_names == ("square", "ellipse", "heart")
    assert data.factors.names == ("shape", "x_position")
    assert data.factors.sizes == (3, 32)
    np.testing.assert_array_equal(data.factors.test[:, 0], data.y_test)
    assert len(data.factors.train) == len(data.x_train)
    assert sorted([*data.factors.train[:, 1], *data.factors.test[:, 1]]) == list(range(9))
