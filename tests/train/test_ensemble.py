"""An ensemble trained in one equals its members trained alone."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, scoring, train, transforms
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.train import ensemble
from jaxae.types import Batch

KEY = jax.random.key
X = np.float32(np.random.default_rng(0).normal(size=(24, 4)))
MODEL = autoencoder(networks.mlp(6, 2), bottlenecks.identity(), networks.mlp(6, 4), likelihoods.gaussian())
OBJECTIVE = objectives.prepared(objectives.elbo(MODEL), transforms.gaussian_noise(0.1))
# a clipped norm is each member's own
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2))
BATCHES = shuffled(24, 8, seed=1)


STEP = ensemble.build_step(OBJECTIVE, OPTIMIZER)
NONE = np.ones((24, 3), np.float32)  # nobody's row is left out


@jax.jit
def started(key):
    return ensemble.init_states(OBJECTIVE, OPTIMIZER, key, X[:8], num=3)


def trained(steps, weight=NONE, start=None, **options):
    states = started(KEY(0)) if start is None else start
    data = Batch(jnp.asarray(X), weight=weight)
    return train.fit(STEP, states, BATCHES, steps, data=data, chunk=4, progress=False, **options)


def test_a_member_is_a_model_trained_alone():
    step = train.build_step(OBJECTIVE, OPTIMIZER)
    init = jax.jit(lambda key: train.init_state(OBJECTIVE, OPTIMIZER, key, X[:8]))
    for weight in (NONE, ensemble.leave_fold_out(24, 3)):
        states = trained(8, weight).state
        for i, key in enumerate(jax.random.split(KEY(0), 3)):
            data = Batch(jnp.asarray(X), weight=jnp.asarray(weight[:, i]))
            alone = train.fit(step, init(key), BATCHES, 8, data=data, chunk=4, progress=False).state
            of_members = ensemble.member(states, i)
            chex.assert_trees_all_close(of_members.params, alone.params, rtol=1e-4, atol=1e-6)
            assert int(of_members.step) == int(alone.step) == 8
            assert (jax.random.key_data(of_members.rng) == jax.random.key_data(alone.rng)).all()
        first, second = (jax.tree.leaves(ensemble.member(states, i).params)[1] for i in (0, 1))
        assert not np.allclose(first, second)


def test_held_out_rows_teach_nothing():
    weight = ensemble.leave_fold_out(24, 3)
    held_out = ensemble.folds(24, 3) == 1
    spoilt = np.where(held_out[:, None], 5 * X, X)
    step, states = jax.jit(STEP), started(KEY(0))
    clean, _ = step(states, Batch(jnp.asarray(X), weight=weight))
    other, _ = step(states, Batch(jnp.asarray(spoilt), weight=weight))
    chex.assert_trees_all_close(ensemble.member(clean, 1).params, ensemble.member(other, 1).params, rtol=1e-6)
    assert not np.allclose(*(jax.tree.leaves(ensemble.member(s, 0).params)[1] for s in (clean, other)))


def test_the_loop_the_evaluator_and_checkpoints_drive_it_unchanged(tmp_path):
    evaluate = train.evaluator(ensemble.members(OBJECTIVE), X, final_step=8, batch_size=16)
    whole = trained(8, validation=evaluate, patience=5)
    assert [entry["step"] for entry in whole.history] == [4, 8]
    single = train.evaluator(OBJECTIVE, X, final_step=8, batch_size=16)
    of_members = [single(ensemble.member(whole.state, i))["loss"] for i in range(3)]
    np.testing.assert_allclose(evaluate(whole.state)["loss"], np.mean(of_members), rtol=1e-5)

    kept = checkpoints(tmp_path / "kept")
    trained(4, checkpoints=kept)
    resumed = trained(8, start=kept.restore(started(KEY(9))), checkpoints=kept)
    kept.close()
    chex.assert_trees_all_equal(resumed.state.params, whole.state.params)


def test_scores_of_the_ensemble_are_its_members():
    states = trained(4).state
    scorer = scoring.ensemble(scoring.reconstruction(MODEL), "max")
    fitted = scorer.fit(states.params["model"], states.state["model"], None)
    each = []
    for i in range(3):
        base, own = scoring.reconstruction(MODEL), ensemble.member(states, i)
        each.append(base.apply(base.fit(own.params["model"], own.state["model"], None), None, Batch(jnp.asarray(X))))
    np.testing.assert_allclose(scorer.apply(fitted, None, Batch(jnp.asarray(X))), np.max(each, 0), rtol=1e-5)


def test_one_program_for_all_steps():
    step, states = jax.jit(chex.assert_max_traces(STEP, n=1)), started(KEY(0))
    for _ in range(2):
        states, metrics = step(states, jnp.asarray(X))
    assert metrics["loss"].shape == ()


def test_folds_part_the_rows():
    fold, weight = ensemble.folds(25, 4, seed=2), ensemble.leave_fold_out(25, 4, seed=2)
    assert sorted(np.bincount(fold)) == [6, 6, 6, 7]
    np.testing.assert_array_equal(weight.sum(1), 3)
    np.testing.assert_array_equal(weight[np.arange(25), fold], 0)
    for wrong in (1, 26):
        with pytest.raises(ValueError, match=f"got {wrong} folds of 25 rows"):
            ensemble.folds(25, wrong)
    with pytest.raises(ValueError, match="at least 1 member, a whole number; got 0"):
        ensemble.init_states(OBJECTIVE, OPTIMIZER, KEY(0), X, num=0)


def sick(steps, is_sick, **options):
    """Training in which the loss of some members is not finite in some steps, by an infinite weight of their rows."""

    def step(state, batch):
        weight = jnp.where(is_sick(state.step), jnp.inf, 1.0)
        return STEP(state, Batch(batch, weight=jnp.broadcast_to(weight, (8, 3))))

    return train.fit(step, started(KEY(0)), BATCHES, steps, data=jnp.asarray(X), chunk=4, progress=False, **options)


def test_a_member_that_is_not_finite_is_named_and_left_behind():
    """Member 1 from step 5 on: the others are as they are alone, and it is as it was after step 4."""
    evaluate = train.evaluator(ensemble.members(OBJECTIVE), X, final_step=8, batch_size=16)
    with pytest.warns(RuntimeWarning, match="member 1 of the ensemble is left behind at step 5.*2 of 3 go on") as told:
        result = sick(12, lambda step: (jnp.arange(3) == 1) & (step >= 5), validation=evaluate)
    assert len(told) == 1
    well, before = sick(12, lambda step: jnp.zeros(3, bool)), sick(5, lambda step: jnp.zeros(3, bool))
    for number in (0, 2):
        chex.assert_trees_all_equal(
            *(ensemble.member(r.state, number)._replace(rng=(), step=()) for r in (result, well))
        )
    chex.assert_trees_all_equal(*(ensemble.member(r.state, 1)._replace(rng=(), step=()) for r in (result, before)))
    assert int(result.state.step) == 12
    assert all(np.isfinite(value) for entry in result.history for value in entry.values())
    assert "member_is_finite" not in result.history[0]


def test_means_are_over_the_members_that_took_the_step():
    batch = Batch(jnp.asarray(X), weight=jnp.ones((24, 3)).at[:, 2].set(jnp.inf))
    states = started(KEY(0))
    _, metrics = jax.jit(STEP)(states, batch)
    assert metrics["member_is_finite"].tolist() == [True, True, False]
    single = jax.jit(train.build_step(OBJECTIVE, OPTIMIZER))
    alone = [single(ensemble.member(states, i), jnp.asarray(X))[1]["loss"] for i in range(2)]
    np.testing.assert_allclose(metrics["loss"], np.mean(alone), rtol=1e-5)


def test_a_member_whose_parameters_are_not_finite_is_left_out_of_validation():
    evaluate = train.evaluator(ensemble.members(OBJECTIVE), X, final_step=8, batch_size=16)
    states = started(KEY(0))
    broken = states._replace(params=jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), states.params))
    single = train.evaluator(OBJECTIVE, X, final_step=8, batch_size=16)
    alone = [single(ensemble.member(states, i))["loss"] for i in (0, 2)]
    assert evaluate(broken)["loss"] == pytest.approx(np.mean(alone), rel=1e-5)


def test_an_ensemble_of_which_no_member_is_left_ends():
    with pytest.raises(train.NonFiniteError, match="the loss is nan at step 3"):
        sick(8, lambda step: jnp.full(3, step >= 3))


@pytest.mark.parametrize("index", [-1, 3])
def test_a_member_that_is_not_there(index):
    with pytest.raises(ValueError, match=rf"index must be in 0\.\.2, got {index}"):
        ensemble.member(started(KEY(0)), index)
