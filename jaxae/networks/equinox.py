"""Equinox modules as networks."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from jaxae.files.messages import shown
from jaxae.networks.stateful import AnyNetwork
from jaxae.types import Network, StatefulNetwork


def from_equinox(module: Any | Callable[[Array], Any]) -> AnyNetwork:
    """An Equinox module, which reads one example, as a network over batches.

    Args:
      module: function `key -> module`, so that `init` draws new parameters (those of an ensemble under `vmap`); or a
        module, whose arrays `init` returns for every key. A module with state is a pair of module and state, as
        `equinox.nn.make_with_state` returns. It is called as `module(x)` on one example, with the condition, the state
        and a key where its `__call__` has parameters `condition`, `state` and `key`.

    Returns:
      A `Network`; or a `StatefulNetwork` where the module has state (batch norm) or layers that
      `equinox.nn.inference_mode` switches (dropout). Params and state are dicts of arrays by their path in the module.
      Batch norm must have the axis name "batch".

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

    is_built = isinstance(module, eqx.Module | tuple)
    if not is_built and not callable(module):
        raise ValueError(f"from_equinox takes a module, a pair of module and state, or a function; got {shown(module)}")
    build = (lambda key: module) if is_built else module

    def built(key) -> tuple[Any, Any]:
        new_module = build(key)
        new_module = new_module if isinstance(new_module, tuple) else (new_module, None)
        if len(new_module) != 2 or not isinstance(new_module[0], eqx.Module):
            raise ValueError(
                "from_equinox takes a module, a pair of module and state (equinox.nn.make_with_state), or a function "
                f"key -> either; got {type(new_module[0]).__name__}"
            )
        return new_module

    abstract, abstract_state = eqx.filter_eval_shape(built, jax.random.key(0))
    template, static = eqx.partition(abstract, lambda leaf: hasattr(leaf, "shape") and hasattr(leaf, "dtype"))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(template)]
    state_leaves, state_structure = jax.tree.flatten(abstract_state)
    parameters = inspect.signature(type(abstract).__call__).parameters
    names = [name for name in ("condition", "state", "key") if name in parameters]
    switched = [leaf for leaf in jax.tree.leaves(abstract, is_leaf=_has_mode) if _has_mode(leaf)]

    def init(rng, x, condition=None):
        new_module, state = built(rng)
        leaves = jax.tree.leaves(eqx.filter(new_module, eqx.is_array))
        params = dict(zip(paths, leaves, strict=True))
        return params, {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state))}

    def apply(params, state, rng, x, condition=None):
        arrays = jax.tree.unflatten(jax.tree.structure(template), [params[path] for path in paths])
        new_module = eqx.nn.inference_mode(eqx.combine(arrays, static), value=rng is None)
        keyword_values = {
            "condition": condition,
            "state": jax.tree.unflatten(state_structure, [state[str(i)] for i in range(len(state_leaves))]),
            "key": None if rng is None else jax.random.split(rng, jax.tree.leaves(x)[0].shape[0]),
        }
        axes = {"condition": None if condition is None else 0, "state": None, "key": None if rng is None else 0}

        def on_example(x, *values):
            result = new_module(x, **dict(zip(names, values, strict=True)))
            return result if "state" in names else (result, None)

        in_axes, out_axes = (0, *(axes[name] for name in names)), (0, None)
        y, new_state = jax.vmap(on_example, in_axes, out_axes, axis_name="batch")(
            x, *(keyword_values[name] for name in names)
        )
        if rng is None or "state" not in names:
            return y, state
        return y, {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(new_state))}

    if switched or abstract_state is not None:
        return StatefulNetwork(init, apply)
    return Network(
        lambda rng, x, condition=None: init(rng, x)[0],
        lambda params, x, condition=None: apply(params, {}, None, x, condition)[0],
    )


def _has_mode(node: Any) -> bool:
    return hasattr(node, "inference")
