"""Batches as a function of their index."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxae.data.batches import padded, shuffled
from jaxae.types import Batch


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 9), st.integers(0, 4))
def test_every_epoch_is_a_new_order_of_all_rows(num_rows, batch_size, seed, epoch):
    if batch_size > num_rows:
        return
    batches = shuffled(num_rows, batch_size, seed)
    each = num_rows // batch_size
    assert len(batches) == each
    rows = np.concatenate([batches[epoch * each + i] for i in range(each)])
    assert rows.dtype == np.int32
    assert len(rows) == len(set(rows)) == each * batch_size
    assert set(rows) <= set(range(num_rows))
    if each * batch_size > 20:
        following = np.concatenate([batches[(epoch + 1) * each + i] for i in range(each)])
        assert rows.tolist() != following.tolist()


def test_a_batch_is_a_pure_function_of_its_index():
    batches = shuffled(100, 8, seed=3)
    order = [1234, 0, 57, 11, 12, 0, 1234]
    drawn = [batches[i].tolist() for i in order]
    assert drawn == [shuffled(100, 8, seed=3)[i].tolist() for i in order]
    assert drawn[0] != shuffled(100, 8, seed=4)[1234].tolist()
    assert [b.tolist() for b in batches] == [batches[i].tolist() for i in range(12)]
    assert batches[np.int64(57)].tolist() == drawn[2]
    with pytest.raises(ValueError, match="read-only"):
        batches[0][0] = 7


def test_bad_arguments_give_numbers():
    with pytest.raises(ValueError, match=r"batch size must lie in 1\.\.96, the number of rows; got 128"):
        shuffled(96, 128)
    with pytest.raises(ValueError, match="got 0"):
        shuffled(96, 0)
    with pytest.raises(ValueError, match="seed must be >= 0, got -1"):
        shuffled(96, 8, -1)
    with pytest.raises(IndexError, match="got -1"):
        shuffled(96, 8)[-1]
    with pytest.raises(ValueError, match="got 0 rows, batch size 4"):
        padded(np.zeros((0, 2)), 4)
    with pytest.raises(ValueError, match="got 3 rows, batch size 0"):
        padded(np.zeros((3, 2)), 0)


@pytest.mark.parametrize("num_rows", [1, 7, 8, 9])
def test_padded_covers_every_row_once_at_one_size(num_rows):
    x = np.arange(num_rows * 2.0).reshape(num_rows, 2)
    made = list(padded(x, 4))
    assert {b.x.shape for b in made} == {(4, 2)}
    weight = np.concatenate([b.weight for b in made])
    assert weight.dtype == np.float32
    assert weight.tolist() == [1.0] * num_rows + [0.0] * (len(weight) - num_rows)
    np.testing.assert_array_equal(np.concatenate([b.x for b in made])[:num_rows], x)


def test_padded_takes_batches_with_their_parts_and_weights():
    data = Batch(
        {"image": jnp.arange(3), "text": np.arange(6).reshape(3, 2)},
        condition=np.array([4, 5, 6]),
        weight=np.ones(3) / 2,
    )
    first, last = padded(data, 2)
    assert first.weight.tolist() == [0.5, 0.5]
    assert last.weight.tolist() == [0.5, 0.0]
    assert last.x["image"].tolist() == [2, 2]
    assert last.x["text"].tolist() == [[4, 5], [4, 5]]
    assert last.condition.tolist() == [6, 6]
    assert last.target is None


def test_one_trace_serves_all_padded_batches():
    traces = []

    @jax.jit
    def total(batch):
        traces.append(1)
        return (batch.x * batch.weight).sum()

    assert sum(float(total(b)) for b in padded(np.arange(10, dtype=np.float32), 4)) == 45
    assert len(traces) == 1


def test_grains_map_dataset_gives_batches_by_index_too():
    import grain

    rows = np.arange(20, dtype=np.int32)
    batches = grain.MapDataset.source(rows).seed(0).shuffle().repeat().batch(4, drop_remainder=True)
    assert batches[3].shape == (4,)
    np.testing.assert_array_equal(batches[3], batches[3])
    epochs = [np.concatenate([batches[5 * epoch + i] for i in range(5)]) for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == rows.tolist()
    assert epochs[0].tolist() != epochs[1].tolist()
