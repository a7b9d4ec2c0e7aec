"""Multinomial logistic regression by L-BFGS in JAX, for linear probes and disentanglement scores."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from jaxae.numerics import is_traced


class Logistic(NamedTuple):
    """`p(k | x) = softmax(x kernel + bias)`.

    Attributes:
      kernel: `[D, K]`, weights of the features.
      bias: `[K]`, bias of each class.
    """

    kernel: Array
    bias: Array


def fit_logistic(
    features: Float[Array, "N D"],
    labels: Int[Array, "..."],
    num_classes: int,
    l2: ArrayLike = 1e-4,
    *,
    weight: Array | None = None,
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
    _check(features, labels, num_classes)
    weight = jnp.ones(features.shape[0]) if weight is None else jnp.asarray(weight, jnp.float32)
    # weights that sum to 1 make the loss a mean, so that l2 does not depend on N
    share = weight / jnp.maximum(weight.sum(), jnp.finfo(jnp.float32).tiny)
    one_hot = jax.nn.one_hot(labels, num_classes)

    def loss(model):
        logits = predict_logits(model, features)
        return -(share * (one_hot * jax.nn.log_softmax(logits)).sum(-1)).sum() + l2 / 2 * (model.kernel**2).sum()

    if start is None:
        start = Logistic(jnp.zeros((features.shape[1], num_classes)), jnp.zeros(num_classes))
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


def predict_logits(model: Logistic, features: Float[Array, "N D"]) -> Float[Array, "N K"]:
    """`x kernel + bias`.

    Example: see `fit_logistic`.
    """
    return features @ model.kernel + model.bias[None]


def _check(features, labels, num_classes) -> None:
    if num_classes < 2:
        raise ValueError(f"logistic regression needs at least 2 classes; got {num_classes}")
    if features.shape[:1] != labels.shape or not features.size:
        raise ValueError(
            f"features [N, D] and labels [N] must have one N, at least 1; got {features.shape}, {labels.shape}"
        )
    if is_traced(labels):
        return
    known = np.asarray(labels)  # concrete labels stay concrete although other arguments may be traced
    if known.min() < 0 or known.max() >= num_classes:
        raise ValueError(f"labels must be 0..{num_classes - 1}; got {known.min()}..{known.max()}")
