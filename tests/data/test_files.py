"""Tables, image folders and TFDS sets, all written here but the last."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv, parquet

from jaxae.data import load

FIXTURES = Path(__file__).parents[1] / "fixtures"
TABLE = np.random.default_rng(0).normal(size=(40, 2))
KINDS = np.array(["fine", "broken"])[(np.arange(40) % 4 == 3).astype(int)]


def columns(**more):
    return pa.table({"width": TABLE[:, 0], "height": TABLE[:, 1], **more})


def written(folder: Path, table, suffix: str) -> Path:
    path = folder / f"t.{suffix}"
    (csv.write_csv if suffix == "csv" else parquet.write_table)(table, path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables(tmp_path, suffix):
    table = columns(kind=KINDS, count=np.arange(40), on=np.arange(40) % 2 == 0)
    data = load(written(tmp_path, table, suffix), label_column="kind")
    assert data.feature_names == ("width", "height", "count", "on")
    assert data.label_names == ("broken", "fine")
    assert data.x_test.dtype == np.float32
    rows = data.test_rows
    expected = np.stack([TABLE[rows, 0], TABLE[rows, 1], rows, rows % 2 == 0], 1)
    np.testing.assert_allclose(data.x_test, expected, rtol=1e-6)
    np.testing.assert_array_equal(np.array(data.label_names)[data.y_test], KINDS[rows])
    unlabelled = load(written(tmp_path, columns(), suffix), scoring=True)
    np.testing.assert_allclose(unlabelled.x_test, TABLE, rtol=1e-6)


def test_tables_with_numbers_or_categories_as_labels(tmp_path):
    numbers = load(written(tmp_path, columns(y=np.arange(40) % 2), "parquet"), label_column="y")
    assert (numbers.label_names, numbers.normal) == (("0", "1"), (0,))
    categories = columns(y=pa.array(KINDS).dictionary_encode())
    assert load(written(tmp_path, categories, "parquet"), label_column="y").label_names == ("broken", "fine")


BAD_TABLES = {
    "label column": (columns(kind=KINDS), "label", "no column 'label'; the columns are width, height, kind"),
    "text": (columns(kind=KINDS), None, r"not numeric: kind \(string\); is one of them the label column"),
    "gap": (columns(z=pa.array([None, *[1.0] * 39])), None, "NaN or infinite values: 1, the first in row 0"),
    "label gap": (columns(y=pa.array([*"aab", None] * 10)), "y", "10 labels are missing in 'y', the first in row 3"),
    "label kind": (columns(y=pa.array([[1]] * 40)), "y", "labels must be numbers or strings"),
    "labels only": (pa.table({"y": np.arange(9)}), "y", "no columns beside the labels"),
    "no rows": (columns()[:0], None, "is empty: a header and no rows"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_give_one_clear_line(tmp_path, case):
    table, label_column, message = BAD_TABLES[case]
    with pytest.raises(ValueError, match=message) as raised:
        load(written(tmp_path, table, "parquet"), label_column=label_column)
    assert "\n" not in str(raised.value)


def test_unreadable_tables_give_one_clear_line(tmp_path):
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(ValueError, match="columns of the same name: a"):
        load(tmp_path / "twice.csv")
    for name, text in {"a.parquet": "no parquet", "a.csv": "a,b\n1,2\n3\n", "b.csv": ""}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match="not a readable table") as raised:
            load(tmp_path / name)
        assert "\n" not in str(raised.value)


def draw(path: Path, value: int, mode: str = "L", size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    color = value if mode in ("L", "I;16") else (value, 0, 0, 255)[: len(mode)]
    Image.new(mode, size, color).save(path)


def test_image_folder_with_train_and_test(tmp_path):
    for i in range(6):
        draw(tmp_path / f"train/good/{i}.png", i)
    for i in range(3):
        draw(tmp_path / f"test/crack/deep/{i}.bmp", 100 + i)
        draw(tmp_path / f"test/good/{i}.PNG", 50 + i)
    (tmp_path / "train/good/notes.txt").write_text("no image")
    (tmp_path / "train/good/.hidden.png").write_text("no image")
    data = load(tmp_path)
    assert data.x_train.shape == (6, 4, 6, 1)
    assert data.x_train[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.x_test[:, 0, 0, 0].tolist() == [100, 101, 102, 50, 51, 52]
    assert data.label_names == ("crack", "good")
    assert data.y_test.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.normal == (1,)
    assert data.test_files[0] == "test/crack/deep/0.bmp"
    assert data.test_rows is None


def test_flat_and_class_folders(tmp_path):
    for i in range(10):
        draw(tmp_path / f"flat/{i}.png", i)
        draw(tmp_path / f"kinds/{'ab'[i % 2]}/{i}.png", i)
    scored = load(tmp_path / "flat", scoring=True)
    assert scored.test_files == tuple(f"{i}.png" for i in range(10))
    assert scored.x_test[:, 0, 0, 0].tolist() == list(range(10))
    data = load(tmp_path / "flat")
    assert [f"{pixel}.png" for pixel in data.x_test[:, 0, 0, 0]] == list(data.test_files)
    assert len(data.x_test) == 3
    kinds = load(tmp_path / "kinds")
    assert kinds.label_names == ("a", "b")
    assert (kinds.x_train[:, 0, 0, 0] % 2 == kinds.y_train).all()


def test_modes_of_images(tmp_path):
    for i, mode in enumerate(("L", "RGB", "RGBA")):
        draw(tmp_path / f"colour/{i}.png", 200, mode)
    x = load(tmp_path / "colour", scoring=True).x_test
    assert x.shape == (3, 4, 6, 3)
    assert x[:, 0, 0].tolist() == [[200, 200, 200], [200, 0, 0], [200, 0, 0]]
    draw(tmp_path / "deep/0.png", 257 * 7, "I;16")
    draw(tmp_path / "deep/1.png", 65535, "I;16")
    assert load(tmp_path / "deep", scoring=True).x_test[:, 0, 0, 0].tolist() == [7, 255]


def test_bad_folders_give_one_clear_line(tmp_path):
    (tmp_path / "none").mkdir()
    draw(tmp_path / "sizes/a.png", 1)
    draw(tmp_path / "sizes/b.png", 1, size=(6, 5))
    draw(tmp_path / "mixed/a.png", 1)
    draw(tmp_path / "mixed/kind/a.png", 1)
    draw(tmp_path / "half/test/a.png", 1)
    draw(tmp_path / "torn/a.png", 1)
    whole = (tmp_path / "torn/a.png").read_bytes()
    (tmp_path / "torn/b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake/a.jpg").write_text("not a picture")
    for folder, message in {
        "none": "no images in it; known endings are .png",
        "sizes": "images of different sizes: a.png is 6x4, b.png is 6x5",
        "mixed": r"images both flat \(a.png\) and in class folders \(kind/\)",
        "half": "a test folder without a train folder",
        "torn": "b.png: unreadable image",
        "fake": "a.jpg: unreadable image",
    }.items():
        with pytest.raises(ValueError, match=message) as raised:
            load(tmp_path / folder)
        assert "\n" not in str(raised.value)


def test_tfds_set_is_read_without_tensorflow(monkeypatch):
    import sys

    from sklearn.datasets import load_digits

    data = load("tfds:digits_tiny", data_dir=FIXTURES / "tfds")
    assert "tensorflow" not in sys.modules
    assert data.x_train.shape == (300, 8, 8, 1)
    assert data.x_test.shape == (100, 8, 8, 1)
    assert data.label_names == tuple(f"digit {i}" for i in range(10))
    images, labels = load_digits(return_X_y=True)
    digit = np.flatnonzero(labels == 3)
    for x, y, rows in ((data.x_train, data.y_train, digit[:30]), (data.x_test, data.y_test, digit[30:40])):
        stored = {image.tobytes() for image in x[y == 3]}
        assert stored == {image.astype(np.uint8).tobytes() for image in images[rows] * 15}
    monkeypatch.setenv("TFDS_DATA_DIR", str(FIXTURES / "tfds"))
    np.testing.assert_array_equal(load("tfds:digits_tiny:1.0.0").x_train, data.x_train)


def test_missing_tfds_sets_give_one_clear_line(tmp_path):
    for name, message in {"no_such_set": "TFDS knows no such set", "mnist": "prepare it .* tfds build mnist"}.items():
        with pytest.raises(ValueError, match=message) as raised:
            load(f"tfds:{name}", data_dir=tmp_path)
        assert "\n" not in str(raised.value)
