"""Held-out figures: padding weighs nothing, schedules have ended, the noise is the same, nothing is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives
from jaxae.model import autoencoder
from jaxae.train import build_step, code_monitor, evaluator, init_state
from jaxae.types import Batch

DATA = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)


def made(bottleneck=None, beta=1.0):
    outputs = 8 if bottleneck is None else 4
    bottleneck = bottleneck or bottlenecks.gaussian()
    model = autoencoder(networks.mlp(outputs), bottleneck, networks.mlp(5), likelihoods.gaussian())
    objective = objectives.elbo(model, beta)
    return objective, jax.jit(lambda rng: init_state(objective, optax.sgd(0.1), rng, DATA))(jax.random.key(1))


def test_padding_weighs_nothing_and_rows_by_their_weight():
    objective, state = made(bottlenecks.identity())
    loss = np.asarray(objective.apply(state.params, state.state, None, Batch(jnp.asarray(DATA)), 0)[0])
    for batch_size in (1, 4, 11, 64):
        found = evaluator(objective, DATA, 9, batch_size=batch_size)(state)
        np.testing.assert_allclose(found["loss"], loss.mean(), rtol=1e-5)
    weight = np.arange(11, dtype=np.float32) % 3
    found = evaluator(objective, Batch(DATA, weight=weight), 9, batch_size=4)(state)
    np.testing.assert_allclose(found["loss"], np.average(loss, weights=weight), rtol=1e-5)


def test_padded_rows_may_be_infinite_when_they_weigh_nothing():
    objective, state = made(bottlenecks.identity())
    rows, weight = DATA.copy(), np.ones(11, np.float32)
    rows[3], weight[3] = np.inf, 0
    assert np.isfinite(evaluator(objective, Batch(rows, weight=weight), 9, batch_size=4)(state)["loss"])


def test_schedules_have_their_final_value_at_every_step():
    objective, state = made(beta=lambda step: jnp.minimum(step / 100, 1.0) * 0.5)
    figures = evaluator(objective, DATA, final_step=100)(state)
    np.testing.assert_allclose(figures["loss"], figures["nll"] + 0.5 * figures["penalty"], rtol=1e-5)
    assert figures["penalty"] > 0
    unweighted = evaluator(objective, DATA, final_step=0)(state)
    np.testing.assert_allclose(unweighted["loss"], unweighted["nll"], rtol=1e-5)


def test_the_noise_is_the_same_at_every_call_and_another_seed_gives_other_noise():
    objective, state = made()
    evaluate = evaluator(objective, DATA, 9, batch_size=4)
    first = evaluate(state)
    assert first == evaluate(state._replace(step=jnp.int32(5), rng=jax.random.key(9)))
    assert first != evaluator(objective, DATA, 9, batch_size=4, seed=1)(state)
    assert all(isinstance(value, float) for value in first.values())


def test_codebook_statistics_are_not_touched():
    objective, state = made(bottlenecks.vector_quantizer(4))
    before = jax.tree.map(np.array, state.state)
    evaluate = evaluator(objective, DATA, 9)
    assert evaluate(state) == evaluate(state)
    jax.tree.map(np.testing.assert_array_equal, state.state, before)


def test_code_monitor_counts_what_numpy_counts():
    layer = bottlenecks.residual(bottlenecks.vector_quantizer(8), 2)
    objective, state = made(layer)
    state = jax.jit(build_step(objective, optax.sgd(1e-3)))(state, DATA)[0]  # codes move to tokens
    h = DATA @ np.array(state.params["model"]["encoder"]["params"]["Dense_0"]["kernel"])
    symbols = np.array(
        layer.apply(state.params["model"]["bottleneck"], state.state["model"], None, jnp.array(h))[0].symbols
    )
    share = np.bincount(symbols.ravel(), minlength=8) / symbols.size
    bits = -np.log2(share[share > 0])
    entropy = (share[share > 0] * bits).sum()
    found = code_monitor(objective, DATA, 8, batch_size=4)(state)
    assert found["codes_in_use"] == (share > 0).sum() == 8 - found["dead_codes"]
    np.testing.assert_allclose(found["usage"], (share > 0).mean())
    np.testing.assert_allclose(found["perplexity"], 2**entropy, rtol=1e-5)
    np.testing.assert_allclose(found["bits_per_example"], 2 * entropy, rtol=1e-5)
    with pytest.raises(ValueError, match="counts up to 1048576 codes, got None"):
        code_monitor(objective, DATA, None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (DATA[:0], "at least one row, got x of shape"),
        (Batch(DATA, weight=np.zeros(11, np.float32)), r"their weights sum to 0\.0"),
    ],
)
def test_rows_that_do_not_count_are_refused(rows, message):
    objective, _ = made(bottlenecks.identity())
    with pytest.raises(ValueError, match=message):
        evaluator(objective, rows, 9)
