"""Polluted training data: one-class AUROC when a share of the training rows are unlabelled anomalies.

For each class: the train split's examples of the class, with anomalies of the other nine classes of the train split
mixed in until they make up the share; the whole test split is scored once. `plain` ignores the pollution, the others
are told its size (`trimmed` leaves that share of each batch out, `exposure` pushes it away, `soft_exposure` half;
`neighbours` and `refined` leave rows out before the training). `known` is plain with 50 labelled anomalies of the train
split, at no pollution removed. At share 0 all of them are `plain`.

    python benchmarks/bench_pollution.py --data mnist.npz --view edges --methods plain neighbours
    python benchmarks/bench_pollution.py --data mnist.npz --methods plain trimmed exposure soft_exposure known
"""

import argparse
import pathlib
import tempfile
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from common import emit

from jaxae import cleaning, objectives, recipes, scoring
from jaxae.data import load, protocols
from jaxae.data.splits import split
from jaxae.jobs.detect import left_clean
from jaxae.jobs.fitting import fit_recipe
from jaxae.numerics import as_batch
from jaxae.scoring import metrics

METHODS = ("plain", *recipes.ROBUST, *recipes.CLEANING, "known")


def polluted(dataset, name: str, share: float, method: str, arguments) -> dict:
    """AUROC of one class with `share` of its training rows (and of those that stop the training) anomalies."""
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal rows in both splits: the data set's own
        clean = split(dataset, name, arguments.seed, calibration=0, dev=1000 if arguments.dev else 0)
    parts = protocols.pollute(clean, share, arguments.seed, ("train", "validation"))
    told = 0.0 if method in ("plain", "known") else share * arguments.overestimate
    recipe = recipes.build(
        "denoising_ae",
        parts.train.x.shape[1:],
        len(parts.train.x),
        contamination=told,
        robust=method if told else "trimmed",
        view=arguments.view,
        held_out=len(parts.validation.x),
    )
    if told and method in cleaning.METHODS:
        parts, _ = left_clean(parts, recipe, method, told, arguments.seed)
    if method == "known":
        rows = np.flatnonzero(parts.dev.labels)[: arguments.known]
        recipe = recipe._replace(objective=objectives.supervised(recipe.objective, jnp.asarray(parts.dev.x[rows])))
    with tempfile.TemporaryDirectory() as folder:
        model = fit_recipe(recipe, parts.train.x, parts.validation.x, pathlib.Path(folder), arguments.seed)
    reference = np.concatenate([parts.train.x, parts.validation.x])
    fitted = recipe.scorer.fit(model.params, model.state, as_batch(reference))
    score = jax.jit(lambda batch: recipe.scorer.apply(fitted, jax.random.key(0), as_batch(batch)))
    x, labels = (parts.test.x, parts.test.labels)
    if arguments.dev:
        normal = np.flatnonzero(parts.dev.labels == 0)
        rows = np.concatenate([normal, np.flatnonzero(parts.dev.labels)[-3000:]])
        x, labels = parts.dev.x[rows], parts.dev.labels[rows]
    auroc = float(metrics.auroc(labels, scoring.score_batches(score, x, 500)))
    return {"auroc": auroc, "seconds": time.monotonic() - started, "steps": model.step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a .npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.01, 0.05, 0.1, 0.2])
    parser.add_argument("--methods", nargs="+", default=["plain", "trimmed"], choices=METHODS)
    parser.add_argument("--view", default="pixels", choices=("pixels", "edges"))
    parser.add_argument("--classes", nargs="+", help="normal classes; all by default")
    parser.add_argument("--overestimate", type=float, default=1.0, help="the contamination told, relative to the true")
    parser.add_argument("--known", type=int, default=50, help="labelled anomalies of the method `known`")
    parser.add_argument("--dev", action="store_true", help="score held-out rows of the train split, not the test split")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = load(arguments.data)
    names = arguments.classes or dataset.label_names
    for share in arguments.shares:
        for method in arguments.methods:
            results = []
            for name in names:
                results.append(polluted(dataset, name, share, method, arguments))
                emit(data=dataset.name, view=arguments.view, share=share, method=method, normal=name, **results[-1])
            mean = float(np.mean([r["auroc"] for r in results]))
            seconds = float(np.median([r["seconds"] for r in results]))
            emit(
                data=dataset.name,
                view=arguments.view,
                share=share,
                method=method,
                normal="mean of classes",
                auroc=mean,
                seconds=seconds,
            )


if __name__ == "__main__":
    main()
