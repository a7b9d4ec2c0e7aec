"""`jaxae train-prior`: a prior over the codes or latents that a trained model gives to its training rows."""

import os
import pathlib
import shlex
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import __version__, generation, recipes, report, runs
from jaxae.data.splits import Part
from jaxae.files.messages import shown
from jaxae.jobs import dealing, fitted_prior
from jaxae.jobs.fitted_prior import mean_nats, num_codes_of
from jaxae.jobs.trained import FittedPrior, Trained, TrainedRun, open_run, read_trained, recipe_of
from jaxae.presets import CONDITIONAL
from jaxae.priors import SYMBOL_PRIORS, fit_unigram
from jaxae.recipes import CODE_PRIORS, LATENT_PRIORS, Recipe
from jaxae.runs import matching
from jaxae.scoring import score_batches
from jaxae.settings import TrainPriorSettings, checked
from jaxae.types import Batch

# training rows whose residuals tell how far off the decoder is at each pixel
RESIDUAL_ROWS = 4096
# images that the run's report shows
DRAWN = 64


def train_prior(
    run: str | os.PathLike,
    settings: TrainPriorSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Train a prior on the codes or latents of a run's training rows; the rows that it held out choose when to stop.

    Args:
      run: folder of a run of `train`.
      settings: what to do; None: the defaults.
      resume: whether to continue the prior in the run's folder from its last checkpoint.
      overwrite: whether to replace it.
      echo: takes lines for the user; None: silent.

    Returns:
      The folder `RUN/prior`: `config.json`, `metrics.json`, `metrics.jsonl`, `checkpoints/`. The run's report gets
      samples of this prior.

    Raises:
      ValueError: the run is of another command, its data is another by now, or settings that cannot work.

    Example:
      ```python
      from jaxae import jobs
      run = jobs.train(jobs.TrainSettings(model="vq_vae"))
      jobs.train_prior(run, jobs.TrainPriorSettings(epochs=20))
      ```

    Source: a mixture or a flow on the latents of a finished model: Ghosh et al. 2020, "From Variational to
    Deterministic Autoencoders", section 4; Dai and Wipf 2019, "Diagnosing and Enhancing VAE Models", section 4.
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    settings = checked(TrainPriorSettings() if settings is None else settings)
    folder = pathlib.Path(run)
    config, deal = open_run("train-prior", folder)
    recipe = recipe_of(folder, config, deal)
    settings = _require_possible(folder, config, recipe, settings)
    trained = read_trained(folder, config, deal, recipe)
    dataset, located = dealing.read_source(folder, deal)
    parts = matching.dealt(deal, dataset, located)
    if settings.by_class and parts.train.classes is None:
        raise ValueError(f"{dataset.name} has no labels to condition on: leave out --by-class")
    rows, held_out = (_encoded(trained.model, part, settings) for part in (parts.train, parts.validation))
    prior_config = _config(trained, settings, rows)
    prior = recipes.build_prior(prior_config, rows.x)
    prior_folder = runs.start(folder / fitted_prior.FOLDER, prior_config, resume=resume, overwrite=overwrite)
    discrete = "num_codes" in prior_config
    what = f"codes of {prior_config['num_codes']}" if discrete else "latents"
    echo(f"{folder} · {settings.prior} prior over {' x '.join(map(str, rows.x.shape[1:]))} {what} · {len(rows.x)} rows")

    fitted = fitted_prior.fit_prior(prior, prior_config, rows, held_out, prior_folder)
    if discrete:
        figures = _code_figures(trained.model, fitted, rows, held_out, parts.train.x, parts.validation.x)
    else:
        figures = {
            "nats": mean_nats(prior, fitted.params, held_out),
            "nats_normal": fitted_prior.nats_of_one_normal(rows.x, held_out.x),
        }
    figures |= {"steps": fitted.config["steps"], "seconds": time.monotonic() - started}
    runs.write_json(prior_folder / "metrics.json", figures)
    labels = fitted_prior.drawn_classes(fitted, DRAWN, settings.seed)
    images = trained.model.draw(DRAWN, settings.seed, fitted, labels)
    runs.write_arrays(folder / "samples.npz", images=images)
    page = report.render(folder)
    echo(f"{_table(figures)}\n\n{page}  ({time.monotonic() - started:.0f} s)")
    return prior_folder


def _require_possible(
    folder: pathlib.Path, config: dict[str, Any], recipe: Recipe, settings: TrainPriorSettings
) -> TrainPriorSettings:
    """The settings with the prior's name filled in, if the run's model allows them."""
    discrete = recipe.model.lookup is not None
    names = sorted(CODE_PRIORS if discrete else LATENT_PRIORS)
    name = settings.prior or ("autoregressive" if discrete else "mixture")
    model = config["model"]
    if name not in names:
        raise ValueError(
            f"there is no prior {shown(name)} to train over the {'codes' if discrete else 'latents'} of {model}; "
            f"there are {', '.join(names)}"
        )
    if model in CONDITIONAL:
        raise ValueError(
            f"{model} has a prior that reads the labels: `jaxae sample {shlex.quote(str(folder))} --labels NAME,NAME`"
        )
    if settings.by_class and not discrete:
        raise ValueError(f"--by-class is for discrete codes, those of {model} are continuous; take conditional_vae")
    return settings._replace(prior=name)


def _encoded(model: Trained, part: Part, settings: TrainPriorSettings) -> Batch:
    """The codes of a part's rows, with their classes where the prior reads them; or a draw of each row's latents.

    Draws, and not means: all of them together are what the decoder has learned to read.
    """
    if model.recipe.model.lookup is None:
        return Batch(np.asarray(model.encode(part.x, seed=settings.seed).latent, np.float32))
    num_codes_of(model)
    condition = None if not settings.by_class else np.asarray(part.classes, np.int32)
    return Batch(model.encode(part.x).symbols, condition=condition)


def _config(run: TrainedRun, settings: TrainPriorSettings, rows: Batch) -> dict[str, Any]:
    config = {
        "command": "train-prior",
        "version": __version__,
        **settings._asdict(),
        "shape": list(rows.x.shape[1:]),
        "rows": len(rows.x),
        "model_step": run.model.step,
    }
    if run.model.recipe.model.lookup is not None:
        config["num_codes"] = num_codes_of(run.model)
    if settings.by_class:
        assert rows.condition is not None
        names = run.deal.label_names or ()
        shares = np.bincount(rows.condition, minlength=len(names)) / len(rows.x)
        config |= {"classes": list(names), "class_shares": shares.tolist()}
    return config


def _code_figures(
    model: Trained, codes: FittedPrior, rows: Batch, held_out: Batch, train: np.ndarray, validation: np.ndarray
) -> dict[str, Any]:
    """Nats and bits of the held-out rows, beside those of independent and of uniform codes."""
    length, num_codes = int(np.prod(codes.shape)), codes.config["num_codes"]
    nats = {
        "nats": mean_nats(codes.prior, codes.params, held_out),
        "nats_unigram": mean_nats(SYMBOL_PRIORS["unigram"](num_codes), fit_unigram(rows.x, num_codes), held_out),
        "nats_uniform": length * float(np.log(num_codes)),
    }
    figures: dict[str, Any] = {**nats, "codes": length, "bits_per_code": nats["nats"] / length / float(np.log(2))}
    if train.dtype == np.uint8:
        size = int(np.prod(train.shape[1:]))
        decoder = decoder_nats(model, train[:RESIDUAL_ROWS], validation)
        for name, value in (("codes", nats["nats"]), ("decoder", decoder), ("total", nats["nats"] + decoder)):
            figures[f"bits_per_dimension_{name}"] = float(generation.bits_per_dimension(jnp.float32(value), size))
    return figures


def decoder_nats(model: Trained, train: np.ndarray, held_out: np.ndarray) -> float:
    """What images of bytes cost once their codes are known, nats per image.

    Under `generation.discretized_normal` around the reconstruction, its scale at each pixel the root mean square error
    on training rows.

    Args:
      model: of the run.
      train: training rows, bytes.
      held_out: rows that are measured, bytes.
    """
    error = model.reconstruct(train) - train / np.float32(255)
    scale = jnp.asarray(np.maximum(np.sqrt((error**2).mean(0)), 0.25 / 255))[None]
    nats = jax.jit(lambda rows: -generation.discretized_normal(rows.x, rows.target, scale).sum((1, 2, 3)))
    rows = Batch(held_out, target=model.reconstruct(held_out))
    return float(np.mean(score_batches(nats, rows), dtype=np.float64))


def _table(figures: dict[str, Any]) -> str:
    shown = {
        "nats": "nats of an example's codes or latents, held out",
        "nats_normal": "  with one normal distribution",
        "nats_unigram": "  with each position by itself",
        "nats_uniform": "  with all codes alike",
        "bits_per_dimension_codes": "bits per dimension: the codes",
        "bits_per_dimension_decoder": "  what the decoder leaves open",
        "bits_per_dimension_total": "  both",
    }
    return "\n".join(f"{label:<50}{figures[name]:.4f}" for name, label in shown.items() if name in figures)
