"""From a name and the data to everything that training and deciding need: one recipe for every command."""

from jaxae.numerics.arguments import check_arguments
from jaxae.recipes.autoencoder import BATCH_SIZE, CLEANING, ROBUST, Recipe, build, default_steps, optimizer, standardise
from jaxae.recipes.classifier import AUXILIARY, build_classifier, known_logits
from jaxae.recipes.options import NAMED_LIKELIHOODS
from jaxae.recipes.prior import CODE_PRIORS, LATENT_PRIORS, build_prior
from jaxae.recipes.rules import RULES
from jaxae.recipes.scores import SCORES, named_score
from jaxae.recipes.user_parts import own_function

__all__ = [
    "AUXILIARY",
    "BATCH_SIZE",
    "CLEANING",
    "CODE_PRIORS",
    "LATENT_PRIORS",
    "NAMED_LIKELIHOODS",
    "ROBUST",
    "RULES",
    "SCORES",
    "Recipe",
    "build",
    "build_classifier",
    "build_prior",
    "default_steps",
    "known_logits",
    "named_score",
    "optimizer",
    "own_function",
    "standardise",
]

check_arguments(__name__)
