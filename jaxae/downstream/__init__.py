"""What is built on an encoder: classifiers, and probes of its features."""

from jaxae.downstream.auxiliary import spliced, turned
from jaxae.downstream.classifier import classifier, cross_entropy, feature_encoder, fine_tuning, pretrained
from jaxae.downstream.features import codes_of, extract, layers_of, pixels, principal_components
from jaxae.downstream.label_efficiency import LabelCurve, label_curve
from jaxae.downstream.linear_probe import Probe, knn_classes, linear_probe, probe_classes
from jaxae.downstream.logistic import Logistic, fit_logistic, predict_logits
from jaxae.numerics.arguments import check_arguments

__all__ = [
    "LabelCurve",
    "Logistic",
    "Probe",
    "classifier",
    "codes_of",
    "cross_entropy",
    "extract",
    "feature_encoder",
    "fine_tuning",
    "fit_logistic",
    "knn_classes",
    "label_curve",
    "layers_of",
    "linear_probe",
    "pixels",
    "predict_logits",
    "pretrained",
    "principal_components",
    "probe_classes",
    "spliced",
    "turned",
]

check_arguments(__name__)
