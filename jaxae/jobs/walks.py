"""Walks through the latent space of a trained model: what a run keeps of them, for its figures."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.generation import kl_per_dimension
from jaxae.numerics import interpolation
from jaxae.recipes.autoencoder import Recipe
from jaxae.report import traversals
from jaxae.types import Batch, Gaussian, PyTree

MOST = 10  # dimensions, those of the greatest KL


def walks(
    recipe: Recipe, params: PyTree, state: PyTree, rows: Batch, *, reach: float = 2.0, steps: int = 9
) -> dict[str, np.ndarray] | None:
    """Traversals of the latents that say most, and spherical interpolations between held-out rows.

    Args:
      recipe: whose model it is.
      params: the model's.
      state: the model's.
      rows: held-out rows as they are stored, with the condition that the model reads.
      reach: traversals go from -reach to reach, deviations of the standard normal prior.
      steps: images in a row.

    Returns:
      "traversals" `[K, steps, H, W, C]` from the first row's latent, "dimensions" `[K]`, "kl" `[K]` nats, and
      "interpolations" `[P, steps, H, W, C]`, each between two neighbouring rows. None where the rows are no images or
      the model has no normal posterior with one row of latents for an example.
    """
    if np.ndim(rows.x) != 4:
        return None
    rows = jax.tree.map(lambda leaf: leaf[:500], rows)

    @jax.jit
    def encode(params, state, rows):
        return recipe.model.encode(params, state, recipe.scaling(None, rows).x, rows.condition)

    posterior = jax.eval_shape(encode, params, state, rows).posterior
    if not isinstance(posterior, Gaussian) or posterior.mean.ndim != 2:
        return None
    code = encode(params, state, rows)
    kl = np.asarray(kl_per_dimension(code.posterior))
    dimensions = np.argsort(-kl, kind="stable")[:MOST]

    @jax.jit
    def decode(latents, condition):
        found = recipe.model.likelihood.mean(recipe.model.decode(params, latents, condition))
        return found if found.ndim == 4 and found.shape[-1] in (1, 3) else found.mean(-1, keepdims=True)

    def images(latents, of):
        flat = latents.reshape(-1, latents.shape[-1])
        condition = None if rows.condition is None else jnp.asarray(rows.condition)[np.repeat(of, steps)]
        drawn = np.asarray(decode(flat, condition), np.float32)
        return drawn.reshape(*latents.shape[:2], *drawn.shape[1:])

    moved = traversals.traverse(code.latent[0], jnp.linspace(-reach, reach, steps), dimensions.tolist())
    pairs = [(i, i + 1) for i in range(0, min(10, len(code.latent) - 1), 2)]
    between = jnp.stack([interpolation.spherical(code.latent[i], code.latent[j], steps) for i, j in pairs])
    return {
        "traversals": images(moved, np.zeros(len(dimensions), int)),
        "dimensions": dimensions,
        "kl": kl[dimensions],
        "interpolations": images(between, np.array([i for i, _ in pairs])),
    }
