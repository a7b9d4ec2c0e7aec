"""Every score of one trained model: AUROC, and seconds for 10,000 examples.

For each class: the default recipe (denoising autoencoder), a VAE and a VQ-VAE are trained on the train split's
examples of the class, with a tenth of them held out; whatever a score fits, it fits to these same rows (the last of
them, held out, for everything that is measured rather than learned). The whole test split is scored once. No score
was chosen on it. PneumoniaMNIST has a labelled validation part: it is the dev set, on which the last line's score is
chosen, and a tenth of the training normals are held out.

    python benchmarks/bench_scores.py --data fashion_mnist.npz mnist.npz
    python benchmarks/bench_scores.py --pneumonia pneumoniamnist.npz
"""

import argparse
import pathlib
import tempfile
import time
import warnings
from functools import partial

import jax
import numpy as np
from common import emit

from jaxae import networks, recipes, scoring, train, transforms
from jaxae.data import load
from jaxae.data.batches import shuffled
from jaxae.data.splits import split
from jaxae.jobs.fitting import fit_recipe
from jaxae.scoring import averaged, metrics, prepared, reconstruction
from jaxae.scoring.scores import baselines, latent, layers
from jaxae.scoring.scores.fusion import fused
from jaxae.scoring.scores.likelihood import bound
from jaxae.scoring.scores.normalisation import complexity_normalised, normalised, roughness
from jaxae.scoring.scores.surprisal import surprisal
from jaxae.train import ensemble
from jaxae.types import Batch

PADDED = 500
MEMBERS = 3


def scorers_of_autoencoder(recipe, shape, held_out) -> dict:
    """Of a deterministic model: its errors, its latents, its layers, and combinations."""
    model, error = recipe.model, partial(reconstruction, recipe.model)
    encoder, features = networks.default_encoder(shape, 32), latent.encoded(recipe.model)
    noisy = prepared(error("smooth"), transforms.gaussian_noise(0.3))
    members = {kind: error(kind) for kind in ("smooth", "l2", "l1", "top_fraction", "ssim")} | {
        "l2, normalised": normalised(error("l2"), held_out),
        "smooth, normalised": normalised(error("smooth"), held_out),
        "smooth / energy": complexity_normalised(error("smooth"), held_out=held_out),
        "smooth / roughness": complexity_normalised(error("smooth"), roughness, held_out),
        "smooth, mean of 16 corruptions": averaged(noisy, 16),
        "k-NN of inputs": latent.knn(latent.inputs),
        "k-NN of latents": latent.knn(features),
        "Mahalanobis of inputs": latent.mahalanobis(latent.inputs),
        "Mahalanobis of latents": latent.mahalanobis(features),
        "layers, simple": layers.simple_pathway(model, encoder),
        "layers, normalised": layers.normalised_pathway(model, encoder),
    }
    some = [members[name] for name in ("smooth / energy", "k-NN of latents", "layers, normalised")]
    members["those three fused by rank"] = fused(*some, held_out=held_out)
    members["those three fused by z"] = fused(*some, held_out=held_out, by="z")
    return {name: prepared(scorer, recipe.scaling) for name, scorer in members.items()}


def scorers_of_vae(recipe) -> dict:
    """Of a model with a posterior: its error and bounds on the likelihood."""
    members = {
        "VAE: smooth": reconstruction(recipe.model, "smooth"),
        "VAE: ELBO, 16 samples": bound(recipe.model, 1, 16),
        "VAE: bound of 16 samples": bound(recipe.model, 16),
    }
    return {name: prepared(scorer, recipe.scaling) for name, scorer in members.items()}


def scorers_of_vq_vae(recipe) -> dict:
    """Of a model with discrete codes: its error and the codes' surprisal."""
    members = {
        "VQ-VAE: smooth": reconstruction(recipe.model, "smooth"),
        "VQ-VAE: surprisal": surprisal(recipe.model, 512),
    }
    return {name: prepared(scorer, recipe.scaling) for name, scorer in members.items()}


def measured(scorer, params, state, reference, x, labels, dev=None) -> dict:
    """AUROC, on dev too if there is one; the second call's seconds, so without compilation."""
    started = time.perf_counter()
    fitted = scorer.fit(params, state, Batch(reference))
    fit_seconds = time.perf_counter() - started
    score = jax.jit(lambda fitted, rows: scorer.apply(fitted, jax.random.key(0), Batch(rows)))
    scoring.score_batches(lambda rows: score(fitted, rows), x[:PADDED], PADDED)
    started = time.perf_counter()
    scores = scoring.score_batches(lambda rows: score(fitted, rows), x, PADDED)
    seconds = (time.perf_counter() - started) * 10_000 / len(x)
    chosen_by = {}
    if dev is not None:
        on_dev = scoring.score_batches(lambda rows: score(fitted, rows), dev[0], PADDED)
        chosen_by = {"dev_auroc": float(metrics.auroc(dev[1], on_dev))}
    return {
        **chosen_by,
        "auroc": float(metrics.auroc(labels, scores)),
        "seconds_per_10000": seconds,
        "fit_seconds": fit_seconds,
    }


def one_set(name, rows, held_out, x, labels, arguments, dev=None) -> None:
    """Train the models and emit one line a score; with a dev set, one more for the score that is best there."""
    reference, shape = np.concatenate([rows, held_out]), rows.shape[1:]
    results = {}
    for model in ("denoising_ae", "vae", "vq_vae"):
        recipe = recipes.build(model, shape, len(rows))
        with tempfile.TemporaryDirectory() as folder:
            trained = fit_recipe(recipe, rows, held_out, pathlib.Path(folder), arguments.seed)
        params, state = trained.params, trained.state
        scorers = {"vae": scorers_of_vae, "vq_vae": scorers_of_vq_vae}.get(
            model, lambda recipe: scorers_of_autoencoder(recipe, shape, len(held_out))
        )(recipe)
        for kind, scorer in scorers.items():
            results[kind] = measured(scorer, params, state, reference, x, labels, dev)
            emit(data=name, score=kind, **results[kind])
    recipe = recipes.build("denoising_ae", shape, len(rows))
    params, state, per_member = trained_together(recipe, rows, arguments.seed)
    for kind in ("mean", "spread"):
        scorer = scoring.ensemble(recipe.scorer, kind)
        found = results[f"{MEMBERS} members, {kind}"] = measured(scorer, params, state, reference, x, labels, dev)
        emit(data=name, score=f"{MEMBERS} members, {kind}", **found, train_seconds_per_member=per_member)
    flat, held_flat = (a.reshape(len(a), -1) / 255 for a in (reference, x))
    for kind, fit in {"PCA (baseline)": baselines.pca(32), "isolation forest (baseline)": None}.items():
        score = (fit or baselines.isolation_forest())(flat)(held_flat)
        emit(data=name, score=kind, auroc=float(metrics.auroc(labels, np.float32(score))))
    if dev is not None:
        best = max(results, key=lambda kind: results[kind]["dev_auroc"])
        emit(data=name, score=f"chosen on dev: {best}", **results[best])


def trained_together(recipe, rows, seed):
    """Members trained in one vmap: params, state, seconds a member."""
    started = time.perf_counter()
    states = jax.jit(
        lambda key: ensemble.init_states(recipe.objective, recipe.optimizer, key, rows[: recipe.batch_size], MEMBERS)
    )(jax.random.key(seed))
    result = train.fit(
        ensemble.build_step(recipe.objective, recipe.optimizer),
        states,
        shuffled(len(rows), recipe.batch_size, seed),
        recipe.num_steps,
        data=jax.device_put(rows),
        progress=False,
    )
    seconds = (time.perf_counter() - started) / MEMBERS
    return result.state.params["model"], result.state.state["model"], seconds


def pneumonia(path, arguments) -> None:
    """MedMNIST's X-rays: normals of the train part, a tenth held out; the validation part is dev."""
    with np.load(path, allow_pickle=False) as file:
        parts = {
            part: (file[f"{part}_images"][..., None], file[f"{part}_labels"].ravel())
            for part in ("train", "val", "test")
        }
    normals = parts["train"][0][parts["train"][1] == 0]
    normals = normals[np.random.default_rng(arguments.seed).permutation(len(normals))]
    cut = len(normals) * 9 // 10
    one_set("PneumoniaMNIST", normals[:cut], normals[cut:], *parts["test"], arguments, parts["val"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], help=".npz files with x_train, y_train, x_test, y_test")
    parser.add_argument("--classes", type=int, nargs="+", default=[6, 8], help="labels to take as normal")
    parser.add_argument("--pneumonia", help="MedMNIST's pneumoniamnist.npz")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for path in arguments.data:
        dataset = load(path)
        for index in arguments.classes:
            name = dataset.label_names[index]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # equal rows in both splits: the data set's own
                parts = split(dataset, name, arguments.seed, calibration=0, dev=0)
            where = f"{dataset.name}, {name}"
            one_set(where, parts.train.x, parts.validation.x, parts.test.x, parts.test.labels, arguments)
    if arguments.pneumonia:
        pneumonia(arguments.pneumonia, arguments)


if __name__ == "__main__":
    main()
