"""One-class AUROC: train on one class, tell it from the nine others, with one setting for every class and data set.

For each of the ten classes: the train split's examples of the class train the model (a tenth of them held out for
early stopping and for the score's units), the whole test split is scored once.

    python benchmarks/bench_one_class.py --data fashion_mnist.npz mnist.npz --view edges
    python benchmarks/bench_one_class.py --data fashion_mnist.npz mnist.npz --view edges --decide

`--view edges`: pixels in [0, 1] become maps of oriented edges (`transforms.oriented_gradients`), a denoising
autoencoder learns those, and the score is its relative error fused with the relative distance to the fifth nearest
training row. `--view pixels` is the recipe that `jaxae detect` uses by default. `--dev` scores 1,000 held-out normals
and 150 examples of each other class of the train split in place of the test split.

`--decide` is the second table: dev holds anomalies of four classes, which choose λ by expected cost (10 : 1, one
example in twenty an anomaly); the test anomalies are of the five others, so what is judged has never been decided on.
"""

import argparse
import pathlib
import tempfile
import time
import warnings

import jax
import numpy as np
from common import emit

from jaxae import recipes, scoring
from jaxae.data import load
from jaxae.data.splits import split
from jaxae.jobs.fitting import fit_recipe
from jaxae.numerics import as_batch
from jaxae.scoring import costs, metrics, prepared, reconstruction, thresholds
from jaxae.types import CostTable

KINDS = ("smooth", "l2", "top_fraction", "l1")  # beside the recipe's own, for pixels
TABLE, RATE = CostTable.binary(miss=10.0, false_alarm=1.0), 0.05


def scores_of(recipe, scorer, model, reference, x) -> np.ndarray:
    """Scores of rows, compiled."""
    fitted = scorer.fit(model.params, model.state, as_batch(reference))
    score = jax.jit(lambda fitted, batch: scorer.apply(fitted, jax.random.key(0), as_batch(batch)))
    return np.asarray(scoring.score_batches(lambda batch: score(fitted, batch), x, 500))


def one_class(dataset, name: str, seed: int, arguments) -> dict:
    """Train on one class and score; AUROC by score, seconds with compilation."""
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal rows in both splits: the data set's own
        held_out = {"calibration": 500, "dev": 500} if arguments.decide else {"calibration": 0, "dev": 0}
        parts = split(dataset, name, seed, **({"calibration": 0, "dev": 1000} if arguments.dev else held_out))
    rows, validation = parts.train.x[: arguments.rows], parts.validation.x
    recipe = recipes.build(arguments.model, rows.shape[1:], len(rows), view=arguments.view, held_out=len(validation))
    with tempfile.TemporaryDirectory() as folder:
        model = fit_recipe(recipe, rows, validation, pathlib.Path(folder), seed)
    trained = time.monotonic()
    reference = np.concatenate([rows, validation])
    x, labels = (parts.test.x, parts.test.labels) if not arguments.dev else _dev(parts.dev)
    scores = scores_of(recipe, recipe.scorer, model, reference, x)
    figures = {"recipe": float(metrics.auroc(labels, scores))}
    seconds = time.monotonic() - started
    if arguments.view == "pixels":
        for kind in KINDS:
            scorer = prepared(reconstruction(recipe.model, kind), recipe.scaling)
            figures[kind] = float(metrics.auroc(labels, scores_of(recipe, scorer, model, reference, x)))
    result = {"auroc": figures, "train_seconds": trained - started, "seconds": seconds, "steps": model.step}
    if arguments.decide:
        result |= decided(recipe, model, reference, parts, scores, dataset.label_names.index(name))
    return result


def decided(recipe, model, reference, parts, scores, own: int) -> dict:
    """λ on dev anomalies of four classes, judged on test anomalies of the five others."""
    others = [c for c in range(10) if c != own]
    seen, unseen = others[::2][:4], [c for c in others if c not in others[::2][:4]]
    on_dev = (parts.dev.labels == 0) | np.isin(parts.dev.classes, seen)
    rows = np.flatnonzero(on_dev)
    rows = np.concatenate([rows[parts.dev.labels[rows] == 0], rows[parts.dev.labels[rows] == 1][:500]])
    dev = scores_of(recipe, recipe.scorer, model, reference, parts.dev.x[rows])
    clean = scores_of(recipe, recipe.scorer, model, reference, parts.calibration.x)
    fitted = thresholds.expected_cost(TABLE, RATE).fit(clean, dev, parts.dev.labels[rows])
    judged = (parts.test.labels == 0) | np.isin(parts.test.classes, unseen)
    labels, judged_scores, threshold = parts.test.labels[judged], scores[judged], float(fitted["threshold"])
    curve = costs.expected_cost_curve(labels, judged_scores, TABLE, RATE)
    return {
        "decision": {
            "auroc": float(metrics.auroc(labels, judged_scores)),
            "recall": float(metrics.recall(labels, judged_scores, threshold=threshold)),
            "false_alarm_rate": float(metrics.false_alarm_rate(labels, judged_scores, threshold=threshold)),
            "expected_cost": float(costs.expected_cost(labels, judged_scores, TABLE, RATE, threshold=threshold)),
            "regret": float(costs.regret(labels, judged_scores, threshold, TABLE, RATE)),
            "blind_cost": float(min(curve.always, curve.never)),
        }
    }


def _dev(part):
    rng = np.random.default_rng(0)
    normal = np.flatnonzero(part.labels == 0)
    anomalies = [rng.permutation(np.flatnonzero((part.labels == 1) & (part.classes == c)))[:150] for c in range(10)]
    rows = np.concatenate([normal, *anomalies])
    return part.x[rows], part.labels[rows]


def means(results: list[dict], key: str) -> dict:
    """The mean of each figure over classes and seeds."""
    return {name: round(float(np.mean([r[key][name] for r in results])), 4) for name in results[0][key]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help=".npz files with x_train, y_train, x_test, y_test")
    parser.add_argument("--model", default="denoising_ae", help="a preset")
    parser.add_argument("--view", default="pixels", choices=("pixels", "edges"))
    parser.add_argument("--classes", nargs="+", help="normal classes; all by default")
    parser.add_argument("--dev", action="store_true", help="score held-out rows of the train split, not the test split")
    parser.add_argument("--decide", action="store_true", help="choose λ on some classes, judge it on others")
    parser.add_argument("--rows", type=int, help="at most so many training rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    for path in arguments.data:
        dataset = load(path)
        results = []
        for seed in arguments.seeds:
            for name in arguments.classes or dataset.label_names:
                results.append(one_class(dataset, name, seed, arguments))
                emit(data=dataset.name, view=arguments.view, seed=seed, normal=name, **results[-1])
        emit(
            data=dataset.name,
            view=arguments.view,
            normal="mean of classes",
            seeds=len(arguments.seeds),
            split="dev" if arguments.dev else "test",
            auroc=means(results, "auroc"),
            **({"decision": means(results, "decision")} if arguments.decide else {}),
            seconds=max(r["seconds"] for r in results),
        )


if __name__ == "__main__":
    main()
