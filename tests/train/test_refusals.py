"""What training cannot use is refused in one line, before a step is taken or a checkpoint is written."""

import inspect
import itertools
import pathlib
import re

import flax.linen as nn
import grain
import jax
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, presets, train
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.networks import with_state
from jaxae.train import ensemble
from jaxae.types import Batch

X = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
OBJECTIVE = presets.ae((5,), latent_size=2)[1]
OPTIMIZER = optax.adam(1e-3)
ROWS = [np.arange(4) + i for i in range(6)]


def state_of():
    return train.init_state(OBJECTIVE, OPTIMIZER, jax.random.key(0), X)


class Endless:
    """Batches by index without a length."""

    def __getitem__(self, i):
        return X[i % 20 : i % 20 + 4]


class Short(Endless):
    def __getitem__(self, i):
        if i > 2:
            raise IndexError(i)
        return X[i : i + 4]


class Counted(Short):
    def __len__(self):
        return 3


BATCHES = {
    "generator": (lambda: (X[:4] for _ in range(9)), "a generator has none"),
    "iterator": (lambda: itertools.repeat(X[:4]), "a repeat has none"),
    "iter_dataset": (lambda: grain.MapDataset.source(list(X)).batch(4).to_iter_dataset(), "Dataset has none"),
    "dict": (lambda: {"x": X}, "a dict has none"),
    "batch": (lambda: Batch(X), "a Batch has none"),
    "none": (lambda: None, "a NoneType has none"),
    "short_list": (lambda: [X[:4]] * 3, r"6 steps read batches\[0\] to batches\[5\], but there are 3"),
    "empty_list": (list, r"6 steps read batches\[0\] to batches\[5\], but there are 0"),
    "short_array": (lambda: X.reshape(3, 8, 5), r"6 steps read batches\[0\] to batches\[5\], but there are 3"),
    "short_with_length": (Counted, "but there are 3"),
    "short_without_length": (Short, r"there is no batches\[3\]"),
    "ragged": (lambda: [X[:4]] * 5 + [X[:2]], r"batches\[0\] has \[\(4, 5\)\] and batches\[5\] \[\(2, 5\)\]"),
    "pairs": (lambda: [(X[:4], X[:4])] * 6, "got a tuple of 2: say what its parts are, Batch"),
    "dicts": (lambda: [{"x": X[:4]}] * 6, "got a dict of 1"),
    "lists": (lambda: [[X[:4]]] * 6, "got a list of 1"),
    "numbers": (lambda: [3] * 6, r"holds arrays, got \['int'\]"),
    "complex": (lambda: [X[:4].astype(complex)] * 6, "real numbers(, got complex128|; got complex numbers)"),
    "text": (lambda: [np.array([["a"]])] * 6, "real numbers(, got <U1|; got text)"),
    "objects": (lambda: [X[:4].astype(object)] * 6, "holds real numbers, got object"),
    "empty_rows": (lambda: [X[:0]] * 6, r"at least one row, got x of shape \(0, 5\)"),
    "no_axis": (lambda: [X[0, 0]] * 6, r"at least one row, got x of shape \(\)"),
}


@pytest.mark.parametrize("name", sorted(BATCHES))
def test_batches_that_cannot_be_read_by_their_index(name, tmp_path):
    make, message = BATCHES[name]
    kept = checkpoints(tmp_path / "kept")
    state = state_of()
    with pytest.raises(ValueError, match=message) as error:
        train.fit(train.build_step(OBJECTIVE, OPTIMIZER), state, make(), 6, checkpoints=kept, progress=False)
    kept.close()
    require_one_line(error)
    assert not list(pathlib.Path(tmp_path / "kept").glob("[0-9]*"))


ROW_NUMBERS = {
    "past_the_end": (lambda: [np.array([0, 24])] * 6, "names row 24, but data has rows 0..23"),
    "negative": (lambda: [np.array([0, -1])] * 6, "names row -1, but data has rows 0..23"),
    "floats": (lambda: [np.array([0.0, 1.0])] * 6, "whole numbers, got float64"),
    "bools": (lambda: [np.array([True, False])] * 6, "whole numbers, got bool"),
    "text": (lambda: [np.array(["0"])] * 6, "whole numbers, got <U1"),
    "rows": (lambda: [X[:4]] * 6, "whole numbers, got float32"),
    "none": (lambda: [np.array([], int)] * 6, "holds no row number"),
    "scalar": (lambda: [np.int32(3)] * 6, "must be an array of row numbers, got a int32"),
    "number": (lambda: [3] * 6, "must be an array of row numbers, got a int"),
    "batch": (lambda: [Batch(np.arange(4))] * 6, "must be an array of row numbers, got a Batch"),
    "past_the_end_later": (lambda: [*ROWS[:5], np.arange(21, 25)], r"batches\[5\] names row 24"),
    "of_other_data": (lambda: shuffled(48, 4), r"names row \d\d, but data has rows 0..23"),
}


@pytest.mark.parametrize("name", sorted(ROW_NUMBERS))
def test_row_numbers_that_name_no_row(name):
    make, message = ROW_NUMBERS[name]
    with pytest.raises(ValueError, match=message) as error:
        train.fit(train.build_step(OBJECTIVE, OPTIMIZER), state_of(), make(), 6, data=X, progress=False)
    require_one_line(error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, X), "fit: data: a batch is an array or a jaxae.types.Batch, got a tuple of 2"),
        ({"x": X}, "got a dict of 1"),
        (X[:0], "at least one row"),
        (Batch(X, target=X[:4]), r"same number of rows, got \[4, 24\]"),
        (3, r"holds arrays, got \['int'\]"),
    ],
)
def test_data_that_rows_cannot_be_taken_of(data, message):
    with pytest.raises(ValueError, match=message) as error:
        train.fit(train.build_step(OBJECTIVE, OPTIMIZER), state_of(), shuffled(24, 4), 6, data=data, progress=False)
    require_one_line(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps must be a whole number >= 1, got 0"),
        ({"chunk": -1}, "chunk must be a whole number >= 1, got -1"),
        ({"patience": 0, "validation": lambda state: {"loss": 0.0}}, "patience must be a whole number >= 1, got 0"),
        ({"patience": 2}, "patience 2 needs a validation function"),
    ],
)
def test_options_out_of_range(options, message):
    options = {"num_steps": 6, **options}
    with pytest.raises(ValueError, match=message):
        train.fit(
            train.build_step(OBJECTIVE, OPTIMIZER), state_of(), shuffled(24, 4), data=X, progress=False, **options
        )


def test_whatever_can_be_read_by_index_trains():
    step = train.build_step(OBJECTIVE, OPTIMIZER)
    lists, endless, array, grains = (
        train.fit(step, state_of(), batches, 4, chunk=3, progress=False)
        for batches in (
            [X[i % 20 : i % 20 + 4] for i in range(4)],
            Endless(),
            np.stack([X[i % 20 : i % 20 + 4] for i in range(4)]),
            grain.MapDataset.source([X[i : i + 4] for i in range(4)]),
        )
    )
    by_rows = train.fit(step, state_of(), [list(range(i, i + 4)) for i in range(4)], 4, data=X, chunk=3, progress=False)
    for result in (endless, array, grains, by_rows):
        assert result.history[-1]["loss"] == pytest.approx(lists.history[-1]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: train.init_state(OBJECTIVE, OPTIMIZER, jax.random.key(0), x),
        lambda x: ensemble.init_states(OBJECTIVE, OPTIMIZER, jax.random.key(0), x, 2),
        lambda x: train.build_step(OBJECTIVE, OPTIMIZER)(state_of(), x),
        lambda x: ensemble.build_step(OBJECTIVE, OPTIMIZER)(
            ensemble.init_states(OBJECTIVE, OPTIMIZER, jax.random.key(0), X, 2), x
        ),
        lambda x: train.evaluator(OBJECTIVE, x, 1),
        lambda x: train.latent_monitor(OBJECTIVE, x),
    ],
    ids=["init_state", "init_states", "step", "ensemble_step", "evaluator", "latent_monitor"],
)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:0], "row"),
        ((X, X), "tuple of 2"),
        ({"x": X}, "dict of 1"),
        (X[0, 0], "row"),
        (None, "arrays|an array of numbers"),
        ("a", "arrays|an array of numbers"),
    ],
    ids=["empty", "pair", "dict", "number", "none", "text"],
)
def test_batches_are_refused_alike_everywhere(make, x, message):
    with pytest.raises(ValueError, match=message) as error:
        make(x)
    require_one_line(error)


@pytest.mark.parametrize(
    "optimizer",
    [optax.lbfgs(), optax.chain(optax.clip(1.0), optax.lbfgs()), optax.polyak_sgd()],
    ids=["lbfgs", "chained", "polyak"],
)
def test_optimizers_that_need_more_than_gradients(optimizer):
    for make in (
        lambda: train.init_state(OBJECTIVE, optimizer, jax.random.key(0), X),
        lambda: ensemble.init_states(OBJECTIVE, optimizer, jax.random.key(0), X, 2),
        lambda: jax.jit(train.build_step(OBJECTIVE, optimizer))(
            state_of()._replace(opt_state=optimizer.init(state_of().params)), X
        ),
    ):
        with pytest.raises(ValueError, match=r"needs more than gradients \(.*take a first-order optimizer") as error:
            make()
        require_one_line(error)


class Always(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(5)(x))


class InEvaluationToo(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(5)(x))


class OtherWord(nn.Module):
    @nn.compact
    def __call__(self, x, is_training):
        return nn.Dropout(0.5, deterministic=not is_training)(nn.Dense(5)(x))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            lambda: networks.from_linen(Always()),
            "Always draws random numbers once it is initialised: give its __call__",
        ),
        (lambda: networks.from_linen(InEvaluationToo()), "InEvaluationToo draws random numbers in evaluation"),
        (lambda: networks.from_linen(OtherWord()), "OtherWord: __call__ must need x alone.*it needs x, is_training"),
    ],
)
def test_linen_modules_that_draw_where_they_may_not(network, message):
    def trained():
        model = autoencoder(network(), bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())
        objective = objectives.elbo(model)
        state = train.init_state(objective, OPTIMIZER, jax.random.key(0), X)
        jax.jit(train.build_step(objective, OPTIMIZER))(state, X)
        train.evaluator(objective, X, 1)(state)

    with pytest.raises(ValueError, match=message) as error:
        trained()
    require_one_line(error)


def test_outputs_of_layers_of_a_module_that_draws():
    network = networks.from_linen(Always())
    with pytest.raises(ValueError, match="Always draws random numbers"):
        network.hidden(network.init(jax.random.key(0), X), X)


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (with_state, (nn.Dense(5),), "Dense is a Linen module: pass networks.from_linen of it"),
        (train.init_state, (OBJECTIVE, None, jax.random.key(0), X), "the optimizer is an optax transformation"),
        (train.init_state, (OBJECTIVE, optax.adam, jax.random.key(0), X), "the optimizer is an optax transformation"),
        (train.fit, (None, {"params": 1}, [X] * 9, 9), "the state is a TrainState, from init_state; got a dict"),
        (train.fit, (None, None, [X] * 9, 2.5), "num_steps must be a whole number >= 1, got 2.5"),
        (
            ensemble.init_states,
            (OBJECTIVE, OPTIMIZER, jax.random.key(0), X, 1.5),
            "at least 1 member, a whole number; got 1.5",
        ),
        (bottlenecks.top_k, (1.5,), "a whole number; got 1.5"),
    ],
)
def test_arguments_of_another_kind(call, arguments, message):
    """Without the annotations' check, which the tests alone have."""
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(call)(*arguments)


def require_one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    assert not re.search(r"Tracer|object at 0x", text)
