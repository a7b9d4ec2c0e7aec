"""Likelihoods: a decoder's raw output, the prediction, as parameters of a distribution over the data.

Each constructor returns a `Likelihood`: pure functions without parameters. With `num_params = n` a decoder gives
`n` channels for each data channel, laid out as `n` blocks along the last axis. Log-probabilities are in nats per
element and are not summed, since masks need the elements. They are computed in float32 for every compute
type of the networks.
"""

from jaxae.likelihoods.basic import bernoulli, categorical, gaussian, laplace
from jaxae.likelihoods.continuous_bernoulli import continuous_bernoulli
from jaxae.likelihoods.levels import pixel_levels
from jaxae.likelihoods.logistic_mixture import logistic_mixture
from jaxae.likelihoods.suited import warn_of_grey
from jaxae.numerics.arguments import check_arguments

LIKELIHOODS = {
    "gaussian": gaussian,
    "gaussian_learned": lambda: gaussian(None),
    "bernoulli": bernoulli,
    "continuous_bernoulli": continuous_bernoulli,
    "laplace": laplace,
    "laplace_learned": lambda: laplace(None),
    "categorical": lambda: categorical(3),
    "pixel_levels": lambda: pixel_levels(4),
    "logistic_mixture": lambda: logistic_mixture(2),
}
"""Name to constructor without arguments: the members that the contract tests check."""

__all__ = [
    "LIKELIHOODS",
    "bernoulli",
    "categorical",
    "continuous_bernoulli",
    "gaussian",
    "laplace",
    "logistic_mixture",
    "pixel_levels",
    "warn_of_grey",
]

check_arguments(__name__)
