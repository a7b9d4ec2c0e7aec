"""The state before the first step, and what one step does with weights and schedules."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, model, networks, objectives, train
from jaxae.model import autoencoder
from jaxae.train import build_step, init_state
from jaxae.types import Batch

DATA = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
MODEL = autoencoder(networks.mlp(4), bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())
OBJECTIVE = objectives.elbo(MODEL)
OPTIMIZER = optax.sgd(0.1)
STEP = jax.jit(build_step(OBJECTIVE, OPTIMIZER))


def fresh(seed=1):
    return init_state(OBJECTIVE, OPTIMIZER, jax.random.key(seed), DATA)


def test_a_state_starts_at_step_zero_with_a_key_of_its_own():
    state, other = fresh(), fresh(2)
    assert (int(state.step), state.step.dtype) == (0, jnp.int32)
    assert set(state.params) == set(state.state) == {"model"}
    assert not np.array_equal(jax.random.key_data(state.rng), jax.random.key_data(other.rng))
    assert not np.array_equal(jax.random.key_data(state.rng), jax.random.key_data(jax.random.key(1)))


def test_one_step_is_gradient_descent_on_the_mean_loss():
    state = fresh()

    def mean_loss(params):
        return OBJECTIVE.apply(params, state.state, None, Batch(jnp.asarray(DATA)), 0)[0].mean()

    value, gradient = jax.value_and_grad(mean_loss)(state.params)
    after, metrics = STEP(state, DATA)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    wanted = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient)
    chex.assert_trees_all_close(after.params, wanted, rtol=1e-5, atol=1e-6)
    assert int(after.step) == 1
    np.testing.assert_array_equal(jax.random.key_data(after.rng), jax.random.key_data(state.rng))


def test_rows_of_weight_zero_change_nothing_and_a_weight_of_two_is_a_row_twice():
    weight = np.array([1, 1, 2, 1, 0, 1, 0, 0], np.float32)
    after, metrics = STEP(fresh(), Batch(DATA, weight=weight))
    other = np.where(weight[:, None] > 0, DATA, 3.0).astype(np.float32)
    swapped, same = STEP(fresh(), Batch(other, weight=weight))
    chex.assert_trees_all_close((after.params, metrics), (swapped.params, same), rtol=1e-6)
    twice, counted = STEP(fresh(), DATA[[0, 1, 2, 2, 3, 5]])
    np.testing.assert_allclose(metrics["loss"], counted["loss"], rtol=1e-5)
    chex.assert_trees_all_close(after.params, twice.params, rtol=1e-5, atol=1e-6)


def test_noise_differs_from_step_to_step_and_is_the_same_at_the_same_step():
    def apply(params, state, rng, batch, step):
        loss = jnp.broadcast_to(jax.random.normal(rng), batch.x.shape[:1])
        return loss, (None, state, {"nll": loss})

    objective = OBJECTIVE._replace(apply=apply)
    step = jax.jit(build_step(objective, OPTIMIZER))
    one, first = step(fresh(), DATA)
    _, second = step(one, DATA)
    _, again = step(fresh(), DATA)
    assert float(first["loss"]) == float(again["loss"]) != float(second["loss"])


@pytest.mark.skipif(not hasattr(jax, "make_user_context"), reason="this jax has no contexts that its caches look at")
def test_a_jitted_bottleneck_reads_the_weights_of_its_own_trace():
    plain = bottlenecks.vector_quantizer(8)
    x = jax.random.normal(jax.random.key(1), (6, 3))
    states = {}
    for name, bottleneck in {"plain": plain, "jitted": plain._replace(apply=jax.jit(plain.apply))}.items():
        made = model.autoencoder(networks.mlp(4), bottleneck, networks.mlp(3), likelihoods.gaussian())
        objective = objectives.elbo(made)
        state = train.init_state(objective, optax.sgd(1e-2), jax.random.key(0), x)
        for weight in ([1.0, 1, 1, 1, 0, 0], [1.0] * 6, [0.0, 0, 1, 1, 1, 1]):
            # each step is traced anew, the bottleneck's own jit is not
            step = jax.jit(train.build_step(objective, optax.sgd(1e-2)))
            state, _ = step(state, Batch(x, weight=jnp.array(weight)))
        states[name] = state
    chex.assert_trees_all_close(states["plain"].state, states["jitted"].state, rtol=1e-6)
