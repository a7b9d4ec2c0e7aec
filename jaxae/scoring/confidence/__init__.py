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

`logits` is `logits_of(model)`, or `ensemble_logits(logits_of(model))` for models trained with different seeds;
`features` is `scoring.latent.encoded(model)`. All are `Scorer`s, so `prepared`, `averaged` and `detector` take them.
"""

from jaxae.scoring.confidence.features import joined, knn, mahalanobis, unit_length
from jaxae.scoring.confidence.logits import (
    energy,
    ensemble_logits,
    entropy,
    known_logits,
    logits_of,
    max_logit,
    max_softmax,
)
from jaxae.scoring.confidence.temperature import fit_temperature, temperature_scaled

__all__ = [
    "energy",
    "ensemble_logits",
    "entropy",
    "fit_temperature",
    "joined",
    "knn",
    "known_logits",
    "logits_of",
    "mahalanobis",
    "max_logit",
    "max_softmax",
    "temperature_scaled",
    "unit_length",
]
