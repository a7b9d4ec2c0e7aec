"""Flax Linen modules as networks."""

import contextlib
import inspect
from typing import Any

import flax.errors
import flax.linen as nn
import jax

from jaxae.networks.stateful import AnyNetwork
from jaxae.types import Network, StatefulNetwork

# names of the argument that switches batch statistics and dropout, with its value in training
MODES = {"train": True, "training": True, "deterministic": False, "use_running_average": False}

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_ADVICE = "give its __call__ an argument `train`, which batch norm and dropout read, and networks.from_linen trains it"


def from_linen(module: nn.Module) -> AnyNetwork:
    """A Flax Linen module as a network: with state if it can switch batch norm or dropout, else without.

    Args:
      module: module that is called as `module(x)`, or `module(x, condition)` if its `__call__` has a parameter
        `condition`. A parameter `train` (or `training`, `deterministic`, `use_running_average`) is passed by name:
        training in calls with a key, evaluation in calls without.

    Returns:
      Without such a parameter a `Network` whose params are the module's variables, `{"params": ...}`, and whose
      `hidden` gives the outputs of all its submodules, in the order in which they are called. With one a
      `StatefulNetwork`; its state holds the other collections, such as `{"batch_stats": ...}`.

    Raises:
      ValueError: `__call__` has another parameter without a default; (from `init` and `apply`) a module without such a
        parameter keeps batch statistics or draws random numbers, or one with it draws in evaluation too.

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
    given = {"self", "condition", *modes}
    required = [
        name
        for name, parameter in parameters.items()
        if name not in given and parameter.default is parameter.empty and parameter.kind not in _VARIABLE
    ]
    if len(required) != 1:
        raise ValueError(
            f"{type(module).__name__}: __call__ must need x alone, beside condition and one of {', '.join(MODES)}; "
            f"it needs {', '.join(required) or 'nothing'}: give the others a default"
        )
    return _with_state(module, modes) if modes else stateless(module)


def stateless(module: nn.Module) -> Network:
    """`from_linen` of a module that has parameters alone.

    Args:
      module: module without batch statistics or dropout.

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
        with _refusing_draws(f"{name} draws random numbers once it is initialised"):
            return module.apply(params, *_arguments(module)(x, condition))

    def hidden(params, x, condition=None):
        with _refusing_draws(f"{name} draws random numbers once it is initialised"):
            _, collections = module.apply(
                params, *_arguments(module)(x, condition), capture_intermediates=_is_inside, mutable=["intermediates"]
            )
        return _in_order(collections.get("intermediates", {}))

    return Network(init, apply, hidden)


def _with_state(module: nn.Module, modes: list[str]) -> StatefulNetwork:
    def switched(train) -> dict[str, Any]:
        return {name: MODES[name] if train else not MODES[name] for name in modes}

    def init(rng, x, condition=None):
        abstract = jax.eval_shape(_arguments(module), x, condition)
        # in evaluation mode, so that the initial statistics are not updated
        variables: Any = module.lazy_init(rng, *abstract, **switched(False))
        return {"params": variables.get("params", {})}, {k: v for k, v in variables.items() if k != "params"}

    def apply(params, state, rng, x, condition=None):
        arguments = _arguments(module)(x, condition)
        if rng is None:
            with _refusing_draws(f"{type(module).__name__} draws random numbers in evaluation"):
                return module.apply({**params, **state}, *arguments, **switched(False)), state
        rngs = {"params": rng, "dropout": jax.random.fold_in(rng, 1)}
        y, new_state = module.apply({**params, **state}, *arguments, **switched(True), rngs=rngs, mutable=sorted(state))
        return y, {name: new_state.get(name, state[name]) for name in state}

    return StatefulNetwork(init, apply)


@contextlib.contextmanager
def _refusing_draws(what):
    try:
        yield
    except flax.errors.InvalidRngError:
        raise ValueError(f"{what}: {_ADVICE}") from None
    except flax.errors.ScopeParamShapeError as error:
        text = str(error).split(" (http")[0]
        raise ValueError(f"the parameters are of another input width: {text}") from None


def _arguments(module):
    takes_condition = "condition" in inspect.signature(type(module).__call__).parameters
    return lambda x, condition: (x, condition) if takes_condition else (x,)


def _is_inside(module, method):
    return method == "__call__" and bool(module.path)


def _in_order(tree):
    """Leaves in order of insertion; `jax.tree.leaves` would sort them by name."""
    nested = tree.values() if isinstance(tree, dict) else tree
    return [leaf for item in nested for leaf in (_in_order(item) if isinstance(item, dict | tuple) else [item])]
