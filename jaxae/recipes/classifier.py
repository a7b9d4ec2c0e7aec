"""A classifier of known classes with its optimizer, budget and confidence."""

import jax.numpy as jnp

from jaxae import downstream, networks, transforms
from jaxae.recipes.autoencoder import BATCH_SIZE, Recipe, default_steps, optimizer
from jaxae.scoring import confidence, latent
from jaxae.scoring.confidence.logits import Logits
from jaxae.transforms import Standardisation, Transform

AUXILIARY = ("spliced", "turned", "none")
"""What a classifier of images can learn besides its classes."""


def build_classifier(
    shape: tuple[int, ...],
    num_rows: int,
    num_classes: int,
    *,
    score: str = "knn",
    auxiliary: str = "spliced",
    standardisation: Standardisation | None = None,
    epochs: int | None = None,
    held_out: int = 0,
) -> Recipe:
    """The recipe of an open-set classifier: its target is the label, its confidence the score.

    Args:
      shape: one example's.
      num_rows: number of training rows.
      num_classes: K, known classes.
      score: key of `scoring.confidence.CONFIDENCES`.
      auxiliary: one of `AUXILIARY`; tables learn their classes alone.
      standardisation: mean and scale of a table's columns; None for images.
      epochs: passes over the rows; None: by their number.
      held_out: number of last rows of the scorer's reference that no parameter was fitted to.

    Example:
      >>> from jaxae import recipes
      >>> recipes.build_classifier((28, 28, 1), 1000, 3).num_steps
      1000
    """
    scaling = transforms.scale_uint8()
    if standardisation is not None:
        scaling = _of_x_alone(transforms.standardise(*map(jnp.asarray, standardisation)))
    outputs, steps = num_classes, [scaling]
    if len(shape) == 3:
        steps.append(transforms.random_affine(max(1, round(min(shape[:2]) / 14))))
        if auxiliary == "turned":
            steps.append(downstream.turned(num_classes))
            outputs = 4 * num_classes
        if auxiliary == "spliced":
            steps.append(downstream.spliced(unknown=num_classes))
            outputs = num_classes + 1
    model, objective = downstream.classifier(
        downstream.feature_encoder(shape), networks.mlp(outputs), outputs, transform=transforms.chain(*steps)
    )
    batch_size = min(BATCH_SIZE, num_rows)
    num_steps = default_steps(num_rows) if epochs is None else epochs * max(1, num_rows // batch_size)
    if score not in confidence.CONFIDENCES:
        raise ValueError(f"there is no confidence {score[:60]!r}; there are {', '.join(confidence.CONFIDENCES)}")
    scorer = confidence.CONFIDENCES[score](
        known_logits(model, num_classes), latent.encoded(model), num_classes, held_out
    )
    return Recipe(model, objective, scaling, optimizer(num_steps), batch_size, num_steps, scorer)


def known_logits(model, num_classes: int) -> Logits:
    """`(params, state, batch) -> [B, K]`: the classifier's logits of the known classes, its auxiliary outputs aside."""
    return confidence.known_logits(confidence.logits_of(model), num_classes)


def _of_x_alone(transform: Transform) -> Transform:
    # the target is a label, which has no unit
    return lambda rng, batch: transform(rng, batch._replace(target=None))._replace(target=batch.target)
