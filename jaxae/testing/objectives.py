"""The contract of an objective."""

import jax
import jax.numpy as jnp

from jaxae.numerics import weight_of
from jaxae.testing.properties import (
    Compiled,
    abstract,
    keys,
    require,
    require_alike,
    require_equal,
    require_finite,
    require_learning,
    require_shape,
)
from jaxae.types import Batch, Objective


def check_objective(objective: Objective, batch: Batch | None = None, *, needs_key: bool = False) -> None:
    """Refuse an objective that breaks its contract.

    - params and state are dicts with "model"; loss and metrics are `[B]` and finite;
    - without a key it is deterministic and the state comes back as it was;
    - it compiles in one trace, whatever the step and after the state has changed;
    - every parameter that is not `frozen` gets a gradient, and those that are get none;
    - rows of weight 0 change neither the gradient nor the other rows' losses.

    Args:
      objective: what is checked.
      batch: `[B, ...]`, at least 4 rows; None: normal, `[8, 5]`.
      needs_key: whether calls without a key are refused (multi-sample bounds).

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae import objectives, presets
      >>> from jaxae.testing import check_objective
      >>> model, _ = presets.ae((5,), latent_size=2)
      >>> check_objective(objectives.elbo(model))
    """
    first, second, third, odd_key = keys(4)
    batch = Batch(jax.random.normal(first, (8, 5))) if batch is None else batch
    rows = jax.tree.leaves(batch.x)[0].shape[0]
    params, state = jax.jit(objective.init)(second, batch)
    for name, tree in {"params": params, "state": state}.items():
        require(isinstance(tree, dict) and "model" in tree, f'{name} must be a dict with "model", got {type(tree)}')

    loss, (_, new, metrics) = jax.eval_shape(
        lambda p, s, r, b: objective.apply(p, s, r, b, 0), params, state, second, batch
    )
    require_shape(loss, (rows,), "loss")
    for name, value in metrics.items():
        require_shape(value, (rows,), f"metric {name!r}")
    require_alike(new, abstract(state), "the state after a call with a key")

    def everything(params, state, key, batch, step):
        def mean(params):
            loss, (_, new, metrics) = objective.apply(params, state, key, batch, step)
            weight = weight_of(batch, loss)
            return (loss * weight).sum() / weight.sum(), (jnp.where(weight > 0, loss, 0), metrics, new)

        gradients, (loss, metrics, new) = jax.grad(mean, has_aux=True)(params)
        found = {"gradients": gradients, "loss": loss, "metrics": metrics, "new": new}
        if not needs_key:
            loss, (_, same, metrics) = objective.apply(params, state, None, batch, step)
            found |= {"plain": (loss, metrics), "same": same}
        return found

    weight = jnp.ones(rows) if batch.weight is None else batch.weight
    batch = batch._replace(weight=weight)
    run = Compiled(everything, "apply")
    new = run(params, state, second, batch, jnp.int32(0))["new"]
    found = run(params, new, second, batch, jnp.int32(7))
    one_less = batch._replace(weight=weight.at[rows // 2].set(0.0))
    padded, other = (run(params, new, second, b, jnp.int32(7)) for b in (one_less, _changed(one_less, odd_key)))
    require_finite((found["loss"], found["metrics"]), "loss and metrics")
    _check_gradients(objective, found["gradients"])
    for name in ("gradients", "loss"):
        require_equal(other[name], padded[name], f"a row of weight 0 must count for nothing, but {name}", 1e-4, 1e-5)
    if not needs_key:
        again = run(params, new, third, batch, jnp.int32(7))
        require_equal(again["plain"], found["plain"], "without a key an objective must be deterministic, but loss")
        require_equal(found["same"], new, "without a key the state must come back as it went in, but state")
    run.require_pure(params, new, second, batch, jnp.int32(7))


def _changed(batch, key):
    """The batch with another row in the middle."""
    place = batch.weight.shape[0] // 2

    def other(leaf):
        row = leaf[0] if jnp.issubdtype(leaf.dtype, jnp.integer) else 3 * jax.random.normal(key, leaf.shape[1:])
        return leaf.at[place].set(row)

    return jax.tree.map(other, batch._replace(weight=None))._replace(weight=batch.weight)


def _check_gradients(objective, gradients):
    model = gradients["model"]
    learning = {name: part for name, part in model.items() if name not in objective.frozen}
    require_learning({**gradients, "model": learning}, "params")
    for name in objective.frozen:
        zeros = jax.tree.map(jnp.zeros_like, model[name])
        require_equal(model[name], zeros, f"the frozen {name} must get no gradient, but gradient")
