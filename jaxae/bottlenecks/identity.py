"""The bottleneck of a plain autoencoder: nothing but its width."""

import jax.numpy as jnp

from jaxae.types import Bottleneck, Code


def identity() -> Bottleneck:
    """The encoder's output is the latent; no charge, no probability model, so no `sample` and no `lookup`.

    Source: Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> code, state = bottlenecks.identity().apply((), (), None, jnp.ones((2, 3)))
      >>> code.latent.shape, code.penalty.tolist()
      ((2, 3), [0.0, 0.0])
    """

    def apply(params, state, rng, h, condition=None):
        return Code(latent=h, penalty=jnp.zeros(h.shape[0], jnp.float32)), state

    return Bottleneck(init=lambda rng, h, condition=None: ((), ()), apply=apply)
