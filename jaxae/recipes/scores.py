"""Anomaly scores by name: what `--score` offers."""

import math
from collections.abc import Callable

import jax

from jaxae.files.messages import shown
from jaxae.recipes.user_parts import called, is_own
from jaxae.scoring import bound, latent, reconstruction, surprisal
from jaxae.scoring.scores.reconstruction import KINDS
from jaxae.types import Autoencoder, Scorer


def _of_kind(kind: str) -> Callable[[Autoencoder], Scorer]:
    return lambda model: reconstruction(model, kind)


def _surprisal(model: Autoencoder) -> Scorer:
    sizes = jax.tree.leaves(model.num_codes)
    if not sizes:
        raise ValueError("surprisal counts symbols, and this model's latent is continuous: take knn or l2")
    return surprisal(model, max(sizes))


def _bound(model: Autoencoder) -> Scorer:
    return bound(model, num_samples=16)


SCORES: dict[str, Callable[[Autoencoder], Scorer]] = {
    **{kind: _of_kind(kind) for kind in KINDS},
    "knn": lambda model: latent.knn(latent.encoded(model)),
    "mahalanobis": lambda model: latent.mahalanobis(latent.encoded(model)),
    "bound": _bound,
    "surprisal": _surprisal,
}
"""Name to `(model) -> Scorer`: errors of the reconstruction, distances in latent space, the bound on the likelihood of
models with a posterior, the surprisal of discrete codes."""


def named_score(name: str, model: Autoencoder, shape: tuple[int, ...]) -> Scorer:
    """The score of a name, of this model.

    Args:
      name: key of `SCORES`, or `package.module:function` of `(model) -> Scorer`.
      model: whose score it is.
      shape: one example's, without the batch.

    Raises:
      ValueError: there is no such score, or the model or the examples do not allow it.

    Example:
      >>> from jaxae import presets, recipes
      >>> model, _ = presets.ae((5,))
      >>> recipes.named_score("surprisal", model, (5,))
      Traceback (most recent call last):
      ValueError: surprisal counts symbols, and this model's latent is continuous: take knn or l2
    """
    if is_own(name):
        return called(name, Scorer, model)
    if name not in SCORES:
        raise ValueError(f"there is no score {shown(name)}; there are {', '.join(SCORES)}, or package.module:function")
    if name in ("smooth", "ssim") and len(shape) != 3:
        raise ValueError(f"the score {name} is for images; the examples are rows of {math.prod(shape)} numbers")
    return SCORES[name](model)
