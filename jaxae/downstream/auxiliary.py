"""Auxiliary classes: rotated images as further classes, and spliced images as the class of unknowns.

A classifier that separates known classes may discard the features that distinguish unknown ones. These transforms,
after the augmentation and in training alone, make it keep more of them. With K classes and both transforms the head
has `4 K + 1` outputs; the first K, `known_logits`, decide.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import require_count, require_within
from jaxae.transforms import Transform
from jaxae.types import Batch


def turned(num_classes: int) -> Transform:
    """Every image is rotated by a random number t = 0..3 of quarter turns, and its label y becomes `y + K t`.

    Without a key images and labels stay as they are, which is t = 0.

    Args:
      num_classes: number of classes K; the classifier needs `4 K` outputs.

    Raises:
      ValueError: (in use) images that are not square, or no labels `[B, 1]`.

    Source: Lee, Hwang and Shin 2020, "Self-supervised Label Augmentation via Input Transformations"; rotations for
    anomalies: Golan and El-Yaniv 2018, "Deep Anomaly Detection Using Geometric Transformations".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream
      >>> from jaxae.types import Batch
      >>> batch = Batch(jnp.zeros((100, 2, 2, 1)), target=jnp.ones((100, 1), jnp.int32))
      >>> sorted(set(downstream.turned(3)(jax.random.key(0), batch).target[:, 0].tolist()))
      [1, 4, 7, 10]
    """

    num_classes = require_count("num_classes", num_classes)

    def apply(rng: Array | None, batch: Batch) -> Batch:
        labels = _labels("turned", batch)
        if batch.x.ndim != 4 or batch.x.shape[1] != batch.x.shape[2]:
            raise ValueError(f"turned: images must be square, [B, N, N, C], got shape {batch.x.shape}")
        if rng is None:
            return batch
        # the label of a rotated image is its class in block t of the 4 K labels
        turns = jax.random.randint(rng, labels.shape, 0, 4)
        rotations = jnp.stack([jnp.rot90(batch.x, quarter, (1, 2)) for quarter in range(4)])
        # all four rotations, of which each row takes one: a rotation by a traced number of turns has no fixed program
        x = jnp.take_along_axis(rotations, turns.reshape(1, -1, 1, 1, 1), 0)[0]
        return batch._replace(x=x, target=labels + num_classes * turns)

    return apply


def spliced(unknown: int, share: float = 0.25) -> Transform:
    """The first rows of a batch become halves of two images of different labels, and have the label `unknown`.

    Each pair is cut along a random line, within a ninth of the image's size from the centre. Where both labels are
    equal the row stays as it is. Without a key the batch stays as it is.

    Args:
      unknown: label of the spliced images, an output of the classifier.
      share: share of the batch's rows that is spliced, in (0, 1/2].

    Raises:
      ValueError: a share outside (0, 1/2]; (in use) `x` is not `[B, H, W, C]`, or no labels `[B, 1]`.

    Source: the cut, with mixed labels, is that of Yun et al. 2019, "CutMix"; such images as a class of the unknown are
    in the spirit of Neal et al. 2018, "Open Set Learning with Counterfactual Images".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream
      >>> from jaxae.types import Batch
      >>> batch = Batch(jnp.zeros((4, 6, 6, 1)).at[1].set(1.0), target=jnp.array([[0], [1], [2], [2]]))
      >>> spliced = downstream.spliced(unknown=3)(jax.random.key(0), batch)
      >>> spliced.target[:, 0].tolist(), 0 < float(spliced.x[0].mean()) < 1
      ([3, 1, 2, 2], True)
    """
    unknown = require_count("unknown", unknown)
    require_within("share", share, "(0, 0.5]")

    def apply(rng: Array | None, batch: Batch) -> Batch:
        labels = _labels("spliced", batch)
        if batch.x.ndim != 4:
            raise ValueError(f"spliced: images must be [B, H, W, C], got shape {batch.x.shape}")
        if rng is None:
            return batch
        count = int(share * batch.x.shape[0])
        # partners are the next rows of the batch, which is shuffled
        first, second = batch.x[:count], batch.x[count : 2 * count]
        # two halves of the same class would be a known class, not an unknown one
        differ = labels[:count] != labels[count : 2 * count]
        from_second = differ[:, :, None, None] & _half_planes(rng, count, batch.x.shape[1:3])[..., None]
        return batch._replace(
            x=jnp.asarray(batch.x).at[:count].set(jnp.where(from_second, second, first)),
            target=labels.at[:count].set(jnp.where(differ, unknown, labels[:count])),
        )

    return apply


def _half_planes(rng, count, size):
    """`[count, H, W]` bool: one side of a random line near the centre."""
    angle_rng, offset_rng = jax.random.split(rng)
    angle = jax.random.uniform(angle_rng, (count, 1, 1), maxval=2 * math.pi)
    offset = jax.random.uniform(offset_rng, (count, 1, 1), minval=-1.0) * min(size) / 9
    # coordinates from the image's centre: x cos a + y sin a > offset is one side of a line
    down, across = (jnp.arange(n, dtype=jnp.float32) - (n - 1) / 2 for n in size)
    return jnp.cos(angle) * down[None, :, None] + jnp.sin(angle) * across[None, None, :] > offset


def _labels(owner, batch):
    labels = batch.target
    if labels is None or labels.shape != (batch.x.shape[0], 1):
        raise ValueError(f"{owner}: needs labels, target [B, 1]; got {None if labels is None else labels.shape}")
    return jnp.asarray(labels)
