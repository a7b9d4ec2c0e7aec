"""Which view of an image, and which exponent of its energy, to judge it by: chosen without a single anomaly image.

    python benchmarks/choose_view.py --data fashion_mnist.npz mnist.npz

Reads the train split's rows of one class at a time. Pixels lie in [0, 1]. Of 1,000 held-out normals, 500 are compared
with twelve kinds of pseudo-anomalies made of 200 of them (halves and means of two normals, left and right exchanged,
flips, a quarter turn, patches moved or erased, warps, blur, half the contrast). The score is the squared distance to
the fifth nearest of 2,000 normals, over (1 + sum of squares)^exponent; exponent "slope" is, class by class, the slope
of log distance on log(1 + sum of squares) over the held-out normals. The criterion is the mean AUROC over kinds.

Only to judge that criterion, `dev` is the AUROC of the other 500 normals against 100 training rows of each other class,
and the last line gives Spearman's rank correlation of the two over all settings, and `regret`, how much of dev's best
AUROC the criterion's choice gives away.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from common import emit
from scipy.ndimage import gaussian_filter, map_coordinates

from jaxae.data import load
from jaxae.numerics import filters
from jaxae.numerics.neighbours import nearest_rows
from jaxae.scoring import metrics

VIEWS = {
    "pixels": lambda x: x,
    "blurred": lambda x: filters.gaussian_blur(x, 1.0),
    "edges": filters.oriented_gradients,
    "edges, no root": lambda x: filters.oriented_gradients(x) ** 2,
}
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0, "slope")


def pseudo_anomalies(x: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Twelve kinds of images that are made of normals `[n, 28, 28]` and are none."""
    other, half = x[rng.permutation(len(x))], x.shape[1] // 2
    moved, erased, warped = x.copy(), x.copy(), np.empty_like(x)
    places = np.mgrid[: x.shape[1], : x.shape[2]]
    for i in range(len(x)):
        height, width = rng.integers(6, 13, 2)
        to_y, from_y = rng.integers(4, 24 - height, 2)
        to_x, from_x = rng.integers(4, 24 - width, 2)
        patch = (i, slice(to_y, to_y + height), slice(to_x, to_x + width))
        moved[patch] = x[i, from_y : from_y + height, from_x : from_x + width]
        erased[patch] = 0
        field = np.stack([gaussian_filter(rng.normal(size=x.shape[1:]), 4) for _ in range(2)])
        warped[i] = map_coordinates(x[i], places + 3 * field / field.std((1, 2), keepdims=True), order=1)
    return {
        "upper and lower halves of two": np.concatenate([x[:, :half], other[:, half:]], 1),
        "left and right halves of two": np.concatenate([x[:, :, :half], other[:, :, half:]], 2),
        "mean of two": (x + other) / 2,
        "left and right exchanged": np.roll(x, half, 2),
        "upside down": x[:, ::-1],
        "mirrored": x[:, :, ::-1],
        "quarter turn": np.rot90(x, 1, (1, 2)),
        "patch moved": moved,
        "patch erased": erased,
        "warped": warped,
        "blurred": gaussian_filter(x, (0, 1.5, 1.5)),
        "half the contrast": x * 0.5,
    }


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """AUROC of two sets of scores."""
    labels = np.repeat([0, 1], [len(normal), len(anomalous)])
    return float(metrics.auroc(labels, np.concatenate([normal, anomalous])))


def one_class(images: np.ndarray, labels: np.ndarray, own: int) -> dict[str, tuple[float, float]]:
    """Setting to (criterion, dev AUROC)."""
    rng = np.random.default_rng(own)
    rows = rng.permutation(np.flatnonzero(labels == own))
    others = [rng.permutation(np.flatnonzero(labels == c))[:100] for c in np.unique(labels) if c != own]
    held_out, dev, bank = (images[part] for part in (rows[:500], rows[500:1000], rows[1000:3000]))
    sets = {"held-out": held_out, "dev": dev, "others": images[np.concatenate(others)]}
    kinds = pseudo_anomalies(held_out[:200], rng)
    result = {}
    for name, view in VIEWS.items():

        @jax.jit
        def features(x, view=view):
            return view(x[..., None]).reshape(x.shape[0], -1)

        normals, distances, energy = features(bank), {}, {}
        for key, x in (sets | kinds).items():
            queries = features(np.ascontiguousarray(x))
            distances[key] = 2 * np.log(np.maximum(nearest_rows(queries, normals, 5)[0][:, -1], 1e-6))
            energy[key] = np.log1p(np.asarray(jnp.sum(queries**2, -1)))
        slope = np.polyfit(energy["held-out"], distances["held-out"], 1)[0]
        for exponent in EXPONENTS:
            power = slope if exponent == "slope" else exponent
            scores = {key: distances[key] - power * energy[key] for key in distances}
            criterion = np.mean([auroc(scores["held-out"], scores[kind]) for kind in kinds])
            result[f"{name}, {exponent}"] = float(criterion), auroc(scores["dev"], scores["others"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help=".npz files with x_train, y_train, x_test, y_test")
    parser.add_argument("--classes", nargs="+", type=int, default=list(range(10)), help="normal classes")
    arguments = parser.parse_args()
    figures: dict[str, list] = {}
    for path in arguments.data:
        dataset = load(path)
        labels = dataset.y_train
        if labels is None:
            raise ValueError(f"{path} has no labels, and one class has to be picked by them")
        images = dataset.x_train[..., 0].astype(np.float32) / 255
        for own in arguments.classes:
            for setting, both in one_class(images, labels, own).items():
                figures.setdefault(setting, []).append(both)
    means = {setting: np.mean(values, 0) for setting, values in figures.items()}
    for setting, (criterion, dev) in sorted(means.items(), key=lambda item: -item[1][0]):
        emit(setting=setting, criterion=float(criterion), dev=float(dev))
    criteria, devs = np.array(list(means.values())).T
    chosen = int(np.argmax(criteria))
    ranks = np.argsort(np.argsort(np.stack([criteria, devs])))  # means over classes do not tie
    correlation = float(1 - 6 * np.sum((ranks[0] - ranks[1]) ** 2) / (len(criteria) * (len(criteria) ** 2 - 1)))
    emit(chosen=list(means)[chosen], rank_correlation=correlation, regret=float(devs.max() - devs[chosen]))


if __name__ == "__main__":
    main()
