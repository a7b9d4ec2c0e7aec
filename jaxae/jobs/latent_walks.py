"""Walks through the latent space of a trained model: what a run keeps of them, for its figures."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.generation import kl_per_dimension
from jaxae.jobs.trained import Trained
from jaxae.numerics import interpolation
from jaxae.report import traversals
from jaxae.types import Batch, Gaussian

MOST = 10  # dimensions, those of the greatest KL


def walks(model: Trained, rows: Batch, *, reach: float = 2.0, steps: int = 9) -> dict[str, np.ndarray] | None:
    """Traversals of the latents that say most, and spherical interpolations between held-out rows.

    Args:
      model: whose latents they are.
      rows: held-out rows as they are stored, with the condition that the model reads.
      reach: traversals go from -reach to reach, deviations of the standard normal prior.
      steps: images in a row.

    Returns:
      "traversals" `[K, steps, H, W, C]` from the first row's latent, "dimensions" `[K]`, "kl" `[K]` nats, and, where
      there are two rows, "interpolations" `[P, steps, H, W, C]`, each between two neighbouring rows. None where the
      rows are no images or the model has no normal posterior with one row of latents for an example.
    """
    if np.ndim(rows.x) != 4 or not len(rows.x):
        return None
    rows = jax.tree.map(lambda leaf: leaf[:500], rows)
    code = model.encode(rows)
    posterior = code.posterior
    if not isinstance(posterior, Gaussian) or posterior.mean.ndim != 2:
        return None
    kl = np.asarray(kl_per_dimension(posterior))
    dimensions = np.argsort(-kl, kind="stable")[:MOST]

    def images(latents, of):
        """Decoded rows of latents `[K, steps, D]`, with the condition of row `of[k]`; grey or colour."""
        condition = None if rows.condition is None else np.asarray(rows.condition)[np.repeat(of, steps)]
        drawn = model.decode(np.asarray(latents).reshape(-1, latents.shape[-1]), condition)
        if drawn.shape[-1] not in (1, 3):
            drawn = drawn.mean(-1, keepdims=True)
        return np.asarray(drawn, np.float32).reshape(*latents.shape[:2], *drawn.shape[1:])

    latent = jnp.asarray(code.latent)
    moved = traversals.traverse(latent[0], jnp.linspace(-reach, reach, steps), dimensions.tolist())
    arrays = {
        "traversals": images(moved, np.zeros(len(dimensions), int)),
        "dimensions": dimensions,
        "kl": kl[dimensions],
    }
    pairs = [(i, i + 1) for i in range(0, min(10, len(latent) - 1), 2)]
    if pairs:
        between = jnp.stack([interpolation.spherical(latent[i], latent[j], steps) for i, j in pairs])
        arrays["interpolations"] = images(between, np.array([i for i, _ in pairs]))
    return arrays
