"""`jaxae sample`: what a trained model's decoder makes of its prior."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxae import code_prior, generation, report, runs
from jaxae.code_prior import CodePrior
from jaxae.data import Dataset, load
from jaxae.data.splits import normal_classes
from jaxae.trained import Trained, recipe_of, trained

# below it a covariance says nothing
LEAST_SCORED = 20


class Settings(NamedTuple):
    """How to draw; the command line's options, by the same names.

    Attributes:
      number: how many examples.
      seed: of the draw.
      uniform: draw codes uniformly, though there is a trained prior.
      label: name of the class to draw, of a prior that was trained by class.
      temperature: of a trained prior's draws, as are the next two; see `priors.symbols.narrowed`.
      top_k: the most probable symbols are kept.
      top_p: the fewest of this mass are kept.
      noise: draw from the likelihood too, instead of giving its mean.
      score: compare images with the data's test part.
    """

    number: int = 64
    seed: int = 0
    uniform: bool = False
    label: str | None = None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    noise: bool = False
    score: bool = False


def sample(
    run: str | os.PathLike,
    settings: Settings,
    out: str | os.PathLike | None = None,
    *,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Draw examples from a trained model.

    Discrete codes come from the prior of `jaxae train-prior`, or all alike where there is none; continuous ones from
    the model's own prior. With `score`, a classifier is trained on the data's labels, and in its features the images
    are compared with as many of the test part, of the same classes; images of the train part, the floor, beside them.

    Args:
      run: folder of a run of `train` (or of `detect`).
      settings: how.
      out: images: a picture, beside which an `.npz` of the same name holds them; a table: a `.csv` in the data's own
        units. None: in the run folder, `figures/samples.png` and `samples.npz`, or `samples.csv`.
      echo: takes lines for the user; None: silent.

    Returns:
      The picture or table written.

    Raises:
      ValueError: no run is there, it has no checkpoint, its model has no prior to draw from, or settings that it
        cannot follow.
    """
    folder, echo = pathlib.Path(run), echo or (lambda line: None)
    recipe, _, config = recipe_of(folder)
    if recipe.model.sample is None and recipe.model.lookup is None:
        raise ValueError(
            f"{config['model']} has no prior to draw from: train vae or vq_vae (`jaxae train --model vae`)"
        )
    if recipe.model.lookup is None:
        _require_none(settings, f"{config['model']} draws continuous codes from its own prior")
        draw = _own_prior
    else:
        draw = functools.partial(_discrete, folder, echo)
    real = _real(config, settings) if settings.score else None
    model = trained(folder)
    drawn = draw(model, settings)
    written, arrays = _write(folder, model, drawn, out)
    if real is not None:
        figures = _figures(*real, drawn)
        runs.write_json(arrays.with_suffix(".json"), figures)
        echo(_table(figures))
    echo(str(arrays))
    return written


def _discrete(folder: pathlib.Path, echo, model: Trained, settings: Settings) -> np.ndarray:
    codes = _prior(folder, model, settings, echo)
    if codes is None:
        return _own_prior(model, settings)
    labels = _labels(codes, settings)
    return code_prior.draw(model, codes, settings.number, settings.seed, labels=labels, noise=settings.noise)


def _prior(folder, model: Trained, settings: Settings, echo) -> CodePrior | None:
    narrowing = {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
    codes = None if settings.uniform else code_prior.load_prior(folder, model, **narrowing)
    if codes is None:
        _require_none(settings, "codes are drawn uniformly")
        if not settings.uniform:
            echo(f"no prior was trained: all codes are drawn alike (`jaxae train-prior {folder}` learns one)")
        return None
    echo(f"codes from the {codes.config['prior']} prior")
    return codes


def _require_none(settings: Settings, why: str):
    default = Settings()
    for name in ("label", "temperature", "top_k", "top_p"):
        if getattr(settings, name) != getattr(default, name):
            raise ValueError(f"--{name.replace('_', '-')} needs a prior of `jaxae train-prior`: {why}")


def _labels(codes: CodePrior, settings: Settings) -> np.ndarray | None:
    if settings.label is None:
        return None
    if not codes.config["by_class"]:
        raise ValueError(f"--label {settings.label}: the prior knows no classes; train it with --by-class")
    classes = codes.config["classes"]
    if settings.label not in classes:
        raise ValueError(f"there is no class {settings.label!r}; there are {', '.join(classes)}")
    return np.full(settings.number, classes.index(settings.label), np.int32)


def _own_prior(model: Trained, settings: Settings) -> np.ndarray:
    autoencoder, (rng, noise) = model.recipe.model, jax.random.split(jax.random.key(settings.seed))
    like = jax.ShapeDtypeStruct((settings.number, *model.example.shape[1:]), np.float32)
    assert autoencoder.sample is not None
    draw_latent, likelihood = autoencoder.sample, autoencoder.likelihood

    def draw(params, state):
        prediction = autoencoder.decode(params, draw_latent(params, state, rng, like))
        return likelihood.sample(noise, prediction) if settings.noise else likelihood.mean(prediction)

    return np.asarray(jax.jit(draw)(model.params, model.state))


def _write(folder: pathlib.Path, model: Trained, drawn: np.ndarray, out) -> tuple[pathlib.Path, pathlib.Path]:
    """What was written, and where its numbers are."""
    if drawn.ndim == 4:
        picture = pathlib.Path(out or folder / "figures" / "samples.png")
        arrays = folder / "samples.npz" if out is None else picture.with_suffix(".npz")
        picture.parent.mkdir(parents=True, exist_ok=True)
        runs.write_arrays(arrays, images=drawn)
        return report.sample_grid(picture, drawn[:1024]), arrays  # more are too small to be seen
    out = pathlib.Path(out or folder / "samples.csv")
    with np.load(folder / "standardise.npz", allow_pickle=False) as units:
        drawn = drawn * units["scale"] + units["mean"]
    names = model.config.get("features") or [f"x{i}" for i in range(drawn.shape[1])]
    runs.write_csv(out, names, drawn.tolist())
    return out, out


def _real(config: dict[str, Any], settings: Settings) -> tuple[Dataset, np.ndarray]:
    """The data, and which classes the run has learnt or is to draw."""
    dataset = load(config["data"], label_column=config.get("label_column"))
    if dataset.y_train is None or dataset.y_test is None or dataset.x_train.ndim != 4:
        raise ValueError(
            "--score needs images with labels in the train and in the test part, for a classifier's features; "
            f"{dataset.name} has none"
        )
    if settings.number < LEAST_SCORED:
        raise ValueError(f"--score needs at least {LEAST_SCORED} images, better 10000; got -n {settings.number}")
    wanted = [settings.label] if settings.label else config["normal"] or None
    names = dataset.label_names or ()
    return dataset, np.array(range(len(names)) if wanted is None else normal_classes(dataset, wanted))


def _figures(dataset: Dataset, classes: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
    assert dataset.y_train is not None
    assert dataset.y_test is not None
    space = generation.classifier_features(dataset.x_train, dataset.y_train)
    parts = ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test))
    # files are often sorted
    train, test = (np.random.default_rng(0).permutation(x[np.isin(y, classes)]) for x, y in parts)
    number = min(len(drawn), len(train), len(test))
    real, floor = space.features(test[:number]), space.features(train[:number])
    generated = space.features(generation.as_bytes(drawn[:number]))
    return {
        "number": number,
        "generated": generation.compare(real, generated),
        "floor": generation.compare(real, floor),
    }


def _table(figures: dict[str, Any]) -> str:
    lines = [f"{figures['number']} images and as many of the test part, by a classifier trained on the labels"]
    for what, label in (("generated", "drawn"), ("floor", "of the train part")):
        found = figures[what]
        lines.append(
            f"{label:<20}Fréchet distance {found['frechet']:.3f} · precision {found['precision']:.3f} · "
            f"recall {found['recall']:.3f}"
        )
    return "\n".join(lines)
