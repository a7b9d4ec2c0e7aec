"""What is built on an encoder: so far a classifier."""

from jaxae.downstream.auxiliary import spliced, turned
from jaxae.downstream.classifier import classifier, cross_entropy, feature_encoder, fine_tuning, pretrained
from jaxae.downstream.logistic import Logistic, fit_logistic, predict_logits

__all__ = [
    "Logistic",
    "classifier",
    "cross_entropy",
    "feature_encoder",
    "fine_tuning",
    "fit_logistic",
    "predict_logits",
    "pretrained",
    "spliced",
    "turned",
]
