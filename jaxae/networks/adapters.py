"""Flax modules as `Network`s."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax import nnx

from jaxae.types import Network


def from_linen(module: nn.Module) -> Network:
    """A Flax Linen module as a `Network`.

    Args:
      module: called as `module(x)`, or `module(x, condition)` where its `__call__` has a parameter `condition`. It
        may keep no variables but parameters, and may need no random numbers once it is initialised.

    Returns:
      A `Network` whose params are the module's variables, `{"params": ...}`, and whose `hidden` gives the outputs of
      all its submodules, in the order in which they are called.

    Raises:
      ValueError: (from `init`) the module keeps other variables, such as batch statistics.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.from_linen(nn.Dense(2))
      >>> params = network.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> network.apply(params, jnp.ones((5, 3))).shape
      (5, 2)
    """
    takes_condition = "condition" in inspect.signature(type(module).__call__).parameters

    def arguments(x, condition):
        return (x, condition) if takes_condition else (x,)

    def init(rng, x, condition=None):
        abstract = jax.eval_shape(arguments, x, condition)
        variables: Any = module.lazy_init(rng, *abstract)
        extra = sorted(set(variables) - {"params"})
        if extra:
            raise ValueError(
                f"{type(module).__name__} keeps {', '.join(extra)} beside its parameters; a Network has no state: "
                "take out batch norm and the like (layer norm needs none)"
            )
        return variables

    def apply(params, x, condition=None):
        return module.apply(params, *arguments(x, condition))

    def hidden(params, x, condition=None):
        _, kept = module.apply(
            params, *arguments(x, condition), capture_intermediates=_is_inside, mutable=["intermediates"]
        )
        return _in_order(kept.get("intermediates", {}))

    return Network(init, apply, hidden)


def _is_inside(module, method):
    return method == "__call__" and bool(module.path)


def _in_order(tree):
    """Leaves as they were put in: `jax.tree.leaves` would sort them by name."""
    nested = tree.values() if isinstance(tree, dict) else tree
    return [leaf for item in nested for leaf in (_in_order(item) if isinstance(item, dict | tuple) else [item])]


def from_nnx(module: nnx.Module | Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """A Flax NNX module as a `Network`: split into its structure and its parameters, merged to be called.

    Args:
      module: a function `rngs -> module`, so that `init` draws fresh parameters (an ensemble's under `vmap`); or a
        module, whose own parameters `init` then returns whatever the key. It is called as `module(x)`, or
        `module(x, condition)` where its `__call__` has a parameter `condition`, and may keep nothing but
        `nnx.Param`s.

    Returns:
      A `Network` whose params are nested dicts of the module's parameters.

    Raises:
      ValueError: the module keeps other state, such as batch statistics or dropout's random numbers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxae import networks
      >>> network = networks.from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
      >>> params = network.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> network.apply(params, jnp.ones((5, 3))).shape
      (5, 2)
    """
    build = (lambda rngs: module) if isinstance(module, nnx.Module) else module
    abstract = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    structure, template, rest = nnx.split(abstract, nnx.Param, ...)
    extra = [f"{'.'.join(map(str, path))} ({type(value).__name__})" for path, value in nnx.to_flat_state(rest)]
    if extra:
        raise ValueError(
            f"{type(abstract).__name__} keeps {', '.join(extra)} beside its parameters; a Network has no state: take "
            "out batch norm and dropout (layer norm needs none)"
        )
    takes_condition = "condition" in inspect.signature(type(abstract).__call__).parameters
    paths = [path for path, _ in nnx.to_flat_state(template)]

    def init(rng, x, condition=None):
        del x, condition
        state = nnx.to_pure_dict(nnx.state(build(nnx.Rngs(rng)), nnx.Param))
        return _with_text_keys(state)

    def apply(params, x, condition=None):
        state = jax.tree.map(lambda leaf: leaf, template)
        nnx.replace_by_pure_dict(state, _nested({path: _at(params, path) for path in paths}))
        merged: Any = nnx.merge(structure, state)
        return merged(x, condition) if takes_condition else merged(x)

    return Network(init, apply)


def _with_text_keys(tree):
    """Lists of layers come with whole numbers as keys, which saved programs cannot hold."""
    return {str(k): _with_text_keys(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _at(params, path):
    for key in path:
        params = params[str(key)]
    return params


def _nested(flat):
    tree: dict = {}
    for path, leaf in flat.items():
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = leaf
    return tree
