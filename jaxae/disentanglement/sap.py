"""Separated attribute predictability: how much better one dimension predicts a factor than the next best does."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxae.disentanglement.checks import require_gap, sizes_of
from jaxae.disentanglement.information import best_gap


def sap(
    codes: Float[Array, "N D"],
    factors: Int[Array, "N F"],
    test_codes: Float[Array, "M D"] | None = None,
    test_factors: Int[Array, "M F"] | None = None,
    *,
    factor_sizes: Sequence[int] | None = None,
    continuous: bool = False,
    penalty: float = 0.01,
    steps: int = 30,
) -> Float[Array, ""]:
    """SAP: the mean over factors of the gap between the two dimensions that predict it best, each alone.

    Of classes the prediction is a linear support vector machine's for each class, `min |w, b|^2 / 2 + C sum_i c_i
    max(0, 1 - y_i f(z_i))^2` with `f(z) = w z + b`, rows of the class weighted up to balance, and the score its
    accuracy on the test part. Of continuous factors it is the squared correlation.

    Args:
      codes: `[N, D]`, D at least 2.
      factors: `[N, F]`, whole numbers 0..K-1; any numbers where they are continuous.
      test_codes: `[M, D]`; classes only.
      test_factors: `[M, F]`.
      factor_sizes: F numbers of values, needed where factors are traced.
      continuous: whether the factors' values are quantities.
      penalty: C.
      steps: of Newton's method, in two numbers, with halving; the loss is piecewise quadratic.

    Returns:
      A scalar in 0..1.

    Raises:
      ValueError: see `checks.sizes_of`; classes without a test part; a single code dimension.

    Source: Kumar, Sattigeri and Balakrishnan 2018, "Variational Inference of Disentangled Latent Concepts from
    Unlabeled Observations", section 3; the machine (C 0.01, squared hinge, balanced) is that of Locatello et al. 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import sap
      >>> factors = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
      >>> float(sap(factors.astype(jnp.float32), factors, continuous=True))
      1.0
    """
    require_gap(codes)
    if continuous:
        return jnp.mean(best_gap(_squared_correlation(codes, factors)))
    if test_codes is None or test_factors is None:
        raise ValueError("SAP of classes is an accuracy on a test part: give test_codes and test_factors")
    sizes = sizes_of(codes, factors, factor_sizes)
    accuracies = []
    for f, size in enumerate(sizes):

        def one(column, test, f=f, size=size):
            decision = _decision(column, factors[:, f], size, penalty, steps)
            predicted = (test[:, None] * decision[0][None] + decision[1][None]).argmax(1)
            return jnp.mean(predicted == test_factors[:, f])

        accuracies.append(jax.lax.map(lambda pair, one=one: one(*pair), (codes.T, test_codes.T)))
    return jnp.mean(best_gap(jnp.stack(accuracies, 1)))


def _squared_correlation(codes, factors):
    codes, factors = (part - part.mean(0, keepdims=True) for part in (codes, factors.astype(jnp.float32)))
    covariance = codes.T @ factors / (len(codes) - 1)
    variances = [(part**2).sum(0) / (len(codes) - 1) for part in (codes, factors)]
    product = variances[0][:, None] * variances[1][None]
    return jnp.where(variances[0][:, None] > 1e-12, covariance**2 / jnp.maximum(product, 1e-30), 0)


def _decision(column, classes, size, penalty, steps):
    """`(w [K], b [K])` of one dimension."""
    count = jax.nn.one_hot(classes, size).sum(0)
    missing = count == 0

    def loss(parameters, sign, cost):
        slack = jnp.maximum(0, 1 - sign * (parameters[0] * column + parameters[1]))
        return (parameters**2).sum() / 2 + (cost * slack**2).sum()

    def one(k):
        sign = jnp.where(classes == k, 1.0, -1.0)
        balance = len(column) / (size * jnp.maximum(count[k], 1))
        cost = penalty * jnp.where(classes == k, balance, 1.0)

        def newton(parameters, _):
            outputs = sign * (parameters[0] * column + parameters[1])
            active = 2 * cost * (outputs < 1)
            pull = active * (outputs - 1) * sign
            gradient = parameters + jnp.stack([(pull * column).sum(), pull.sum()])
            a, b, c = 1 + (active * column**2).sum(), (active * column).sum(), 1 + active.sum()
            step = jnp.stack([c * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / (a * c - b * b)
            tried = parameters[None] - 0.5 ** jnp.arange(4.0)[:, None] * step[None]
            return tried[jax.vmap(lambda each: loss(each, sign, cost))(tried).argmin()], None

        return jax.lax.scan(newton, jnp.zeros(2), None, length=steps)[0]

    found = jax.vmap(one)(jnp.arange(size))
    return jnp.where(missing, 0, found[:, 0]), jnp.where(missing, -jnp.inf, found[:, 1])
