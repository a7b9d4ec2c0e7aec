"""What the contract tests cannot know of a transform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxae import transforms
from jaxae.types import Batch


def test_log_uniform_noise_has_a_size_of_its_own_for_every_example():
    x = jnp.full((400, 20, 10), 3.0)
    noise = np.asarray(transforms.log_uniform_noise(0.01, 10.0)(jax.random.key(0), Batch(x)).x) - 3
    size = np.log10(noise.std((1, 2), dtype=np.float64))
    # 200 draws tell a deviation to 5 %, little beside three decades
    assert stats.kstest(size, stats.uniform(-2, 3).cdf).pvalue > 1e-3
    scaled = noise / noise.std((1, 2), keepdims=True)
    assert abs(stats.kurtosis(scaled.ravel())) < 0.1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (0.1, float("inf")), (float("nan"), 1.0)])
def test_log_uniform_noise_refuses_deviations_that_are_none(low, high):
    with pytest.raises(ValueError, match="finite with 0 < low <= high"):
        transforms.log_uniform_noise(low, high)


def test_condition_on_input_is_what_the_likelihood_scores():
    x, clean = jnp.ones((2, 3)), jnp.zeros((2, 3))
    seen = transforms.condition_on_input()
    np.testing.assert_array_equal(seen(None, Batch(x)).condition, x)
    np.testing.assert_array_equal(seen(None, Batch(x, target=clean, condition=jnp.ones(2))).condition, clean)
