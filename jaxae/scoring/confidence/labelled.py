"""A reference with labels, for scores that read classes."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jaxae.numerics import real_array
from jaxae.scoring.checks import is_traced
from jaxae.scoring.scores.latent import Features, reference_features
from jaxae.types import Batch, PyTree


def labelled_outputs(
    outputs: Features, params: PyTree, state: PyTree, reference: Batch | None, num_classes: int
) -> tuple[Float[Array, "N D"], Int[Array, " N"], Float[Array, " N"]]:
    """Outputs of a feature or logit function for the reference, with the rows' labels and weights.

    Args:
      outputs: function `(params, state, batch) -> [B, D]`.
      params: parameters of the model.
      state: state of the model.
      reference: rows whose `target` holds the labels, `[N, 1]`.
      num_classes: number of classes K.

    Raises:
      ValueError: no reference, or its target is not `[N, 1]` of whole numbers 0..num_classes-1.
    """
    if reference is None or reference.target is None:
        raise ValueError("this score needs labelled rows: give fit a reference Batch(x, target=labels[:, None])")
    labels = jnp.asarray(real_array("labels", reference.target))
    if labels.ndim != 2 or labels.shape[1] != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be [N, 1] whole numbers, got shape {labels.shape} {labels.dtype}")
    if not is_traced(labels):
        label_values = np.asarray(labels)
        if label_values.min() < 0 or label_values.max() >= num_classes:
            raise ValueError(
                f"labels must lie in 0..{num_classes - 1}, found {label_values.min()}..{label_values.max()}"
            )
    rows, weight = reference_features(outputs, params, state, reference._replace(target=None))
    return rows, labels[:, 0].astype(jnp.int32), weight


def class_means(
    rows: Float[Array, "N D"], labels: Int[Array, " N"], weight: Float[Array, " N"], num_classes: int
) -> Float[Array, "K D"]:
    """Mean of the rows of each class.

    Args:
      rows: `[N, D]`, features or logits.
      labels: `[N]`, 0..K-1.
      weight: `[N]`, weight of each row.
      num_classes: number of classes K.

    Raises:
      ValueError: a class has no rows that count.
    """
    # one-hot membership times weight: means of all classes in one product
    member = (labels[:, None] == jnp.arange(num_classes)[None]) * weight[:, None]
    count = member.sum(0)
    if not is_traced(count) and (missing := np.flatnonzero(np.asarray(count) == 0)).size:
        raise ValueError(f"the reference has no rows of class {', '.join(map(str, missing))}")
    return member.T @ rows / count[:, None]
