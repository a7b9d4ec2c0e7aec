"""What can be wrong with a model that was trained without an error: found after the training, said in a warning."""

import pathlib
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxae import generation
from jaxae.files.reading import read_json_lines
from jaxae.jobs.trained import Trained
from jaxae.runs.kinds import LOG
from jaxae.types import Batch, Gaussian

# a critic that is right this often on held-out rows has won: what it tells the encoder is of no use
WON = 0.99


def posterior_figures(model: Trained, rows: Batch) -> dict[str, Any] | None:
    """The use of a normal posterior's dimensions, on held-out rows; None where the model has no such posterior.

    Args:
      model: whose posterior it is.
      rows: as they are stored, with the condition that the model reads.

    Returns:
      "latents", the number of dimensions; "active", how many of them move with the input
      (`generation.active_units`); "kl", nats against the standard normal, summed over them; "collapsed_scales", the
      numbers of those whose posterior is a point (`generation.collapsed_scales`).
    """
    if not len(rows.x):
        return None
    posterior = model.encode(rows).posterior
    if not isinstance(posterior, Gaussian):
        return None
    flat = Gaussian(*(jnp.asarray(leaf).reshape(len(leaf), -1) for leaf in posterior))
    return {
        "latents": flat.mean.shape[1],
        "active": int(generation.active_units(flat).sum()),
        "kl": float(generation.kl_per_dimension(flat).sum()),
        "collapsed_scales": np.flatnonzero(generation.collapsed_scales(flat)).tolist(),
    }


def validation_figures(log: pathlib.Path, step: int) -> dict[str, float]:
    """The held-out metrics of the state that was kept, from a run's `metrics.jsonl`."""
    for entry in read_json_lines(log, LOG):
        if entry.get("step") == step:
            return {k.removeprefix("validation_"): v for k, v in entry.items() if k.startswith("validation_")}
    return {}


def warn(posterior: dict[str, Any] | None, validation: dict[str, float]) -> None:
    """Say what is wrong, a warning each: scales that collapsed, a critic that won."""
    if posterior is not None and (narrow := posterior["collapsed_scales"]):
        numbers = ", ".join(map(str, narrow[:20])) + (", ..." if len(narrow) > 20 else "")
        warnings.warn(
            f"the posterior's scale has collapsed in {len(narrow)} of {posterior['latents']} dimensions ({numbers}): "
            "they are points, and draws of the prior fall between them; give the likelihood a larger scale "
            "(sigma_vae learns it) or the KL more weight",
            stacklevel=2,
        )
    if (accuracy := validation.get("critic_accuracy", 0.0)) >= WON:
        warnings.warn(
            f"the critic is right on {100 * accuracy:.1f} % of held-out latents: it has won outright, and the model "
            "learns nothing from it any more; give its term more weight, or the critic a lower rate",
            stacklevel=2,
        )
