"""Make the bundled sample of Fashion-MNIST: 1,000 train and 200 test images of each class.

    python scripts/make_fashion_sample.py fashion_mnist.npz

The argument is an .npz with the original `x_train`, `y_train`, `x_test`, `y_test` (60,000 and 10,000 images). Train
images come from the original train split, test images from the original test split; images that occur twice are
passed over. Writes `jaxae/data/samples/fashion-sample.npz` and its card; the same input gives the same arrays.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from jaxae.data.duplicates import row_groups

SAMPLES = Path(__file__).parents[1] / "jaxae" / "data" / "samples"
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
SEED = 0
CARD = {
    "name": "fashion-sample",
    "description": "12,000 of the 70,000 Fashion-MNIST images: 28x28, grey, 10 classes of clothing",
    "train": "1,000 images of each class, drawn without replacement from the original train split",
    "test": "200 images of each class, drawn without replacement from the original test split",
    "seed": SEED,
    "label_names": NAMES,
    "normal": ["Ankle boot"],
    "why_normal": (
        "one-class detection works on it without being trivial: sneakers and sandals are shoes too. The residual of a "
        "linear PCA with 16 components, fitted on the 1,000 train images of one class, gives these AUROCs on the test "
        "part; Ankle boot is neither the easiest class (Trouser) nor near the hardest (Bag)"
    ),
    "source": "Xiao, Rasul and Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist",
    "licence": "MIT, copyright (c) 2017 Zalando SE (LICENSE-fashion-mnist.txt)",
}


def pick(y: np.ndarray, unique: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    rows = [rng.permutation(np.flatnonzero((y == c) & unique))[:per_class] for c in range(10)]
    return rng.permutation(np.concatenate(rows))


def pca_auroc(x_train: np.ndarray, x_test: np.ndarray, is_anomaly: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    train, test = (x.reshape(len(x), -1) / 255.0 for x in (x_train, x_test))
    basis = np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:16]
    centred = test - train.mean(0)
    error = ((centred - centred @ basis.T @ basis) ** 2).mean(1)
    return round(float(roc_auc_score(is_anomaly, error)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    source = np.load(parser.parse_args().source, allow_pickle=False)
    groups = np.concatenate(row_groups(source["x_train"], source["x_test"]))
    unique = np.bincount(groups)[groups] == 1
    print(f"{(~unique).sum()} of {len(unique)} images occur more than once")
    rng = np.random.default_rng(SEED)
    train = pick(source["y_train"], unique[: len(source["x_train"])], 1000, rng)
    test = pick(source["y_test"], unique[len(source["x_train"]) :], 200, rng)
    arrays = {
        "x_train": source["x_train"][train],
        "y_train": source["y_train"][train],
        "x_test": source["x_test"][test],
        "y_test": source["y_test"][test],
    }
    auroc = {
        name: pca_auroc(arrays["x_train"][arrays["y_train"] == c], arrays["x_test"], arrays["y_test"] != c)
        for c, name in enumerate(NAMES)
    }
    path = SAMPLES / "fashion-sample.npz"
    np.savez_compressed(path, **arrays)
    card = {**CARD, "pca16_one_class_auroc": auroc}
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, PCA AUROC {auroc}")


if __name__ == "__main__":
    main()
