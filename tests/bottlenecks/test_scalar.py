"""FSQ and latent quantization by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.bottlenecks.fsq import fsq
from jaxae.bottlenecks.latent_quantizer import latent_quantizer

KEY = jax.random.key


def test_fsq_is_the_papers_formula():
    levels = np.array([8, 5, 3, 2])
    h = np.random.default_rng(0).normal(size=(50, 4)) * 2
    half = (levels - 1) * (1 - 1e-3) / 2
    offset = np.where(levels % 2 == 1, 0, 0.5)
    bounded = np.tanh(h + np.tan(offset / half)) * half - offset
    latent = np.round(bounded) / (levels // 2)
    code, _ = fsq(levels.tolist()).apply({}, (), None, jnp.asarray(h, jnp.float32))
    np.testing.assert_allclose(code.latent, latent, rtol=1e-6)
    digits = np.round(bounded).astype(int) + levels // 2
    np.testing.assert_array_equal(code.symbols, digits @ [1, 8, 40, 120])
    np.testing.assert_allclose(code.rate, np.log(240), rtol=1e-6)


def test_fsq_jacobian_is_that_of_the_bound():
    layer, h = fsq((5, 3)), jnp.array([[0.3, -0.2]])
    jacobian = jax.jacobian(lambda h: layer.apply({}, (), None, h)[0].latent[0])(h)[:, 0]
    slope = (1 - np.tanh([0.3, -0.2]) ** 2) * 0.999 * np.array([2, 1]) / [2, 1]
    np.testing.assert_allclose(jacobian, np.diag(slope), rtol=1e-5)


def test_latent_quantizer_by_hand():
    layer = latent_quantizer((3, 2), commitment=0.5, quantization=2.0)
    h = jnp.array([[0.4, -0.1]])
    params, state = layer.init(KEY(0), h)
    code, _ = layer.apply(params, state, None, h)
    assert code.latent.tolist() == [[0.5, -0.5]]
    np.testing.assert_allclose(code.penalty, 2.5 * (0.01 + 0.16), rtol=1e-5)
    gradient = jax.grad(lambda p: layer.apply(p, state, None, h)[0].penalty.sum())(params)["values"]
    np.testing.assert_allclose(gradient[0], [0, 0, 2 * 2 * 0.1], rtol=1e-5)
    np.testing.assert_allclose(gradient[1], [2 * 2 * -0.4, 0], rtol=1e-5)
    jacobian = jax.jacobian(lambda h: layer.apply(params, state, None, h)[0].latent[0])(h)[:, 0]
    np.testing.assert_array_equal(jacobian, np.eye(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fsq((8, 1)), "at least 2"),
        (lambda: fsq(()), "at least one number"),
        (lambda: fsq((2,) * 32), "more than int32 holds"),
        (lambda: fsq((4,), noise_dropout=1.5), "noise_dropout"),
        (lambda: latent_quantizer((1,)), "at least 2"),
        (lambda: latent_quantizer((4,), quantization=0.0), "without a gradient"),
    ],
)
def test_bad_levels(make, message):
    with pytest.raises(ValueError, match=message):
        make()
