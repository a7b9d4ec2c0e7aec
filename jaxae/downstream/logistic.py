"""Multinomial logistic regression by L-BFGS in JAX, for linear probes and disentanglement scores."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import as_classes, as_weights, is_traced, real_array, require_count, require_within


class Logistic(NamedTuple):
    """`p(k | x) = softmax(x kernel + bias)`.

    Attributes:
      kernel: `[D, K]`, weights of the features.
      bias: `[K]`, bias of each class.
    """

    kernel: Array
    bias: Array


def fit_logistic(
    features: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    l2: ArrayLike = 1e-4,
    *,
    weight: ArrayLike | None = None,
    start: Logistic | None = None,
    max_steps: int = 300,
    tolerance: float = 1e-5,
) -> Logistic:
    """`min_W mean_i(-log p(y_i | x_i)) + l2 / 2 |W|^2`; the bias is not penalised.

    scikit-learn's `LogisticRegression(C)` is `l2 = 1 / (C N)`. Traces under `jit` and `vmap` (over `l2` too).

    Args:
      features: `[N, D]`, ideally of standard deviation 1: the scale affects convergence and the meaning of `l2`.
      labels: `[N]`, classes 0..K-1.
      num_classes: number of classes K, at least 2.
      l2: weight of the squared kernel, not negative, beside a mean over rows: independent of N.
      weight: `[N]`, weight of each row, not negative, 0 where a row only pads; None weighs all rows 1.
      start: initial value, such as the solution at a neighbouring `l2`; None: zeros.
      max_steps: largest number of L-BFGS steps.
      tolerance: largest element of the gradient at which the iteration stops.

    Returns:
      The fitted `Logistic`.

    Raises:
      ValueError: fewer than 2 classes, shapes that differ, a label outside 0..K-1.

    Source: Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization"; the iteration is
    optax's.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.downstream import fit_logistic, predict_logits
      >>> x, y = jnp.array([[-1.0], [-2.0], [1.0], [3.0]]), jnp.array([0, 0, 1, 1])
      >>> predict_logits(fit_logistic(x, y, 2), x).argmax(-1).tolist()
      [0, 0, 1, 1]
    """
    rows, classes, num_classes = _checked(features, labels, num_classes)
    require_within("l2", l2, "[0, inf)")
    require_within("tolerance", tolerance, "[0, inf)")
    max_steps = require_count("max_steps", max_steps)
    mass = as_weights(weight, rows.shape[0])
    # weights that sum to 1 make the loss a mean, so that l2 does not depend on N
    share = mass / jnp.maximum(mass.sum(), jnp.finfo(jnp.float32).tiny)
    one_hot = jax.nn.one_hot(classes, num_classes)

    def loss(model):
        logits = predict_logits(model, rows)
        return -(share * (one_hot * jax.nn.log_softmax(logits)).sum(-1)).sum() + l2 / 2 * (model.kernel**2).sum()

    if start is None:
        start = Logistic(jnp.zeros((rows.shape[1], num_classes)), jnp.zeros(num_classes))
    optimizer = optax.lbfgs(memory_size=20)
    value_and_gradient = optax.value_and_grad_from_state(loss)

    # a while loop, not a scan: most fits converge long before the last step
    def unfinished(carry):
        _, state, steps = carry
        gradient = optax.tree.get(state, "grad")
        # largest element of the gradient, scikit-learn's criterion
        size = jnp.max(jnp.array([jnp.abs(leaf).max() for leaf in jax.tree.leaves(gradient)]))
        return (steps == 0) | ((steps < max_steps) & (size > tolerance))

    def step(carry):
        model, state, steps = carry
        value, gradient = value_and_gradient(model, state=state)
        # L-BFGS with a line search, which evaluates the loss itself and keeps the gradient for the next step
        updates, state = optimizer.update(gradient, state, model, value=value, grad=gradient, value_fn=loss)
        return jax.tree.map(jnp.add, model, updates), state, steps + 1

    return jax.lax.while_loop(unfinished, step, (start, optimizer.init(start), 0))[0]


def predict_logits(model: Logistic, features: ArrayLike) -> Float[Array, "N K"]:
    """`x kernel + bias`.

    Example: see `fit_logistic`.
    """
    rows = as_features("features", features)
    if rows.shape[1] != model.kernel.shape[0]:
        raise ValueError(f"the model reads {model.kernel.shape[0]} features; got shape {rows.shape}")
    return rows @ model.kernel + model.bias[None]


def as_features(name: str, features: ArrayLike) -> Float[Array, "N D"]:
    """Features as float32 `[N, D]`, finite and not empty.

    Raises:
      ValueError: another kind or shape, values that are not finite or too large for float32.
    """
    array = real_array(name, features)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be [N, D], not empty; got shape {array.shape}")
    if not is_traced(array):
        values = np.asarray(array)
        # not above the largest: NaN fails this too
        if not (np.abs(values.astype(np.float64)) <= np.finfo(np.float32).max).all():
            raise ValueError(f"{name} must be finite in float32; some values are NaN, infinite or above 3.4e38")
    return jnp.asarray(array, jnp.float32)


def _checked(features, labels, num_classes):
    num_classes = require_count("num_classes", num_classes, 2)
    rows, classes = real_array("features", features).shape, real_array("labels", labels, objects=True).shape
    if len(rows) != 2 or rows[:1] != classes or 0 in rows:
        raise ValueError(f"features [N, D] and labels [N] must have one N, at least 1; got {rows}, {classes}")
    # concrete labels stay concrete although other arguments may be traced
    return as_features("features", features), as_classes("labels", labels, rows[0], num_classes), num_classes
