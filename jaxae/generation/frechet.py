"""The Fréchet distance between normal distributions that are fitted to two sets of features."""

import numpy as np
from numpy.typing import ArrayLike

from jaxae.numerics import real_array


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """`normal_frechet` of the means and covariances of two sets of features.

    The estimate falls with the number of rows, as covariances become better known: compare at equal numbers, and
    report the distance between two sets of real examples beside it. Distances in different feature spaces are not
    comparable.

    Args:
      features_a: `[N, D]`, features of one set, N at least 2.
      features_b: `[M, D]`, features of the other set, M at least 2.

    Returns:
      The squared distance, which is the figure usually reported, in squared units of the features; computed in float64.

    Raises:
      ValueError: too few rows, other widths, or features that are not finite.

    Source: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium".

    Example:
      >>> from jaxae.generation import frechet_distance
      >>> round(frechet_distance([[0.0], [2.0]], [[1.0], [3.0]]), 6)
      1.0
    """
    named = {"features_a": features_a, "features_b": features_b}
    sets = [np.asarray(real_array(name, features), np.float64) for name, features in named.items()]
    shapes = " and ".join(str(features.shape) for features in sets)
    if (
        any(features.ndim != 2 or len(features) < 2 for features in sets)
        or sets[0].shape[1] != sets[1].shape[1]
        or not sets[0].size
    ):
        raise ValueError(f"two sets of features [N, D], N at least 2, of one width are needed; got {shapes}")
    if not all(np.isfinite(features).all() for features in sets):
        raise ValueError(f"features must be finite; of {shapes} some are NaN or infinite")
    (a, b), (cov_a, cov_b) = (
        [features.mean(0) for features in sets],
        [np.atleast_2d(np.cov(features.T)) for features in sets],
    )
    return normal_frechet(a, cov_a, b, cov_b)


def normal_frechet(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """`|a - b|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2))`, the squared 2-Wasserstein distance of two normals.

    Computed from eigenvalues of symmetric matrices, so that covariances without full rank need no regularisation.

    Args:
      mean_a: `[D]`, mean of one distribution.
      cov_a: `[D, D]`, its covariance, symmetric and positive semi-definite.
      mean_b: `[D]`, mean of the other distribution.
      cov_b: `[D, D]`, its covariance.

    Returns:
      The distance, never below 0; computed in float64.

    Raises:
      ValueError: shapes that do not fit.

    Source: Dowson and Landau 1982, "The Fréchet distance between multivariate normal distributions".

    Example:
      >>> from jaxae.generation import normal_frechet
      >>> normal_frechet([0.0], [[1.0]], [3.0], [[4.0]])  # 3^2 + (1 - 2)^2
      10.0
    """
    from scipy.linalg import eigh

    named = {"mean_a": mean_a, "cov_a": cov_a, "mean_b": mean_b, "cov_b": cov_b}
    a, cov_a, b, cov_b = (np.asarray(real_array(name, moment), np.float64) for name, moment in named.items())
    if a.ndim != 1 or a.shape != b.shape or not cov_a.shape == cov_b.shape == (len(a), len(a)):
        raise ValueError(
            f"means [D] and covariances [D, D] are needed; got {a.shape}, {cov_a.shape}, {b.shape}, {cov_b.shape}"
        )
    if not a.size or not all(np.isfinite(moment).all() for moment in (a, cov_a, b, cov_b)):
        raise ValueError("means and covariances must be finite and not empty")
    values, vectors = eigh(cov_a)
    # A^(1/2) = V diag(sqrt(v)) V^T; A^(1/2) B A^(1/2) is symmetric, unlike A B, and has the same eigenvalues
    root = vectors * _root(values) @ vectors.T
    product = root @ cov_b @ root
    # rounding leaves the product slightly asymmetric; eigh reads one triangle only
    trace_of_root = _root(eigh((product + product.T) / 2, eigvals_only=True)).sum()
    # rounding may put the distance of equal distributions below 0
    return float(max(0.0, ((a - b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * trace_of_root))


def _root(values):
    # an eigenvalue 0 comes out as rounding error e, whose root sqrt(e) is not negligible
    least = np.finfo(np.float64).eps * len(values) * max(values.max(), 0)
    return np.sqrt(np.where(values > least, values, 0))
