"""Traversals and interpolations of latents, as numbers and as files."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxae.numerics import interpolation
from jaxae.report import traversals


def test_spherical_interpolation_keeps_the_norm_and_even_angles():
    first, second = jnp.array([3.0, 0.0, 0.0]), jnp.array([0.0, 3.0, 0.0])
    points = interpolation.spherical(first, second, steps=5)
    np.testing.assert_allclose(jnp.linalg.norm(points, axis=1), 3.0, rtol=1e-5)
    angles = np.arctan2(points[:, 1], points[:, 0])
    np.testing.assert_allclose(np.diff(angles), np.pi / 8, rtol=1e-4)
    for other in (first, -first):  # no arc between these: the line
        arc, line = (way(first, other, 3) for way in (interpolation.spherical, interpolation.linear))
        np.testing.assert_allclose(arc, line, atol=1e-5)


def test_traversals_change_one_dimension():
    latent = jnp.array([0.5, -1.0, 2.0])
    rows = traversals.traverse(latent, jnp.array([[0.0, 1.0], [5.0, 6.0]]), [2, 0])
    assert rows.tolist() == [[[0.5, -1.0, 0.0], [0.5, -1.0, 1.0]], [[5.0, -1.0, 2.0], [6.0, -1.0, 2.0]]]
    with pytest.raises(ValueError, match="none of"):
        traversals.traverse(latent, jnp.zeros(2), [3])
    with pytest.raises(ValueError, match=r"values must be \[S\] or \[3, S\]"):
        traversals.traverse(latent, jnp.zeros((2, 2)))


def test_a_gif_goes_forth_and_back_and_a_sheet_holds_every_image(tmp_path):
    images = np.linspace(0, 1, 3 * 4, dtype=np.float32).reshape(3, 4, 1, 1, 1) * np.ones((1, 1, 6, 8, 1), np.float32)
    path = traversals.animate(tmp_path / "moving.gif", images, ["a", "b", "c"], zoom=2)
    with Image.open(path) as moving:
        assert moving.n_frames == 6
        assert moving.size[0] == 3 * 16 + 2 * 6
    sheet = traversals.tiled(images, gap=1)
    assert sheet.shape == (3 * 6 + 2, 4 * 8 + 3, 3)
    np.testing.assert_allclose(sheet[0, 0], 0)
    np.testing.assert_allclose(sheet[-1, -1], 1)
    with pytest.raises(ValueError, match=r"got \(3, 4, 6\)"):
        traversals.grid(tmp_path / "no.png", np.zeros((3, 4, 6)))
