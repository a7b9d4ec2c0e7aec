"""Confidence scores of a classifier: `score = -c(x)`, so that unknown examples score high.

| score                              | reads      | the score                                          |
| ---------------------------------- | ---------- | -------------------------------------------------- |
| `max_softmax(logits)`              | logits     | probability of all classes but the chosen one      |
| `temperature_scaled(logits, K)`    | logits     | `max_softmax` at the temperature that fits held-out rows |
| `max_logit(logits)`                | logits     | negative largest logit                             |
| `energy(logits)`                   | logits     | negative log-sum-exp of the logits                 |
| `entropy(logits)`                  | logits     | entropy of the class probabilities                 |
| `mahalanobis(features, K)`         | features   | distance to the nearest class; `relative`: less the distance to all
rows |
| `knn(features, k)`                 | features   | distance to the k-th nearest training row          |
| `kl_matching(logits)`              | logits     | divergence from the mean probabilities of any class |
| `openmax(logits, K)`               | logits     | log-probability of an unknown class, from distances to class means |
| `vim(logits, features)`            | both       | norm outside of the principal directions of the features, less
log-sum-exp |
| `react(model, K)`, `ash(model, K)` | features   | energy of the logits of clipped, or pruned, features |
| `odin(logits)`                     | logits     | `max_softmax` of an input perturbed towards its class |

`logits` is `logits_of(model)`, or `ensemble_logits(logits_of(model))` for models trained with different seeds;
`features` is `scoring.latent.encoded(model)`. All are `Scorer`s, so `prepared`, `averaged` and `detector` take them.
"""

from jaxae.numerics.arguments import check_arguments
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
"""Name to `(logits, features, num_classes, held_out) -> Scorer`: the choices of the command line."""

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

check_arguments(__name__)
