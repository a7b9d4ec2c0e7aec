"""Robust objectives: which rows are left out or pushed away, by hand; gradients; padding; traces."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import objectives
from jaxae.types import Batch, Code, Objective, Output

LOSSES = jnp.array([3.0, 1.0, 9.0, 5.0, 2.0])


def given_losses():
    """An objective whose losses are `scale * x`."""

    def apply(params, state, rng, batch, step):
        loss = params["model"] * batch.x[:, 0]
        return loss, (Output(Code(batch.x, loss), batch.x), state, {"nll": loss})

    return Objective(lambda rng, batch: ({"model": jnp.ones(())}, {"model": {}}), apply)


def run(objective, x=LOSSES, weight=None, rng=None, step=0):
    batch = Batch(x[:, None], weight=weight)
    params, state = objective.init(None, batch)
    return objective.apply(params, state, rng, batch, step)


def slopes(objective, x=LOSSES):
    """What the mean loss gains per unit of each row's base loss."""

    def mean(offsets):
        return run(Objective(objective.init, objective.apply), x + offsets)[0].mean()

    return jax.grad(mean)(jnp.zeros(len(x))) * len(x)


def test_trimmed_leaves_the_largest_out_and_keeps_the_mean_of_the_rest():
    loss, (_, _, metrics) = run(objectives.trimmed(given_losses(), 0.4))
    assert metrics["trimmed"].tolist() == [0, 0, 1, 1, 0]
    np.testing.assert_allclose(loss.mean(), (3 + 1 + 2) / 3, rtol=1e-6)
    np.testing.assert_allclose(slopes(objectives.trimmed(given_losses(), 0.4)), [5 / 3, 5 / 3, 0, 0, 5 / 3], rtol=1e-6)
    assert run(objectives.trimmed(given_losses(), 0.0))[0].tolist() == LOSSES.tolist()


def test_decomposition_is_the_least_over_all_sparse_parts():
    objective = objectives.decomposition(given_losses(), 0.4)
    loss, (_, _, metrics) = run(objective)
    assert metrics["decomposed"].tolist() == [0, 0, 1, 1, 0]
    # above the least loss, 1, the others reach 2: that is the square of the sparse part's price
    errors, price = np.array([2.0, 0.0, 8.0, 4.0, 1.0]), np.sqrt(2)
    parts = np.linspace(0, 3, 100_001)[None]
    least = ((np.sqrt(errors)[:, None] - parts) ** 2 + 2 * price * parts).min(1)
    np.testing.assert_allclose(loss, 1 + least, rtol=1e-5)
    np.testing.assert_allclose(slopes(objective), [1, 1, price / np.sqrt(8), price / 2, 1], rtol=1e-5)
    assert run(objectives.decomposition(given_losses(), 0.0))[0].tolist() == LOSSES.tolist()
    assert bool(jnp.isfinite(slopes(objective, jnp.ones(5))).all())


def test_padding_is_never_counted():
    weight = jnp.array([1.0, 1.0, 0.0, 1.0, 1.0])
    for make, name in (
        (objectives.trimmed, "trimmed"),
        (objectives.outlier_exposure, "exposed"),
        (objectives.decomposition, "decomposed"),
    ):
        loss, (_, _, metrics) = run(make(given_losses(), 0.25), weight=weight)
        assert metrics[name].tolist() == [0, 0, 0, 1, 0], name
        alone, _ = run(make(given_losses(), 0.25), jnp.array([3.0, 1.0, 5.0, 2.0]))
        np.testing.assert_allclose(loss[weight > 0], alone, rtol=1e-6)


def test_a_share_may_follow_a_schedule_and_be_mapped_over():
    objective = objectives.trimmed(given_losses(), lambda step: jnp.where(step < 10, 0.0, 0.4))
    assert run(objective, step=0)[1][2]["trimmed"].sum() == 0
    assert run(objective, step=10)[1][2]["trimmed"].sum() == 2
    counts = jax.vmap(lambda share: run(objectives.trimmed(given_losses(), share))[1][2]["trimmed"].sum())
    assert counts(jnp.array([0.0, 0.2, 0.6])).tolist() == [0, 1, 3]


def test_exposure_by_hand():
    # the least loss is 1 and the losses above it are 2, 0, 8, 4, 1, whose median is 2: away(9) = 4 / 8
    loss, (_, _, metrics) = run(objectives.outlier_exposure(given_losses(), 0.2))
    assert metrics["exposed"].tolist() == [0, 0, 1, 0, 0]
    np.testing.assert_allclose(loss, [3, 1, 0.5, 5, 2], rtol=1e-6)
    np.testing.assert_allclose(slopes(objectives.outlier_exposure(given_losses(), 0.2))[2], -4 / 64, rtol=1e-5)
    soft, _ = run(objectives.outlier_exposure(given_losses(), 0.2, soft=True))
    np.testing.assert_allclose(soft, [3, 1, (9 + 0.5) / 2, 5, 2], rtol=1e-6)


def test_exposure_does_not_depend_on_the_objectives_constants():
    slope = slopes(objectives.outlier_exposure(given_losses(), 0.2))
    shifted = slopes(objectives.outlier_exposure(given_losses(), 0.2), LOSSES - 100)
    np.testing.assert_allclose(slope, shifted, rtol=1e-4)


def test_known_anomalies_are_pushed_away():
    # the batch's floor is 1 and its median excess 2; the anomalies' losses 3 and 9 give 4 / 2 and 4 / 8
    known = jnp.array([[3.0], [9.0]])
    objective = objectives.supervised(given_losses(), known, weight=0.1, num=2)
    loss, (_, _, metrics) = run(objective)
    np.testing.assert_allclose(metrics["anomalies"], np.full(5, (2 + 0.5) / 2), rtol=1e-6)
    np.testing.assert_allclose(loss, LOSSES + 0.125, rtol=1e-6)
    gradient = jax.grad(lambda scale: run_scaled(objective, scale))(1.0)
    assert gradient < LOSSES.mean()
    drawn = run(objectives.supervised(given_losses(), known, num=64), rng=jax.random.key(0))[1][2]["anomalies"][0]
    assert 0.5 < drawn < 2.0


def run_scaled(objective, scale):
    return objective.apply({"model": scale}, {"model": {}}, None, Batch(LOSSES[:, None]), 0)[0].mean()


@pytest.mark.parametrize("make", [objectives.trimmed, objectives.outlier_exposure])
def test_one_trace_for_two_calls(make):
    traced = jax.jit(chex.assert_max_traces(lambda x: run(make(given_losses(), 0.2), x)[0], n=1))
    traced(LOSSES)
    assert traced(LOSSES + 1).shape == (5,)
    chex.clear_trace_counter()


def test_errors():
    for make in (objectives.trimmed, objectives.outlier_exposure):
        with pytest.raises(ValueError, match=r"fraction must lie in \[0, 1\); got 1.2"):
            make(given_losses(), 1.2)
        with pytest.raises(ValueError, match="wrapped twice"):
            run(make(make(given_losses(), 0.1), 0.1))
    with pytest.raises(ValueError, match="needs labelled anomalies"):
        objectives.supervised(given_losses(), jnp.zeros((0, 1)))
