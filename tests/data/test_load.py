"""Reading arrays, files and the bundled sample."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxae.data import load
from jaxae.data.arrays import SAMPLES

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 6, 5), dtype=np.uint8)
TABLE = RNG.normal(size=(40, 3))
LABELS = np.arange(40) % 4


def saved(folder: Path, **arrays) -> Path:
    np.savez(folder / "d.npz", **arrays)
    return folder / "d.npz"


def test_importing_the_room_loads_no_reader():
    code = "import sys, jaxae.data; print({'tensorflow_datasets', 'grain', 'pyarrow', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_sample_is_balanced_small_and_licensed():
    data = load("fashion-sample")
    assert data.x_train.shape == (10_000, 28, 28, 1)
    assert data.x_test.shape == (2_000, 28, 28, 1)
    assert data.x_train.dtype == data.x_test.dtype == np.uint8
    assert np.bincount(data.y_train).tolist() == [1000] * 10
    assert np.bincount(data.y_test).tolist() == [200] * 10
    assert data.y_train.dtype == np.int64
    assert [data.label_names[c] for c in data.normal] == data.card["normal"]
    assert "MIT" in data.card["licence"]
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 6_000_000
    assert "MIT License" in (SAMPLES / "LICENSE-fashion-mnist.txt").read_text(encoding="utf-8")
    assert data.test_rows is None
    json.dumps(data.card)


def test_npz_with_all_keys(tmp_path):
    path = saved(tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:7], y_test=LABELS[:7, None] + 3)
    data = load(path)
    np.testing.assert_array_equal(data.x_train[..., 0], IMAGES)
    np.testing.assert_array_equal(data.x_test[..., 0], IMAGES[:7])
    assert data.label_names == ("0", "1", "2", "3", "4", "5", "6")
    np.testing.assert_array_equal(data.y_train, LABELS)
    np.testing.assert_array_equal(data.y_test, LABELS[:7] + 3)
    assert data.normal is None
    assert data.name == "d.npz"


def test_npz_without_labels_keeps_its_test_part(tmp_path):
    data = load(saved(tmp_path, x_train=TABLE, x_test=TABLE[:7]))
    assert data.y_train is None
    assert data.y_test is None
    assert data.label_names is None
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_test, TABLE[:7].astype(np.float32))


@pytest.mark.parametrize("keys", [("x", "y"), ("x_train", "y_train")])
def test_a_missing_test_part_is_split_off(tmp_path, keys):
    x = np.arange(40.0)[:, None] + [[0, 0.5]]
    path = saved(tmp_path, **{keys[0]: x, keys[1]: LABELS})
    data, again, other = load(path), load(path), load(path, seed=1)
    assert np.bincount(data.y_test).tolist() == [3] * 4  # 30 % of ten rows of each class
    assert np.bincount(data.y_train).tolist() == [7] * 4
    assert sorted([*data.x_train[:, 0], *data.x_test[:, 0]]) == list(range(40))
    np.testing.assert_array_equal(data.x_test[:, 0], data.test_rows)
    np.testing.assert_array_equal(data.y_test, LABELS[data.test_rows])
    np.testing.assert_array_equal(data.test_rows, again.test_rows)
    assert data.test_rows.tolist() != other.test_rows.tolist()
    assert data.card["test_part_split_off"] == {"fraction": 0.3, "seed": 0, "group_duplicates": False}


def test_sorted_rows_are_shuffled_before_the_split(tmp_path):
    rows = load(saved(tmp_path, x=np.arange(1000.0)[:, None])).test_rows
    assert len(rows) == 300
    assert 400 < rows.mean() < 600


def test_group_duplicates_keeps_equal_rows_on_one_side(tmp_path):
    path = saved(tmp_path, X=np.repeat(TABLE, 4, 0), y=np.repeat(LABELS == 3, 4).astype(int))
    data = load(path, group_duplicates=True)
    assert not {row.tobytes() for row in data.x_train} & {row.tobytes() for row in data.x_test}
    assert len(data.x_test) == 48
    assert np.bincount(data.y_test).tolist() == [36, 12]


def test_adbench_keys(tmp_path):
    data = load(saved(tmp_path, X=TABLE.astype(np.uint8), y=(LABELS == 3).astype(np.int32)))
    assert data.label_names == ("normal", "anomaly")
    assert data.normal == (0,)
    assert np.bincount(data.y_test).tolist() == [9, 3]
    assert data.x_train.dtype == np.float32
    with pytest.raises(ValueError, match=r"y must hold 0 \(normal\) and 1 \(anomaly\)"):
        load(saved(tmp_path, X=TABLE, y=LABELS))


def test_scoring_takes_sources_whole_and_in_order(tmp_path):
    path = saved(tmp_path, x=TABLE)
    data = load(path, scoring=True)
    np.testing.assert_array_equal(data.x_test, TABLE.astype(np.float32))
    np.testing.assert_array_equal(data.test_rows, np.arange(40))
    assert data.x_train.shape == (0, 3)
    one = load(saved(tmp_path, x=TABLE[:1]), scoring=True)
    assert one.x_test.shape == (1, 3)
    labelled = load(saved(tmp_path, x=TABLE, y=LABELS), scoring=True)
    np.testing.assert_array_equal(labelled.test_rows, np.arange(40))
    np.testing.assert_array_equal(np.array(labelled.label_names)[labelled.y_test], LABELS.astype(str))
    path = saved(tmp_path, x_train=TABLE, y_train=LABELS, x_test=TABLE[:7])
    both = load(path, scoring=True)
    np.testing.assert_array_equal(both.x_test, np.concatenate([TABLE, TABLE[:7]]).astype(np.float32))
    assert both.num_train == 40
    assert (both.y_test[40:] == -1).all()
    np.testing.assert_array_equal(np.array(both.label_names)[both.y_test[:40]], LABELS.astype(str))


def test_string_labels_and_the_default_normal_class(tmp_path):
    y = np.array(["good", "crack"])[(LABELS == 3).astype(int)]
    data = load(saved(tmp_path, x=TABLE, y=y))
    assert data.label_names == ("crack", "good")
    assert data.normal == (1,)
    np.testing.assert_array_equal(np.array(data.label_names)[data.y_test], y[data.test_rows])
    only = load(saved(tmp_path, x_train=TABLE, y_train=LABELS * 0 + 7, x_test=TABLE, y_test=LABELS + 5))
    assert [only.label_names[c] for c in only.normal] == ["7"]
    zero_one = load(saved(tmp_path, x=TABLE, y=(LABELS == 3).astype(float)))
    assert zero_one.normal == (0,)


@pytest.mark.parametrize("kind", ["bool", "int64", "float64", "uint8"])
def test_images_of_every_dtype(tmp_path, kind):
    images = IMAGES > 99 if kind == "bool" else IMAGES / 255 if kind == "float64" else IMAGES.astype(kind)
    x = load(saved(tmp_path, x_train=images, x_test=images[:5])).x_train
    assert x.shape == (40, 6, 5, 1)
    assert x.dtype == (np.float32 if kind == "float64" else np.uint8)
    expected = (IMAGES > 99) * 255 if kind == "bool" else IMAGES / 255 if kind == "float64" else IMAGES
    np.testing.assert_allclose(x[..., 0], expected, rtol=1e-6)


NAN = np.where(np.arange(120).reshape(40, 3) % 50 == 9, np.nan, TABLE)
BAD_ARRAYS = {
    "object array": ({"x": np.array([{}] * 40)}, "x holds Python objects .a pickle., which are never loaded"),
    "no known key": ({"images": IMAGES, "z": TABLE}, "needs the keys x_train .* has images, z"),
    "y_test alone": ({"x_train": TABLE, "y_test": LABELS}, "y_test without x_test; keys present: x_train, y_test"),
    "one axis": ({"x": TABLE[:, 0]}, r"needs a table .* got shape \(40,\)"),
    "five axes": ({"x": np.zeros((2, 2, 2, 2, 2))}, r"got shape \(2, 2, 2, 2, 2\)"),
    "strings": ({"x": np.full((4, 2), "a")}, "needs numbers, got dtype <U1"),
    "complex": ({"x": TABLE + 1j}, "needs numbers, got dtype complex128"),
    "no rows": ({"x_train": TABLE, "x_test": TABLE[:0]}, r"test part is empty: shape \(0, 3\)"),
    "no columns": ({"x": TABLE[:, :0]}, r"an axis has length 0 in shape \(40, 0\)"),
    "not finite": ({"x": NAN}, "NaN or infinite values: 3, the first in row 3"),
    "overflow": ({"x": TABLE * 1e300}, "overflow float32"),
    "large pixels": ({"x": IMAGES.astype(int) + 9}, r"integer pixels must lie in 0\.\.255, found \d+\.\.26\d"),
    "centred pixels": ({"x": IMAGES / 127.5 - 1}, r"floating pixels must lie in 0\.\.1, found -1\.\.1"),
    "channels first": ({"x": np.zeros((4, 3, 8, 8), np.uint8)}, r"looks channels-first"),
    "constant": ({"x_train": TABLE * 0 + 2, "x_test": TABLE}, "constant data set: all 40 rows"),
    "parts differ": ({"x_train": TABLE, "x_test": TABLE[:, :2]}, r"differ: \(3,\) float32 and \(2,\) float32"),
    "dtypes differ": ({"x_train": IMAGES, "x_test": IMAGES / 255}, "differ: .*uint8 and .*float32"),
    "short labels": ({"x": TABLE, "y": LABELS[:9]}, r"one label per row, shape \(40,\), got \(9,\)"),
    "fractions": ({"x": TABLE, "y": LABELS / 2}, r"whole numbers or strings, found 0\.5"),
    "missing label": ({"x": TABLE, "y": np.where(LABELS == 3, np.nan, LABELS)}, "NaN or infinite values: 10, .* row 3"),
    "kinds": ({"x_train": TABLE, "y_train": LABELS, "x_test": TABLE, "y_test": np.full(40, "a")}, "numbers in one"),
    "one row": ({"x": TABLE[:1]}, "1 row cannot be split"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_give_one_clear_line(tmp_path, case):
    arrays, message = BAD_ARRAYS[case]
    with pytest.raises(ValueError, match=message) as raised:
        load(saved(tmp_path, **arrays))
    assert "\n" not in str(raised.value)
    assert "d.npz" in str(raised.value) or "differ" in message or "constant" in message or "kind" in case


def test_bad_specs_and_files_give_one_clear_line(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not a zip")
    (tmp_path / "text.txt").write_text("x")
    np.save(tmp_path / "bare.npy", TABLE)
    (tmp_path / "bare.npy").rename(tmp_path / "bare.npz")
    whole = saved(tmp_path, x=TABLE).read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[300] ^= 0xFF  # inside the array: the archive's checksum notices
    (tmp_path / "damaged.npz").write_bytes(damaged)
    for spec, message in {
        "bad.npz": "not a readable .npz",
        "torn.npz": "not a readable .npz",
        "damaged.npz": "x is damaged",
        "bare.npz": "one bare array",
        "text.txt": "unknown kind of file '.txt'",
        "nowhere": "no such file or folder",
    }.items():
        with pytest.raises(ValueError, match=message) as raised:
            load(tmp_path / spec)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="test_fraction must lie between 0 and 1, got 1"):
        load("fashion-sample", test_fraction=1.0)
    with pytest.raises(ValueError, match="seed must be >= 0, got -1"):
        load("fashion-sample", seed=-1)
    with pytest.raises(ValueError, match=r"a label column is for \.csv and \.parquet"):
        load("fashion-sample", label_column="y")
    with pytest.raises(ValueError, match="too few distinct ones"):
        load(saved(tmp_path, x=np.ones((9, 2))), group_duplicates=True)


@pytest.mark.skipif("JAXAE_DATA" not in os.environ, reason="JAXAE_DATA names no folder of data sets")
@pytest.mark.parametrize("name", ["letter", "cardio", "shuttle", "donors"])
def test_adbench(name):
    path = Path(os.environ["JAXAE_DATA"]) / "adbench" / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no {name}.npz")
    data = load(path)
    share = np.concatenate([data.y_train, data.y_test]).mean()
    assert data.y_test.mean() == pytest.approx(share, abs=0.01)
    assert len(data.x_test) / (len(data.x_train) + len(data.x_test)) == pytest.approx(0.3, abs=0.01)


def test_the_root_of_the_file_system_is_not_listed():
    with pytest.raises(ValueError, match="is the root of the file system"):
        load("/")
