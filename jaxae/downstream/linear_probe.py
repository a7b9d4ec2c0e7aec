"""Linear probes: classes from frozen features, by logistic regression or by nearest neighbours."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.downstream.logistic import Logistic, as_features, fit_logistic, predict_logits
from jaxae.files.messages import shown
from jaxae.numerics import as_classes, real_array, require_count, require_within
from jaxae.numerics.neighbours import nearest_rows

PATH = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4)


class Probe(NamedTuple):
    """A fitted linear probe: `argmax_k ((x - mean) / scale) kernel + bias`.

    Attributes:
      model: the fitted regression.
      mean: `[D]`, mean of the train features.
      scale: scalar, standard deviation of the train features over all dimensions, so that weak dimensions stay weak.
      l2: the chosen L2 weight.
      path: the L2 weights that were tried.
      dev_accuracy: accuracy on dev for each weight of the path.
    """

    model: Logistic
    mean: Array
    scale: Array
    l2: Array
    path: Array
    dev_accuracy: Array


def linear_probe(
    features: ArrayLike,
    labels: ArrayLike,
    dev_features: ArrayLike,
    dev_labels: ArrayLike,
    *,
    num_classes: int | None = None,
    path: Sequence[float] = PATH,
    max_steps: int = 150,
    tolerance: float = 1e-4,
) -> Probe:
    """Multinomial logistic regression along a path of L2 weights, with warm starts; dev data chooses the weight.

    Args:
      features: `[N, D]`, train features.
      labels: `[N]`, train classes 0..K-1.
      dev_features: `[M, D]`, features of the rows that choose the L2 weight; they are no test rows.
      dev_labels: `[M]`, classes of those rows.
      num_classes: number of classes K; None takes the greatest label plus 1, which needs concrete labels.
      path: L2 weights in descending order.
      max_steps: largest number of L-BFGS steps at each weight.
      tolerance: largest element of the gradient at which L-BFGS stops, see `fit_logistic`.

    Returns:
      A `Probe`; at equal accuracy the largest weight.

    Raises:
      ValueError: a path that is not falling, features that are constant, and what `fit_logistic` refuses.

    Example:
      >>> import numpy as np
      >>> from jaxae import downstream
      >>> x, y = np.array([[-1.0], [-2.0], [1.0], [3.0]], np.float32), np.array([0, 0, 1, 1])
      >>> probe = downstream.linear_probe(x, y, x, y)
      >>> downstream.probe_classes(probe, x).tolist()
      [0, 0, 1, 1]
    """
    weights_listed = real_array("path", path)
    falls = weights_listed.ndim == 1 and weights_listed.size > 0 and (np.diff(weights_listed) < 0).all()
    if not falls or not 0 <= weights_listed[-1] <= weights_listed[0] < np.inf:
        raise ValueError(f"the path of L2 weights must fall, from strong to weak; got {shown(path)}")
    features, dev_features = as_features("features", features), as_features("dev_features", dev_features)
    if features.shape[1] != dev_features.shape[1]:
        raise ValueError(f"features and dev_features must be of one width; got {features.shape}, {dev_features.shape}")
    if num_classes is not None:
        num_classes = require_count("num_classes", num_classes, 2)
    labels = as_classes("labels", labels, len(features), num_classes)
    num_classes = int(np.max(labels)) + 1 if num_classes is None else num_classes
    dev_labels = as_classes("dev_labels", dev_labels, len(dev_features))
    max_steps = require_count("max_steps", max_steps)
    require_within("tolerance", tolerance, "[0, inf)")
    # one scale for all dimensions: scaling each to 1 would raise dimensions of noise to the level of the others
    mean = features.mean(0)
    scale = jnp.sqrt(jnp.mean((features - mean[None]) ** 2))
    scale = jnp.where(scale > 0, scale, 1)
    train, dev = ((part - mean[None]) / scale for part in (features, dev_features))

    def fit_weight(model, l2):
        model = fit_logistic(train, labels, num_classes, l2, start=model, max_steps=max_steps, tolerance=tolerance)
        return model, (model, jnp.mean(predict_logits(model, dev).argmax(1) == dev_labels))

    start = Logistic(jnp.zeros((features.shape[1], num_classes)), jnp.zeros(num_classes))
    weights = jnp.asarray(path, jnp.float32)
    # from strong to weak regularisation, each solution is near the one before: a warm start saves most steps
    _, (models, accuracy) = jax.lax.scan(fit_weight, start, weights)
    # argmax takes the first of ties, which is the strongest regularisation
    best = accuracy.argmax()
    return Probe(jax.tree.map(lambda leaf: leaf[best], models), mean, scale, weights[best], weights, accuracy)


def probe_classes(probe: Probe, features: ArrayLike) -> Array:
    """`[B]`, the class that a probe predicts from features `[B, D]`.

    Example: see `linear_probe`.
    """
    rows = as_features("features", features)
    if rows.shape[1] != probe.mean.shape[0]:
        raise ValueError(f"the probe reads {probe.mean.shape[0]} features; got shape {rows.shape}")
    rows = (rows - probe.mean[None]) / probe.scale
    return predict_logits(probe.model, rows).argmax(1)


def knn_classes(
    features: ArrayLike, bank: ArrayLike, bank_labels: ArrayLike, *, k: int = 20, temperature: float = 0.1
) -> Array:
    """The class with most votes among the k nearest rows of a bank, each vote `exp(cosine / temperature)`.

    Args:
      features: `[B, D]`, features to classify.
      bank: `[M, D]`, features of the labelled rows.
      bank_labels: `[M]`, classes of the bank's rows, 0..K-1.
      k: number of neighbours, at most M.
      temperature: temperature of the votes; smaller values favour the nearest rows.

    Returns:
      `[B]` int32.

    Raises:
      ValueError: the bank has fewer than k rows, or other widths.

    Source: Wu, Xiong, Yu and Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    section 3.4.

    Example:
      >>> import numpy as np
      >>> from jaxae import downstream
      >>> bank = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], np.float32)
      >>> downstream.knn_classes(np.array([[0.1, 2.0]], np.float32), bank, np.array([0, 0, 1]), k=1).tolist()
      [1]
    """
    # cosine distance by Euclidean search: unit vectors have the same order in both
    rows, bank = _unit(as_features("features", features)), _unit(as_features("bank", bank))
    bank_labels = as_classes("bank_labels", bank_labels, len(bank))
    k = require_count("k", k)
    require_within("temperature", temperature, "(0, inf)")
    num_classes = int(np.max(bank_labels)) + 1
    distance, index = nearest_rows(rows, bank, k)
    # unit vectors: |a - b|^2 = 2 - 2 cos
    votes = jnp.exp((1 - distance**2 / 2) / temperature)
    # votes of the neighbours by class
    one_hot = jax.nn.one_hot(bank_labels[index], num_classes)
    return (votes[..., None] * one_hot).sum(1).argmax(1).astype(jnp.int32)


def _unit(rows):
    return rows / jnp.maximum(jnp.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
