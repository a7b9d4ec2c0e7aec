"""A prior over the continuous latents of a run's model, after its training: built, fitted, read back, drawn from."""

import inspect
import math
import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import objectives, priors, recipes
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import padded
from jaxae.jobs import code_prior
from jaxae.jobs import train as training
from jaxae.jobs.code_prior import BATCH_SIZE, steps_of
from jaxae.jobs.trained import Trained
from jaxae.scoring import score_batches
from jaxae.train import init_state
from jaxae.types import Batch, Prior, PyTree, TrainState

# latents wider than this get a covariance of variances alone: the full one grows with the square
WIDEST_FULL = 256
ENCODED = 256


class LatentPrior(NamedTuple):
    """A prior over a run's latents, ready to draw from.

    Attributes:
      prior: over latents, which it standardises.
      params: its parameters.
      shape: of one example's latent.
      config: its settings.
    """

    prior: Prior
    params: PyTree
    shape: tuple[int, ...]
    config: dict[str, Any]


def mixture(shape: tuple[int, ...], num_components: int = 10) -> Prior:
    """Normals with full covariances; with variances alone where a latent has more than 256 numbers."""
    return priors.full_mixture(num_components) if is_full(shape) else priors.mixture(num_components)


def flow(shape: tuple[int, ...], width: int = 128, num_layers: int = 6) -> Prior:
    """A coupling flow."""
    return priors.coupling_flow(width, num_layers=num_layers)


LATENT_PRIORS = {"mixture": mixture, "flow": flow}
"""Name to constructor `(shape, ...)`: what `jaxae train-prior` fits to continuous latents."""


def is_full(shape: tuple[int, ...]) -> bool:
    """Whether a mixture over latents of this shape has full covariances."""
    return math.prod(shape) <= WIDEST_FULL


def build(config: dict[str, Any], latents: np.ndarray | None = None) -> Prior:
    """The prior that a config describes, over latents standardised as those given are.

    Args:
      config: "prior", "shape" of a latent, "options".
      latents: `[N, ...]` it will be fitted to; None: its parameters are read back, and hold what is needed of them.

    Raises:
      ValueError: an option that the prior does not have, or a value out of its range.

    Example:
      >>> from jaxae.jobs import latent_prior
      >>> prior = latent_prior.build({"prior": "mixture", "shape": [4], "options": {"num_components": 3}})
    """
    name, options, shape = config["prior"], config["options"], tuple(config["shape"])
    known = set(inspect.signature(LATENT_PRIORS[name]).parameters) - {"shape"}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"the {name} prior has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    inner = LATENT_PRIORS[name](shape, **options)
    if latents is None:
        return priors.standardised(inner, jnp.zeros(shape), jnp.ones(shape))
    scale = latents.std(0)
    # a latent that is always the same would be divided by nothing
    return priors.standardised(inner, jnp.asarray(latents.mean(0)), jnp.asarray(np.where(scale > 1e-6, scale, 1.0)))


def fit(
    prior: Prior, config: dict[str, Any], latents: np.ndarray, held_out: np.ndarray, place: pathlib.Path
) -> TrainState:
    """Fit a prior: a mixture by expectation maximisation, a flow by gradients until the held-out rows get no likelier.

    Args:
      prior: from `build`.
      config: "prior", "options", "seed", "epochs".
      latents: `[N, ...]` of training rows.
      held_out: `[M, ...]` of others.
      place: where checkpoints and the log are written.

    Raises:
      ValueError: there are fewer rows than components, or a loss that is not finite.
    """
    objective, seed = objectives.negative_log_prob(prior), config["seed"]
    num_steps = steps_of(len(latents), config["epochs"])
    if config["prior"] != "mixture":
        rule = recipes.optimizer(num_steps)
        return training.fit_objective(objective, rule, BATCH_SIZE, num_steps, latents, held_out, place, seed)
    state = init_state(objective, recipes.optimizer(num_steps), jax.random.key(seed), Batch(jnp.asarray(latents[:1])))
    params = state.params["model"]
    scaled = (latents - np.asarray(params["mean"])) / np.asarray(params["scale"])
    fitted = fitted_mixture(scaled, params["prior"]["logits"].shape[0], seed)
    state = state._replace(params={"model": {**params, "prior": fitted}})
    kept = checkpoints(place / "checkpoints")
    try:
        kept.save(state)
        kept.wait()
    finally:
        kept.close()
    return state


def fitted_mixture(latents: np.ndarray, num_components: int, seed: int = 0) -> PyTree:
    """The parameters of `mixture` for latents `[N, ...]` of about unit variance; 1e-4 is added to each variance."""
    covariance = "full" if is_full(latents.shape[1:]) else "diagonal"
    compiled = jax.jit(priors.fit_mixture, static_argnames=("num_components", "covariance", "floor"))
    rows = jnp.asarray(latents)
    return compiled(rows, num_components, rng=jax.random.key(seed), covariance=covariance, floor=1e-4)


def load_prior(run: str | os.PathLike, model: Trained) -> LatentPrior | None:
    """The prior that was fitted to a run's latents; None where there is none.

    Raises:
      ValueError: its training was not finished, it is of an earlier state of the model, or it cannot be read.
    """
    config = code_prior.finished(run, model)
    if config is None:
        return None
    prior, shape = build(config), tuple(config["shape"])
    rule = recipes.optimizer(steps_of(config["rows"], config["epochs"]))
    size = 1 if config["prior"] == "mixture" else min(BATCH_SIZE, config["rows"])
    batch = Batch(np.zeros((size, *shape), np.float32))
    params = code_prior.restored(run, objectives.negative_log_prob(prior), rule, batch)
    return LatentPrior(prior, params, shape, config)


def draw(
    model: Trained, latents: LatentPrior, number: int, seed: int, *, noise: bool = False, batch_size: int = 500
) -> np.ndarray:
    """New examples: latents from the prior, decoded, batch after batch in one compiled program.

    Args:
      model: of the run.
      latents: the prior.
      number: how many.
      seed: of the draw.
      noise: draw from the likelihood too, instead of giving its mean.
      batch_size: of each call.

    Returns:
      `[number, ...]` float32 in the model's units: pixels about 0..1, a table's rows standardised.
    """
    autoencoder, size, key = model.recipe.model, min(batch_size, number), jax.random.key(seed)
    like = jax.ShapeDtypeStruct((size, *latents.shape), jnp.float32)

    @jax.jit
    def one(params, prior_params, rng):
        latent_rng, noise_rng = jax.random.split(rng)
        prediction = autoencoder.decode(params, latents.prior.sample(prior_params, latent_rng, like))
        if noise:
            return autoencoder.likelihood.sample(noise_rng, prediction)
        return autoencoder.likelihood.mean(prediction)

    calls = range(-(-number // size))
    found = [np.asarray(one(model.params, latents.params, jax.random.fold_in(key, i))) for i in calls]
    return np.concatenate(found)[:number]


def latents_of(model: Trained, x: np.ndarray, seed: int = 0) -> np.ndarray:
    """The latents of rows as they are stored, `[N, ...]` float32; of a posterior one draw each.

    Draws, and not means: all of them together are what the decoder has learned to read.

    Raises:
      ValueError: latents that are not finite.
    """
    recipe, key = model.recipe, jax.random.key(seed)

    @jax.jit
    def encode(params, state, rng, x):
        return recipe.model.apply(params, state, rng, recipe.scaling(None, Batch(x)).x)[0].code.latent

    found = []
    for i, batch in enumerate(padded(x, min(ENCODED, len(x)))):
        found.append(np.asarray(encode(model.params, model.state, jax.random.fold_in(key, i), batch.x)))
    latents = np.concatenate(found)[: len(x)].astype(np.float32)
    if bad := int((~np.isfinite(latents)).any(tuple(range(1, latents.ndim))).sum()):
        raise ValueError(f"the latents of {bad} rows are not finite: the model gives NaN for some rows")
    return latents


def mean_nats(prior: Prior, params: PyTree, latents: np.ndarray) -> float:
    """The mean of `-log p(z)` over latents `[N, ...]`, nats."""
    nats = jax.jit(lambda z: -prior.log_prob(params, z))
    return float(np.mean(score_batches(nats, latents), dtype=np.float64))


def nats_of_one_normal(latents: np.ndarray, held_out: np.ndarray) -> float:
    """`mean_nats` of held-out latents under one normal distribution fitted to others: what a prior has to beat."""
    prior = build({"prior": "mixture", "shape": latents.shape[1:], "options": {"num_components": 1}}, latents)
    params = prior.init(jax.random.key(0), jnp.asarray(latents[:1]))
    scaled = (latents - np.asarray(params["mean"])) / np.asarray(params["scale"])
    return mean_nats(prior, {**params, "prior": fitted_mixture(scaled, 1)}, held_out)
