"""Combinators of networks, and networks without parameters."""

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
      network: network that reads `[B, ..., C + K]`; it gets the condition too.

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

    def with_condition(x, condition):
        abstract = isinstance(x, jax.ShapeDtypeStruct)
        return (jax.eval_shape(_join, x, condition) if abstract else _join(x, condition)), condition

    return around(network, with_condition)


def frozen(function: Callable) -> Network:
    """Any function as a network without parameters; arrays that it closes over are constants.

    Args:
      function: function `x -> y`, or `(x, condition) -> y` if it has a parameter `condition`, that treats rows
        independently.

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
    """A decoder with one learned log-variance: `[mean, log-variance]`, as `likelihoods.gaussian(None)` reads them.

    All elements of all examples share the scale: the sigma-VAE, which needs no weight on the KL. After convergence the
    scale is the root of the mean squared error, which is optimal.

    Args:
      network: decoder to `[B, ..., C]`, the mean.
      log_variance: initial value (before the likelihood's bound of ±10).

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

    decoder = with_state(network)

    def init(rng, x, condition=None):
        params, state = decoder.init(rng, x, condition)
        return {"network": params, "log_variance": jnp.float32(log_variance)}, state

    def apply(params, state, rng, x, condition=None):
        mean, state = decoder.apply(params["network"], state, rng, x, condition)
        return jnp.concatenate([mean, jnp.broadcast_to(params["log_variance"], mean.shape)], -1), state

    return StatefulNetwork(init, apply) if isinstance(network, StatefulNetwork) else without_state(init, apply)


def _join(x: Array, condition: PyTree) -> Array:
    if condition is None:
        raise ValueError("a conditional network needs a condition: set Batch.condition, or take conditional() away")
    if condition.ndim < 2 or condition.ndim > x.ndim or condition.shape[0] != x.shape[0]:
        raise ValueError(
            f"condition {condition.shape} does not fit x {x.shape}: it must be [B, channels] (labels: one-hot)"
        )
    middle_axes = (1,) * (x.ndim - condition.ndim)
    # a condition per example is repeated over the axes in between, such as height and width
    broadcastable = condition.reshape(condition.shape[0], *middle_axes, *condition.shape[1:])
    return jnp.concatenate(
        [x, jnp.broadcast_to(broadcastable, (*x.shape[:-1], broadcastable.shape[-1])).astype(x.dtype)], -1
    )
