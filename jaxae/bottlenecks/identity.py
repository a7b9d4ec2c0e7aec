"""The bottleneck of a plain autoencoder: the encoder's output is the latent."""

import jax.numpy as jnp

from jaxae.bottlenecks.tokens import require_input, without_padding
from jaxae.types import Bottleneck, Code, Prior


def identity(prior: Prior | None = None) -> Bottleneck:
    """The encoder's output is the latent, without penalty, probability model or `lookup`. Tokens that
    `condition["mask"]` `[B, ...]` leaves out are 0 in it.

    Args:
      prior: prior without parameters that `sample` draws from, where an objective matches the latents to it (a
        Wasserstein or adversarial autoencoder); None: no `sample`.

    Raises:
      ValueError: (from `init`) a prior with parameters: nothing here would train them.

    Source: Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> code, state = bottlenecks.identity().apply((), (), None, jnp.ones((2, 3)))
      >>> code.latent.shape, code.penalty.tolist()
      ((2, 3), [0.0, 0.0])
    """

    def init(rng, h, condition=None):
        if prior is not None and prior.init(rng, h, condition) != ():
            raise ValueError("identity takes a prior without parameters: nothing would train them here")
        return (), ()

    def apply(params, state, rng, h, condition=None):
        require_input("identity", h)
        return Code(latent=without_padding(h, condition), penalty=jnp.zeros(h.shape[0], jnp.float32)), state

    def sample(params, state, rng, h, condition=None):
        assert prior is not None
        return prior.sample((), rng, h, condition)

    return Bottleneck(init, apply, None if prior is None else sample)
