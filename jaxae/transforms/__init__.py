"""Transforms, `(rng, Batch) -> Batch`: scaling, binarisation and corruption.

A scaling or a binarisation acts on `x` and on `target` alike. A corruption changes `x` alone and keeps the
uncorrupted value as `target`: otherwise a network would learn to copy the noise. `objectives.prepared` and
`scoring.prepared` put a transform in front of an objective or a scorer, so that a saved detector holds the transform
that training used.
"""

import jax.numpy as jnp

from jaxae.numerics.arguments import check_arguments
from jaxae.transforms.augmentation import oriented_gradients, random_affine
from jaxae.transforms.combinators import chain, condition_on_input
from jaxae.transforms.corruption import feature_dropout, gaussian_noise, log_uniform_noise, patch_mask, salt_and_pepper
from jaxae.transforms.scaling import (
    Standardisation,
    binarise,
    fit_standardise,
    scale_uint8,
    standardisation,
    standardise,
)
from jaxae.types import Transform

TRANSFORMS = {
    "scale_uint8": scale_uint8,
    "binarise": binarise,
    "gaussian_noise": lambda: gaussian_noise(0.3),
    "log_uniform_noise": lambda: log_uniform_noise(0.05, 1.0),
    "feature_dropout": lambda: feature_dropout(0.3),
    "salt_and_pepper": lambda: salt_and_pepper(0.3),
    "patch_mask": lambda: patch_mask(4, 0.5),
    "oriented_gradients": oriented_gradients,
    "random_affine": random_affine,
    "condition_on_input": condition_on_input,
    "standardise": lambda: standardise(jnp.full((1, 1, 1), 0.5), jnp.full((1, 1, 1), 0.25)),
    "fit_standardise": lambda: fit_standardise(jnp.linspace(0, 1, 8).reshape(8, 1, 1, 1)),
    "chain": lambda: chain(scale_uint8(), gaussian_noise(0.3)),
}
"""Name to constructor without arguments: the members that the contract tests check."""

__all__ = [
    "TRANSFORMS",
    "Standardisation",
    "Transform",
    "binarise",
    "chain",
    "condition_on_input",
    "feature_dropout",
    "fit_standardise",
    "gaussian_noise",
    "log_uniform_noise",
    "oriented_gradients",
    "patch_mask",
    "random_affine",
    "salt_and_pepper",
    "scale_uint8",
    "standardisation",
    "standardise",
]

check_arguments(__name__)
