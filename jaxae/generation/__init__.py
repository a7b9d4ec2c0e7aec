"""How good generated examples are: Fréchet distance, precision and recall, bits per dimension."""

from jaxae.generation.bits import bits_per_dimension, discretized_normal
from jaxae.generation.comparison import as_bytes, compare
from jaxae.generation.features import FeatureSpace, classifier_features
from jaxae.generation.frechet import frechet_distance, normal_frechet
from jaxae.generation.manifold import precision_recall
from jaxae.generation.posterior import active_units, collapsed_scales, kl_per_dimension
from jaxae.numerics.arguments import check_arguments

__all__ = [
    "FeatureSpace",
    "active_units",
    "as_bytes",
    "bits_per_dimension",
    "classifier_features",
    "collapsed_scales",
    "compare",
    "discretized_normal",
    "frechet_distance",
    "kl_per_dimension",
    "normal_frechet",
    "precision_recall",
]

check_arguments(__name__)
