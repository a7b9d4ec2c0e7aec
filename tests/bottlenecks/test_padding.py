"""What a token mask leaves out: a NaN there changes neither values nor gradients, and is not counted."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, train
from jaxae.bottlenecks import BOTTLENECKS
from jaxae.bottlenecks.diagnostics import active_counts, dead_codes, perplexity
from jaxae.model import autoencoder
from jaxae.types import Batch

KEY = jax.random.key
MASK = jnp.array([[1, 1, 1], [1, 0, 0]])
CONTINUOUS = {"gaussian", "gaussian_mixture", "gaussian_free_bits", "power_spherical", "vamp"}
# their condition is no token mask: a flow's context, the latent above, maps of several sizes
REFUSED = CONTINUOUS | {"gaussian_iaf", "ladder", "multi_scale"}


def inputs(fill, width=4):
    h = jax.random.normal(KEY(0), (2, 3, width))
    return jnp.where(MASK[..., None] > 0, h, fill)


def figures(layer, params, state, h, key):
    """Gradients to parameters and input of a loss over tokens that count, and the code."""

    def loss(params, h):
        code, new = layer.apply(params, state, key, h, {"mask": MASK})
        latent = jnp.where(MASK[..., None] > 0, code.latent, 0.0)
        return (jnp.sin(latent).sum() + code.penalty.sum()), (latent, code.penalty, code.rate, new)

    return jax.grad(loss, (0, 1), has_aux=True, allow_int=True)(params, h)


@pytest.mark.parametrize("name", sorted(set(BOTTLENECKS) - REFUSED))
@pytest.mark.parametrize("key", [None, KEY(3)], ids=["without_key", "with_key"])
def test_nan_in_padding_leaves_values_and_gradients_as_they_are(name, key):
    layer = BOTTLENECKS[name]()
    params, state = layer.init(KEY(1), inputs(0.0))
    _, state = layer.apply(params, state, KEY(2), inputs(0.0), {"mask": MASK})
    found, wanted = (figures(layer, params, state, inputs(fill), key) for fill in (jnp.nan, 7.0))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_mask_that_would_be_passed_over_is_refused(name):
    layer, h = BOTTLENECKS[name](), inputs(0.0)
    if name == "multi_scale":
        layer = bottlenecks.multi_scale(bottlenecks.vector_quantizer(8), (1, 2))
        h = jnp.ones((2, 2, 2, 4))
    params, state = layer.init(KEY(1), h)
    with pytest.raises(ValueError, match=r'condition\["mask"\]'):
        layer.apply(params, state, KEY(2), h, {"mask": jnp.ones(h.shape[:-1])})


def test_a_mask_for_the_encoder_alone_is_none_of_the_bottlenecks():
    """An encoder that pools tokens has a vector for each example: the mask is of its input."""
    code, _ = bottlenecks.gaussian().apply({"prior": (), "flow": ()}, (), None, jnp.ones((2, 4)), {"mask": MASK})
    assert code.latent.shape == (2, 2)


def sequence_model(layer):
    parts = networks.mlp(6, 4, flatten=False), layer, networks.mlp(6, 5, flatten=False), likelihoods.gaussian()
    return autoencoder(*parts)


@pytest.mark.parametrize(
    "layer",
    [
        bottlenecks.vector_quantizer(8),
        bottlenecks.nested(networks.mlp(4), bottlenecks.vector_quantizer(8), networks.mlp(4)),
        bottlenecks.hierarchical(bottlenecks.vector_quantizer(8), bottlenecks.vector_quantizer(8)),
        bottlenecks.identity(),
    ],
    ids=["vector_quantizer", "nested", "hierarchical", "identity"],
)
def test_a_model_trains_on_rows_whose_padding_is_nan(layer):
    objective = objectives.elbo(sequence_model(layer))
    optimizer = optax.sgd(0.01)

    def trained(fill):
        x = inputs(fill, 5)
        batch = Batch(x, mask=jnp.broadcast_to(MASK[..., None], x.shape), condition={"mask": MASK})
        state = train.init_state(objective, optimizer, KEY(0), batch)
        step = jax.jit(train.build_step(objective, optimizer))
        for _ in range(2):
            state, metrics = step(state, batch)
        return state.params, state.state, metrics

    for a, b in zip(jax.tree.leaves(trained(jnp.nan)), jax.tree.leaves(trained(7.0)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


@pytest.mark.parametrize(
    ("layer", "levels"),
    [
        (bottlenecks.vector_quantizer(16, learn="frozen"), 1),
        (bottlenecks.residual(bottlenecks.vector_quantizer(16, learn="frozen"), 2), 2),
        (bottlenecks.grouped(bottlenecks.vector_quantizer(16, learn="frozen"), 2), 2),
        (bottlenecks.fsq((2, 2, 2, 2)), 1),
        (bottlenecks.bernoulli(4), 4),
    ],
    ids=["vector_quantizer", "residual", "grouped", "fsq", "bernoulli"],
)
def test_monitor_counts_the_symbols_of_tokens_that_count(layer, levels):
    """By hand: the symbols of the tokens that count, pooled, and their entropy."""
    model = sequence_model(layer)
    objective = objectives.elbo(model)
    x = np.random.default_rng(0).normal(size=(9, 7, 5)).astype(np.float32)
    mask = np.arange(7) < np.random.default_rng(1).integers(1, 4, (9, 1))
    weight = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0], np.float32)
    batch = Batch(x, condition={"mask": mask}, weight=weight)
    state = train.init_state(objective, optax.sgd(0.0), KEY(0), batch)
    found = train.code_monitor(objective, batch, model.num_codes, batch_size=4)(state)
    symbols = model.encode(state.params["model"], state.state["model"], x, {"mask": mask}).symbols
    counted = np.asarray(symbols)[mask & (weight[:, None] > 0)]
    assert counted.size == levels * (mask & (weight[:, None] > 0)).sum()
    counts = np.bincount(counted.ravel(), minlength=model.num_codes)
    p = counts[counts > 0] / counts.sum()
    np.testing.assert_allclose(found["perplexity"], np.exp(-(p * np.log(p)).sum()), rtol=1e-5)
    assert found["codes_in_use"] == (counts > 0).sum()
    np.testing.assert_allclose(found["usage"], (counts > 0).mean(), rtol=1e-6)
    np.testing.assert_allclose(found["bits_per_example"], counts.sum() / 7 * -(p * np.log2(p)).sum(), rtol=1e-5)
    assert float(perplexity(jnp.asarray(counts))) == pytest.approx(found["perplexity"], rel=1e-5)


def test_monitors_refuse_rows_that_count_for_nothing():
    model = sequence_model(bottlenecks.fsq((2, 2, 2, 2)))
    objective = objectives.elbo(model)
    batch = Batch(np.ones((2, 3, 5), np.float32), weight=np.zeros(2, np.float32))
    for monitor in (train.latent_monitor, lambda *given: train.code_monitor(*given, model.num_codes)):
        with pytest.raises(ValueError, match="needs a row that counts"):
            monitor(objective, batch)
        with pytest.raises(ValueError, match="at least one row"):
            monitor(objective, np.zeros((0, 3, 5), np.float32))


@pytest.mark.parametrize("positive", [False, True])
def test_latents_that_are_never_on_are_reported(positive):
    """Encoder and decoder pass on, so that the latents are the rows: counted by NumPy."""
    layer = bottlenecks.top_k(2, positive=positive)
    objective = objectives.elbo(autoencoder(networks.identity, layer, networks.identity, likelihoods.gaussian()))
    x = np.array([[[3, -5, 1, 0], [2, 1, 0, 0]], [[4, 5, 6, 9], [-1, -2, -7, -8]]], np.float32)
    mask = np.array([[1, 1], [0, 1]])
    state = train.init_state(objective, optax.sgd(0.0), KEY(0), x)
    found = train.latent_monitor(objective, Batch(x, condition={"mask": mask}))(state)
    # magnitude: {0, 1}, {0, 1} and {2, 3}; value: {0, 2}, {0, 1} and none
    wanted = {"latents_in_use": 3, "dead_latents": 1, "active_latents": 4 / 3} if positive else None
    wanted = wanted or {"latents_in_use": 4, "dead_latents": 0, "active_latents": 2}
    assert found == pytest.approx(wanted)


def test_active_counts_refuses_a_mask_of_other_tokens():
    with pytest.raises(ValueError, match=r"a value per token \(3, 2\), got \(2,\)"):
        active_counts(jnp.ones((3, 2, 4)), jnp.ones(2))
    assert int(dead_codes(active_counts(jnp.zeros((3, 2, 4)))).sum()) == 4


READING_BATCHES = {
    "vector_quantizer": lambda: bottlenecks.vector_quantizer(4, restart_below=0.9, decay=0.5),
    "kmeans": lambda: bottlenecks.vector_quantizer(4, seeding="kmeans", learn="gradient"),
    "diversity": lambda: bottlenecks.vector_quantizer(4, learn="gradient", diversity=3.0),
    "residual": lambda: bottlenecks.residual(bottlenecks.vector_quantizer(4), 2),
    "grouped": lambda: bottlenecks.grouped(bottlenecks.vector_quantizer(4), 2),
    "lfq": lambda: bottlenecks.lfq(4, entropy=0.5),
    "bsq": lambda: bottlenecks.bsq(4, entropy=0.5),
    "free_bits": lambda: bottlenecks.gaussian(free_bits=0.4),
}


@pytest.mark.parametrize("name", sorted(READING_BATCHES))
@pytest.mark.parametrize("bound", [objectives.elbo, lambda model: objectives.iwae(model, 1)], ids=["elbo", "iwae"])
def test_rows_of_weight_zero_are_in_no_statistic(name, bound):
    """Whatever finite numbers such rows hold, parameters, state and metrics are the same."""
    if name == "free_bits" and bound is not objectives.elbo:
        return  # a bound of samples has no penalty
    model = autoencoder(networks.mlp(6, 4), READING_BATCHES[name](), networks.mlp(6, 5), likelihoods.gaussian())
    objective, optimizer = bound(model), optax.sgd(0.01)

    def trained(fill):
        x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
        x[5:] = fill
        batch = Batch(x, weight=np.array([1, 1, 2, 1, 1, 0, 0, 0], np.float32))
        state = train.init_state(objective, optimizer, KEY(0), batch)
        step = jax.jit(train.build_step(objective, optimizer))
        for _ in range(3):
            state, metrics = step(state, batch)
        return state.params, state.state, metrics

    for a, b in zip(jax.tree.leaves(trained(50.0)), jax.tree.leaves(trained(-1.0)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
