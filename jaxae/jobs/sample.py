"""`jaxae sample`: what a trained model's decoder makes of its prior, or of one that was trained afterwards."""

import os
import pathlib
import shlex
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxae import generation, report, runs
from jaxae.data import Dataset
from jaxae.data.splits import normal_classes
from jaxae.files.messages import listed, shown
from jaxae.jobs import dealing, fitted_prior
from jaxae.jobs.fitted_prior import read_prior
from jaxae.jobs.trained import FittedPrior, TrainedRun, open_run, read_trained, recipe_of, standardisation_of_run
from jaxae.presets import CONDITIONAL
from jaxae.runs import deal as deals
from jaxae.runs import matching
from jaxae.runs.deal import Deal
from jaxae.settings import SampleSettings, checked

# below it a covariance says nothing
LEAST_SCORED = 20


def sample(
    run: str | os.PathLike,
    settings: SampleSettings | None = None,
    out: str | os.PathLike | None = None,
    *,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Draw examples from a trained model.

    Codes and latents come from the prior of `jaxae train-prior`. Where there is none, codes are drawn all alike and
    latents from the model's own prior. With `score`, a classifier is trained on the data's labels, and in its features
    the images are compared with as many of the run's test part, of the same classes; images of the train part, the
    floor, beside them.

    Args:
      run: folder of a run of `train` (or of `detect`).
      settings: how; None: the defaults.
      out: images: a picture, beside which an `.npz` of the same name holds them; a table: a `.csv` in the data's own
        units. None: in the run folder, `figures/samples.png` and `samples.npz`, or `samples.csv`.
      echo: takes lines for the user; None: silent.

    Returns:
      The picture or table written.

    Raises:
      ValueError: no run is there, it has no checkpoint, its model has no prior to draw from, or settings that it
        cannot follow.

    Example:
      ```python
      from jaxae import jobs
      jobs.sample("runs/train-1", jobs.SampleSettings(number=9))
      ```
    """
    settings = checked(SampleSettings() if settings is None else settings)
    folder, echo = pathlib.Path(run), echo or (lambda line: None)
    if out is not None:
        runs.require_file(out)
    config, deal = open_run("sample", folder)
    recipe = recipe_of(folder, config, deal)
    discrete = recipe.model.lookup is not None
    _require_possible(folder, config, deal, discrete, recipe.model.sample is not None, settings)
    real = _real(folder, deal, settings) if settings.score else None
    trained = read_trained(folder, config, deal, recipe)
    prior = _prior(trained, settings, discrete, echo)
    drawn = trained.model.draw(
        settings.number, settings.seed, prior, _classes(trained, settings, prior), settings.noise
    )
    written, arrays = _write(trained, drawn, out)
    if real is not None:
        figures = _figures(*real, drawn)
        runs.write_json(arrays.with_suffix(".json"), figures)
        echo(_table(figures))
    echo(str(arrays))
    return written


def _require_possible(
    folder: pathlib.Path, config: dict[str, Any], deal: Deal, discrete: bool, own_prior: bool, settings: SampleSettings
) -> None:
    """Refuse, before anything is read, what the run's model cannot do."""
    model, has_prior = config["model"], (folder / fitted_prior.FOLDER).is_dir() and not settings.uniform
    narrowing = ("temperature", "top_k", "top_p")
    if not discrete:
        _require_default(settings, narrowing, f"is for discrete codes, those of {model} are continuous")
        if model in CONDITIONAL:
            _places(settings, list(deal.label_names or ()))
        else:
            _require_default(
                settings, ("labels",), f"is for models that read labels (conditional_vae), {model} reads none"
            )
        if not own_prior and not has_prior:
            how = f"`jaxae train-prior {shlex.quote(str(folder))}` fits one to its latents"
            if config["command"] != "train":
                how = f"train it with `jaxae train --model {model}`, then `jaxae train-prior` fits one to its latents"
            raise ValueError(f"{model} has no prior of its own to draw from: {how}")
    elif not has_prior:
        _require_default(
            settings, ("labels", *narrowing), "needs a prior of `jaxae train-prior`: codes are drawn uniformly"
        )


def _require_default(settings: SampleSettings, names: tuple[str, ...], why: str) -> None:
    default = SampleSettings()
    for name in names:
        if getattr(settings, name) != getattr(default, name):
            raise ValueError(f"--{name.removesuffix('s').replace('_', '-')} {why}")


def _prior(trained: TrainedRun, settings: SampleSettings, discrete: bool, echo) -> FittedPrior | None:
    narrowing = {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
    prior = None
    if not settings.uniform:
        prior = read_prior(trained.folder, trained.model, **(narrowing if discrete else {}))
    if prior is not None:
        echo(f"{'codes' if discrete else 'latents'} from the {prior.config['prior']} prior")
        if settings.labels and not prior.config["by_class"]:
            raise ValueError(f"--label {listed(settings.labels)}: the prior knows no classes; train it with --by-class")
    elif discrete and not settings.uniform:
        how = f"`jaxae train-prior {shlex.quote(str(trained.folder))}`"
        echo(f"no prior was trained: all codes are drawn alike ({how} learns one)")
    return prior


def _classes(trained: TrainedRun, settings: SampleSettings, prior: FittedPrior | None) -> np.ndarray | None:
    """`[number]` classes to draw: those wanted in turn, or as the model or the prior learned them."""
    names = list(trained.deal.label_names or ())
    if prior is not None:
        labels = _places(settings, list(prior.config.get("classes", names)))
        return fitted_prior.drawn_classes(prior, settings.number, settings.seed) if labels is None else labels
    if trained.config["model"] not in CONDITIONAL:
        return None
    labels = _places(settings, names)
    if labels is not None:
        return labels
    learned = [names.index(name) for name in trained.deal.normal or names]
    return np.resize(np.array(learned, np.int32), settings.number)


def _places(settings: SampleSettings, classes: list[str]) -> np.ndarray | None:
    """`[number]` places in the classes, those that are wanted in turn."""
    if settings.labels is None:
        return None
    places = {**{str(i): i for i in range(len(classes))}, **{name: i for i, name in enumerate(classes)}}
    if unknown := [name for name in settings.labels if name not in places]:
        raise ValueError(f"there is no class {listed(map(shown, unknown))}; there are {listed(classes, 20)}")
    return np.resize(np.array([places[name] for name in settings.labels], np.int32), settings.number)


def _write(trained: TrainedRun, drawn: np.ndarray, out) -> tuple[pathlib.Path, pathlib.Path]:
    """What was written, and where its numbers are."""
    folder = trained.folder
    if drawn.ndim == 4:
        picture = pathlib.Path(out or folder / "figures" / "samples.png")
        arrays = folder / "samples.npz" if out is None else picture.with_suffix(".npz")
        picture.parent.mkdir(parents=True, exist_ok=True)
        runs.write_arrays(arrays, images=drawn)
        return report.sample_grid(picture, drawn[:1024]), arrays  # more are too small to be seen
    out = pathlib.Path(out or folder / "samples.csv")
    if (units := standardisation_of_run(folder, trained.deal)) is not None:
        drawn = drawn * units.scale + units.mean
    names = trained.deal.schema.names or [f"x{i}" for i in range(drawn.shape[1])]
    runs.write_csv(out, names, drawn.tolist())
    return out, out


def _real(
    folder: pathlib.Path, deal: Deal, settings: SampleSettings
) -> tuple[Dataset, Deal, matching.Match, np.ndarray]:
    """The run's data, and which classes the run has learnt or is to draw."""
    if deal.schema.kind != "images" or deal.label_names is None or (deal.classes < 0).any():
        raise ValueError(
            "--score needs images with labels in the train and in the test part, for a classifier's features; "
            f"{deal.name} has none"
        )
    if settings.number < LEAST_SCORED:
        raise ValueError(f"--score needs at least {LEAST_SCORED} images, better 10000; got -n {settings.number}")
    labels = _places(settings, list(deal.label_names))
    dataset, located = dealing.read_source(folder, deal)
    wanted = list(deal.normal) or None
    if labels is not None:
        wanted = [deal.label_names[i] for i in sorted(set(labels))]
    classes = range(len(deal.label_names)) if wanted is None else normal_classes(dataset, wanted)
    return dataset, deal, located, np.array(classes)


def _figures(
    dataset: Dataset, deal: Deal, located: matching.Match, classes: np.ndarray, drawn: np.ndarray
) -> dict[str, Any]:
    """Fréchet distance, precision and recall of the drawn images against the run's test part, and of its train part."""
    test_rows = deal.parts["test"]
    other_rows = np.setdiff1d(np.arange(len(deal.digests)), test_rows)
    parts = [deals.rows_at(dataset, located.rows[rows]) for rows in (other_rows, test_rows)]
    (x, y), (_, test_classes) = parts
    assert y is not None
    assert test_classes is not None
    space = generation.classifier_features(x, y)
    # files are often sorted
    train, test = (np.random.default_rng(0).permutation(x[np.isin(y, classes)]) for x, y in parts if y is not None)
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
        measured = figures[what]
        lines.append(
            f"{label:<20}Fréchet distance {measured['frechet']:.3f} · precision {measured['precision']:.3f} · "
            f"recall {measured['recall']:.3f}"
        )
    return "\n".join(lines)
