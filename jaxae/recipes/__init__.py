"""From a name and the data to everything that training and deciding need."""

from jaxae.recipes.autoencoder import (
    BATCH_SIZE,
    CLEANING,
    NAMED_LIKELIHOODS,
    ROBUST,
    Recipe,
    build,
    default_steps,
    optimizer,
    standardise,
)

__all__ = [
    "BATCH_SIZE",
    "CLEANING",
    "NAMED_LIKELIHOODS",
    "ROBUST",
    "Recipe",
    "build",
    "default_steps",
    "optimizer",
    "standardise",
]
