"""A trained bottleneck that learns no more."""

import jax
from jax.lax import stop_gradient

from jaxae.types import Bottleneck


def frozen(bottleneck: Bottleneck) -> Bottleneck:
    """The bottleneck with its parameters and its state as they are: a trained codebook behind an encoder that learns.

    The state never changes (no moving averages, no restarts, no step of a schedule) and the parameters get no
    gradient; the gradient to `h` is the bottleneck's own. Params and state are those of the bottleneck, so trained ones
    fit. An optimizer that decays weights would still move parameters without a gradient: put
    `objectives.partial(objective, "bottleneck")` around the objective where there are any.

    Args:
      bottleneck: any `Bottleneck`.

    Returns:
      A `Bottleneck`; calls with a key still draw.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.frozen(bottlenecks.vector_quantizer(4))
      >>> h = jax.random.normal(jax.random.key(0), (6, 3))
      >>> params, state = layer.init(jax.random.key(1), h)
      >>> _, new = layer.apply(params, state, jax.random.key(2), h)
      >>> bool((new["codebook"] == state["codebook"]).all())
      True
    """

    def apply(params, state, rng, h, condition=None):
        code, _ = bottleneck.apply(jax.tree.map(stop_gradient, params), state, rng, h, condition)
        return code, state

    estimator = bottleneck.estimator
    # in a stack, too, the codes get no gradient
    estimator = None if estimator is None else estimator._replace(codes=None)
    return bottleneck._replace(apply=apply, estimator=estimator)
