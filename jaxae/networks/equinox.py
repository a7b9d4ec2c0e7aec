"""Equinox modules as networks."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from jaxae.networks.stateful import AnyNetwork
from jaxae.types import Network, StatefulNetwork


def from_equinox(module: Any | Callable[[Array], Any]) -> AnyNetwork:
    """An Equinox module, which reads one example, as a network over batches.

    Args:
      module: a function `key -> module`, so that `init` draws fresh parameters (an ensemble's under `vmap`); or a
        module, whose own arrays `init` then returns whatever the key. A module with state comes as
        `equinox.nn.make_with_state` gives it, a pair of module and state. One example is given as `module(x)`, with
        the condition, the state and a key where its `__call__` has parameters `condition`, `state` and `key`.

    Returns:
      A `Network`; or a `StatefulNetwork` where the module has state (batch norm) or layers that are switched by
      `equinox.nn.inference_mode` (dropout). Params and state are dicts of arrays by their path in the module. Batch
      norm must have the axis name "batch".

    Raises:
      ValueError: Equinox is not installed; or `module` is neither a module, a pair with a state, nor a function that
        makes one.

    Example:
      >>> import equinox as eqx, jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.from_equinox(lambda key: eqx.nn.Linear(3, 2, key=key))
      >>> params = network.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> network.apply(params, jnp.ones((5, 3))).shape
      (5, 2)
    """
    try:
        import equinox as eqx
    except ImportError:
        raise ValueError("from_equinox needs Equinox: pip install 'jaxae[equinox]'") from None

    given = isinstance(module, eqx.Module | tuple)
    build = (lambda key: module) if given else module

    def built(key) -> tuple[Any, Any]:
        made = build(key)
        made = made if isinstance(made, tuple) else (made, None)
        if len(made) != 2 or not isinstance(made[0], eqx.Module):
            raise ValueError(
                "from_equinox takes a module, a pair of module and state (equinox.nn.make_with_state), or a function "
                f"key -> either; got {type(made[0]).__name__}"
            )
        return made

    abstract, abstract_state = eqx.filter_eval_shape(built, jax.random.key(0))
    like, rest = eqx.partition(abstract, lambda leaf: hasattr(leaf, "shape") and hasattr(leaf, "dtype"))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(like)]
    state_leaves, state_structure = jax.tree.flatten(abstract_state)
    parameters = inspect.signature(type(abstract).__call__).parameters
    names = [name for name in ("condition", "state", "key") if name in parameters]
    switched = [leaf for leaf in jax.tree.leaves(abstract, is_leaf=_has_mode) if _has_mode(leaf)]

    def init(rng, x, condition=None):
        made, state = built(rng)
        leaves = jax.tree.leaves(eqx.filter(made, eqx.is_array))
        params = dict(zip(paths, leaves, strict=True))
        return params, {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state))}

    def apply(params, state, rng, x, condition=None):
        arrays = jax.tree.unflatten(jax.tree.structure(like), [params[path] for path in paths])
        made = eqx.nn.inference_mode(eqx.combine(arrays, rest), value=rng is None)
        given = {
            "condition": condition,
            "state": jax.tree.unflatten(state_structure, [state[str(i)] for i in range(len(state_leaves))]),
            "key": None if rng is None else jax.random.split(rng, jax.tree.leaves(x)[0].shape[0]),
        }
        axes = {"condition": None if condition is None else 0, "state": None, "key": None if rng is None else 0}

        def one(x, *values):
            found = made(x, **dict(zip(names, values, strict=True)))
            return found if "state" in names else (found, None)

        in_axes, out_axes = (0, *(axes[name] for name in names)), (0, None)
        y, new = jax.vmap(one, in_axes, out_axes, axis_name="batch")(x, *(given[name] for name in names))
        if rng is None or "state" not in names:
            return y, state
        return y, {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(new))}

    if switched or abstract_state is not None:
        return StatefulNetwork(init, apply)
    return Network(
        lambda rng, x, condition=None: init(rng, x)[0],
        lambda params, x, condition=None: apply(params, {}, None, x, condition)[0],
    )


def _has_mode(node: Any) -> bool:
    return hasattr(node, "inference")
