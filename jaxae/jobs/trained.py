"""A trained model as functions of rows: encode, reconstruct, decode, draw; after training or read back from a run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import recipes, runs
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import padded
from jaxae.numerics import as_batch
from jaxae.presets import CONDITIONAL
from jaxae.recipes import Recipe
from jaxae.runs import deal as deals
from jaxae.runs import kinds
from jaxae.runs.contents import STANDARDISATION
from jaxae.runs.deal import Deal
from jaxae.runs.reading import read_arrays
from jaxae.scoring import score_batches
from jaxae.train import init_state
from jaxae.transforms import Standardisation
from jaxae.types import Batch, Code, Prior, PyTree, TrainState

ENCODED, DRAWN = 256, 500
"""Rows of one compiled call."""


class FittedPrior(NamedTuple):
    """A prior that was fitted to a model's codes or latents after its training, ready to draw from.

    Attributes:
      prior: over codes, or over latents, which it standardises.
      params: its parameters.
      shape: of one example's codes or latent.
      config: its settings; "num_codes" where it is over codes; "classes" and "class_shares" where it is conditioned.
    """

    prior: Prior
    params: PyTree
    shape: tuple[int, ...]
    config: dict[str, Any]


class Trained(NamedTuple):
    """A trained model. Rows are as they are stored (pixels as bytes), an array or a `Batch` with the condition.

    Attributes:
      recipe: the model, its objective, its optimizer and its score.
      best: the training's state at the step at which the validation loss was lowest.
      encode: `(rows, seed=None) -> Code` of NumPy arrays. None: deterministic; a seed draws from the posterior.
      reconstruct: `(rows) -> [N, ...]` means of the likelihood, in the unit that the model reads.
      decode: `(latents, condition=None) -> [N, ...]` means of the likelihood.
      draw: `(number, seed, prior=None, labels=None, noise=False) -> [number, ...]` new examples: from a `FittedPrior`,
        or from the model's own; `labels` `[number]` where the prior or the model is conditioned; `noise` draws from
        the likelihood too.
    """

    recipe: Recipe
    best: TrainState
    encode: Callable[..., Code]
    reconstruct: Callable[..., np.ndarray]
    decode: Callable[..., np.ndarray]
    draw: Callable[..., np.ndarray]

    @property
    def params(self) -> PyTree:
        """The model's parameters."""
        return self.best.params["model"]

    @property
    def state(self) -> PyTree:
        """The model's state."""
        return self.best.state["model"]

    @property
    def step(self) -> int:
        """Training step at which the validation loss was lowest."""
        return int(self.best.step)


def as_trained(recipe: Recipe, state: TrainState, shape: tuple[int, ...]) -> Trained:
    """The functions of a model that was trained.

    Args:
      recipe: whose model it is.
      state: of the training.
      shape: one example's, as it is stored.

    Raises:
      ValueError: (in `encode`) latents that are not finite, or symbols that are none.
    """
    model, params, model_state = recipe.model, state.params["model"], state.state["model"]

    @jax.jit
    def encode_batch(params, model_state, rng, batch):
        scaled = recipe.scaling(None, batch._replace(weight=None))
        if rng is None:
            return model.encode(params, model_state, scaled.x, batch.condition)
        return model.apply(params, model_state, rng, scaled.x, batch.condition)[0].code

    def encode(rows, seed: int | None = None) -> Code:
        batch = as_batch(rows)
        if seed is None:
            return _require_finite(score_batches(lambda part: encode_batch(params, model_state, None, part), batch))
        key, count = jax.random.key(seed), len(batch.x)
        parts = [
            encode_batch(params, model_state, jax.random.fold_in(key, i), part)
            for i, part in enumerate(padded(batch, min(ENCODED, count)))
        ]
        whole = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *jax.device_get(parts))
        return _require_finite(whole)

    @jax.jit
    def reconstruct_batch(params, model_state, batch):
        scaled = recipe.scaling(None, batch)
        output, _ = model.apply(params, model_state, None, scaled.x, batch.condition)
        return model.likelihood.mean(output.prediction)

    @jax.jit
    def decode_batch(params, model_state, latents):
        return model.likelihood.mean(model.decode(params, latents.x, latents.condition, model_state))

    return Trained(
        recipe,
        state,
        encode,
        lambda rows: score_batches(lambda part: reconstruct_batch(params, model_state, part), as_batch(rows)),
        lambda latents, condition=None: score_batches(
            lambda part: decode_batch(params, model_state, part), Batch(latents, condition=condition)
        ),
        _drawing(recipe, params, model_state, shape),
    )


def _drawing(recipe: Recipe, params: PyTree, model_state: PyTree, shape: tuple[int, ...]) -> Callable[..., np.ndarray]:
    model = recipe.model

    def draw(
        number: int,
        seed: int,
        prior: FittedPrior | None = None,
        labels: np.ndarray | None = None,
        noise: bool = False,
    ) -> np.ndarray:
        size = min(DRAWN, number)

        def latents(params, model_state, prior_params, rng, labels):
            """New latents, and the condition that the decoder reads."""
            if prior is None:
                assert model.sample is not None
                return model.sample(params, model_state, rng, _like(size, shape), labels), labels
            drawn = prior.prior.sample(prior_params, rng, _like(size, prior.shape, "num_codes" in prior.config), labels)
            if "num_codes" not in prior.config:
                return drawn, None
            assert model.lookup is not None
            return model.lookup(params, model_state, drawn), None

        @jax.jit
        def draw_batch(params, model_state, prior_params, rng, labels):
            latent_rng, noise_rng = jax.random.split(rng)
            latent, condition = latents(params, model_state, prior_params, latent_rng, labels)
            prediction = model.decode(params, latent, condition, model_state)
            return model.likelihood.sample(noise_rng, prediction) if noise else model.likelihood.mean(prediction)

        key, prior_params = jax.random.key(seed), None if prior is None else prior.params
        parts = []
        for index, begin in enumerate(range(0, number, size)):
            rows = np.minimum(np.arange(begin, begin + size), number - 1)
            some = None if labels is None else jnp.asarray(np.asarray(labels, np.int32)[rows])
            parts.append(
                np.asarray(draw_batch(params, model_state, prior_params, jax.random.fold_in(key, index), some))
            )
        return np.concatenate(parts)[:number]

    return draw


def _like(size: int, shape: tuple[int, ...], discrete: bool = False) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size, *shape), jnp.int32 if discrete else jnp.float32)


def _require_finite(code: Code) -> Code:
    for latent in jax.tree.leaves(code.latent):
        bad = ~np.isfinite(np.asarray(latent, np.float32)).reshape(len(latent), -1).all(1)
        if bad.any():
            raise ValueError(f"the latents of {int(bad.sum())} rows are not finite: the model gives NaN for some rows")
    for symbols in jax.tree.leaves(code.symbols):
        if (count := int((symbols < 0).sum())) > 0:
            raise ValueError(f"{count} codes are none: the model gives NaN for some rows")
    return code


class TrainedRun(NamedTuple):
    """A trained model with what its run wrote down.

    Attributes:
      folder: the run folder.
      config: the run's settings.
      deal: which row of the source was used for what.
      model: the model at its best.
    """

    folder: Path
    config: dict[str, Any]
    deal: Deal
    model: Trained


def recipe_of(folder: str | os.PathLike, config: dict[str, Any], deal: Deal) -> Recipe:
    """The recipe that a run of `train` or `detect` was trained by, without its parameters.

    Raises:
      ValueError: a model, a bottleneck or a score of somebody else's that is not found any more, or another fault of
        the config.
    """
    standardisation = standardisation_of_run(folder, deal)
    try:
        return recipes.build(
            config["model"],
            deal.schema.shape,
            num_trained(deal),
            standardisation=standardisation,
            epochs=config["epochs"],
            options=config["options"],
            bottleneck=config.get("bottleneck"),
            view=config.get("view", "pixels"),
        )
    except ValueError as error:
        raise ValueError(f"{Path(folder) / 'config.json'}: {error}") from error


def saved_standardisation(folder: str | os.PathLike) -> Standardisation | None:
    """Mean and scale of a table's columns as a run wrote them; None for images.

    Raises:
      ValueError: the file is damaged.
    """
    saved = read_arrays(Path(folder) / STANDARDISATION, kinds.STANDARDISE)
    return Standardisation(**saved) if saved else None


def standardisation_of_run(folder: str | os.PathLike, deal: Deal) -> Standardisation | None:
    """`saved_standardisation`, which a table's run must have, for each of its columns.

    Raises:
      ValueError: it has none, or one of other columns.
    """
    saved = saved_standardisation(folder)
    expected = deal.schema.shape if deal.schema.kind == "table" else None
    found = None if saved is None else saved.mean.shape
    if found != expected:
        has, wanted = (0 if shape is None else shape[0] for shape in (found, expected))
        raise ValueError(
            f"{Path(folder) / STANDARDISATION} has mean and scale of {has} columns; the run's schema has {wanted}"
        )
    return saved


def num_trained(deal: Deal) -> int:
    """Training rows that a run's recipe was made for: before cleaning took any out."""
    return len(deal.parts["train"]) + (0 if deal.left_out is None else len(deal.left_out))


def read_trained(folder: str | os.PathLike, config: dict[str, Any], deal: Deal, recipe: Recipe) -> TrainedRun:
    """The model of a run of `train` or `detect`, as it was at its best.

    Args:
      folder: the run folder.
      config: what its config.json says.
      deal: its deal.
      recipe: from `recipe_of`.

    Raises:
      ValueError: it has no checkpoint, or one of another model.
    """
    folder = Path(folder)
    example = jax.ShapeDtypeStruct((recipe.batch_size, *deal.schema.shape), np.dtype(deal.schema.dtype))
    labels = np.zeros(recipe.batch_size, np.int32) if config["model"] in CONDITIONAL else None
    template: Any = jax.eval_shape(
        lambda rng, x: init_state(recipe.objective, recipe.optimizer, rng, Batch(x, condition=labels)),
        jax.random.key(0),
        example,
    )
    saved = checkpoints(folder / "checkpoints")
    try:
        best = saved.best(template)
        state = saved.restore(template) if best is None else best[0]
    finally:
        saved.close()
    return TrainedRun(folder, config, deal, as_trained(recipe, state, deal.schema.shape))


def open_run(command: str, folder: str | os.PathLike) -> tuple[dict[str, Any], Deal]:
    """The settings and the deal of a run that a command is given.

    Args:
      command: of the command line.
      folder: the run folder.

    Raises:
      ValueError: no run is there, the command cannot serve it, or its deal cannot be read.
    """
    config = runs.read_config(folder)
    runs.require_served(command, folder, config)
    return runs.read_config(folder, whole=True), deals.read(folder)
