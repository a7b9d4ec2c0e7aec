"""`jaxae sample`: what a trained model's decoder makes of its prior, or of one that was trained afterwards."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxae import generation, report, runs
from jaxae.data import Dataset, load
from jaxae.data.splits import normal_classes
from jaxae.jobs import code_prior, latent_prior
from jaxae.jobs.code_prior import CodePrior
from jaxae.jobs.trained import Trained, recipe_of, trained
from jaxae.presets import CONDITIONAL

# below it a covariance says nothing
LEAST_SCORED = 20


class Settings(NamedTuple):
    """How to draw; the command line's options, by the same names.

    Attributes:
      number: how many examples.
      seed: of the draw.
      uniform: draw from the model's own prior (of codes: all alike), though another was trained.
      labels: the classes to draw in turn, by name or number, of a conditional model or of a prior by class; None: of
        the model all that it learned, of the prior as frequent as in the training rows.
      temperature: of a trained prior's draws, as are the next two; see `priors.symbols.narrowed`.
      top_k: the most probable symbols are kept.
      top_p: the fewest of this mass are kept.
      noise: draw from the likelihood too, instead of giving its mean.
      score: compare images with the data's test part.
    """

    number: int = 64
    seed: int = 0
    uniform: bool = False
    labels: tuple[str, ...] | None = None
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

    Codes and latents come from the prior of `jaxae train-prior`. Where there is none, codes are drawn all alike and
    latents from the model's own prior. With `score`, a classifier is trained on the data's labels, and in its features
    the images are compared with as many of the test part, of the same classes; images of the train part, the floor,
    beside them.

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
    if recipe.model.lookup is None:
        _require_drawable(folder, recipe.model.sample is not None, config, settings)
        draw = functools.partial(_continuous, folder, echo)
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


def _require_drawable(folder: pathlib.Path, own: bool, config: dict[str, Any], settings: Settings):
    """Refuse, before anything is read, what continuous latents cannot do."""
    name = config["model"]
    _require_none(settings, ("temperature", "top_k", "top_p"), f"is for discrete codes, those of {name} are continuous")
    if name not in CONDITIONAL:
        _require_none(settings, ("labels",), f"is for models that read labels (conditional_vae), {name} reads none")
    else:
        _labels(settings, _class_names(config))
    if not own and (settings.uniform or not (folder / code_prior.FOLDER).is_dir()):
        raise ValueError(
            f"{name} has no prior of its own to draw from: `jaxae train-prior {folder}` fits one to its latents"
        )


def _continuous(folder: pathlib.Path, echo, model: Trained, settings: Settings) -> np.ndarray:
    latents = None if settings.uniform else latent_prior.load_prior(folder, model)
    if latents is None:
        conditional = model.config["model"] in CONDITIONAL
        return _own_prior(model, settings, _model_labels(model.config, settings) if conditional else None)
    echo(f"latents from the {latents.config['prior']} prior")
    return latent_prior.draw(model, latents, settings.number, settings.seed, noise=settings.noise)


def _model_labels(config: dict[str, Any], settings: Settings) -> np.ndarray:
    classes = _class_names(config)
    labels = _labels(settings, classes)
    if labels is not None:
        return labels
    learned = [classes.index(name) for name in config["normal"] or classes]
    return np.resize(np.array(learned, np.int32), settings.number)


def _class_names(config: dict[str, Any]) -> list[str]:
    return config.get("classes") or [str(i) for i in range(config["options"]["num_classes"])]


def _discrete(folder: pathlib.Path, echo, model: Trained, settings: Settings) -> np.ndarray:
    codes = _prior(folder, model, settings, echo)
    if codes is None:
        return _own_prior(model, settings)
    if settings.labels and not codes.config["by_class"]:
        raise ValueError(f"--label {','.join(settings.labels)}: the prior knows no classes; train it with --by-class")
    labels = _labels(settings, codes.config.get("classes", []))
    return code_prior.draw(model, codes, settings.number, settings.seed, labels=labels, noise=settings.noise)


def _prior(folder, model: Trained, settings: Settings, echo) -> CodePrior | None:
    narrowing = {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
    codes = None if settings.uniform else code_prior.load_prior(folder, model, **narrowing)
    if codes is None:
        narrowed = ("labels", *narrowing)
        _require_none(settings, narrowed, "needs a prior of `jaxae train-prior`: codes are drawn uniformly")
        if not settings.uniform:
            echo(f"no prior was trained: all codes are drawn alike (`jaxae train-prior {folder}` learns one)")
        return None
    echo(f"codes from the {codes.config['prior']} prior")
    return codes


def _require_none(settings: Settings, names: tuple[str, ...], why: str):
    default = Settings()
    for name in names:
        if getattr(settings, name) != getattr(default, name):
            raise ValueError(f"--{name.removesuffix('s').replace('_', '-')} {why}")


def _labels(settings: Settings, classes: list[str]) -> np.ndarray | None:
    """`[number]` places in the classes, those that are wanted in turn."""
    if settings.labels is None:
        return None
    places = {**{str(i): i for i in range(len(classes))}, **{name: i for i, name in enumerate(classes)}}
    if unknown := [name for name in settings.labels if name not in places]:
        raise ValueError(f"there is no class {', '.join(map(repr, unknown))}; there are {', '.join(classes)}")
    return np.resize(np.array([places[name] for name in settings.labels], np.int32), settings.number)


def _own_prior(model: Trained, settings: Settings, labels: np.ndarray | None = None) -> np.ndarray:
    autoencoder, (rng, noise) = model.recipe.model, jax.random.split(jax.random.key(settings.seed))
    like = jax.ShapeDtypeStruct((settings.number, *model.example.shape[1:]), np.float32)
    assert autoencoder.sample is not None
    draw_latent, likelihood = autoencoder.sample, autoencoder.likelihood

    def draw(params, state):
        prediction = autoencoder.decode(params, draw_latent(params, state, rng, like, labels), labels)
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
    names = dataset.label_names or ()
    labels = _labels(settings, list(names))
    wanted = config["normal"] or None
    if labels is not None:
        wanted = [str(names[i]) for i in sorted(set(labels))]
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
