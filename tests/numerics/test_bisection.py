"""Halving an interval: the crossing between the ends, for many intervals at once, under jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.numerics import bisected


@pytest.mark.parametrize("root", [0.3, 1.0, 7.25])
def test_ends_enclose_the_crossing_to_rounding(root):
    low, high = jax.jit(lambda r: bisected(lambda x: x >= r, jnp.float32(0), jnp.float32(10)))(root)
    assert float(low) < root <= float(high)
    assert float(high) - float(low) <= 2e-6


def test_intervals_are_halved_side_by_side():
    squares = jnp.array([2.0, 9.0, 30.0])
    _, high = bisected(lambda x: x**2 >= squares, jnp.zeros(3), jnp.full(3, 10.0))
    np.testing.assert_allclose(high, np.sqrt(squares), rtol=1e-6)
    _, alone = jax.vmap(lambda s: bisected(lambda x: x**2 >= s, jnp.float32(0), jnp.float32(10)))(squares)
    np.testing.assert_array_equal(alone, high)


def test_the_number_of_steps_is_that_of_halvings():
    low, high = bisected(lambda x: x >= 0.1, jnp.float32(0), jnp.float32(1), steps=3)
    assert (float(low), float(high)) == (0.0, 0.125)


def test_without_a_crossing_the_given_end_comes_back():
    low, high = bisected(lambda x: x > 5, jnp.float32(0), jnp.float32(1))
    assert float(high) == 1.0
    assert float(low) == pytest.approx(1.0)
