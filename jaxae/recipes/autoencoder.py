"""From a preset's name and the training rows to everything that training needs: one recipe for every command."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxae import objectives, transforms
from jaxae.files.messages import shown
from jaxae.presets import PRESETS
from jaxae.recipes.options import resolved
from jaxae.recipes.scores import named_score
from jaxae.recipes.user_parts import is_own, own_function
from jaxae.scoring import prepared, reconstruction
from jaxae.scoring.scores import latent
from jaxae.scoring.scores.fusion import fused
from jaxae.scoring.scores.normalisation import relative
from jaxae.transforms import Standardisation, Transform
from jaxae.types import Autoencoder, Batch, Objective, Scorer

BATCH_SIZE = 128

ROBUST = {
    "trimmed": objectives.trimmed,
    "exposure": objectives.outlier_exposure,
    "soft_exposure": functools.partial(objectives.outlier_exposure, soft=True),
    "decomposition": objectives.decomposition,
}
"""Name to combinator `(objective, contamination) -> Objective`, for training rows that anomalies pollute."""

CLEANING = ("neighbours", "refined")
"""Other ways to handle them: rows are left out before the training (room `cleaning`)."""


class Recipe(NamedTuple):
    """What training and scoring are made of.

    Attributes:
      model: the preset's model.
      objective: the preset's objective, with scaling (and corruption) in front.
      scaling: the transform that scoring puts in front of the model.
      optimizer: an optax transformation, its schedule cut to `num_steps`.
      batch_size: rows a step.
      num_steps: steps of the whole training.
      scorer: the anomaly score, scaling in front.
    """

    model: Autoencoder
    objective: Objective
    scaling: Transform
    optimizer: optax.GradientTransformation
    batch_size: int
    num_steps: int
    scorer: Scorer


def build(
    name: str,
    shape: tuple[int, ...],
    num_rows: int,
    *,
    standardisation: Standardisation | None = None,
    epochs: int | None = None,
    options: dict | None = None,
    bottleneck: str | None = None,
    score: str | None = None,
    contamination: float = 0.0,
    robust: str = "trimmed",
    view: str = "pixels",
    held_out: int | None = None,
) -> Recipe:
    """A preset with its optimizer and budget.

    Args:
      name: key of `presets.PRESETS`, or `package.module:function` of an own one, called as presets are.
      shape: one example's.
      num_rows: number of training rows.
      standardisation: mean and scale of a table's columns; None for images.
      epochs: passes over the rows; None: `default_steps(num_rows)` in all.
      options: keywords of the preset, as `recipes.options.resolved` reads them.
      bottleneck: name of a bottleneck, for presets that take one; see `recipes.options`.
      score: name of the anomaly score, see `recipes.SCORES`. None: the blurred squared residual of images, over the
        root of their sum of squares; the squared error of standardised tables; of edges, the relative error fused with
        the relative distance to the nearest normals.
      contamination: share of anomalies that the training rows are thought to hold, in [0, 1); 0 trusts them.
      robust: how they are handled: key of `ROBUST`; or one of `CLEANING`, which is the caller's work.
      view: what of an image the model reads and is judged by: "pixels", or "edges" (`transforms.oriented_gradients`).
      held_out: number of last rows of the scorer's reference that no parameter was fitted to.

    Raises:
      ValueError: no such preset, view, keyword, score or robust objective, or a contamination outside [0, 1).

    Example:
      >>> from jaxae import recipes
      >>> recipes.build("ae", (28, 28, 1), 1000).batch_size
      128
    """
    if not is_own(name) and name not in PRESETS:
        raise ValueError(
            f"there is no model {shown(name)}; there are {', '.join(sorted(PRESETS))}, or package.module:function"
        )
    preset = own_function(name) if is_own(name) else PRESETS[name]
    scaling = transforms.scale_uint8()
    if standardisation is not None:
        scaling = transforms.standardise(jnp.asarray(standardisation.mean), jnp.asarray(standardisation.scale))
    given = dict(options or {}) | ({} if bottleneck is None else {"bottleneck": bottleneck})
    parts = resolved(name, preset, given, {"shape", "transform", "axis_name"})
    seen, scaling = _viewed(tuple(shape), scaling, view)
    if view == "edges" and name == "denoising_ae":
        # edge maps are about a third as strong as pixels
        parts.setdefault("corruption", transforms.gaussian_noise(0.1))
    model, objective = _composed(name, preset, seen, scaling, parts)
    if robust not in (*ROBUST, *CLEANING):
        raise ValueError(
            f"there is no robust {shown(robust)} for contaminated rows; there are "
            f"{', '.join((*sorted(ROBUST), *CLEANING))}"
        )
    if not 0 <= contamination < 1:
        raise ValueError(f"the contamination must lie in [0, 1), got {contamination}")
    if contamination and robust in ROBUST:
        objective = ROBUST[robust](objective, contamination)
    batch_size = min(BATCH_SIZE, num_rows)
    num_steps = default_steps(num_rows) if epochs is None else epochs * (num_rows // batch_size)
    if score is None:
        scorer = _scorer(model, seen, view, held_out, 20 if contamination else 5)
    else:
        scorer = named_score(score, model, seen)
    return Recipe(model, objective, scaling, optimizer(num_steps), batch_size, num_steps, prepared(scorer, scaling))


def _composed(name: str, preset: Callable, shape: tuple[int, ...], scaling: Transform, parts: dict):
    """What the preset gives; an own one may fail in any way, which is said in one line."""
    if not is_own(name):
        return preset(shape, transform=scaling, **parts)
    try:
        model, objective = preset(shape, transform=scaling, **parts)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{name} failed: {type(error).__name__}: {first}") from error
    if not isinstance(model, Autoencoder) or not isinstance(objective, Objective):
        raise ValueError(
            f"{name} returned {type(model).__name__} and {type(objective).__name__}, where an Autoencoder and an "
            "Objective are needed"
        )
    return model, objective


def _viewed(shape: tuple[int, ...], scaling: Transform, view: str) -> tuple[tuple[int, ...], Transform]:
    """The shape and the transform of what the model reads."""
    if view not in ("pixels", "edges"):
        raise ValueError(f"there is no view {shown(view)}; there are pixels and edges")
    if view == "pixels":
        return shape, scaling
    if len(shape) != 3:
        raise ValueError(f"only images have edges; got examples of shape {shape}")
    edges = transforms.oriented_gradients()
    like = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return jax.eval_shape(lambda x: edges(None, Batch(x)).x, like).shape[1:], transforms.chain(scaling, edges)


def _scorer(model: Autoencoder, shape: tuple[int, ...], view: str, held_out: int | None, neighbours: int) -> Scorer:
    if len(shape) != 3:
        return reconstruction(model, "l2")
    if view == "pixels":
        # between the error and the relative error: faint images are not excused, strong ones not blamed
        return relative(reconstruction(model, "smooth"), exponent=0.5)
    error = relative(reconstruction(model, "l2"))
    nearest = relative(latent.knn(latent.inputs, neighbours), exponent=0.5)  # more where some are anomalies
    combined = fused(error, nearest, held_out=held_out, by="log")
    assert error.map is not None
    error_map = error.map
    return combined._replace(map=lambda fitted, rng, batch: error_map(fitted["members"][0], rng, batch))


def default_steps(num_rows: int) -> int:
    """1,000 steps, or 20 passes over the rows where that is more: small sets are seen more often."""
    return max(1000, math.ceil(20 * num_rows / BATCH_SIZE))


def optimizer(num_steps: int) -> optax.GradientTransformation:
    """Adam; the rate rises to 1e-3 within 50 steps (or a tenth of them all) and falls to 0 along a cosine."""
    warmup = min(50, num_steps // 10)
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, warmup, max(num_steps, warmup + 1)))


def standardise(x: np.ndarray) -> Standardisation | None:
    """The standardisation of a table's training rows; None for images, which are scaled from bytes."""
    return transforms.standardisation(x) if x.ndim == 2 else None
