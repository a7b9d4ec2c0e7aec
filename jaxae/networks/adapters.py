"""Flax modules as `Network`s."""

import inspect
from typing import Any

import flax.linen as nn
import jax

from jaxae.types import Network


def from_linen(module: nn.Module) -> Network:
    """A Flax Linen module as a `Network`.

    Args:
      module: called as `module(x)`, or `module(x, condition)` where its `__call__` has a parameter `condition`. It
        may keep no variables but parameters, and may need no random numbers once it is initialised.

    Returns:
      A `Network` whose params are the module's variables, `{"params": ...}`.

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

    return Network(init, apply)
