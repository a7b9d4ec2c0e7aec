"""Networks with state (batch statistics, dropout) and networks without, behind one interface.

If encoder or decoder has state, the model's state is a dict with "networks" and "bottleneck"; otherwise it is the state
of the bottleneck. `evaluated` marks such a state so that the networks are deterministic even in calls with a key, which
likelihood bounds and validation need.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import Array

from jaxae.numerics import replica_axis, split_keys
from jaxae.types import Network, PyTree, StatefulNetwork

AnyNetwork = Network | StatefulNetwork

_TRAINED, _EVALUATED, _INNER = "networks", "evaluated_networks", "bottleneck"


def with_state(network: AnyNetwork) -> StatefulNetwork:
    """Any network as a `StatefulNetwork`; the state of a `Network` is `()`.

    Args:
      network: any network.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.with_state(networks.mlp(2))
      >>> params, state = network.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> network.apply(params, state, None, jnp.ones((5, 3)))[0].shape, state
      ((5, 2), ())
    """
    if isinstance(network, StatefulNetwork):
        return network
    if isinstance(network, nn.Module):
        # it has `init` and `apply` too, but a condition would pass for its second argument
        raise ValueError(f"{type(network).__name__} is a Linen module: pass networks.from_linen of it")

    def init(rng, x, condition=None):
        return network.init(rng, x, condition), ()

    def apply(params, state, rng, x, condition=None):
        return network.apply(params, x, condition), state

    return StatefulNetwork(init, apply)


def without_state(init: Callable, apply: Callable) -> Network:
    """A `Network` from the functions of a `StatefulNetwork` that keeps no state.

    Args:
      init: function `(rng, x, condition=None) -> (params, state)`.
      apply: function `(params, state, rng, x, condition=None) -> (y, state)`.

    Example:
      >>> from jaxae import networks
      >>> from jaxae.networks.stateful import without_state
      >>> network = without_state(*networks.with_state(networks.identity))
      >>> network.apply((), 3)
      3
    """
    return Network(
        lambda rng, x, condition=None: init(rng, x, condition)[0],
        lambda params, x, condition=None: apply(params, (), None, x, condition)[0],
    )


def require_stateless(name: str, network: AnyNetwork) -> Network:
    """The network; raises if it has state.

    Args:
      name: name of the caller, for the error.
      network: any network.

    Raises:
      ValueError: it is a `StatefulNetwork`.
    """
    if isinstance(network, StatefulNetwork):
        raise ValueError(
            f"{name} takes a network without state: batch statistics and dropout belong in the encoder or decoder of "
            "model.autoencoder (layer norm needs no state)"
        )
    return network


def around(
    network: AnyNetwork,
    before: Callable[[Any, Any], tuple[Any, Any]] = lambda x, condition: (x, condition),
    after: Callable[[Any], Any] = lambda y: y,
) -> AnyNetwork:
    """A network with functions without parameters before and after it; the result is of the same kind.

    Args:
      network: any network.
      before: function `(x, condition) -> (x, condition)`, which must accept abstract values.
      after: function `y -> y`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.around(networks.mlp(6), after=lambda y: y.reshape(-1, 3, 2))
      >>> params = network.init(jax.random.key(0), jnp.ones((5, 4)))
      >>> network.apply(params, jnp.ones((5, 4))).shape
      (5, 3, 2)
    """

    def init(rng, x, condition=None):
        return network.init(rng, *before(x, condition))

    if isinstance(network, StatefulNetwork):

        def apply_stateful(params, state, rng, x, condition=None):
            y, state = network.apply(params, state, rng, *before(x, condition))
            return after(y), state

        return StatefulNetwork(init, apply_stateful)

    def apply(params, x, condition=None):
        return after(network.apply(params, *before(x, condition)))

    return Network(init, apply)


def evaluated(state: PyTree) -> PyTree:
    """A model's state under which its networks use running statistics and no dropout, even in calls with a key.

    Other parts still read the key (the noise of a posterior). A state without networks is returned unchanged.

    Args:
      state: state of a model, or a tree that contains such states.

    Example:
      >>> from jaxae import networks
      >>> networks.evaluated({"model": {"networks": {"encoder": 1, "decoder": ()}, "bottleneck": 2}})
      {'model': {'bottleneck': 2, 'evaluated_networks': {'decoder': (), 'encoder': 1}}}
      >>> networks.evaluated({"counts": 3})
      {'counts': 3}
    """

    def mark(node):
        if not has_networks(node):
            return node
        bottleneck_state = evaluated(node[_INNER])
        return {
            _INNER: bottleneck_state,
            _EVALUATED: jax.tree.map(lambda leaf: leaf, node.get(_TRAINED, node.get(_EVALUATED))),
        }

    return jax.tree.map(mark, state, is_leaf=has_networks)


def kept(old: PyTree, new: PyTree, parts: Sequence[str]) -> PyTree:
    """The new state of a model, with the old state of some parts.

    Args:
      old: state of the model before a step.
      new: state of the model after the step.
      parts: names of the parts that keep the old state: "encoder", "bottleneck", "decoder".

    Example:
      >>> from jaxae.networks.stateful import kept
      >>> kept({"counts": 1}, {"counts": 2}, ["bottleneck"]), kept({"counts": 1}, {"counts": 2}, ["encoder"])
      ({'counts': 1}, {'counts': 2})
    """
    if not has_networks(old):
        return old if _INNER in parts else new
    (tag,) = {_TRAINED, _EVALUATED} & set(old)
    networks = {name: (old if name in parts else new)[tag][name] for name in old[tag]}
    return {tag: networks, _INNER: (old if _INNER in parts else new)[_INNER]}


class Opened(NamedTuple):
    """A model's state and key, split by part.

    Attributes:
      encoder: state of the encoder.
      inner: state of the bottleneck.
      decoder: state of the decoder.
      keys: keys of encoder, bottleneck and decoder; None for a network that is deterministic in this call.
    """

    encoder: PyTree
    inner: PyTree
    decoder: PyTree
    keys: tuple[Array | None, Array | None, Array | None]


class Pair(NamedTuple):
    """An encoder and a decoder of either kind, as networks with state.

    Attributes:
      encoder: network `x -> h`.
      decoder: network `latent -> prediction`.
      stateful: whether one of the two has state.
    """

    encoder: StatefulNetwork
    decoder: StatefulNetwork
    stateful: bool

    @classmethod
    def of(cls, encoder: AnyNetwork, decoder: AnyNetwork) -> "Pair":
        """The pair of two networks."""
        stateful = any(isinstance(network, StatefulNetwork) for network in (encoder, decoder))
        return cls(with_state(encoder), with_state(decoder), stateful)

    def opened(self, state: PyTree, rng: Array | None) -> Opened:
        """The state and the key of a call, split by part.

        Raises:
          ValueError: the call trains under a mapped step, where each replica would have different statistics.
        """
        if not self.stateful:
            return Opened((), state, (), (None, rng, None))
        # the tag of the state decides: an evaluated state never trains, even in calls with a key
        training = _TRAINED in state
        networks = state[_TRAINED if training else _EVALUATED]
        if training and rng is not None and (axis := replica_axis()) is not None:
            raise ValueError(
                f"networks with state would keep other statistics on each replica of the axis {axis!r}: train them by "
                "parallel.jit_step, whose batch is one"
            )
        encoder_rng, inner_rng, decoder_rng = split_keys(rng, 3)
        keys = (encoder_rng, inner_rng, decoder_rng) if training else (None, inner_rng, None)
        return Opened(networks["encoder"], state[_INNER], networks["decoder"], keys)

    def closed(self, before: PyTree, encoder: PyTree, inner: PyTree, decoder: PyTree) -> PyTree:
        """The new state, in the form of the state before the call."""
        if not self.stateful:
            return inner
        tag = _EVALUATED if isinstance(before, dict) and _EVALUATED in before else _TRAINED
        return {tag: {"encoder": encoder, "decoder": decoder}, _INNER: inner}


def has_networks(node: Any) -> bool:
    """Whether this is the state of a model with a stateful network."""
    return isinstance(node, dict) and set(node) in ({_TRAINED, _INNER}, {_EVALUATED, _INNER})
