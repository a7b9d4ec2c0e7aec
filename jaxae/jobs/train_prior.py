"""`jaxae train-prior`: a prior over the codes or latents that a trained model gives to its training rows."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import __version__, generation, objectives, report, runs
from jaxae.checkpoint import checkpoints
from jaxae.data import Dataset, load
from jaxae.jobs import code_prior, latent_prior
from jaxae.jobs import train as training
from jaxae.jobs.code_prior import BATCH_SIZE, CodePrior, num_codes_of, steps_of, symbols_of
from jaxae.jobs.latent_prior import LATENT_PRIORS, LatentPrior
from jaxae.jobs.trained import Trained, recipe_of, trained
from jaxae.presets import CONDITIONAL
from jaxae.priors import SYMBOL_PRIORS, fit_unigram
from jaxae.recipes.autoencoder import Recipe
from jaxae.scoring import score_batches
from jaxae.train import init_state
from jaxae.types import Batch, Objective, Prior, PyTree, TrainState

# training rows whose residuals tell how far off the decoder is at each pixel
RESIDUAL_ROWS = 4096


class Settings(NamedTuple):
    """What a prior is trained with; the command line's options, by the same names.

    Attributes:
      prior: for codes a key of `priors.SYMBOL_PRIORS`, but "uniform", which has nothing to train; for latents of
        `latent_prior.LATENT_PRIORS`; None: autoregressive, mixture.
      seed: of initialisation, order and masks.
      epochs: passes over the training rows; None: eight, and at least 1,000 steps.
      options: keywords of the prior.
      by_class: condition on the data's labels.
    """

    prior: str | None = None
    seed: int = 0
    epochs: int | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  never written to
    by_class: bool = False


def train_prior(
    run: str | os.PathLike,
    settings: Settings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], Any] | None = None,
) -> pathlib.Path:
    """Train a prior on the codes or latents of a run's training rows; the rows that it held out choose when to stop.

    Args:
      run: folder of a run of `train`.
      settings: what to do.
      resume: continue the prior in the run's folder from its last checkpoint.
      overwrite: replace it.
      echo: takes lines for the user; None: silent.

    Returns:
      The folder `RUN/prior`: `config.json`, `metrics.json`, `metrics.jsonl`, `checkpoints/`. The run's report gets
      samples of this prior.

    Raises:
      ValueError: the run is of another command, its data is another by now, or settings that cannot work.

    Source: a mixture or a flow on the latents of a finished model: Ghosh et al. 2020, "From Variational to
    Deterministic Autoencoders", section 4; Dai and Wipf 2019, "Diagnosing and Enhancing VAE Models", section 4.
    """
    started = time.monotonic()
    echo = echo or (lambda line: None)
    folder, (model, settings) = pathlib.Path(run), _model_of(run, settings)
    dataset = load(model.config["data"], label_column=model.config.get("label_column"))
    train, held_out, _ = training.rows_of(dataset, model.config["normal"] or None, model.config["seed"])
    if (len(train.x), list(train.x.shape[1:])) != (model.config["rows"], model.config["shape"]):
        raise ValueError(
            f"{model.config['data']} is not what {folder} was trained on: it gives {len(train.x)} rows of shape "
            f"{train.x.shape[1:]}, then it was {model.config['rows']} of {model.config['shape']}"
        )
    if settings.by_class and train.condition is None:
        raise ValueError(f"{dataset.name} has no labels to condition on: leave out --by-class")
    data, validation = (_encoded(model, rows, settings) for rows in (train, held_out))
    config, discrete = _config(model, settings, dataset, data), _is_discrete(model.recipe)
    prior = code_prior.build(config) if discrete else latent_prior.build(config, data.x)
    place = runs.start(folder / code_prior.FOLDER, config, resume=resume, overwrite=overwrite)
    shown, what = " x ".join(map(str, data.x.shape[1:])), f"codes of {config['num_codes']}" if discrete else "latents"
    echo(f"{folder} · {settings.prior} prior over {shown} {what} · {len(data.x)} rows")
    if discrete:
        figures, images = _over_codes(model, prior, config, data, validation, place, (train, held_out))
    else:
        figures, images = _over_latents(model, prior, config, data.x, validation.x, place)
    runs.write_json(place / "metrics.json", {**figures, "seconds": time.monotonic() - started})
    runs.write_arrays(folder / "samples.npz", images=images)
    page = report.render(folder)
    echo(f"{_table(figures)}\n\n{page}  ({time.monotonic() - started:.0f} s)")
    return place


def _over_codes(model: Trained, prior: Prior, config: dict[str, Any], data: Batch, validation: Batch, place, rows):
    objective, num_steps = objectives.negative_log_prob(prior), steps_of(len(data.x), config["epochs"])
    if config["prior"] == "unigram":
        state = _counted(objective, data, config["num_codes"], place)
    else:
        rule, seed = code_prior.optimizer(num_steps), config["seed"]
        state = training.fit_objective(objective, rule, BATCH_SIZE, num_steps, data, validation, place, seed)
    found = CodePrior(prior, state.params["model"], data.x.shape[1:], config["num_codes"], config)
    train, held_out = rows
    figures = {**_figures(model, found, train, data, held_out, validation), "steps": int(state.step)}
    return figures, code_prior.draw(model, found, 64, config["seed"])


def _over_latents(model: Trained, prior: Prior, config: dict[str, Any], data: np.ndarray, held_out: np.ndarray, place):
    state = latent_prior.fit(prior, config, data, held_out, place)
    found = LatentPrior(prior, state.params["model"], data.shape[1:], config)
    figures = {
        "nats": latent_prior.mean_nats(prior, found.params, held_out),
        "nats_normal": latent_prior.nats_of_one_normal(data, held_out),
        "steps": int(state.step),
    }
    return figures, latent_prior.draw(model, found, 64, config["seed"])


def _is_discrete(recipe: Recipe) -> bool:
    return recipe.model.lookup is not None


def _model_of(run, settings: Settings) -> tuple[Trained, Settings]:
    """The run's model, and the settings with the prior's name filled in."""
    recipe, _, config = recipe_of(run)
    if config["command"] != "train":
        raise ValueError(f"{run} is a run of `jaxae {config['command']}`: a prior is trained for one of `jaxae train`")
    discrete = _is_discrete(recipe)
    names = sorted(set(SYMBOL_PRIORS) - {"uniform"}) if discrete else sorted(LATENT_PRIORS)
    name = settings.prior or ("autoregressive" if discrete else "mixture")
    if name not in names:
        raise ValueError(
            f"there is no prior {name!r} to train over the {'codes' if discrete else 'latents'} of {config['model']}; "
            f"there are {', '.join(names)}"
        )
    if config["model"] in CONDITIONAL:
        raise ValueError(
            f"{config['model']} has a prior that reads the labels: `jaxae sample {run} --labels NAME,NAME`"
        )
    if settings.by_class and not discrete:
        raise ValueError(
            f"--by-class is for discrete codes, those of {config['model']} are continuous; take conditional_vae"
        )
    model = trained(run)
    if discrete:
        num_codes_of(model)
    return model, settings._replace(prior=name)


def _encoded(model: Trained, rows: Batch, settings: Settings) -> Batch:
    if not _is_discrete(model.recipe):
        return Batch(latent_prior.latents_of(model, rows.x, settings.seed))
    condition = None if not settings.by_class else np.asarray(rows.condition, np.int32)
    return Batch(symbols_of(model, rows.x), condition=condition)


def _config(model: Trained, settings: Settings, dataset: Dataset, data: Batch) -> dict[str, Any]:
    config = {
        "command": "train-prior",
        "version": __version__,
        **settings._asdict(),
        "shape": list(data.x.shape[1:]),
        "rows": len(data.x),
        "model_step": model.step,
    }
    if _is_discrete(model.recipe):
        config["num_codes"] = num_codes_of(model)
    if settings.by_class:
        assert data.condition is not None
        assert dataset.label_names is not None
        shares = np.bincount(data.condition, minlength=len(dataset.label_names)) / len(data.x)
        config |= {"classes": list(dataset.label_names), "class_shares": shares.tolist()}
    return config


def _counted(objective: Objective, data: Batch, num_codes: int, place: pathlib.Path) -> TrainState:
    rule = code_prior.optimizer(steps_of(len(data.x), None))
    state = init_state(objective, rule, jax.random.key(0), data)
    state = state._replace(params={"model": fit_unigram(data.x, num_codes)})
    kept = checkpoints(place / "checkpoints")
    try:
        kept.save(state)
        kept.wait()
    finally:
        kept.close()
    return state


def _figures(
    model: Trained, codes: CodePrior, train: Batch, data: Batch, held_out: Batch, validation: Batch
) -> dict[str, Any]:
    """Nats and bits of the held-out rows, beside those of independent and of uniform codes."""
    length = int(np.prod(codes.shape))
    counted = fit_unigram(data.x, codes.num_codes)
    nats = {
        "nats": _mean_nats(codes.prior, codes.params, validation),
        "nats_unigram": _mean_nats(SYMBOL_PRIORS["unigram"](codes.num_codes), counted, validation),
        "nats_uniform": length * float(np.log(codes.num_codes)),
    }
    figures: dict[str, Any] = {**nats, "codes": length, "bits_per_code": nats["nats"] / length / float(np.log(2))}
    if train.x.dtype == np.uint8:
        size = int(np.prod(train.x.shape[1:]))
        decoder = decoder_nats(model, train.x[:RESIDUAL_ROWS], held_out.x)
        for name, value in (("codes", nats["nats"]), ("decoder", decoder), ("total", nats["nats"] + decoder)):
            figures[f"bits_per_dimension_{name}"] = float(generation.bits_per_dimension(jnp.float32(value), size))
    return figures


def _mean_nats(prior: Prior, params: PyTree, rows: Batch) -> float:
    nats = jax.jit(lambda batch: -prior.log_prob(params, batch.x, batch.condition))
    return float(np.mean(score_batches(nats, rows), dtype=np.float64))


def decoder_nats(model: Trained, train: np.ndarray, held_out: np.ndarray) -> float:
    """What images of bytes cost once their codes are known, nats per image.

    Under `generation.discretized_normal` around the reconstruction, its scale at each pixel the root mean square error
    on training rows.

    Args:
      model: of the run.
      train: training rows, bytes.
      held_out: rows that are measured, bytes.
    """
    recipe = model.recipe

    @jax.jit
    def reconstruct(x):
        output, _ = recipe.model.apply(model.params, model.state, None, recipe.scaling(None, Batch(x)).x)
        return recipe.model.likelihood.mean(output.prediction)

    error = score_batches(reconstruct, train) - train / np.float32(255)
    scale = np.maximum(np.sqrt((error**2).mean(0)), 0.25 / 255)

    @jax.jit
    def nats(x):
        return -generation.discretized_normal(x, reconstruct(x), jnp.asarray(scale)[None]).sum((1, 2, 3))

    return float(np.mean(score_batches(nats, held_out), dtype=np.float64))


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
