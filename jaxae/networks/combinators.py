"""Networks without parameters of their own."""

import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.networks.stateful import AnyNetwork, around, with_state, without_state
from jaxae.types import Network, PyTree, StatefulNetwork

identity = Network(lambda rng, x, condition=None: (), lambda params, x, condition=None: x)
"""The `Network` that returns its input and has no parameters."""


def conditional(network: AnyNetwork) -> AnyNetwork:
    """A network that reads its condition as further channels: `network(concatenate([x, condition]))`.

    The condition is repeated over the axes of `x` between the first and the last.

    Args:
      network: reads `[B, ..., C + K]`; is handed the condition too.

    Returns:
      A network of the same kind from `x` `[B, ..., C]` and `condition` `[B, K]` (class labels: one-hot) or
      `[B, ..., K]`.

    Raises:
      ValueError: (from `init` and `apply`) there is no condition, or its shape does not fit `x`.

    Source: Sohn, Lee and Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative
    Models".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.conditional(networks.mlp(2))
      >>> x, labels = jnp.ones((5, 3)), jax.nn.one_hot(jnp.arange(5), 10)
      >>> params = network.init(jax.random.key(0), x, labels)
      >>> network.apply(params, x, labels).shape
      (5, 2)
    """

    def joined(x, condition):
        abstract = isinstance(x, jax.ShapeDtypeStruct)
        return (jax.eval_shape(_join, x, condition) if abstract else _join(x, condition)), condition

    return around(network, joined)


def frozen(function: Callable) -> Network:
    """Any function as a network without parameters: what it holds inside is a constant that nothing trains.

    Args:
      function: `x -> y`, or `(x, condition) -> y` where it has a parameter `condition`; row by row.

    Returns:
      A `Network` whose params are `()`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.frozen(lambda x: x @ jnp.ones((3, 2)))
      >>> network.apply(network.init(jax.random.key(0), jnp.ones((5, 3))), jnp.ones((5, 3))).shape
      (5, 2)
    """
    takes_condition = "condition" in inspect.signature(function).parameters

    def apply(params, x, condition=None):
        return function(x, condition) if takes_condition else function(x)

    return Network(lambda rng, x, condition=None: (), apply)


def shared_scale(network: AnyNetwork, log_variance: float = 0.0) -> AnyNetwork:
    """A decoder beside one learned number: `[prediction, log-variance]`, as `likelihoods.gaussian(None)` reads them.

    One scale for all elements of all examples: the sigma-VAE, which needs no weight on the KL. Where it has converged
    the scale is the optimal one, the root of the mean squared error.

    Args:
      network: gives `[B, ..., C]`, the mean.
      log_variance: where it starts (before the likelihood's bound of ±10).

    Returns:
      A network of the same kind that gives `[B, ..., 2 C]`; its params are a dict with "network" and "log_variance".

    Source: Rybkin, Daniilidis and Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders", section 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> decoder = networks.shared_scale(networks.mlp(3))
      >>> params = decoder.init(jax.random.key(0), jnp.ones((5, 2)))
      >>> decoder.apply(params, jnp.ones((5, 2))).shape
      (5, 6)
    """

    inner = with_state(network)

    def init(rng, x, condition=None):
        params, state = inner.init(rng, x, condition)
        return {"network": params, "log_variance": jnp.float32(log_variance)}, state

    def apply(params, state, rng, x, condition=None):
        mean, state = inner.apply(params["network"], state, rng, x, condition)
        return jnp.concatenate([mean, jnp.broadcast_to(params["log_variance"], mean.shape)], -1), state

    return StatefulNetwork(init, apply) if isinstance(network, StatefulNetwork) else without_state(init, apply)


def _join(x: Array, condition: PyTree) -> Array:
    if condition is None:
        raise ValueError("a conditional network needs a condition: set Batch.condition, or take conditional() away")
    if condition.ndim < 2 or condition.ndim > x.ndim or condition.shape[0] != x.shape[0]:
        raise ValueError(
            f"condition {condition.shape} does not fit x {x.shape}: it must be [B, channels] (labels: one-hot)"
        )
    middle = (1,) * (x.ndim - condition.ndim)
    spread = condition.reshape(condition.shape[0], *middle, *condition.shape[1:])
    return jnp.concatenate([x, jnp.broadcast_to(spread, (*x.shape[:-1], spread.shape[-1])).astype(x.dtype)], -1)
