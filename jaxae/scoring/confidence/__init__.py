"""Confidence scores of a classifier: `score = -c(x)`, so that the unknown scores high.

| score                              | reads      | the score                                          |
| ---------------------------------- | ---------- | -------------------------------------------------- |
| `max_softmax(logits)`              | logits     | what the chosen class's probability leaves over    |
| `temperature_scaled(logits, K)`    | logits     | the same, at the temperature that fits held-out rows |
| `max_logit(logits)`                | logits     | minus the largest logit                            |
| `energy(logits)`                   | logits     | minus the log of the sum of their exponentials     |
| `entropy(logits)`                  | logits     | of the class probabilities                         |
| `mahalanobis(features, K)`         | features   | distance to the nearest class; `relative`: less that to all |
| `knn(features, k)`                 | features   | distance to the k-th nearest training row          |
| `kl_matching(logits)`              | logits     | distance to any class's usual probabilities        |
| `openmax(logits, K)`               | logits     | what a class of the unknown gets from classes whose mean is far |
| `vim(logits, features)`            | both       | what is left outside of the principal features, less the energy |
| `react(model, K)`, `ash(model, K)` | features   | the energy of features that were cut, or thinned   |
| `odin(logits)`                     | logits     | of an input moved a little towards its class       |

`logits` is `logits_of(model)`, or `ensemble_logits(logits_of(model))` for models trained with different seeds;
`features` is `scoring.latent.encoded(model)`. All are `Scorer`s, so `prepared`, `averaged` and `detector` take them.
"""

from jaxae.scoring.confidence.features import four_turns, joined, knn, mahalanobis, unit_length
from jaxae.scoring.confidence.kl_matching import kl_matching
from jaxae.scoring.confidence.logits import (
    energy,
    ensemble_logits,
    entropy,
    known_logits,
    logits_of,
    max_logit,
    max_softmax,
)
from jaxae.scoring.confidence.odin import odin
from jaxae.scoring.confidence.openmax import openmax
from jaxae.scoring.confidence.shaped import ash, react
from jaxae.scoring.confidence.temperature import fit_temperature, temperature_scaled
from jaxae.scoring.confidence.vim import vim

CONFIDENCES = {
    "max_softmax": lambda logits, features, num_classes, held_out: max_softmax(logits),
    "temperature_scaled": lambda logits, features, num_classes, held_out: temperature_scaled(
        logits, num_classes, held_out
    ),
    "max_logit": lambda logits, features, num_classes, held_out: max_logit(logits),
    "energy": lambda logits, features, num_classes, held_out: energy(logits),
    "entropy": lambda logits, features, num_classes, held_out: entropy(logits),
    "mahalanobis": lambda logits, features, num_classes, held_out: mahalanobis(features, num_classes),
    "relative_mahalanobis": lambda logits, features, num_classes, held_out: mahalanobis(
        features, num_classes, relative=True
    ),
    "knn": lambda logits, features, num_classes, held_out: knn(features, 3),
    "kl_matching": lambda logits, features, num_classes, held_out: kl_matching(logits),
    "openmax": lambda logits, features, num_classes, held_out: openmax(logits, num_classes),
    "vim": lambda logits, features, num_classes, held_out: vim(logits, features),
}
"""Name to `(logits, features, num_classes, held_out) -> Scorer`: what the command line offers."""

__all__ = [
    "CONFIDENCES",
    "ash",
    "energy",
    "ensemble_logits",
    "entropy",
    "fit_temperature",
    "four_turns",
    "joined",
    "kl_matching",
    "knn",
    "known_logits",
    "logits_of",
    "mahalanobis",
    "max_logit",
    "max_softmax",
    "odin",
    "openmax",
    "react",
    "temperature_scaled",
    "unit_length",
    "vim",
]
