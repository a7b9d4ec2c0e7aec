"""A prior that is fitted after a model's training, over its codes or its latents, with its optimizer and budget."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxae import objectives, priors
from jaxae.recipes.autoencoder import optimizer
from jaxae.recipes.options import resolved
from jaxae.types import Objective, Prior

BATCH_SIZE = 128
# passes over the rows where no number is given, and the least number of steps then
EPOCHS = 8
LEAST_STEPS = 1000
# each code has a row in the tables of a transformer
MOST_CODES = 2**17
# latents wider than this get a covariance of variances alone: the full one grows with the square
WIDEST_FULL = 256


def _mixture(shape: tuple[int, ...], num_components: int = 10) -> Prior:
    return priors.full_mixture(num_components) if is_full(shape) else priors.mixture(num_components)


def _flow(shape: tuple[int, ...], width: int = 128, num_layers: int = 6) -> Prior:
    return priors.coupling_flow(width, num_layers=num_layers)


LATENT_PRIORS: dict[str, Callable[..., Prior]] = {"mixture": _mixture, "flow": _flow}
"""Name to constructor `(shape, ...)`: what `jaxae train-prior` fits to continuous latents."""

CODE_PRIORS = {name: make for name, make in priors.SYMBOL_PRIORS.items() if name != "uniform"}
"""Name to constructor `(num_codes, ...)`: what it fits to codes; nothing is to be fitted of uniform ones."""


def is_full(shape: tuple[int, ...]) -> bool:
    """Whether a mixture over latents of this shape has full covariances."""
    return math.prod(shape) <= WIDEST_FULL


def build_prior(config: dict[str, Any], latents: np.ndarray | None = None, **narrowing: Any) -> Prior:
    """The prior that a config describes: over codes where it has "num_codes", over latents otherwise.

    Args:
      config: "prior", "options", "shape" of one example's latent or codes; of codes "num_codes", "by_class" and, where
        that is true, "classes".
      latents: `[N, ...]` that it will be fitted to, whose mean and deviation standardise them; None: its parameters are
        read back, and hold these.
      **narrowing: temperature, top_k and top_p of the draws of a prior over codes.

    Raises:
      ValueError: an option that the prior does not have, or a value out of its range or of another kind.

    Example:
      >>> from jaxae import recipes
      >>> codes = {"prior": "unigram", "num_codes": 8, "options": {}, "by_class": False, "shape": [3]}
      >>> latents = {"prior": "mixture", "shape": [4], "options": {"num_components": 3}}
      >>> [type(recipes.build_prior(config)).__name__ for config in (codes, latents)]
      ['Prior', 'Prior']
    """
    name, options, shape = config["prior"], config["options"], tuple(config["shape"])
    if "num_codes" in config:
        constructor = priors.SYMBOL_PRIORS[name]
        given = resolved(f"the {name} prior", constructor, options, {"num_codes", "num_classes", "dtype"})
        if config["by_class"]:
            if name == "unigram":
                raise ValueError("the unigram prior reads no classes: leave out --by-class")
            given["num_classes"] = len(config["classes"])
        return constructor(config["num_codes"], **given, **narrowing)
    constructor = LATENT_PRIORS[name]
    base = constructor(shape, **resolved(f"the {name} prior", constructor, options, {"shape"}))
    if latents is None:
        return priors.standardised(base, jnp.zeros(shape), jnp.ones(shape))
    scale = latents.std(0)
    # a latent that is always the same would be divided by nothing
    return priors.standardised(base, jnp.asarray(latents.mean(0)), jnp.asarray(np.where(scale > 1e-6, scale, 1.0)))


def prior_steps(num_rows: int, epochs: int | None) -> int:
    """Eight passes over the rows and at least 1,000 steps, or so many passes."""
    per_epoch = max(1, num_rows // BATCH_SIZE)
    return max(LEAST_STEPS, EPOCHS * per_epoch) if epochs is None else epochs * per_epoch


def prior_training(config: dict[str, Any], prior: Prior) -> tuple[Objective, optax.GradientTransformation, int]:
    """Objective, optimizer and number of steps of a prior's training.

    For codes AdamW, which suits a transformer: gradients clipped to norm 1, a warm-up, a cosine.
    """
    num_steps = prior_steps(config["rows"], config["epochs"])
    objective = objectives.negative_log_prob(prior)
    if "num_codes" not in config:
        return objective, optimizer(num_steps), num_steps
    warmup = min(100, num_steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, warmup, max(num_steps, warmup + 1))
    adamw = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.98, weight_decay=0.05))
    return objective, adamw, num_steps
