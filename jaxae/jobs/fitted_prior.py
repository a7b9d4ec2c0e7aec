"""A prior over a trained model's codes or latents: fitted, measured, and read back from its folder."""

import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import priors, recipes, runs
from jaxae.checkpoint import checkpoints
from jaxae.files.messages import shown
from jaxae.jobs.fitting import Training, fit_objective
from jaxae.jobs.trained import FittedPrior, Trained
from jaxae.recipes import CODE_PRIORS, LATENT_PRIORS
from jaxae.recipes.prior import BATCH_SIZE, MOST_CODES, is_full, prior_training
from jaxae.scoring import score_batches
from jaxae.train import init_state
from jaxae.types import Batch, Prior, PyTree, TrainState

FOLDER = "prior"


def fit_prior(prior: Prior, config: dict[str, Any], rows: Batch, held_out: Batch, folder: pathlib.Path) -> FittedPrior:
    """Fit a prior: a mixture by expectation maximisation, a unigram by counting, all others by gradients until the
    held-out rows get no likelier.

    Args:
      prior: from `recipes.build_prior`.
      config: its settings.
      rows: codes or latents `[N, ...]` of training rows, with the condition of a prior by class.
      held_out: those of others.
      folder: where checkpoints and the log are written.

    Raises:
      ValueError: there are fewer rows than components, or a loss that is not finite.
    """
    objective, optimizer, num_steps = prior_training(config, prior)
    if config["prior"] in ("mixture", "unigram"):
        initial = init_state(objective, optimizer, jax.random.key(config["seed"]), _first(rows, config))
        if config["prior"] == "mixture":
            params = _mixture(initial.params["model"], rows.x, config["seed"])
        else:
            params = priors.fit_unigram(rows.x, config["num_codes"])
        state = initial._replace(params={"model": params})
        _save(state, folder)
    else:
        how = Training(BATCH_SIZE, num_steps, folder, config["seed"])
        state = fit_objective(objective, optimizer, rows, held_out, how)
    return FittedPrior(prior, state.params["model"], rows.x.shape[1:], config | {"steps": int(state.step)})


def read_prior(run: str | os.PathLike, model: Trained, **narrowing: Any) -> FittedPrior | None:
    """The prior that was trained for a run; None where there is none.

    Args:
      run: the run folder.
      model: its model.
      **narrowing: temperature, top_k and top_p of the draws of a prior over codes.

    Raises:
      ValueError: its training was not finished, it is of an earlier state of the model, or it cannot be read.
    """
    folder = pathlib.Path(run) / FOLDER
    if not folder.is_dir():
        return None
    config = runs.read_config(folder, whole=True)
    _require_prior(folder, config)
    if not (folder / "metrics.json").is_file():
        raise ValueError(f"the training of {folder} was not finished: `jaxae train-prior RUN --resume` continues it")
    if config["model_step"] != model.step:
        raise ValueError(
            f"{folder} is of the model at step {config['model_step']}, now it is at step {model.step}: train it anew "
            "with `jaxae train-prior RUN --overwrite`"
        )
    prior = recipes.build_prior(config, **narrowing)
    objective, optimizer, _ = prior_training(config, prior)
    shape = (config["rows"], *config["shape"])
    rows = Batch(
        jax.ShapeDtypeStruct(shape, np.int32 if "num_codes" in config else np.float32),
        condition=jax.ShapeDtypeStruct(shape[:1], np.int32) if config["by_class"] else None,
    )
    template: Any = jax.eval_shape(
        lambda rng, first: init_state(objective, optimizer, rng, first), jax.random.key(0), _first(rows, config)
    )
    saved = checkpoints(folder / "checkpoints")
    try:
        best = saved.best(template)
        state = saved.restore(template) if best is None else best[0]
    finally:
        saved.close()
    return FittedPrior(prior, state.params["model"], tuple(config["shape"]), config)


def _require_prior(folder: pathlib.Path, config: dict[str, Any]) -> None:
    """The keys of a prior's settings that depend on each other."""
    path = folder / "config.json"
    if config["command"] != "train-prior":
        raise ValueError(f"{path}: command is {shown(config['command'])}; a prior is of `jaxae train-prior`")
    if config["prior"] in CODE_PRIORS and "num_codes" not in config:
        raise ValueError(f"{path}: it has no num_codes, which the prior {config['prior']} is over")
    if config["prior"] not in (CODE_PRIORS if "num_codes" in config else LATENT_PRIORS):
        raise ValueError(f"{path}: prior is {shown(config['prior'])}, which jaxae has not for such codes or latents")
    if config["by_class"]:
        classes, shares = config.get("classes", []), config.get("class_shares", [])
        if not classes or len(classes) != len(shares) or not sum(shares) > 0:
            raise ValueError(f"{path}: classes has {len(classes)} names, class_shares {len(shares)} shares")


def uniform_prior(model: Trained, shape: tuple[int, ...]) -> FittedPrior:
    """All codes alike: what a trained prior has to beat.

    Args:
      model: a model with discrete codes.
      shape: of one example's codes.

    Raises:
      ValueError: the model's code is no single array of symbols.
    """
    num_codes = num_codes_of(model)
    config = {"prior": "uniform", "num_codes": num_codes, "by_class": False}
    return FittedPrior(priors.uniform(num_codes), (), shape, config)


def drawn_classes(prior: FittedPrior, number: int, seed: int) -> np.ndarray | None:
    """`[number]` classes as frequent as in the training rows, for a prior that is conditioned on them; else None."""
    if not prior.config["by_class"]:
        return None
    shares = np.asarray(prior.config["class_shares"], np.float64)
    return np.random.default_rng(seed).choice(len(shares), number, p=shares / shares.sum()).astype(np.int32)


def num_codes_of(model: Trained) -> int:
    """The size of the codebook.

    Raises:
      ValueError: the model has several arrays of symbols, or more codes than a transformer's table can hold.
    """
    sizes = model.recipe.model.num_codes
    if not isinstance(sizes, int):
        raise ValueError(f"the model gives {len(jax.tree.leaves(sizes))} arrays of symbols; a prior is trained for one")
    if sizes > MOST_CODES:
        raise ValueError(f"the model has {sizes} codes; a prior is trained for at most {MOST_CODES}")
    return sizes


def mean_nats(prior: Prior, params: PyTree, rows: Batch) -> float:
    """The mean of `-log p` over codes or latents `[N, ...]`, nats."""
    nats = jax.jit(lambda batch: -prior.log_prob(params, batch.x, batch.condition))
    return float(np.mean(score_batches(nats, rows), dtype=np.float64))


def nats_of_one_normal(latents: np.ndarray, held_out: np.ndarray) -> float:
    """`mean_nats` of held-out latents under one normal distribution fitted to others: what a prior has to beat."""
    config = {"prior": "mixture", "shape": latents.shape[1:], "options": {"num_components": 1}}
    prior = recipes.build_prior(config, latents)
    params = prior.init(jax.random.key(0), jnp.asarray(latents[:1]))
    return mean_nats(prior, _mixture(params, latents, 0), Batch(held_out))


def _mixture(params: PyTree, latents: np.ndarray, seed: int) -> PyTree:
    """The parameters of a standardised mixture, fitted; 1e-4 is added to each variance."""
    scaled = (latents - np.asarray(params["mean"])) / np.asarray(params["scale"])
    covariance = "full" if is_full(latents.shape[1:]) else "diagonal"
    fit = jax.jit(priors.fit_mixture, static_argnames=("num_components", "covariance", "floor"))
    num_components = params["prior"]["logits"].shape[0]
    fitted = fit(jnp.asarray(scaled), num_components, rng=jax.random.key(seed), covariance=covariance, floor=1e-4)
    return {**params, "prior": fitted}


def _first(rows: Batch, config: dict[str, Any]) -> Batch:
    """The rows that a prior's parameters are made for: one of a mixture, a batch of any other."""
    size = 1 if config["prior"] == "mixture" else min(BATCH_SIZE, config["rows"])

    def cut(leaf):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
        return jnp.asarray(leaf[:size])

    return jax.tree.map(cut, rows)


def _save(state: TrainState, folder: pathlib.Path) -> None:
    saved = checkpoints(folder / "checkpoints")
    try:
        saved.save(state)
        saved.wait()
    finally:
        saved.close()
