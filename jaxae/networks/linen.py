"""Flax Linen modules as networks."""

import inspect
from typing import Any

import flax.errors
import flax.linen as nn
import jax

from jaxae.networks.stateful import AnyNetwork
from jaxae.types import Network, StatefulNetwork

# what modules call the argument that switches batch statistics and dropout, and its value in training
MODES = {"train": True, "training": True, "deterministic": False, "use_running_average": False}

_ADVICE = "give its __call__ an argument `train`, which batch norm and dropout read, and networks.from_linen trains it"


def from_linen(module: nn.Module) -> AnyNetwork:
    """A Flax Linen module as a network: with state where it has batch norm or dropout to switch, else without.

    Args:
      module: called as `module(x)`, or `module(x, condition)` where its `__call__` has a parameter `condition`. Where
        it has a parameter `train` (or `training`, `deterministic`, `use_running_average`) too, that is given by name:
        training in calls with a key, evaluation in calls without.

    Returns:
      Without such a parameter a `Network` whose params are the module's variables, `{"params": ...}`, and whose
      `hidden` gives the outputs of all its submodules, in the order in which they are called. With one a
      `StatefulNetwork`; its state holds the other collections, such as `{"batch_stats": ...}`.

    Raises:
      ValueError: (from `init` and `apply`) a module without such a parameter keeps batch statistics or draws random
        numbers.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.from_linen(nn.Dense(2))
      >>> params = network.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> network.apply(params, jnp.ones((5, 3))).shape
      (5, 2)
    """
    parameters = inspect.signature(type(module).__call__).parameters
    modes = [name for name in MODES if name in parameters]
    return _with_state(module, modes) if modes else stateless(module)


def stateless(module: nn.Module) -> Network:
    """`from_linen` of a module that is known to have nothing but parameters.

    Example:
      >>> import flax.linen as nn
      >>> from jaxae.networks.linen import stateless
      >>> network = stateless(nn.Dense(2))
    """
    name = type(module).__name__

    def init(rng, x, condition=None):
        variables: Any = module.lazy_init(rng, *jax.eval_shape(_arguments(module), x, condition))
        if extra := sorted(set(variables) - {"params"}):
            raise ValueError(f"{name} keeps {', '.join(extra)} beside its parameters: {_ADVICE}")
        return variables

    def apply(params, x, condition=None):
        try:
            return module.apply(params, *_arguments(module)(x, condition))
        except flax.errors.InvalidRngError:
            raise ValueError(f"{name} draws random numbers once it is initialised: {_ADVICE}") from None

    def hidden(params, x, condition=None):
        _, found = module.apply(
            params, *_arguments(module)(x, condition), capture_intermediates=_is_inside, mutable=["intermediates"]
        )
        return _in_order(found.get("intermediates", {}))

    return Network(init, apply, hidden)


def _with_state(module: nn.Module, modes: list[str]) -> StatefulNetwork:
    def switched(train) -> dict[str, Any]:
        return {name: MODES[name] if train else not MODES[name] for name in modes}

    def init(rng, x, condition=None):
        abstract = jax.eval_shape(_arguments(module), x, condition)
        # in evaluation mode: the statistics are to start untouched
        variables: Any = module.lazy_init(rng, *abstract, **switched(False))
        return {"params": variables.get("params", {})}, {k: v for k, v in variables.items() if k != "params"}

    def apply(params, state, rng, x, condition=None):
        arguments = _arguments(module)(x, condition)
        if rng is None:
            return module.apply({**params, **state}, *arguments, **switched(False)), state
        rngs = {"params": rng, "dropout": jax.random.fold_in(rng, 1)}
        y, new = module.apply({**params, **state}, *arguments, **switched(True), rngs=rngs, mutable=sorted(state))
        return y, {name: new.get(name, state[name]) for name in state}

    return StatefulNetwork(init, apply)


def _arguments(module):
    takes_condition = "condition" in inspect.signature(type(module).__call__).parameters
    return lambda x, condition: (x, condition) if takes_condition else (x,)


def _is_inside(module, method):
    return method == "__call__" and bool(module.path)


def _in_order(tree):
    """Leaves as they were put in: `jax.tree.leaves` would sort them by name."""
    nested = tree.values() if isinstance(tree, dict) else tree
    return [leaf for item in nested for leaf in (_in_order(item) if isinstance(item, dict | tuple) else [item])]
