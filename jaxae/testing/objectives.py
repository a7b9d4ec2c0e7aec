"""The contract of an objective."""

import jax
import jax.numpy as jnp

from jaxae.numerics import weight_of
from jaxae.testing.properties import (
    Compiled,
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
    weight = jnp.ones(rows).at[rows // 2].set(0.0)
    # the row that counts for nothing is another one
    odd = jax.tree.map(
        lambda leaf: (
            leaf.at[rows // 2].set(leaf[0])
            if jnp.issubdtype(leaf.dtype, jnp.integer)
            else leaf.at[rows // 2].set(3 * jax.random.normal(odd_key, leaf.shape[1:]))
        ),
        batch,
    )

    def everything(params, state, key, batch, step):
        def mean(params, batch):
            loss, (output, new, metrics) = objective.apply(params, state, key, batch, step)
            weight = weight_of(batch, loss)
            return (loss * weight).sum() / weight.sum(), (loss, metrics, new)

        gradients, (loss, metrics, new) = jax.grad(mean, has_aux=True)(params, batch)
        weighed, (losses, _, _) = jax.grad(mean, has_aux=True)(params, batch._replace(weight=weight))
        plain = None if needs_key else objective.apply(params, state, None, batch, step)
        return {
            "gradients": gradients,
            "weighed": (weighed, jnp.where(weight > 0, losses, 0)),
            "loss": loss,
            "metrics": metrics,
            "new": new,
            "plain": None if plain is None else (plain[0], plain[1][2]),
            "same": None if plain is None else plain[1][1],
        }

    run = Compiled(everything, "apply")
    new = run(params, state, second, batch, jnp.int32(0))["new"]
    require_alike(new, state, "the state after a call with a key")
    found = run(params, new, second, batch, jnp.int32(7))
    padded = run(params, new, second, odd, jnp.int32(7))
    require_shape(found["loss"], (rows,), "loss")
    for name, value in found["metrics"].items():
        require_shape(value, (rows,), f"metric {name!r}")
    require_finite((found["loss"], found["metrics"]), "loss and metrics")
    _check_gradients(objective, found["gradients"])
    wanted = found["weighed"]
    require_equal(padded["weighed"], wanted, "a row of weight 0 must count for nothing, but it", 1e-4, 1e-5)
    if not needs_key:
        again = run(params, new, third, batch, jnp.int32(7))
        require_equal(again["plain"], found["plain"], "without a key an objective must be deterministic, but loss")
        require_equal(found["same"], new, "without a key the state must come back as it went in, but state")
    run.require_pure(params, new, second, batch, jnp.int32(7))


def _check_gradients(objective, gradients):
    model = gradients["model"]
    if not objective.frozen:
        return require_learning(gradients, "params")
    learning = {name: part for name, part in model.items() if name not in objective.frozen}
    require_learning({**gradients, "model": learning}, "params")
    for name in objective.frozen:
        zeros = jax.tree.map(jnp.zeros_like, model[name])
        require_equal(model[name], zeros, f"the frozen {name} must get no gradient, but gradient")
