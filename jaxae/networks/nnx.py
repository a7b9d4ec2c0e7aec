"""Flax NNX modules as networks."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxae.networks.stateful import AnyNetwork
from jaxae.types import Network, StatefulNetwork


def from_nnx(module: nnx.Module | Callable[[nnx.Rngs], nnx.Module]) -> AnyNetwork:
    """A Flax NNX module as a network: split into its structure and its arrays, merged to be called.

    Args:
      module: a function `rngs -> module`, so that `init` draws fresh parameters (an ensemble's under `vmap`); or a
        module, whose own arrays `init` then returns whatever the key. It is called as `module(x)`, or
        `module(x, condition)` where its `__call__` has a parameter `condition`.

    Returns:
      A `Network` where the module keeps nothing but `nnx.Param`s; its params are nested dicts of them. Else a
      `StatefulNetwork`, whose state are nested dicts of the other variables (batch statistics). Calls with a key run
      the module as after `module.train()`, its random streams started from the key; calls without one as after
      `module.eval()`.

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
    takes_condition = "condition" in inspect.signature(type(abstract).__call__).parameters
    structures = {}
    for training, switch in ((True, abstract.train), (False, abstract.eval)):
        switch()
        structures[training], *templates = nnx.split(abstract, nnx.Param, nnx.RngState, ...)
    parameters, streams, others = templates

    def init_both(rng):
        made = build(nnx.Rngs(rng))
        _, params, _, state = nnx.split(made, nnx.Param, nnx.RngState, ...)
        return _with_text_keys(nnx.to_pure_dict(params)), _with_text_keys(nnx.to_pure_dict(state))

    def call(training, params, state, rng, x, condition):
        filled = (_filled(parameters, params), _started(streams, rng), _filled(others, state))
        merged: Any = nnx.merge(structures[training], *filled)
        return merged, merged(x, condition) if takes_condition else merged(x)

    def init_stateful(rng, x, condition=None):
        return init_both(rng)

    def apply_stateful(params, state, rng, x, condition=None):
        if rng is None:
            return call(False, params, state, jax.random.key(0), x, condition)[1], state
        merged, y = call(True, params, state, rng, x, condition)
        _, _, _, new = nnx.split(merged, nnx.Param, nnx.RngState, ...)
        return y, _with_text_keys(nnx.to_pure_dict(new))

    if nnx.to_flat_state(streams) or nnx.to_flat_state(others):
        return StatefulNetwork(init_stateful, apply_stateful)
    return Network(
        lambda rng, x, condition=None: init_both(rng)[0],
        lambda params, x, condition=None: call(False, params, {}, None, x, condition)[1],
    )


def _filled(template, values):
    """The template with these values, nested dicts with text for keys, in it."""
    state = jax.tree.map(lambda leaf: leaf, template)
    nnx.replace_by_pure_dict(state, _nested({path: _at(values, path) for path, _ in nnx.to_flat_state(template)}))
    return state


def _started(template, rng):
    """Random streams that start anew, each with a key of its own."""
    state = jax.tree.map(lambda leaf: leaf, template)
    values = {}
    for i, (path, variable) in enumerate(nnx.to_flat_state(template)):
        like = variable.get_value() if hasattr(variable, "get_value") else variable.value
        if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
            key = jax.random.fold_in(rng, i)
            values[path] = jax.random.split(key, like.shape) if like.shape else key
        else:
            values[path] = jnp.zeros(like.shape, like.dtype)
    nnx.replace_by_pure_dict(state, _nested(values))
    return state


def _with_text_keys(tree):
    """Lists of layers come with whole numbers as keys, which saved programs cannot hold."""
    return {str(k): _with_text_keys(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _at(values, path):
    for key in path:
        values = values[str(key)]
    return values


def _nested(flat):
    tree: dict = {}
    for path, leaf in flat.items():
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = leaf
    return tree
