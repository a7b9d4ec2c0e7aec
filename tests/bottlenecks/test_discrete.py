"""Discrete bottlenecks: one table of what holds beyond the contract: padding, NaN, precision."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae.bottlenecks import (
    bernoulli,
    bsq,
    categorical,
    fsq,
    grouped,
    latent_quantizer,
    lfq,
    random_projection,
    residual,
    sim_vq,
    vector_quantizer,
)

KEY = jax.random.key
# name: constructor, largest symbol, whether a call with a key gives a code that can be looked up
TABLE = {
    "bernoulli": (lambda: bernoulli(4), 1, True),
    "bernoulli_gumbel": (lambda: bernoulli(4, estimator="gumbel_straight_through", prior="learned"), 1, True),
    "bernoulli_relaxed": (lambda: bernoulli(4, estimator="relaxed", temperature=lambda s: 1 / (1.0 + s)), 1, False),
    "categorical": (lambda: categorical(2, 2, temperature=lambda s: 1 / (1.0 + s)), 1, True),
    "categorical_relaxed": (lambda: categorical(2, 2, estimator="relaxed"), 1, False),
    "fsq": (lambda: fsq((5, 4, 3, 2), noise_dropout=0.5), 119, True),
    "lfq": (lambda: lfq(4), 15, True),
    "bsq": (lambda: bsq(4, group_bits=3), 15, True),
    "latent_quantizer": (lambda: latent_quantizer((2, 3, 4, 5)), 4, True),
    "vector_quantizer": (lambda: vector_quantizer(8), 7, True),
    "vector_quantizer_gradient": (lambda: vector_quantizer(8, learn="gradient", orthogonality=0.1), 7, True),
    "vector_quantizer_rotation": (lambda: vector_quantizer(8, estimator="rotation", cosine=True), 7, True),
    "vector_quantizer_directional": (lambda: vector_quantizer(8, estimator="directional", learn="gradient"), 7, True),
    "vector_quantizer_gumbel": (lambda: vector_quantizer(8, estimator="gumbel", temperature=1.0), 7, True),
    "vector_quantizer_drawn": (lambda: vector_quantizer(8, temperature=0.5, diversity=0.1), 7, True),
    "vector_quantizer_kmeans": (lambda: vector_quantizer(8, seeding="kmeans"), 7, True),
    "sim_vq": (lambda: sim_vq(8), 7, True),
    "random_projection": (lambda: random_projection(8, width=4), 7, True),
    "residual": (lambda: residual(vector_quantizer(8), 3), 7, True),
    "grouped": (lambda: grouped(vector_quantizer(8), 2), 7, True),
    "grouped_shared": (lambda: grouped(residual(sim_vq(8), 2), 2, shared=True), 7, True),
}


@functools.cache  # one layer a name: what one test has compiled of it, the others find
def built(name):
    make, top, hard = TABLE[name]
    layer = make()
    h = 2 * jax.random.normal(KEY(0), (6, 3, 4))
    params, state = jax.jit(layer.init)(KEY(1), h)
    return layer, params, state, h, top, hard


@pytest.fixture(params=sorted(TABLE))
def member(request):
    return built(request.param)


def test_symbols_are_looked_up_bit_for_bit(member):
    layer, params, state, h, top, hard = member
    for run in (lambda f: f, jax.jit):
        for rng in (None, KEY(2)) if hard else (None,):
            code, _ = run(layer.apply)(params, state, rng, h)
            assert code.symbols.dtype == jnp.int32
            assert 0 <= int(code.symbols.min()) <= int(code.symbols.max()) <= top
            np.testing.assert_array_equal(run(layer.lookup)(params, state, code.symbols), code.latent)


def test_compiled_equals_eager_in_one_trace_and_the_state_is_kept_without_a_key(member):
    layer, params, state, h, _, _ = member
    apply = jax.jit(chex.assert_max_traces(layer.apply, n=1))
    for seed in (2, 3):
        eager, compiled = layer.apply(params, state, KEY(seed), h), apply(params, state, KEY(seed), h)
        chex.assert_trees_all_close(eager, compiled, rtol=1e-4, atol=1e-5)
    code, new = layer.apply(params, state, None, h)
    chex.assert_trees_all_equal(state, new)
    rows = jax.vmap(lambda row: layer.apply(params, state, None, row[None])[0])(h)
    np.testing.assert_array_equal(rows.latent[:, 0], code.latent)
    np.testing.assert_array_equal(rows.symbols[:, 0], code.symbols)
    assert code.penalty.shape == code.rate.shape == (6,)


def test_half_precision_and_padding(member):
    layer, params, state, h, _, _ = member
    half, apply = h.astype(jnp.bfloat16), jax.jit(layer.apply)
    code, _ = apply(params, state, None, half)
    same, _ = apply(params, state, None, half.astype(jnp.float32))
    chex.assert_trees_all_equal(code, same)
    mask = jnp.array([[1, 1, 0]] * 6)
    spoilt = h.at[:, 2].set(jnp.nan)
    a, _ = apply(params, state, KEY(1), h, {"mask": mask})
    b, _ = apply(params, state, KEY(1), spoilt, {"mask": mask})
    chex.assert_trees_all_equal(a, b)
    short, _ = apply(params, state, None, h[:, :2])
    masked, _ = apply(params, state, None, h, {"mask": mask})
    np.testing.assert_allclose(short.penalty, masked.penalty, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(short.rate, masked.rate, rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda h: layer.apply(params, state, None, h, {"mask": mask})[0].latent.sum()))(spoilt)
    assert not np.isnan(gradient).any()
    with pytest.raises(ValueError, match=r"a value per token, \(6, 3\), got \(6,\)"):
        layer.apply(params, state, None, h, {"mask": mask[:, 0]})
    with pytest.raises(ValueError, match=r"must be 4, got 3|4 wide, h is 3|groups do not divide"):
        layer.apply(params, state, None, h[..., :3])


def test_nan_is_never_a_code(member):
    layer, params, state, h, top, _ = member
    for run in (lambda f: f, jax.jit):
        code, _ = run(layer.apply)(params, state, None, h.at[1, 1].set(jnp.nan))
        assert np.isnan(code.latent[1, 1]).all()
        assert np.isfinite(np.delete(np.asarray(code.latent).reshape(18, 4), 4, 0)).all()
        assert (np.asarray(code.symbols)[1, 1] == -1).all()
    assert np.isnan(jax.jit(layer.lookup)(params, state, code.symbols)[1, 1]).all()
    with pytest.raises(ValueError, match="symbols must be in"):
        layer.lookup(params, state, jnp.full_like(code.symbols, top + 1))
