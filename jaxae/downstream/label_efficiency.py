"""Label efficiency: accuracy of a probe against the number of labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxae.downstream.linear_probe import linear_probe, probe_classes
from jaxae.downstream.logistic import as_features
from jaxae.files.messages import shown
from jaxae.numerics import as_classes, real_array, require_count, require_within


class LabelCurve(NamedTuple):
    """Accuracy at several shares of the labels.

    Attributes:
      fraction: `[S]`, share of the train labels.
      num_labels: `[S]`, number of labels read.
      accuracy: `[S, R]`, accuracy on the test rows for each of R draws of labels.
    """

    fraction: np.ndarray
    num_labels: np.ndarray
    accuracy: np.ndarray


def label_curve(
    train: tuple[np.ndarray, np.ndarray],
    dev: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    fractions: Sequence[float] = (0.01, 0.1, 1.0),
    *,
    draws: int = 3,
    seed: int = 0,
    probe: Callable = linear_probe,
) -> LabelCurve:
    """Accuracy of linear probes on random shares of the labels, stratified by class.

    Args:
      train: features `[N, D]` and labels `[N]`.
      dev: features and labels on which the probe's L2 weight is chosen; report their number beside `num_labels`.
      test: features and labels on which accuracy is measured.
      fractions: shares of each class's train rows, in (0, 1]; at least one row of each class is taken.
      draws: number of draws for a share below 1.
      seed: seed of the draws; use the same for all features that are compared.
      probe: function `(features, labels, dev features, dev labels, num_classes=K) -> Probe`.

    Raises:
      ValueError: a fraction outside (0, 1], no draws.

    Example:
      >>> import numpy as np
      >>> from jaxae import downstream
      >>> part = np.arange(-5.0, 5.0)[:, None].astype(np.float32), (np.arange(-5, 5) >= 0).astype(int)
      >>> downstream.label_curve(part, part, part, (0.4, 1.0), draws=2).num_labels.tolist()
      [4, 10]
    """
    draws, seed = require_count("draws", draws), require_count("seed", seed, 0)
    if real_array("fractions", fractions).ndim != 1 or not len(fractions):
        raise ValueError(f"fractions must lie in (0, 1], at least one; got {shown(fractions)}")
    for share in fractions:
        require_within("fractions", share, "(0, 1]")
    features = np.asarray(as_features("features", train[0]))
    labels = np.asarray(as_classes("labels", train[1], len(features)))
    num_classes = int(labels.max()) + 1
    # the number of classes is fixed over all draws, so that equal shapes compile once
    fit = jax.jit(lambda x, y, dev_x, dev_y: probe(x, y, dev_x, dev_y, num_classes=num_classes))
    predict = jax.jit(probe_classes)
    num_labels, accuracy = [], []
    for share in fractions:
        accuracies = []
        chosen = [share_of_rows(labels, share, seed + draw) for draw in range(draws if share < 1 else 1)]
        for rows in chosen:
            fitted = fit(features[rows], labels[rows], *dev)
            accuracies.append(float(np.mean(np.asarray(predict(fitted, test[0])) == test[1])))
        num_labels.append(len(chosen[0]))
        # all labels allow one draw only, which stands for every repetition
        accuracy.append(accuracies if share < 1 else accuracies * draws)
    return LabelCurve(np.asarray(fractions), np.asarray(num_labels), np.asarray(accuracy))


def share_of_rows(labels: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Rows that hold this share of each class, at least one of each, in order.

    Example:
      >>> import numpy as np
      >>> from jaxae.downstream.label_efficiency import share_of_rows
      >>> np.asarray([0, 0, 0, 0, 1, 1])[share_of_rows(np.array([0, 0, 0, 0, 1, 1]), 0.5)].tolist()
      [0, 0, 1]
    """
    rng = np.random.default_rng([seed, 0x1ABE1])
    rows = [np.flatnonzero(labels == value) for value in np.unique(labels)]
    # stratified: a small share still holds every class
    return np.sort(np.concatenate([rng.permutation(of)[: max(1, round(fraction * len(of)))] for of in rows]))
