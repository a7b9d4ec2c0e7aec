"""A trained model read back from its run."""

import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxae import recipes, runs
from jaxae.checkpoint import checkpoints
from jaxae.presets import CONDITIONAL
from jaxae.recipes.autoencoder import Recipe
from jaxae.train import init_state
from jaxae.transforms import Standardisation
from jaxae.types import Batch


class Trained(NamedTuple):
    """A model read back from its run.

    Attributes:
      recipe: the model, its objective and its optimizer.
      params: the model's, of the least validation loss.
      state: the model's.
      step: when that was.
      config: the run's settings.
      example: zeros of the shape and dtype of a batch.
    """

    recipe: Recipe
    params: Any
    state: Any
    step: int
    config: dict[str, Any]
    example: np.ndarray


def trained(run: str | os.PathLike) -> Trained:
    """The model of a run of `train` or `detect`, as it was at its best.

    Raises:
      ValueError: no run is there, it has no checkpoint, or it is of a command that keeps no preset's model.
    """
    folder = pathlib.Path(run)
    recipe, example, config = recipe_of(folder)
    labels = np.zeros(len(example), np.int32) if config["model"] in CONDITIONAL else None
    template: Any = jax.eval_shape(
        lambda rng, x: init_state(recipe.objective, recipe.optimizer, rng, Batch(x, condition=labels)),
        jax.random.key(0),
        example,
    )
    kept = checkpoints(folder / "checkpoints")
    try:
        found = kept.best(template)
        state = kept.restore(template) if found is None else found[0]
    finally:
        kept.close()
    return Trained(recipe, state.params["model"], state.state["model"], int(state.step), config, example)


def recipe_of(run: str | os.PathLike) -> tuple[Recipe, np.ndarray, dict[str, Any]]:
    """What a run's model is, without its parameters: the recipe, zeros of the shape of a batch, the config.

    Raises:
      ValueError: no run is there, or it is of a command that keeps no preset's model.
    """
    folder = pathlib.Path(run)
    config = runs.read_config(folder)
    if "shape" not in config:
        raise ValueError(f"{folder} does not say what its model reads: its config has no shape")
    standardisation = None
    if (folder / "standardise.npz").is_file():
        with np.load(folder / "standardise.npz", allow_pickle=False) as saved:
            standardisation = Standardisation(saved["mean"], saved["scale"])
    shape = tuple(config["shape"])
    recipe = recipes.build(
        config["model"],
        shape,
        config["rows"],
        standardisation=standardisation,
        epochs=config["epochs"],
        options=config["options"],
        view=config.get("view", "pixels"),
    )
    return recipe, np.zeros((recipe.batch_size, *shape), config["dtype"]), config
