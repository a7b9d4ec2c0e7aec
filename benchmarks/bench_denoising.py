"""Denoising and features: a denoising autoencoder beside a plain one, both with the default recipe.

Both train on the train split's images, all classes, a twelfth of them held out; the presets' networks and latent
size (32), the same steps and order. On the test split:

- PSNR in dB, `10 log10(1 / mean squared error)` of each image, averaged: of images with Gaussian noise of standard
  deviation 0.3 (one fixed key, not clipped), and of what each model makes of them;
- a linear probe: multinomial logistic regression (scikit-learn, its defaults) on the standardised latents of the
  uncorrupted train images, accuracy on the test split.

    python benchmarks/bench_denoising.py --data fashion_mnist.npz

Result: PSNR 10.46 dB noisy, 17.66 dB `ae`, 19.87 dB `denoising_ae`; probe 0.8237 `ae`, 0.8261 `denoising_ae`.
About four minutes on two cores.
"""

import argparse
import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import emit

from jaxae import recipes, scoring
from jaxae.data import load
from jaxae.jobs.fitting import fit_recipe

NOISE = 0.3


def trained(name: str, x: np.ndarray, validation: np.ndarray, arguments):
    """The recipe's model, its best parameters and state, seconds with compilation."""
    started = time.monotonic()
    recipe = recipes.build(name, x.shape[1:], len(x), epochs=arguments.epochs)
    with tempfile.TemporaryDirectory() as folder:
        best = fit_recipe(recipe, x, validation, pathlib.Path(folder), arguments.seed)
    return recipe.model, best.params, best.state, time.monotonic() - started


def psnr(clean: np.ndarray, other: np.ndarray) -> float:
    """Mean over images of the peak signal-to-noise ratio, dB, for pixels in 0..1."""
    errors = ((clean - other) ** 2).reshape(len(clean), -1).mean(1)
    return float((10 * np.log10(1 / errors)).mean())


def probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Test accuracy of a linear classifier on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(classifier.fit(train, labels).score(test, test_labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--epochs", type=int, help="passes over the training rows; default: the recipe's")
    parser.add_argument("--dev", action="store_true", help="measure on the held-out rows of the train split")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load(arguments.data)
    held_out = len(data.x_train) // 12
    order = np.random.default_rng(0).permutation(len(data.x_train))
    rows, rest = np.sort(order[held_out:]), np.sort(order[:held_out])
    x, y = (data.x_train[rest], data.y_train[rest]) if arguments.dev else (data.x_test, data.y_test)
    clean = np.asarray(x, np.float32) / 255
    noisy = clean + NOISE * np.asarray(jax.random.normal(jax.random.key(0), clean.shape))
    emit(data=data.name, images="noisy", psnr=psnr(clean, noisy))
    for name in ("ae", "denoising_ae"):
        model, params, state, seconds = trained(name, data.x_train[rows], data.x_train[rest], arguments)

        @jax.jit
        def reconstruct(x, model=model, params=params, state=state):
            output, _ = model.apply(params, state, None, x)
            return model.likelihood.mean(output.prediction)

        @jax.jit
        def encode(x, model=model, params=params, state=state):
            scaled = x.astype(jnp.float32) / 255
            return model.encode(params, state, scaled).latent

        features = scoring.score_batches(encode, data.x_train[rows])
        accuracy = probe(features, data.y_train[rows], scoring.score_batches(encode, x), y)
        emit(
            data=data.name,
            images=name,
            split="dev" if arguments.dev else "test",
            psnr=psnr(clean, scoring.score_batches(reconstruct, noisy)),
            psnr_of_clean=psnr(clean, scoring.score_batches(reconstruct, clean)),
            probe_accuracy=accuracy,
            train_seconds=seconds,
        )


if __name__ == "__main__":
    main()
