"""Diagnostics of codes against numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy

from jaxae.bottlenecks import diagnostics

SYMBOLS = np.random.default_rng(0).integers(0, 5, (7, 9)).astype(np.int32)


def test_counts_and_what_follows_from_them():
    counts = jax.jit(lambda s: diagnostics.code_counts(s, 8))(jnp.asarray(SYMBOLS))
    want = np.bincount(SYMBOLS.ravel(), minlength=8)
    np.testing.assert_array_equal(counts, want)
    assert float(diagnostics.usage(counts)) == 5 / 8
    np.testing.assert_allclose(diagnostics.perplexity(counts), np.exp(entropy(want)), rtol=1e-5)
    assert int(diagnostics.dead_codes(counts).sum()) == 3
    assert float(diagnostics.perplexity(jnp.zeros(4, jnp.int32))) == 1


def test_padding_and_nan_symbols_are_not_counted():
    mask = np.zeros(SYMBOLS.shape)
    mask[:, :2] = 1
    counts = diagnostics.code_counts(jnp.asarray(SYMBOLS), 8, jnp.asarray(mask))
    np.testing.assert_array_equal(counts, np.bincount(SYMBOLS[:, :2].ravel(), minlength=8))
    assert int(diagnostics.code_counts(jnp.array([-1, 8, 3]), 8).sum()) == 1


def test_code_lengths():
    counts = jnp.ones(8, jnp.int32)
    np.testing.assert_allclose(diagnostics.bits_per_example(jnp.asarray(SYMBOLS), counts), np.full(7, 27.0))
    own = np.bincount(SYMBOLS.ravel(), minlength=5)
    total = diagnostics.bits_per_example(jnp.asarray(SYMBOLS), jnp.asarray(own)).sum()
    np.testing.assert_allclose(total, entropy(own, base=2) * SYMBOLS.size, rtol=1e-5)
    assert np.isinf(diagnostics.bits_per_example(jnp.array([[1]]), jnp.array([3, 0]))).all()
    assert np.isnan(diagnostics.bits_per_example(jnp.array([[-1]]), jnp.array([3, 0]))).all()


def test_quantization_error_leaves_padding_out():
    h = jnp.array([[1.0, 3.0], [jnp.nan, 0.0]])
    error = diagnostics.quantization_error(h, jnp.zeros((2, 2)), jnp.array([1, 0]))
    assert float(error) == 10


def test_bad_arguments():
    with pytest.raises(ValueError, match="mask must be like the symbols"):
        diagnostics.code_counts(jnp.asarray(SYMBOLS), 8, jnp.ones(7))
    with pytest.raises(ValueError, match="at least 1"):
        diagnostics.code_counts(jnp.asarray(SYMBOLS), 0)
