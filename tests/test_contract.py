"""One table of all members for each kind of part, and the properties that every row of it must have."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import networks, objectives
from jaxae.bottlenecks import BOTTLENECKS
from jaxae.likelihoods import LIKELIHOODS
from jaxae.model import autoencoder
from jaxae.presets import PRESETS
from jaxae.priors import PRIORS
from jaxae.train import build_step, init_state
from jaxae.transforms import TRANSFORMS
from jaxae.types import Batch

KEY = jax.random.key
SHAPE = (6, 5, 2)


def rows(table):
    return pytest.mark.parametrize("name", sorted(table))


def started(objective, optimizer, x):
    return jax.jit(lambda k, b: init_state(objective, optimizer, k, b))(KEY(1), Batch(x))


def changed(a, b):
    return any(bool((x != y).any()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


# ---- bottlenecks ----------------------------------------------------------------------------------------------


@functools.cache
def coded(name):
    """The layer with its `apply` compiled, once for all tests of a row, its parameters, its state and an input."""
    layer = BOTTLENECKS[name]()
    layer = layer._replace(apply=jax.jit(layer.apply))
    h = jax.random.normal(KEY(0), (6, 3, 4))
    params, state = jax.jit(layer.init)(KEY(1), h)
    if jax.tree.leaves(state):  # a training step first: the first one restarts every code
        _, state = layer.apply(params, state, KEY(5), h)
    return layer, params, state, h


@rows(BOTTLENECKS)
def test_bottleneck_shapes_and_types(name):
    layer, params, state, h = coded(name)
    for rng in (None, KEY(2)):
        code, new = layer.apply(params, state, rng, h)
        assert code.latent.shape[0] == 6
        assert code.latent.dtype == jnp.float32
        assert code.penalty.shape == (6,)
        assert bool(jnp.isfinite(code.penalty).all())
        if code.rate is not None:
            assert code.rate.shape == (6,)
        for symbols in jax.tree.leaves(code.symbols):
            assert symbols.dtype == jnp.int32
        chex.assert_trees_all_equal_shapes_and_dtypes(state, new)


@rows(BOTTLENECKS)
def test_bottleneck_without_a_key_is_deterministic_and_leaves_the_state_alone(name):
    layer, params, state, h = coded(name)
    first, new = layer.apply(params, state, None, h)
    second, _ = layer.apply(params, state, None, h)
    chex.assert_trees_all_equal(first, second)
    chex.assert_trees_all_equal(state, new)


@rows(BOTTLENECKS)
def test_bottleneck_init_reads_only_the_shape(name):
    layer, params, _, h = coded(name)
    like = jax.ShapeDtypeStruct(h.shape, h.dtype)
    abstract, _ = jax.jit(lambda rng: layer.init(rng, like))(KEY(1))
    chex.assert_trees_all_equal(params, abstract)


@rows(BOTTLENECKS)
def test_bottleneck_compiled_equals_eager_in_one_trace(name):
    _, params, state, h = coded(name)
    layer = BOTTLENECKS[name]()
    apply = jax.jit(chex.assert_max_traces(layer.apply, n=1))
    for seed in (2, 3):
        eager, compiled = layer.apply(params, state, KEY(seed), h), apply(params, state, KEY(seed), h)
        chex.assert_trees_all_close(eager, compiled, rtol=1e-4, atol=1e-5)


@rows(BOTTLENECKS)
def test_bottleneck_rows_do_not_depend_on_their_batch(name):
    layer, params, state, h = coded(name)
    batch, _ = layer.apply(params, state, None, h)
    single = jax.jit(jax.vmap(lambda row: layer.apply(params, state, None, row[None])[0]._replace(posterior=None)))(h)
    np.testing.assert_allclose(single.latent[:, 0], batch.latent, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(jax.tree.map(lambda s: s[:, 0], single.symbols), batch.symbols)


@rows(BOTTLENECKS)
def test_bottleneck_every_parameter_learns(name):
    layer, params, state, h = coded(name)
    target = jax.random.normal(KEY(9), jax.eval_shape(layer.apply, params, state, KEY(3), h)[0].latent.shape)

    def loss(params, h):
        code, _ = layer.apply(params, state, KEY(3), h)
        return ((code.latent - target) ** 2).sum() + code.penalty.sum()

    gradients, to_input = jax.jit(jax.grad(loss, (0, 1)))(params, h)
    for path, leaf in jax.tree.leaves_with_path(gradients):
        assert float(jnp.abs(leaf).max()) > 0, path
    assert float(jnp.abs(to_input).max()) > 0


@rows({n for n in BOTTLENECKS if BOTTLENECKS[n]().lookup is not None})
def test_discrete_bottleneck_looks_up_what_the_decoder_read_bit_for_bit(name):
    _, params, state, h = coded(name)
    layer = BOTTLENECKS[name]()
    for run in (lambda f: f, jax.jit):
        # a shared book moves from level to level in a call with a key
        code, _ = run(layer.apply)(params, state, None if name in ("residual_shared", "multi_scale") else KEY(2), h)
        found = run(layer.lookup)(params, state, code.symbols)
        if name in ("nested", "projected", "multi_scale", "hierarchical"):  # products: equal programs, compiled apart
            np.testing.assert_allclose(found, code.latent, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, code.latent)


@rows({n for n in BOTTLENECKS if BOTTLENECKS[n]().sample is not None})
def test_bottleneck_samples_its_latents(name):
    layer, params, state, h = coded(name)
    like = layer.apply(params, state, None, h)[0].latent
    drawn = layer.sample(params, state, KEY(3), jax.ShapeDtypeStruct(h.shape, h.dtype))
    assert drawn.shape == like.shape
    assert changed(drawn, layer.sample(params, state, KEY(4), h))


# ---- priors ---------------------------------------------------------------------------------------------------


@rows(PRIORS)
def test_prior_density_integrates_to_one_and_fits_its_samples(name):
    prior = PRIORS[name]()
    params = prior.init(KEY(0), jnp.zeros((1, 1)))
    grid = jnp.linspace(-30, 30, 6001)[:, None]
    density = jnp.exp(prior.log_prob(params, grid))
    np.testing.assert_allclose(jnp.trapezoid(density, grid[:, 0]), 1.0, rtol=1e-4)
    drawn = prior.sample(params, KEY(1), jax.ShapeDtypeStruct((20_000, 1), jnp.float32))
    mean = jnp.trapezoid(density * grid[:, 0], grid[:, 0])
    np.testing.assert_allclose(drawn.mean(), mean, atol=0.05)
    second = jnp.trapezoid(density * grid[:, 0] ** 2, grid[:, 0])
    np.testing.assert_allclose((drawn**2).mean(), second, rtol=0.05)


# ---- likelihoods ----------------------------------------------------------------------------------------------


@rows(LIKELIHOODS)
def test_likelihood_contract(name):
    likelihood = LIKELIHOODS[name]()
    x = jax.random.bernoulli(KEY(0), 0.5, (3, 4, 2)).astype(jnp.float32)
    prediction = jax.random.normal(KEY(1), (3, 4, 2 * likelihood.num_params))
    assert likelihood.log_prob(x, prediction).shape == x.shape
    assert likelihood.mean(prediction).shape == x.shape
    assert likelihood.sample(KEY(2), prediction).shape == x.shape
    half = prediction.astype(jnp.bfloat16)
    assert likelihood.log_prob(x, half).dtype == jnp.float32
    extreme = jnp.full_like(prediction, 1e4)
    assert bool(jnp.isfinite(likelihood.log_prob(x, extreme)).all())
    many = jnp.broadcast_to(prediction[:1, :1], (40_000, 1, prediction.shape[-1]))
    drawn = likelihood.sample(KEY(3), many).mean(0)
    np.testing.assert_allclose(drawn, likelihood.mean(prediction[:1, :1])[0], atol=0.06)


# ---- transforms -----------------------------------------------------------------------------------------------


@rows(TRANSFORMS)
def test_transform_contract(name):
    transform = TRANSFORMS[name]()
    x = jax.random.uniform(KEY(0), (4, 9, 7, 1))
    batch = Batch(x, weight=jnp.ones(4))
    out = transform(KEY(1), batch)
    assert out.x.shape == ((4, 5, 4, 4) if name == "oriented_gradients" else x.shape)
    assert out.x.dtype == jnp.float32
    np.testing.assert_array_equal(out.weight, batch.weight)
    chex.assert_trees_all_equal(transform(None, batch), transform(None, batch))
    compiled = jax.jit(chex.assert_max_traces(transform, n=1))
    for seed in (1, 2):
        chex.assert_trees_all_close(compiled(KEY(seed), batch), transform(KEY(seed), batch), rtol=1e-5, atol=1e-6)
    if out.target is not None:  # a corruption: the clean value is what is predicted
        np.testing.assert_array_equal(out.target, x)
        assert changed(out.x, x)
        assert changed(out.x, transform(KEY(2), batch).x)
        np.testing.assert_array_equal(transform(None, batch).x, x)


# ---- presets --------------------------------------------------------------------------------------------------


# one of each kind, with their default networks; tests/presets walks through them all
KINDS = ("ae", "denoising_ae", "factor_vae", "vae", "vq_vae")


@rows(KINDS)
def test_preset_trains_and_decodes(name):
    shape = SHAPE  # the ensemble below trains on rows of a table
    model, objective = PRESETS[name](shape)
    x = jax.random.uniform(KEY(0), (8, *shape))
    optimizer = optax.adam(1e-3)
    state = started(objective, optimizer, x)
    step = jax.jit(chex.assert_max_traces(build_step(objective, optimizer), n=1))
    first = None
    for _ in range(25):
        state, metrics = step(state, Batch(x))
        first = metrics["loss"] if first is None else first
    assert float(metrics["loss"]) < float(first)
    params, inner = state.params["model"], state.state["model"]
    code = jax.jit(model.encode)(params, inner, x)
    prediction = jax.jit(model.decode)(params, code.latent)
    assert prediction.shape == (*x.shape[:-1], x.shape[-1] * model.likelihood.num_params)
    assert model.likelihood.mean(prediction).shape == x.shape
    if model.sample is not None:
        like = jax.ShapeDtypeStruct((3, *shape), jnp.float32)
        drawn = jax.eval_shape(lambda rng: model.decode(params, model.sample(params, inner, rng, like)), KEY(2))
        assert drawn.shape == (3, *prediction.shape[1:])
    if model.lookup is not None:
        np.testing.assert_array_equal(jax.jit(model.lookup)(params, inner, code.symbols), code.latent)


@rows(KINDS)
def test_preset_reads_bytes_as_it_reads_their_scaled_values(name):
    _, objective = PRESETS[name](SHAPE)
    pixels = jax.random.randint(KEY(0), (4, *SHAPE), 0, 256).astype(jnp.uint8)
    params, state = jax.jit(objective.init)(KEY(1), Batch(pixels))
    apply = jax.jit(objective.apply)
    loss = apply(params, state, KEY(2), Batch(pixels), 0)[0]
    scaled = apply(params, state, KEY(2), Batch(pixels.astype(jnp.float32) / 255), 0)[0]
    np.testing.assert_allclose(loss, scaled, rtol=1e-6)


@rows(KINDS)
def test_preset_trains_as_an_ensemble_in_one_vmap(name):
    _, objective = PRESETS[name]((7,))
    x = jax.random.uniform(KEY(0), (8, 7))
    optimizer = optax.adam(1e-2)
    keys = jax.random.split(KEY(1), 2)
    step = build_step(objective, optimizer)
    states = jax.jit(jax.vmap(lambda k: init_state(objective, optimizer, k, Batch(x))))(keys)
    alone = jax.tree.map(lambda leaf: leaf[1], states)
    together, single = jax.jit(jax.vmap(step, (0, None))), jax.jit(step)
    for _ in range(3):
        states, many = together(states, Batch(x))
        alone, one = single(alone, Batch(x))
    np.testing.assert_allclose(many["loss"][1], one["loss"], rtol=1e-4)


def test_model_refuses_a_decoder_of_the_wrong_width():
    likelihood = LIKELIHOODS["gaussian_learned"]()
    model = autoencoder(networks.mlp(2), BOTTLENECKS["identity"](), networks.mlp(5), likelihood)
    with pytest.raises(ValueError, match=r"2 parameter\(s\) per channel needs"):
        objectives.elbo(model).init(KEY(0), Batch(jnp.ones((3, 5))))


@pytest.mark.parametrize("shape", [(), (0,), (28, -1, 1)])
@rows(PRESETS)
def test_preset_refuses_shapes_that_are_none(name, shape):
    with pytest.raises(ValueError, match="one example's shape"):
        PRESETS[name](shape)
