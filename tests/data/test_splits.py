"""The five parts: disjoint, complete, seeded, shuffled; and duplicates."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxae.data import Dataset, load, splits
from jaxae.data.duplicates import allot, row_groups

PARTS = ("train", "validation", "calibration", "dev")


def dataset(x, y=None, x_test=None, y_test=None, names=("a", "b", "c"), normal=(0,)):
    as_table = lambda rows: np.asarray(rows, np.float32).reshape(len(rows), -1)  # noqa: E731
    x_test = np.array([[-1.0]]) if x_test is None else x_test
    has_labels = y is not None or y_test is not None
    return Dataset("toy", as_table(x), y, as_table(x_test), y_test, names if has_labels else None, normal)


@settings(max_examples=40, deadline=None)
@given(
    classes=st.lists(st.integers(0, 2), min_size=40, max_size=80),
    seed=st.integers(0, 9),
    normal=st.sampled_from([0, ["b"], ["a", "c"]]),
    shares=st.tuples(*[st.one_of(st.floats(0.01, 0.3), st.integers(0, 9))] * 3),
)
def test_parts_are_disjoint_complete_and_seeded(classes, seed, normal, shares):
    y = np.repeat(np.array(classes), 3)
    data = dataset(np.arange(len(y)), y)
    normals = np.isin(y, splits.normal_classes(data, normal))
    sizes = dict(zip(("validation", "calibration", "dev"), shares, strict=True))
    try:
        made = splits.split(data, normal, seed, **sizes)
    except ValueError as error:
        assert "the split needs at least" in str(error)  # noqa: PT017
        return
    parts = [getattr(made, name) for name in PARTS]
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(len(y)))
    for part in parts:
        np.testing.assert_array_equal(part.x[:, 0], part.rows)
        np.testing.assert_array_equal(part.classes, y[part.rows])
        np.testing.assert_array_equal(part.labels, ~normals[part.rows])
    for part in parts[:3]:
        assert not part.labels.any()
    assert made.dev.labels.sum() == (~normals).sum()
    for part, share in zip(parts[1:], shares, strict=True):
        expected = share if isinstance(share, int) else max(5, round(share * normals.sum()))
        assert (part.labels == 0).sum() == expected
    again = splits.split(data, normal, seed, **sizes)
    assert all(np.array_equal(getattr(made, name).rows, getattr(again, name).rows) for name in PARTS)
    assert len(made.left_out) == 0


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(0, 30), min_size=60, max_size=120), seed=st.integers(0, 5), data=st.data())
def test_grouped_duplicates_never_cross(values, seed, data):
    y = np.array(data.draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=len(values), max_size=len(values))))
    toy = dataset(values, y, x_test=[[0], [1], [2]], y_test=np.array([0, 0, 1]))
    try:
        made = splits.split(toy, seed=seed, group_duplicates=True)
    except ValueError:
        return
    seen = set(toy.x_test[:, 0])
    for name in PARTS:
        own = set(getattr(made, name).x[:, 0])
        assert not own & seen
        seen |= own
    assert not any(made.duplicates.values())
    assert set(toy.x_train[made.left_out, 0]) <= {0, 1, 2}
    used = np.concatenate([getattr(made, name).rows for name in PARTS])
    assert sorted([*used, *made.left_out]) == list(range(len(values)))


def test_grouped_sizes_stay_near_the_wanted_ones():
    values = np.repeat(np.arange(200), np.arange(200) % 10 + 1)
    made = splits.split(dataset(values), group_duplicates=True)
    sizes = [len(getattr(made, name).rows) for name in PARTS]
    np.testing.assert_allclose(np.array(sizes) / len(values), [0.6, 0.1, 0.15, 0.15], atol=0.01)


def test_equal_rows_across_splits_warn_with_their_number():
    x = np.arange(100.0)
    toy = dataset(x, x_test=[[5.0], [7.0], [-1.0], [-1.0]])
    with pytest.warns(UserWarning, match=r"in different splits: 2 \(test 2 of 4\).*--group-duplicates"):
        made = splits.split(toy)
    assert made.duplicates == {"validation": 0, "calibration": 0, "dev": 0, "certify": 0, "test": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grouped = splits.split(toy, group_duplicates=True)
    assert sorted(grouped.left_out) == [5, 7]
    toy = dataset(np.repeat(x, 2))
    with pytest.warns(UserWarning, match="equal rows in different splits"):
        made = splits.split(toy)
    later = [getattr(made, name).x[:, 0] for name in PARTS]
    expected = [int(np.isin(later[i], np.concatenate(later[:i])).sum()) for i in (1, 2, 3)]
    assert list(made.duplicates.values()) == [*expected, 0, 0]


def test_an_anomalys_equal_normals_go_to_dev_with_it():
    values = [*range(40), 3, 3]
    y = np.array([0] * 41 + [1])
    made = splits.split(dataset(values, y), group_duplicates=True)
    assert sorted(made.dev.rows[made.dev.x[:, 0] == 3]) == [3, 40, 41]


@pytest.mark.parametrize("grouped", [False, True])
def test_certify_takes_a_share_of_dev_of_each_class(grouped):
    y = np.repeat([0, 1, 2], [200, 60, 40])
    toy = dataset(np.arange(300) // (2 if grouped else 1), y)
    whole = splits.split(toy, group_duplicates=grouped) if grouped else splits.split(toy)
    made = splits.split(toy, certify=0.5, group_duplicates=grouped)
    assert sorted([*made.dev.rows, *made.certify.rows]) == sorted(whole.dev.rows)
    assert len(whole.certify.rows) == 0
    if grouped:
        assert not set(made.dev.x[:, 0]) & set(made.certify.x[:, 0])
        assert abs(len(made.dev.rows) - len(made.certify.rows)) <= 2
    else:
        assert [int((made.certify.classes == c).sum()) for c in range(3)] == [15, 30, 20]
    for name in ("train", "validation", "calibration"):
        np.testing.assert_array_equal(np.sort(getattr(made, name).rows), np.sort(getattr(whole, name).rows))
    with pytest.raises(ValueError, match=r"certify must be a share of dev in \[0, 1\), got 1.5"):
        splits.split(toy, certify=1.5)


def test_sorted_rows_are_shuffled():
    made = splits.split(dataset(np.arange(1000)))
    for name in PARTS:
        rows = getattr(made, name).rows
        assert 400 < rows.mean() < 600
        assert (np.diff(rows) < 0).any()
    other = splits.split(dataset(np.arange(1000)), seed=1)
    assert set(made.train.rows) != set(other.train.rows)


def test_the_sample_splits_without_duplicates():
    data = load("fashion-sample")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = splits.split(data)
    assert made.normal == ("Ankle boot",)
    assert [len(getattr(made, name).rows) for name in PARTS] == [600, 100, 150, 9150]
    assert set(made.train.classes) == {9}
    np.testing.assert_array_equal(made.test.x, data.x_test)
    np.testing.assert_array_equal(made.test.rows, np.arange(2000))
    np.testing.assert_array_equal(made.test.labels, data.y_test != 9)
    assert made.test.labels.dtype == np.int32


def test_without_labels_every_row_is_normal():
    made = splits.split(dataset(np.arange(100), normal=None))
    assert not made.dev.labels.any()
    assert made.test.labels is None
    assert made.dev.classes is None
    assert made.normal == ()
    labelled_test = dataset(np.arange(100), x_test=[[-1], [-2]], y_test=np.array([0, 2]))
    made = splits.split(labelled_test)
    assert len(made.train.rows) == 60
    assert made.test.labels.tolist() == [0, 1]


def test_normal_by_name_or_number():
    y = np.arange(90) % 3
    toy = dataset(np.arange(90), y)
    assert splits.normal_classes(toy, "b") == splits.normal_classes(toy, 1) == splits.normal_classes(toy, "1") == (1,)
    assert splits.normal_classes(toy, ["c", 0]) == (0, 2)
    digits = toy._replace(label_names=("3", "7", "8"))
    assert splits.normal_classes(digits, 7) == (1,)
    for unknown in (0, "c", "-1"):
        with pytest.raises(ValueError, match=f"no class '{unknown}'; the classes are 3, 7, 8"):
            splits.normal_classes(digits, unknown)
    with pytest.raises(ValueError, match="no class '3'; the classes are a, b, c"):
        splits.normal_classes(toy, 3)
    with pytest.raises(ValueError, match=r"say which class is normal .*; the classes are a, b, c"):
        splits.split(toy._replace(normal=None))
    with pytest.raises(ValueError, match="toy has no labels, so no class 'a'"):
        splits.split(dataset(np.arange(90)), "a")
    with pytest.raises(ValueError, match="no normal class given"):
        splits.normal_classes(toy, [])


def test_too_few_normals_and_wrong_sizes_give_numbers():
    message = r"needs at least 20 normal rows \(5 for validation, 5 for calibration, 5 for dev, 5 for train\).* has 19"
    with pytest.raises(ValueError, match=message):
        splits.split(dataset(np.arange(19)))
    assert len(splits.split(dataset(np.arange(20))).train.rows) == 5
    with pytest.raises(ValueError, match="has 0"):
        splits.split(dataset(np.arange(40), np.ones(40, np.int64)))
    with pytest.raises(ValueError, match=r"calibration must be a share in \[0, 1\) .* got 1.5"):
        splits.split(dataset(np.arange(99)), calibration=1.5)
    with pytest.raises(ValueError, match="dev must not be negative, got -3"):
        splits.split(dataset(np.arange(99)), dev=-3)
    with pytest.raises(ValueError, match="seed must be >= 0"):
        splits.split(dataset(np.arange(99)), seed=-1)
    with pytest.raises(ValueError, match="came out empty"):
        splits.split(dataset(np.zeros(99)), group_duplicates=True)
    everything = splits.split(dataset(np.arange(30)), validation=0, calibration=0, dev=0)
    assert len(everything.train.rows) == 30


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([-0.0, 0.0, 1.0, 2.5]), min_size=1, max_size=30), st.integers(0, 30))
def test_groups_are_those_of_equality(values, cut):
    rows = np.array(values, np.float32)[:, None].repeat(2, 1)
    groups = np.concatenate(row_groups(rows[:cut], rows[cut:]))
    np.testing.assert_array_equal(groups[:, None] == groups[None], rows[:, None, 0] == rows[None, :, 0])


def test_allot_meets_exact_numbers_where_it_can():
    part = allot(np.arange(100), [70, 20, 10], np.random.default_rng(0))
    assert np.bincount(part).tolist() == [70, 20, 10]
    part = allot(np.array([0] * 50 + list(range(1, 51))), [60, 20, 20], np.random.default_rng(0))
    assert np.bincount(part).tolist() == [60, 20, 20]
    assert set(part[:50]) == {0}
