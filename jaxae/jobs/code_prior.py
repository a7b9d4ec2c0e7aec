"""A prior over the codes of a run's model: built from its settings, read back, drawn from."""

import inspect
import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxae import objectives, runs
from jaxae.checkpoint import checkpoints
from jaxae.jobs.trained import Trained
from jaxae.priors import SYMBOL_PRIORS, uniform
from jaxae.scoring import score_batches
from jaxae.train import init_state
from jaxae.types import Batch, Objective, Prior, PyTree

FOLDER = "prior"
BATCH_SIZE = 128
# passes over the rows where --epochs does not say, and the least number of steps then
EPOCHS = 8
LEAST_STEPS = 1000
# each has a row in the tables of a transformer
MOST_CODES = 2**17


class CodePrior(NamedTuple):
    """A prior over a run's symbols, ready to draw from.

    Attributes:
      prior: over symbols.
      params: its parameters.
      shape: of one example's symbols.
      num_codes: symbols are 0..num_codes-1.
      config: its settings; "classes" and "class_shares" where it is conditioned on labels.
    """

    prior: Prior
    params: PyTree
    shape: tuple[int, ...]
    num_codes: int
    config: dict[str, Any]


def load_prior(run: str | os.PathLike, model: Trained, **narrowing: Any) -> CodePrior | None:
    """The prior that was trained for a run; None where there is none.

    Args:
      run: the run's folder.
      model: its model.
      **narrowing: temperature, top_k and top_p of the draws.

    Raises:
      ValueError: as `finished`, and the prior cannot be read.
    """
    config = finished(run, model)
    if config is None:
        return None
    prior = build(config, **narrowing)
    objective, num_steps = objectives.negative_log_prob(prior), steps_of(config["rows"], config["epochs"])
    batch = Batch(
        np.zeros((min(BATCH_SIZE, config["rows"]), *config["shape"]), np.int32),
        condition=np.zeros(min(BATCH_SIZE, config["rows"]), np.int32) if config["by_class"] else None,
    )
    params = restored(run, objective, optimizer(num_steps), batch)
    return CodePrior(prior, params, tuple(config["shape"]), config["num_codes"], config)


def finished(run: str | os.PathLike, model: Trained) -> dict[str, Any] | None:
    """The settings of the prior in a run's folder, of codes or of latents; None where there is none.

    Raises:
      ValueError: the prior's training was not finished, or it is of an earlier state of the model.
    """
    folder = pathlib.Path(run) / FOLDER
    if not folder.is_dir():
        return None
    config = runs.read_config(folder)
    if not (folder / "metrics.json").is_file():
        raise ValueError(f"the training of {folder} was not finished: `jaxae train-prior RUN --resume` continues it")
    if config["model_step"] != model.step:
        raise ValueError(
            f"{folder} is of the model at step {config['model_step']}, now it is at step {model.step}: train it anew "
            "with `jaxae train-prior RUN --overwrite`"
        )
    return config


def restored(run: str | os.PathLike, objective: Objective, rule: optax.GradientTransformation, batch: Batch) -> PyTree:
    """The parameters of the prior in a run's folder, as they were at their best.

    Args:
      run: the run's folder.
      objective: the prior's.
      rule: the optimizer it was trained with.
      batch: of the shapes it was started with.

    Raises:
      ValueError: it cannot be read.
    """
    template: Any = jax.eval_shape(lambda rng: init_state(objective, rule, rng, batch), jax.random.key(0))
    kept = checkpoints(pathlib.Path(run) / FOLDER / "checkpoints")
    try:
        found = kept.best(template)
        state = kept.restore(template) if found is None else found[0]
    finally:
        kept.close()
    return state.params["model"]


def without_prior(model: Trained) -> CodePrior:
    """All codes alike, for a model without a trained prior.

    Raises:
      ValueError: the model's code is no single array of symbols.
    """
    num_codes = num_codes_of(model)
    return CodePrior(
        uniform(num_codes),
        (),
        symbols_of(model, model.example).shape[1:],
        num_codes,
        {"prior": "uniform", "by_class": False},
    )


def build(config: dict[str, Any], **narrowing: Any) -> Prior:
    """The prior that a config describes.

    Raises:
      ValueError: an option that the prior does not have, or a value out of its range.

    Example:
      >>> from jaxae.jobs import code_prior
      >>> prior = code_prior.build({"prior": "unigram", "num_codes": 8, "options": {}, "by_class": False})
    """
    name, options = config["prior"], {**config["options"], **narrowing}
    known = set(inspect.signature(SYMBOL_PRIORS[name]).parameters) - {"num_codes", "num_classes", "dtype"}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"the {name} prior has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    if config["by_class"]:
        if name == "unigram":
            raise ValueError("the unigram prior reads no classes: leave out --by-class")
        options["num_classes"] = len(config["classes"])
    return SYMBOL_PRIORS[name](config["num_codes"], **options)


def draw(
    model: Trained,
    codes: CodePrior,
    number: int,
    seed: int,
    *,
    labels: np.ndarray | None = None,
    noise: bool = False,
    batch_size: int = 500,
) -> np.ndarray:
    """New examples: symbols from the prior, looked up, decoded, batch after batch in one compiled program.

    Args:
      model: of the run.
      codes: the prior.
      number: how many.
      seed: of the draw.
      labels: `[number]` classes; None: as frequent as in the training rows, where the prior reads classes.
      noise: draw from the likelihood too, instead of giving its mean.
      batch_size: of each call.

    Returns:
      `[number, ...]` float32 in the model's units: pixels about 0..1, a table's rows standardised.
    """
    autoencoder, size = model.recipe.model, min(batch_size, number)
    assert autoencoder.lookup is not None
    lookup = autoencoder.lookup
    like = jax.ShapeDtypeStruct((size, *codes.shape), jnp.int32)
    condition = _classes(codes, number, seed) if labels is None else np.asarray(labels, np.int32)
    key = jax.random.key(seed)

    @jax.jit
    def one(params, state, prior_params, rng, condition):
        symbols_rng, noise_rng = jax.random.split(rng)
        symbols = codes.prior.sample(prior_params, symbols_rng, like, condition)
        prediction = autoencoder.decode(params, lookup(params, state, symbols))
        if noise:
            return autoencoder.likelihood.sample(noise_rng, prediction)
        return autoencoder.likelihood.mean(prediction)

    found = []
    for i, begin in enumerate(range(0, number, size)):
        rows = None if condition is None else condition[np.minimum(np.arange(begin, begin + size), number - 1)]
        found.append(np.asarray(one(model.params, model.state, codes.params, jax.random.fold_in(key, i), rows)))
    return np.concatenate(found)[:number]


def optimizer(num_steps: int) -> optax.GradientTransformation:
    """AdamW for a transformer: gradients clipped to norm 1, a warm-up, a cosine."""
    warmup = min(100, num_steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, warmup, max(num_steps, warmup + 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.98, weight_decay=0.05))


def symbols_of(model: Trained, x: np.ndarray) -> np.ndarray:
    """The symbols that the model gives to rows as they are stored: `[N, ...]` int32.

    Raises:
      ValueError: symbols that are none: the model gives NaN.
    """
    recipe = model.recipe

    @jax.jit
    def encode(params, state, x):
        return recipe.model.encode(params, state, recipe.scaling(None, Batch(x)).x).symbols

    found = score_batches(lambda rows: encode(model.params, model.state, rows), x)
    if found.min() < 0:
        raise ValueError(f"{int((found < 0).sum())} codes are none: the model gives NaN for some rows")
    return found


def num_codes_of(model: Trained) -> int:
    """The size of the book.

    Raises:
      ValueError: the model has several arrays of symbols, or more codes than a transformer's table can hold.
    """
    name, sizes = model.config["model"], model.recipe.model.num_codes
    if not isinstance(sizes, int):
        raise ValueError(f"{name} gives {len(jax.tree.leaves(sizes))} arrays of symbols; a prior is trained for one")
    if sizes > MOST_CODES:
        raise ValueError(f"{name} has {sizes} codes; a prior is trained for at most {MOST_CODES}")
    return sizes


def steps_of(num_rows: int, epochs: int | None) -> int:
    """Eight passes over the rows and at least 1,000 steps, or so many passes."""
    each = max(1, num_rows // BATCH_SIZE)
    return max(LEAST_STEPS, EPOCHS * each) if epochs is None else epochs * each


def _classes(codes: CodePrior, number: int, seed: int) -> np.ndarray | None:
    if not codes.config["by_class"]:
        return None
    shares = np.asarray(codes.config["class_shares"], np.float64)
    return np.random.default_rng(seed).choice(len(shares), number, p=shares / shares.sum()).astype(np.int32)
