"""The contract of a network, with state or without."""

import jax
import jax.numpy as jnp

from jaxae.networks import AnyNetwork, with_state
from jaxae.testing.properties import (
    Compiled,
    abstract,
    differ,
    keys,
    require,
    require_alike,
    require_equal,
    require_finite,
    require_learning,
    require_rows,
)
from jaxae.types import PyTree


def check_network(network: AnyNetwork, x: PyTree | None = None, condition: PyTree | None = None) -> None:
    """Refuse a network that breaks its contract.

    - `init` reads only the shape of `x`, maps over keys, and another key gives other parameters; floats are float32;
    - `apply` keeps the rows, does not depend on the batch, is finite, and compiles in one trace;
    - every parameter gets a gradient;
    - with state: without a key it is deterministic and gives the state back as it was; with one the state keeps its
      structure, shapes and dtypes.

    Args:
      network: a `Network` or a `StatefulNetwork`.
      x: `[B, ...]` what it reads; None: normal, `[5, 6]`.
      condition: what it is told, or None.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae import networks
      >>> from jaxae.testing import check_network
      >>> check_network(networks.mlp(4, 3))
    """
    first, second, third = keys(3)
    x = jax.random.normal(first, (5, 6)) if x is None else x
    require(all(getattr(leaf, "ndim", 0) for leaf in jax.tree.leaves(x)), "x must be an array [B, ...]")
    rows = jax.tree.leaves(x)[0].shape[0]
    stateful = with_state(network)
    both = jax.jit(jax.vmap(lambda key: stateful.init(key, abstract(x), abstract(condition))))(keys(2))
    params, state = jax.tree.map(lambda leaf: leaf[0], both)
    other, _ = jax.tree.map(lambda leaf: leaf[1], both)
    require_alike((params, state), jax.eval_shape(stateful.init, second, x, condition), "init reads values of x:")
    for leaf in jax.tree.leaves(params):
        require(
            not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype == jnp.float32,
            f"parameters must be float32, got {leaf.dtype}",
        )

    y, new = jax.eval_shape(lambda p, s, r, x, c: stateful.apply(p, s, r, x, c), params, state, second, x, condition)
    require_rows(y, rows, "output")
    require_alike(new, abstract(state), "the state after a call with a key")

    def everything(params, state, key, x):
        def row(x, condition):
            one = jax.tree.map(lambda leaf: leaf[None], (x, condition))
            return jax.tree.map(lambda leaf: leaf[0], stateful.apply(params, state, None, *one)[0])

        def loss(params):
            y, new = stateful.apply(params, state, key, x, condition)
            # weights of their own for all outputs: a sum alone is constant behind a normalisation
            leaves = [(jax.random.normal(third, leaf.shape) * leaf).sum() for leaf in jax.tree.leaves(y)]
            return jnp.stack(leaves).sum(), (y, new)

        y, same = stateful.apply(params, state, None, x, condition)
        gradients, (_, new) = jax.grad(loss, has_aux=True)(params)
        return {"y": y, "same": same, "rows": jax.vmap(row)(x, condition), "new": new, "gradients": gradients}

    run = Compiled(everything, "apply")
    new = run(params, state, second, x)["new"]
    found, again = (run(params, new, key, x) for key in (second, third))
    require_finite(found["y"], "output")
    require_equal(found["y"], again["y"], "without a key a network must be deterministic, but output")
    require_equal(found["same"], new, "without a key the state must come back as it went in, but state")
    require_equal(found["rows"], found["y"], "a row must not depend on its batch, but output", 2e-5, 2e-5)
    learned = dict(enumerate(jax.tree.leaves(found["gradients"])))
    require_learning(learned, "params")
    if any(leaf.ndim > 1 for leaf in jax.tree.leaves(params)):
        require(differ(params, other), "init ignores its seed: two keys give the same parameters")
    run.require_pure(params, new, second, x)
