"""The loop: the same bits however it is cut, early stopping, losses that are not finite, quiet when nobody looks."""

import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, transforms
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.train import NonFiniteError, build_step, fit, init_state
from jaxae.types import TrainState

DATA = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
BATCHES = shuffled(40, 8, seed=3)
OPTIMIZER = optax.adam(optax.linear_schedule(1e-2, 0.0, 60))
# noise and a codebook with statistics: whatever is not carried over shows in the bits
MODEL = autoencoder(networks.mlp(8, 4), bottlenecks.vector_quantizer(8), networks.mlp(8, 5), likelihoods.gaussian())
OBJECTIVE = objectives.prepared(objectives.elbo(MODEL), transforms.gaussian_noise(0.1))
STEP = build_step(OBJECTIVE, OPTIMIZER)
FRESH = jax.jit(lambda rng: init_state(OBJECTIVE, OPTIMIZER, rng, DATA[:8]))(jax.random.key(1))


def require_same_bits(a, b):
    chex.assert_trees_all_equal(*(state._replace(rng=jax.random.key_data(state.rng)) for state in (a, b)))


class Rows:
    """Host batches that remember what was asked for."""

    def __init__(self, replaced=None):
        self.asked, self.replaced = [], replaced or {}

    def __getitem__(self, i):
        self.asked.append(i)
        return self.replaced.get(i, DATA[BATCHES[i]])


# ---- the same bits --------------------------------------------------------------------------------------------


def test_scanned_chunks_are_the_steps_one_by_one():
    state, step = FRESH, jax.jit(STEP)
    for i in range(10):
        state, _ = step(state, DATA[BATCHES[i]])
    rows = Rows()
    result = fit(STEP, FRESH, rows, 10, chunk=5)
    chex.assert_trees_all_close(result.state.params, state.params, rtol=1e-5, atol=1e-6)
    assert int(result.state.step) == 10
    assert rows.asked == list(range(10))
    # rows that live on the device, taken there by their index
    require_same_bits(result.state, fit(STEP, FRESH, BATCHES, 10, data=DATA, chunk=5).state)


@pytest.fixture(scope="module")
def whole():
    return fit(STEP, FRESH, BATCHES, 12, data=DATA, chunk=5)


@pytest.mark.parametrize("stop", [5, 7])
def test_a_run_in_two_parts_gives_the_bits_of_one(tmp_path, whole, stop):
    kept = checkpoints(tmp_path)
    fit(STEP, FRESH, BATCHES, stop, data=DATA, chunk=5, checkpoints=kept)
    kept.close()
    kept = checkpoints(tmp_path)
    rest = fit(STEP, kept.restore(FRESH), BATCHES, 12, data=DATA, chunk=5, checkpoints=kept)
    require_same_bits(rest.state, whole.state)
    require_same_bits(kept.restore(FRESH), whole.state)
    kept.close()
    assert [entry["step"] for entry in rest.history] == [10, 12]


def test_grain_datasets_serve_as_batches_and_resume():
    grain = pytest.importorskip("grain")
    batches = grain.MapDataset.source(DATA).seed(4).shuffle().repeat().batch(8)
    once = fit(STEP, FRESH, batches, 15, chunk=5)
    part = fit(STEP, FRESH, batches, 10, chunk=5)
    require_same_bits(fit(STEP, part.state, batches, 15, chunk=5).state, once.state)
    assert len(once.history) == 3


def test_chunks_are_traced_once_even_by_the_next_fit_and_the_callers_state_stays_usable():
    step = chex.assert_max_traces(counting, n=1)
    start, rows = counter(), np.ones((20, 3), np.float32)
    first = fit(step, start, rows, 10, chunk=5)
    fit(step, first.state, rows, 20, chunk=5)
    np.testing.assert_array_equal(start.params["model"], [0.0, 0.0])
    assert int(start.step) == 0


def test_nothing_is_left_to_do():
    done = fit(STEP, FRESH._replace(step=jnp.int32(9)), Rows(), 9)
    assert done.history == []
    assert int(done.state.step) == int(done.best.step) == 9


# ---- early stopping, by hand ----------------------------------------------------------------------------------


def counting(state, batch):
    """A step without a model: the loss is the number of the step."""
    params = {"model": state.params["model"] + 1}
    return state._replace(step=state.step + 1, params=params), {"loss": state.step * 1.0, "nll": batch.mean()}


def counter():
    return TrainState(jnp.int32(0), {"model": jnp.zeros(2)}, {"model": {}}, (), jax.random.key(0))


NUMBERS = {5: 3.0, 10: 2.0, 15: 2.5, 20: 2.2, 25: 1.0}


def validation(state):
    return {"loss": NUMBERS[int(state.step)], "nll": 0.5}


def test_history_holds_the_means_of_each_chunk():
    result = fit(counting, counter(), np.ones((20, 3), np.float32), 7, chunk=5, validation=lambda state: {"loss": 4.0})
    assert result.history == [
        {"step": 5, "loss": 2.0, "nll": 1.0, "validation_loss": 4.0},
        {"step": 7, "loss": 5.5, "nll": 1.0, "validation_loss": 4.0},
    ]


def test_training_stops_when_validation_does_not_improve():
    result = fit(counting, counter(), np.ones((50, 3)), 25, chunk=5, validation=validation, patience=2)
    assert [entry["step"] for entry in result.history] == [5, 10, 15, 20]
    assert int(result.state.step) == 20
    assert int(result.best.step) == 10
    np.testing.assert_array_equal(result.best.params["model"], [10.0, 10.0])


def test_more_patience_finds_the_later_minimum():
    result = fit(counting, counter(), np.ones((50, 3)), 25, chunk=5, validation=validation, patience=3)
    assert int(result.best.step) == 25


@pytest.mark.parametrize("stop", [5, 10, 15, 20])
def test_patience_counts_on_across_a_resume(tmp_path, stop):
    kept = checkpoints(tmp_path)
    fit(counting, counter(), np.ones((50, 3)), stop, chunk=5, validation=validation, patience=2, checkpoints=kept)
    kept.close()
    kept = checkpoints(tmp_path)
    rest = fit(
        counting,
        kept.restore(counter()),
        np.ones((50, 3)),
        25,
        chunk=5,
        validation=validation,
        patience=2,
        checkpoints=kept,
    )
    kept.close()
    assert [entry["step"] for entry in rest.history] == [end for end in (5, 10, 15, 20) if end > stop]
    assert (int(rest.state.step), int(rest.best.step)) == (20, 10)
    np.testing.assert_array_equal(rest.best.params["model"], [10.0, 10.0])


# ---- losses that are not finite -------------------------------------------------------------------------------


def test_a_loss_that_is_nan_names_step_and_term_and_the_last_finite_state_is_on_disk(tmp_path):
    poisoned = Rows({7: np.where(np.arange(5) == 2, np.nan, DATA[:8]).astype(np.float32)})
    kept = checkpoints(tmp_path)
    logged = []
    with pytest.raises(NonFiniteError, match=r"the loss is nan at step 7 \(.*nll nan.*\)") as caught:
        fit(STEP, FRESH, poisoned, 20, chunk=5, checkpoints=kept, log=logged.append)
    kept.close()
    assert "\n" not in str(caught.value)
    kept = checkpoints(tmp_path)
    assert kept.latest() == 5
    require_same_bits(kept.restore(FRESH), fit(STEP, FRESH, Rows(), 5, chunk=5).state)
    kept.close()
    assert [entry["step"] for entry in logged] == [5]


def test_only_the_terms_that_are_not_finite_are_named():
    def step(state, batch):
        state, metrics = counting(state, batch)
        return state, {**metrics, "loss": jnp.where(state.step == 4, jnp.inf, 1.0), "penalty": batch.max() / 0}

    with pytest.raises(NonFiniteError, match=r"the loss is inf at step 3 \(penalty inf\)"):
        fit(step, counter(), np.ones((9, 3), np.float32), 9, chunk=9)


def test_a_parameter_that_is_not_finite_is_named():
    def step(state, batch):
        new, metrics = counting(state._replace(params={"model": jnp.zeros(())}), batch)
        return new._replace(params={"model": {"kernel": batch * 0, "bias": batch / 0}}), metrics

    start = counter()._replace(params={"model": {"kernel": jnp.zeros(3), "bias": jnp.zeros(3)}})
    with pytest.raises(NonFiniteError, match=r"params\.model\.bias is no longer finite after step 4, though the loss"):
        fit(step, start, np.ones((9, 3), np.float32), 9, chunk=5)


def test_a_validation_loss_that_is_not_finite_is_named():
    with pytest.raises(NonFiniteError, match=r"the loss is nan in the validation after step 4 \(validation_nll nan\)"):
        fit(
            counting,
            counter(),
            np.ones((9, 3), np.float32),
            9,
            chunk=5,
            validation=lambda state: {"loss": float("nan"), "nll": float("nan"), "penalty": 0.0},
        )


# ---- what is refused, what is said ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk": 0}, "chunk must be a whole number >= 1, got 0"),
        ({"patience": 0, "validation": validation}, "patience must be a whole number >= 1, got 0"),
        ({"patience": 2}, "patience 2 needs a validation function"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(counting, counter(), np.ones((9, 3)), 9, **arguments)


def test_checkpoints_ahead_of_the_state_are_refused(tmp_path):
    kept = checkpoints(tmp_path)
    fit(counting, counter(), np.ones((9, 3)), 9, checkpoints=kept)
    with pytest.raises(ValueError, match="checkpoints are of step 9, ahead of the state's step 0"):
        fit(counting, counter(), np.ones((9, 3)), 9, checkpoints=kept)
    kept.close()


def test_the_progress_bar_shows_on_a_terminal_alone(capsys, monkeypatch):
    def run(**options):
        fit(counting, counter(), np.ones((9, 3)), 9, chunk=3, **options)
        return capsys.readouterr()

    assert run() == ("", "")
    assert "loss" in run(progress=True).err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "9/9" in run().err
    assert run(progress=False) == ("", "")
