"""Separated attribute predictability: the gap between the two dimensions that predict a factor best."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.disentanglement.checks import as_codes, checked_parts, require_gap
from jaxae.disentanglement.information import best_gap
from jaxae.numerics import require_count, require_within


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike | None = None,
    test_factors: ArrayLike | None = None,
    *,
    factor_sizes: Sequence[int] | None = None,
    continuous: bool = False,
    penalty: float = 0.01,
    steps: int = 30,
) -> Float[Array, ""]:
    """SAP: the mean over factors of the gap between the two dimensions that predict it best, each alone.

    A dimension's score for a factor with classes is the accuracy on the test part of linear support vector machines,
    one for each class: `min |w, b|^2 / 2 + C sum_i c_i max(0, 1 - y_i f(z_i))^2` with `f(z) = w z + b` and c_i that
    balance the class against the rest. For continuous factors the score is the squared correlation.

    Args:
      codes: `[N, D]`, codes of the train part, D at least 2.
      factors: `[N, F]`, factors of the train part: whole numbers 0..K-1, or any numbers where they are continuous.
      test_codes: `[M, D]`, codes of the test part; needed for classes only.
      test_factors: `[M, F]`, factors of the test part; needed for classes only.
      factor_sizes: number of values of each factor; needed where factors are traced.
      continuous: whether the factors are quantities rather than classes.
      penalty: weight C of the hinge loss.
      steps: number of Newton steps.

    Returns:
      A scalar in 0..1.

    Raises:
      ValueError: see `checks.checked`; classes without a test part; a single code dimension.

    Source: Kumar, Sattigeri and Balakrishnan 2018, "Variational Inference of Disentangled Latent Concepts from
    Unlabeled Observations", section 3; the support vector machine (C 0.01, squared hinge, balanced) is that of
    Locatello et al. 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import sap
      >>> factors = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
      >>> float(sap(factors.astype(jnp.float32), factors, continuous=True))
      1.0
    """
    require_gap(codes)
    if continuous:
        values = as_codes(factors, "factors")
        codes = as_codes(codes)
        if codes.ndim != 2 or values.ndim != 2 or len(codes) != len(values) or len(codes) < 2 or 0 in values.shape:
            raise ValueError(
                f"codes [N, D] and factors [N, F] with one N of 2 or more are needed; got shapes {codes.shape}, "
                f"{values.shape}"
            )
        return jnp.clip(jnp.mean(best_gap(_squared_correlation(codes, values))), 0, 1)
    if test_codes is None or test_factors is None:
        raise ValueError("SAP of classes is an accuracy on a test part: give test_codes and test_factors")
    codes, factors, test_codes, test_factors, sizes = checked_parts(
        codes, factors, test_codes, test_factors, factor_sizes
    )
    require_within("penalty", penalty, "(0, inf)")
    steps = require_count("steps", steps)
    accuracies = []
    for f, size in enumerate(sizes):

        def test_accuracy(column, test, f=f, size=size):
            decision = _decision(column, factors[:, f], size, penalty, steps)
            predicted = (test[:, None] * decision[0][None] + decision[1][None]).argmax(1)
            return jnp.mean(predicted == test_factors[:, f])

        accuracies.append(
            jax.lax.map(lambda pair, test_accuracy=test_accuracy: test_accuracy(*pair), (codes.T, test_codes.T))
        )
    return jnp.mean(best_gap(jnp.stack(accuracies, 1)))


def _squared_correlation(codes, factors):
    codes, factors = (part - part.mean(0, keepdims=True) for part in (codes, factors.astype(jnp.float32)))
    covariance = codes.T @ factors / (len(codes) - 1)
    variances = [(part**2).sum(0) / (len(codes) - 1) for part in (codes, factors)]
    product = variances[0][:, None] * variances[1][None]
    return jnp.where(variances[0][:, None] > 1e-12, covariance**2 / jnp.maximum(product, 1e-30), 0)


def _decision(column, classes, size, penalty, steps):
    """`(w [K], b [K])`, one-against-rest support vector machines on a single dimension."""
    count = jax.nn.one_hot(classes, size).sum(0)
    missing = count == 0

    def loss(parameters, sign, cost):
        slack = jnp.maximum(0, 1 - sign * (parameters[0] * column + parameters[1]))
        return (parameters**2).sum() / 2 + (cost * slack**2).sum()

    def fit_class(k):
        sign = jnp.where(classes == k, 1.0, -1.0)
        # scikit-learn's class_weight="balanced", of one class against the rest
        balance = len(column) / (size * jnp.maximum(count[k], 1))
        cost = penalty * jnp.where(classes == k, balance, 1.0)

        def newton(parameters, _):
            # the squared hinge has a gradient and a curvature for rows inside the margin only
            outputs = sign * (parameters[0] * column + parameters[1])
            active = 2 * cost * (outputs < 1)
            residuals = active * (outputs - 1) * sign
            gradient = parameters + jnp.stack([(residuals * column).sum(), residuals.sum()])
            a, b, c = 1 + (active * column**2).sum(), (active * column).sum(), 1 + active.sum()
            # Newton step: the inverse of the 2 x 2 Hessian [[a, b], [b, c]] times the gradient
            step = jnp.stack([c * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / (a * c - b * b)
            # the loss is piecewise quadratic: a full step may leave the piece, so halved steps compete with it
            candidates = parameters[None] - 0.5 ** jnp.arange(4.0)[:, None] * step[None]
            return candidates[jax.vmap(lambda candidate: loss(candidate, sign, cost))(candidates).argmin()], None

        return jax.lax.scan(newton, jnp.zeros(2), None, length=steps)[0]

    solutions = jax.vmap(fit_class)(jnp.arange(size))
    # a class without rows is never predicted
    return jnp.where(missing, 0, solutions[:, 0]), jnp.where(missing, -jnp.inf, solutions[:, 1])
