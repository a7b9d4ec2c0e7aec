"""The feature space in which generated examples are compared: that of a classifier trained on the same data."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax

from jaxae import downstream, networks, transforms
from jaxae.data.batches import shuffled
from jaxae.numerics import as_classes, real_array, require_count
from jaxae.scoring import score_batches
from jaxae.train import build_step, fit, init_state
from jaxae.types import Batch

BATCH_SIZE = 128


class FeatureSpace(NamedTuple):
    """A trained classifier as two functions.

    Attributes:
      features: `[N, ...] -> [N, D]`, of images as uint8 or in 0..1.
      classes: `[N, ...] -> [N]`, the most probable class of each.
    """

    features: Callable
    classes: Callable


def classifier_features(x: np.ndarray, labels: np.ndarray, *, epochs: int = 5, seed: int = 0) -> FeatureSpace:
    """Train a classifier whose features, the inputs of its last layer, are the feature space.

    No pretrained network is used, so distances are comparable only under the same data, epochs, seed and machine.

    Args:
      x: `[N, H, W, C]` images, uint8 or in 0..1, or `[N, D]` standardised rows of a data table.
      labels: `[N]` classes 0..K-1, at least two different ones.
      epochs: number of passes over the rows.
      seed: seed of parameter initialisation and batch order.

    Returns:
      A `FeatureSpace` of 128 non-negative features (`downstream.feature_encoder`).

    Raises:
      ValueError: fewer than two classes, or numbers of labels and rows that differ.

    Example:
      >>> import numpy as np
      >>> from jaxae import generation
      >>> x, labels = np.eye(6, dtype=np.float32), np.arange(6) % 2
      >>> generation.classifier_features(x, labels, epochs=1).features(x).shape
      (6, 128)
    """
    x, labels = np.asarray(real_array("x", x)), np.asarray(real_array("labels", labels, objects=True))
    epochs, seed = require_count("epochs", epochs), require_count("seed", seed, 0)
    if labels.shape != x.shape[:1] or len(np.unique(labels)) < 2:
        raise ValueError(
            f"a classifier needs a label for each row, of two classes at least; got {labels.shape} for {x.shape}, "
            f"{len(np.unique(labels))} classes"
        )
    labels = np.asarray(as_classes("labels", labels, len(x)))
    num_classes = int(labels.max()) + 1
    scaling = transforms.scale_uint8()
    model, objective = downstream.classifier(
        downstream.feature_encoder(x.shape[1:]), networks.mlp(num_classes), num_classes, transform=scaling
    )
    # small sets are one batch: at least one step per epoch
    batch_size = min(BATCH_SIZE, len(x))
    num_steps = epochs * (len(x) // batch_size)

    learning_rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, min(50, num_steps // 2), max(num_steps, 2))
    data = Batch(x, target=labels[:, None].astype(np.int32))
    optimizer = optax.adamw(learning_rate, weight_decay=0.02)
    first_batch = jax.tree.map(lambda leaf: leaf[:batch_size], data)
    # compiled, as an initialisation step by step compiles every operation for itself
    state = jax.jit(lambda rng: init_state(objective, optimizer, rng, first_batch))(jax.random.key(seed))
    step = build_step(objective, optimizer)
    order = shuffled(len(x), batch_size, seed)
    state = fit(step, state, order, num_steps, data=jax.device_put(data), chunk=100, progress=False).state
    params, model_state = state.params["model"], state.state["model"]

    @jax.jit
    def features(x):
        return model.encode(params, model_state, scaling(None, Batch(x)).x).latent

    @jax.jit
    def classes(x):
        return model.decode(params, features(x)).argmax(-1)

    return FeatureSpace(lambda x: score_batches(features, x), lambda x: score_batches(classes, x))
