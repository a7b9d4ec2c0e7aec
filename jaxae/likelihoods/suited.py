"""A warning where data are outside of the support of a likelihood."""

import warnings

import numpy as np
from numpy.typing import ArrayLike

from jaxae.types import Likelihood


def warn_of_grey(likelihood: Likelihood, x: ArrayLike) -> None:
    """Warn, once per call, where a likelihood of 0 and 1 alone gets other values, and name one that fits.

    Args:
      likelihood: any likelihood; only binary ones warn.
      x: data (or some rows of it) as the likelihood scores them: scaled, and binarised if training binarises.

    Example:
      >>> import warnings
      >>> from jaxae import likelihoods
      >>> with warnings.catch_warnings(record=True) as caught:
      ...     warnings.simplefilter("always")
      ...     likelihoods.warn_of_grey(likelihoods.bernoulli(), [[0.0, 0.25, 0.5, 1.0]])
      >>> str(caught[0].message).split(":")[0]
      '50.0 % of the values lie strictly between 0 and 1, and a Bernoulli likelihood is no density of these'
    """
    if not likelihood.binary:
        return
    x = np.asarray(x)
    between, outside = ((x > 0) & (x < 1)).mean(), ((x < 0) | (x > 1)).mean()
    if outside:
        warnings.warn(
            f"{100 * outside:.1f} % of the values lie outside 0..1 (from {x.min():g} to {x.max():g}), and a Bernoulli "
            "likelihood is of 0 and 1 alone: gaussian or laplace fits",
            stacklevel=2,
        )
    elif between:
        warnings.warn(
            f"{100 * between:.1f} % of the values lie strictly between 0 and 1, and a Bernoulli likelihood is no "
            "density of these: continuous_bernoulli or gaussian fits, or binarise (transforms.binarise); its nats "
            "compare with nothing otherwise",
            stacklevel=2,
        )
