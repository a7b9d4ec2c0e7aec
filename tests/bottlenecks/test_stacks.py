"""Estimators and combinators: each pair gives the estimator's gradient, or is refused; and gradients are bounded."""

import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import networks
from jaxae.bottlenecks import (
    bernoulli,
    bsq,
    categorical,
    frozen,
    grouped,
    hierarchical,
    multi_scale,
    nested,
    power_spherical,
    projected,
    random_projection,
    residual,
    sim_vq,
    vector_quantizer,
)
from jaxae.bottlenecks.directions import unit
from jaxae.bottlenecks.estimators import directional, rotation
from jaxae.types import Bottleneck, Code

KEY = jax.random.key
ESTIMATORS = ("rotation", "directional", "gumbel")
COMBINATORS = {
    "projected": lambda base: projected(base, 4),
    "grouped": lambda base: grouped(base, 2),
    "grouped_shared": lambda base: grouped(base, 2, shared=True),
    "nested": lambda base: nested(networks.mlp(4), base, networks.mlp(4)),
    "hierarchical_top": lambda base: hierarchical(base, quantizer("straight_through")),
    "hierarchical_local": lambda base: hierarchical(quantizer("straight_through"), base),
    "frozen": frozen,
    "residual": lambda base: residual(base, 2),
    "residual_shared": lambda base: residual(base, 2, shared=True),
    "residual_dropout": lambda base: residual(base, 3, least=2),
    "multi_scale": lambda base: multi_scale(base, (1, 2)),
    "multi_scale_of_its_own": lambda base: multi_scale(base, (1, 2), shared=False),
    "grouped_residual": lambda base: grouped(residual(base, 2), 2),
    "projected_residual": lambda base: projected(residual(base, 2), 4),
    "frozen_residual": lambda base: frozen(residual(base, 2)),
    "residual_frozen": lambda base: residual(frozen(base), 2),
}
STACKS = {name for name in COMBINATORS if "residual" in name or "multi" in name}


def quantizer(estimator):
    return vector_quantizer(8, learn="gradient", estimator=estimator, temperature=float(estimator == "gumbel"))


def of_latent(layer, h):
    """Gradients to parameters and input of a function of the latent alone, and the latent."""
    params, state = layer.init(KEY(1), h)

    def value(params, h):
        latent = layer.apply(params, state, KEY(2), h)[0].latent
        return jnp.sin(3 * latent).sum(), latent

    return jax.jit(jax.grad(value, (0, 1), has_aux=True))(params, h)


@functools.cache
def plain(name):
    return of_latent(COMBINATORS[name](quantizer("straight_through")), jax.random.normal(KEY(0), (2, 2, 2, 4)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", sorted(COMBINATORS))
def test_an_estimator_works_in_every_combinator_or_is_refused(name, estimator):
    if estimator == "gumbel" and name in STACKS:
        with pytest.raises(ValueError, match=r'would lose the gradient of its base \("gumbel"\)'):
            COMBINATORS[name](quantizer(estimator))
        return
    h = jax.random.normal(KEY(0), (2, 2, 2, 4))
    (to_params, to_h), latent = of_latent(COMBINATORS[name](quantizer(estimator)), h)
    (plain_to_params, plain_to_h), plain_latent = plain(name)
    assert np.isfinite(to_h).all()
    # shared groups and dropout draw alike: the values are those of the codes, whatever the estimator
    if estimator != "gumbel":
        np.testing.assert_array_equal(latent, plain_latent)
    assert np.abs(np.asarray(to_h) - np.asarray(plain_to_h)).max() > 1e-3
    books = [(path, leaf) for path, leaf in jax.tree.leaves_with_path(to_params) if "codebook" in str(path)]
    assert books
    # the codes learn through the latent with these estimators alone, and never behind `frozen`
    learn = estimator != "rotation" and "frozen" not in name
    count = max(float(np.abs(leaf).max()) for _, leaf in books)
    assert (count > 1e-4) == learn
    assert jax.tree.structure(to_params) == jax.tree.structure(plain_to_params)


@pytest.mark.parametrize("estimator", ["rotation", "directional"])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_residual_stack_has_the_estimators_gradient_of_its_sum(estimator, depth):
    """By hand: the function of `estimators`, from the input to the sum of the levels, and to each level's codes."""
    layer = residual(vector_quantizer(8, learn="gradient", estimator=estimator), depth)
    h = jax.random.normal(KEY(0), (5, 3))
    params, state = layer.init(KEY(1), h)
    code, _ = layer.apply(params, state, None, h)

    def by_hand(books, h):
        total = sum(books[i][code.symbols[:, i]] for i in range(depth))
        latent = rotation(total, h) if estimator == "rotation" else directional(total, h)
        return (latent * jnp.arange(15.0).reshape(5, 3)).sum()

    def ours(params, h):
        latent = layer.apply(params, state, None, h)[0].latent
        return (latent * jnp.arange(15.0).reshape(5, 3)).sum()

    found, wanted = jax.grad(ours, (0, 1))(params, h), jax.grad(by_hand, (0, 1))(params["codebook"], h)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[0]["codebook"], wanted[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", ["rotation", "directional"])
def test_a_token_that_is_not_finite_teaches_a_stack_nothing(estimator):
    layer = residual(vector_quantizer(8, learn="gradient", estimator=estimator), 2)
    h = jax.random.normal(KEY(0), (3, 4, 2))

    def gradient(h):
        params, state = layer.init(KEY(1), h)

        def value(params):
            latent = layer.apply(params, state, None, h)[0].latent
            return jnp.where(jnp.isnan(latent), 0.0, latent)[:, :3].sum(), latent

        return jax.grad(value, has_aux=True)(params)

    (found, latent), (wanted, _) = gradient(h.at[:, 3, 0].set(jnp.nan)), gradient(h)
    assert np.isnan(latent[:, 3]).all()
    np.testing.assert_allclose(found["codebook"], wanted["codebook"], rtol=1e-5)


@pytest.mark.parametrize(
    ("base", "word"),
    [
        (projected(vector_quantizer(8), 2), "projected"),
        (nested(networks.mlp(4), vector_quantizer(8), networks.mlp(4)), "nested"),
        (categorical(2, 2), "gumbel_straight_through"),
        (bernoulli(4, estimator="relaxed"), "relaxed"),
        (grouped(vector_quantizer(8, estimator="rotation"), 2), "rotation"),
        (residual(vector_quantizer(8, estimator="directional"), 2), "directional"),
    ],
)
@pytest.mark.parametrize("stack", [lambda base: residual(base, 2), lambda base: multi_scale(base, (1, 2))])
def test_a_base_that_learns_through_its_latent_is_refused_by_stacks(base, word, stack):
    with pytest.raises(ValueError, match=rf'would lose the gradient of its base \("{word}"\): take the estimator'):
        stack(base)


def constant_codes(width=None):
    """A bottleneck of one's own: its latents follow from symbols, and it has no prior to draw from."""

    def read(symbols):
        return jnp.broadcast_to(symbols[..., None].astype(jnp.float32), (*symbols.shape, width or 2))

    def apply(params, state, rng, h, condition=None):
        symbols = (h[..., 0] > 0).astype(jnp.int32)
        return Code(read(symbols), jnp.zeros(h.shape[0]), symbols=symbols), state

    def lookup(params, state, symbols, condition=None):
        return read(symbols)

    return Bottleneck(lambda rng, h, condition=None: ({}, ()), apply, lookup=lookup, num_codes=2)


@pytest.mark.parametrize(
    ("combinator", "h"),
    [
        (lambda base: residual(base, 2), jnp.ones((3, 2))),
        (lambda base: grouped(base, 2), jnp.ones((3, 4))),
        (lambda base: grouped(base, 2, shared=True), jnp.ones((3, 4))),
        (lambda base: multi_scale(base, (1, 2)), jnp.ones((3, 2, 2, 2))),
        (lambda base: projected(base, 2), jnp.ones((3, 4))),
        (lambda base: nested(networks.mlp(2), base), jnp.ones((3, 4))),
        (lambda base: hierarchical(base, vector_quantizer(4)), jnp.ones((3, 2))),
        (frozen, jnp.ones((3, 2))),
    ],
    ids=["residual", "grouped", "grouped_shared", "multi_scale", "projected", "nested", "hierarchical", "frozen"],
)
def test_combinators_carry_what_the_base_has_and_ask_for_no_more(combinator, h):
    layer = combinator(constant_codes())
    assert layer.sample is None
    params, state = layer.init(KEY(0), h)
    code, _ = layer.apply(params, state, None, h)
    np.testing.assert_array_equal(layer.lookup(params, state, code.symbols), code.latent)


@pytest.mark.parametrize("stack", [lambda base: residual(base, 2), lambda base: multi_scale(base, (1, 2))])
@pytest.mark.parametrize("base", [constant_codes(3), random_projection(8, width=3)], ids=["own", "random_projection"])
def test_a_base_that_changes_the_width_is_refused_by_stacks(stack, base):
    h = jnp.ones((3, 2, 2, 2))
    layer = stack(base)
    params, state = layer.init(KEY(0), h)
    with pytest.raises(ValueError, match="must be shaped like its input"):
        layer.apply(params, state, None, h)


@pytest.mark.parametrize(
    "layer",
    [
        vector_quantizer(8, estimator="rotation"),
        vector_quantizer(8, estimator="directional"),
        vector_quantizer(8, cosine=True),
        vector_quantizer(8, cosine=True, estimator="rotation"),
        sim_vq(8, cosine=True),
        bsq(4),
        random_projection(8, width=4),
        residual(vector_quantizer(8, estimator="rotation"), 2),
        power_spherical(),
    ],
    ids=["rotation", "directional", "cosine", "cosine_rotation", "sim_vq", "bsq", "random", "residual", "spherical"],
)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-8, 1e-4])
def test_gradients_of_tokens_near_zero_are_bounded(layer, size):
    """A Jacobian of at most 1000, the bound of the normalisation, times 10, that of the rotation's scale, or 316 times
    the random matrix, that of the standardisation."""
    h = size * jax.random.normal(KEY(0), (2, 4))
    params, state = layer.init(KEY(1), jax.random.normal(KEY(3), (2, 4)))
    jacobian = jax.jacobian(lambda h: layer.apply(params, state, None, h)[0].latent)(h)
    assert np.isfinite(jacobian).all()
    assert np.abs(jacobian).max() <= (1e6 if "projection" in state else 1.01e4)


def test_unit_vectors_have_length_one_and_the_exact_gradient_away_from_zero():
    a = jax.random.normal(KEY(0), (6, 3)) * 10.0 ** jnp.arange(-3, 3)[:, None]
    np.testing.assert_allclose(jnp.linalg.norm(unit(a), axis=-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(unit(jnp.zeros(3)), 0)
    for row in a[2:]:
        u, length = row / jnp.linalg.norm(row), jnp.linalg.norm(row)
        np.testing.assert_allclose(jax.jacobian(unit)(row), (np.eye(3) - np.outer(u, u)) / length, rtol=1e-3, atol=1e-5)


def test_the_scale_of_the_rotation_is_at_most_ten():
    jacobian = jax.jacobian(lambda e: rotation(jnp.array([[0.0, 3.0]]), e)[0])(jnp.array([[1e-8, 0.0]]))[:, 0]
    np.testing.assert_allclose(jacobian, [[0, -10], [10, 0]], atol=1e-5)


QUANTIZERS = (
    "fsq",
    "bsq",
    "latent_quantizer",
    "sim_vq",
    "random_projection",
    "vector_quantizer",
    "residual",
    "grouped",
)
COSINE = {
    "cosine": lambda: vector_quantizer(8, cosine=True),
    "cosine_frozen": lambda: vector_quantizer(8, cosine=True, learn="frozen"),
    "cosine_gradient": lambda: vector_quantizer(8, cosine=True, learn="gradient"),
    "cosine_residual": lambda: residual(vector_quantizer(8, cosine=True), 3),
    "cosine_grouped": lambda: grouped(vector_quantizer(8, cosine=True), 2),
    "cosine_sim_vq": lambda: sim_vq(8, cosine=True),
}
# scaled at every reading, as their codes are parameters
TO_THE_LAST_BIT = {"cosine_gradient", "cosine_sim_vq"}
ROUND_TRIP = """
import sys
import jax
import numpy as np
from jaxae.bottlenecks import BOTTLENECKS
from test_stacks import COSINE, QUANTIZERS, TO_THE_LAST_BIT

for name in [*QUANTIZERS, *COSINE]:
    layer = {**BOTTLENECKS, **COSINE}[name]()
    compiled, lookup = jax.jit(layer.apply), jax.jit(layer.lookup)
    h = 3 * jax.random.normal(jax.random.key(0), (64, 4))
    params, state = jax.jit(layer.init)(jax.random.key(1), h)
    _, state = compiled(params, state, jax.random.key(2), h)
    eager, jitted = (apply(params, state, None, h)[0] for apply in (layer.apply, compiled))
    alike = [np.asarray(a == b) for a, b in zip(*map(jax.tree.leaves, (eager.symbols, jitted.symbols)), strict=True)]
    rows = np.all([a.reshape(64, -1).all(1) for a in alike], 0)
    assert rows.mean() > 0.9, name  # ties of rounded distances may fall either way
    for latent, code in ((eager.latent, eager), (jitted.latent, jitted)):
        for read in (layer.lookup, lookup):
            wanted, found = np.asarray(latent), np.asarray(read(params, state, code.symbols))
            if name in TO_THE_LAST_BIT:
                np.testing.assert_allclose(found, wanted, rtol=3e-7, err_msg=name)
            else:
                np.testing.assert_array_equal(found, wanted, err_msg=name)
print("alike")
"""


def test_every_quantizer_reads_the_bits_it_gave_eager_or_compiled():
    """In a process of its own, with XLA's optimisations, which the tests switch off: these round differently."""
    environment = {k: v for k, v in os.environ.items() if k not in ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")}
    here = pathlib.Path(__file__).parent
    environment["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP], env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.stdout.strip() == "alike", done.stderr
