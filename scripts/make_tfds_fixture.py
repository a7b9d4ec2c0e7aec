"""Make the TFDS set that the tests read: 8x8 digits as ArrayRecord, a few tens of kilobytes.

Writing a TFDS set needs TensorFlow, reading one does not; so the set is kept under `tests/fixtures/tfds` and this
runs only to make it anew, in an environment of its own:

    pip install tensorflow-cpu tensorflow-datasets importlib_resources scikit-learn
    python scripts/make_tfds_fixture.py

The images are scikit-learn's bundled copy of the UCI "Optical Recognition of Handwritten Digits" test set (CC BY
4.0; Alpaydin and Kaynak 1998), grey values 0..16 times 15: the first 30 of each digit for train, the next 10 for test.
"""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures" / "tfds"


class DigitsTiny(tfds.core.GeneratorBasedBuilder):
    """Handwritten digits of 8x8 pixels."""

    pkg_dir_path = epath.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1)),
            "label": tfds.features.ClassLabel(names=[f"digit {i}" for i in range(10)]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="8x8 handwritten digits (UCI, CC BY 4.0)",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 30), "test": self._generate_examples(30, 40)}

    def _generate_examples(self, start, stop):
        images, labels = load_digits(return_X_y=True)
        for digit in range(10):
            for row in np.flatnonzero(labels == digit)[start:stop]:
                yield int(row), {"image": (images[row] * 15).astype(np.uint8).reshape(8, 8, 1), "label": digit}


if __name__ == "__main__":
    DigitsTiny(data_dir=str(FOLDER), file_format="array_record").download_and_prepare()
