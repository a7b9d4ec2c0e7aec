"""Generation from discrete codes: a VQ-VAE's decoder, and codes drawn from priors that know more and more.

`vq_vae` by its defaults (16 codes of a book of 512, default networks) on the train split of Fashion-MNIST, then priors
over the codes of its training rows, by their defaults: uniform, one distribution for each position (unigram), masked
with parallel decoding, autoregressive. As many images are drawn from each as the test split has and compared with it
in the features of a classifier that is trained here on the train split's labels (`generation.classifier_features`; no
network from elsewhere is read, so the distances compare with nothing but each other): Fréchet distance, precision and
recall. Beside them the floor, as many images of the train split, and the test split's own reconstructions, which are
the best that this decoder can do. All images are rounded to bytes.

    python benchmarks/bench_generation.py --data fashion_mnist.npz --out runs/generation

What is in `--out` already is not trained again. `--data fashion-sample --epochs 5 --prior-epochs 5` takes some minutes.

Result, test split, one seed; the classifier's accuracy is 0.908:

| 10,000 images    | Fréchet | precision | recall | nats of the codes | bits per dimension |
| ---------------- | ------- | --------- | ------ | ----------------- | ------------------ |
| train split      | 0.19    | 0.873     | 0.873  |                   |                    |
| reconstructions  | 16.4    | 0.940     | 0.400  |                   |                    |
| autoregressive   | 26.3    | 0.861     | 0.305  | 44.9              | 4.401              |
| masked           | 39.8    | 0.830     | 0.230  | 50.8              | 4.412              |
| unigram          | 140.9   | 0.545     | 0.233  | 59.6              | 4.428              |
| uniform          | 166.4   | 0.638     | 0.078  | 99.8              | 4.502              |

That is of codebook statistics with decay 0.99. With the quantizer's present default and `--prior-epochs 4`:
reconstructions 16.5, autoregressive 31.2, unigram 130.4, uniform 136.1.

Three quarters of an hour on two cores that other work shared, most of it the two transformers.
"""

import argparse
import json
import pathlib
import shutil
import tempfile
import time

from common import emit

from jaxae import generation, jobs, report
from jaxae.data import load
from jaxae.jobs.fitted_prior import FOLDER, read_prior, uniform_prior
from jaxae.jobs.trained import open_run, read_trained, recipe_of

PRIORS = ("unigram", "masked", "autoregressive")


def prior_of(name: str, run: pathlib.Path, arguments) -> dict:
    """Train a prior, or take up the one that is there; its figures."""
    kept, place = run / f"prior-{name}", run / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    if kept.is_dir():
        shutil.copytree(kept, place)
    else:
        epochs = None if name == "unigram" else arguments.prior_epochs
        jobs.train_prior(run, jobs.TrainPriorSettings(prior=name, epochs=epochs, seed=arguments.seed))
        shutil.copytree(place, kept)
    return json.loads((kept / "metrics.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="Fashion-MNIST as .npz, or fashion-sample")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the run; a temporary one by default")
    parser.add_argument("--model", default="vq_vae")
    parser.add_argument("--epochs", type=int, help="of the model; its default by default")
    parser.add_argument("--prior-epochs", type=int, help="of the priors; their default by default")
    parser.add_argument("--priors", nargs="+", default=list(PRIORS), choices=PRIORS)
    parser.add_argument("--classifier-epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run = (arguments.out or pathlib.Path(tempfile.mkdtemp())) / arguments.model
    data = load(arguments.data)
    settings = jobs.TrainSettings(
        data=arguments.data, model=arguments.model, epochs=arguments.epochs, seed=arguments.seed
    )
    started = time.monotonic()
    if not run.exists():
        jobs.train(settings, run)
    config, deal = open_run("sample", run)
    model, seconds = read_trained(run, config, deal, recipe_of(run, config, deal)).model, time.monotonic() - started
    started = time.monotonic()
    space = generation.classifier_features(data.x_train, data.y_train, epochs=arguments.classifier_epochs)
    accuracy = float((space.classes(data.x_test) == data.y_test).mean())
    emit(what="classifier", accuracy=accuracy, seconds=time.monotonic() - started, model_seconds=seconds)
    number = min(len(data.x_test), len(data.x_train))
    real = space.features(data.x_test)[:number]
    emit(what="train split", **generation.compare(real, space.features(data.x_train[:number])))
    rebuilt = generation.as_bytes(model.reconstruct(data.x_test[:number]))
    emit(what="reconstructions", **generation.compare(real, space.features(rebuilt)))
    folder = run / "figures"
    for name in ("uniform", *arguments.priors):
        if name == "uniform":
            codes, figures = uniform_prior(model, model.encode(data.x_test[:1]).symbols.shape[1:]), {}
        else:
            figures = prior_of(name, run, arguments)
            codes = read_prior(run, model)
            assert codes is not None
        started = time.monotonic()
        images = generation.as_bytes(model.draw(number, arguments.seed, codes))
        took = time.monotonic() - started
        report.sample_grid(folder / f"samples-{name}.png", images[:100])
        emit(what=name, **generation.compare(real, space.features(images)), draw_seconds=took, **figures)


if __name__ == "__main__":
    main()
