"""Reads prepared TensorFlow Datasets sets through `tfds.data_source` and Grain; TensorFlow is not needed."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxae.data.dataset import Factors, Raw


def read(name: str, data_dir: str | Path | None) -> Raw:
    """The splits "train" and "test" (if it has one) of a set stored as ArrayRecord.

    Classes whose names begin with "label_" (dsprites, shapes3d, smallnorb) are taken as ground-truth factors; of those,
    the shape or the category is also the label.

    Args:
      name: as TFDS knows it, e.g. "mnist" or "mnist:3.0.1".
      data_dir: where TFDS keeps its sets; None: the variable TFDS_DATA_DIR, else TFDS's default.

    Raises:
      ValueError: not prepared there or not as ArrayRecord (with the command that prepares it), no train split, or
        no single array-valued feature to learn.
    """
    import tensorflow_datasets as tfds

    builder = _builder(tfds, name, data_dir)
    if "train" not in builder.info.splits:
        raise ValueError(f"tfds:{name} has no train split; its splits are {', '.join(builder.info.splits) or 'none'}")
    x_key, y_key = _keys(name, builder.info)
    factor_keys = sorted(key for key in builder.info.features if key.startswith("label_"))
    if y_key is None:
        y_key = next((key for key in ("label_shape", "label_category") if key in factor_keys), None)
    x_train, y_train, train_factors = _columns(builder, "train", x_key, y_key, factor_keys)
    has_test = "test" in builder.info.splits
    x_test, y_test, test_factors = (
        _columns(builder, "test", x_key, y_key, factor_keys) if has_test else (None, None, None)
    )
    factors = None
    if factor_keys and train_factors is not None:
        sizes = tuple(int(builder.info.features[key].num_classes) for key in factor_keys)
        names = tuple(key.removeprefix("label_") for key in factor_keys)
        factors = Factors(names, sizes, train_factors, test_factors)
    label_names = tuple(getattr(builder.info.features[y_key], "names", None) or ()) if y_key else ()
    card = {"source": f"TensorFlow Datasets {builder.info.full_name}", "description": builder.info.description}
    return Raw(f"tfds:{name}", x_train, y_train, x_test, y_test, label_names or None, card=card, factors=factors)


def _builder(tfds, name: str, data_dir: str | Path | None) -> Any:
    folder = str(Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser())
    try:
        builder = tfds.builder(name, data_dir=folder)
    except tfds.core.DatasetNotFoundError:
        raise ValueError(f"tfds:{name}: TFDS knows no such set, and {folder} holds none") from None
    except (ValueError, AssertionError, FileNotFoundError) as error:
        raise ValueError(f"tfds:{name}: {(str(error).splitlines() or ['cannot be read'])[0]}") from None
    prepare = f"prepare it where TensorFlow is installed: tfds build {name} --file_format=array_record"
    if not Path(builder.data_dir).exists():
        raise ValueError(f"tfds:{name} is not prepared in {builder.data_dir}; {prepare}")
    if builder.info.file_format is None or builder.info.file_format.value != "array_record":
        raise ValueError(f"tfds:{name} in {builder.data_dir} is not stored as ArrayRecord; {prepare}")
    return builder


def _keys(name: str, info) -> tuple[str, str | None]:
    """The feature to learn and the label, from the set's supervised keys or by their usual names."""
    keys = list(info.features)
    if info.supervised_keys and all(isinstance(key, str) for key in info.supervised_keys[:2]):
        x_key, y_key = info.supervised_keys[:2]
    else:
        x_key = next((key for key in ("image", "features", "x") if key in keys), "")
        y_key = next((key for key in ("label", "labels", "y") if key in keys), None)
    if x_key not in keys or info.features[x_key].shape is None:
        raise ValueError(f"tfds:{name}: no feature to learn among {', '.join(keys)}; expected image or features")
    is_label = y_key in keys and info.features[y_key].shape == () and y_key != x_key
    return x_key, y_key if is_label else None


def _columns(builder, split: str, x_key: str, y_key: str | None, factor_keys: list[str]) -> tuple:
    import grain

    rows = grain.MapDataset.source(builder.as_data_source(split=split))
    if not len(rows):
        raise ValueError(f"tfds:{builder.info.name}: its split {split} is empty")
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)  # TFDS advises OpenCV, once per process
    try:
        examples: list[Any] = [rows[i] for i in range(len(rows))]
    finally:
        log.setLevel(level)
    shapes = {np.shape(example[x_key]) for example in examples}
    if len(shapes) > 1:
        raise ValueError(f"tfds:{builder.info.name}: {split} has examples of different shapes: {sorted(shapes)[:2]}")
    x = np.stack([np.asarray(example[x_key]) for example in examples])
    if factor_keys and x.dtype == np.uint8 and x.max() == 1:  # dsprites stores black and white as 0 and 1
        x = x * np.uint8(255)
    y = None if y_key is None else np.array([example[y_key] for example in examples])
    factors = np.array([[example[key] for key in factor_keys] for example in examples], np.int32)
    return x, y, factors if factor_keys else None
