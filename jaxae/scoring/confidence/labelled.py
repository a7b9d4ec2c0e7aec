"""A reference with labels, read by the scores that know about classes."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jaxae.scoring.checks import is_traced
from jaxae.scoring.scores.latent import Features, reference_features
from jaxae.types import Batch, PyTree


def labelled_outputs(
    outputs: Features, params: PyTree, state: PyTree, reference: Batch | None, num_classes: int
) -> tuple[Float[Array, "N D"], Int[Array, " N"], Float[Array, " N"]]:
    """What a feature or logit function gives for the reference, with the rows' labels and weights.

    Raises:
      ValueError: no reference, or its target is not `[N, 1]` of whole numbers 0..num_classes-1.
    """
    if reference is None or reference.target is None:
        raise ValueError("this score needs labelled rows: give fit a reference Batch(x, target=labels[:, None])")
    labels = jnp.asarray(reference.target)
    if labels.ndim != 2 or labels.shape[1] != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be [N, 1] whole numbers, got shape {labels.shape} {labels.dtype}")
    if not is_traced(labels):
        found = np.asarray(labels)
        if found.min() < 0 or found.max() >= num_classes:
            raise ValueError(f"labels must lie in 0..{num_classes - 1}, found {found.min()}..{found.max()}")
    rows, weight = reference_features(outputs, params, state, reference._replace(target=None))
    return rows, labels[:, 0].astype(jnp.int32), weight


def class_means(
    rows: Float[Array, "N D"], labels: Int[Array, " N"], weight: Float[Array, " N"], num_classes: int
) -> Float[Array, "K D"]:
    """The mean of each class's rows.

    Raises:
      ValueError: a class has no rows that count.
    """
    member = (labels[:, None] == jnp.arange(num_classes)[None]) * weight[:, None]
    count = member.sum(0)
    if not is_traced(count) and (missing := np.flatnonzero(np.asarray(count) == 0)).size:
        raise ValueError(f"the reference has no rows of class {', '.join(map(str, missing))}")
    return member.T @ rows / count[:, None]
