"""The bottleneck of a k-sparse autoencoder: the k largest latents of each example, and zeros."""

import jax
import jax.numpy as jnp

from jaxae.types import Bottleneck, Code


def top_k(k: int) -> Bottleneck:
    """Keep the k channels of largest absolute value along the last axis; the others are 0 and get no gradient.

    Args:
      k: number of channels kept, at least 1 and at most the channels of `h`. Of equal values the first are kept.

    Raises:
      ValueError: k is below 1, or (from `apply`) above the channels.

    Source: Makhzani and Frey 2014, "k-Sparse Autoencoders", section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> code, _ = bottlenecks.top_k(2).apply((), (), None, jnp.array([[1.0, -3.0, 2.0]]))
      >>> code.latent.tolist()
      [[0.0, -3.0, 2.0]]
    """
    if k < 1:
        raise ValueError(f"top_k must keep at least 1 latent, got {k}")

    def apply(params, state, rng, h, condition=None):
        if k > h.shape[-1]:
            raise ValueError(f"top_k cannot keep {k} of {h.shape[-1]} latents")
        h = h.astype(jnp.float32)
        _, indices = jax.lax.top_k(jnp.abs(h), k)
        # a sum of one-hot rows instead of a comparison with the k-th value, which would keep ties beyond k
        is_kept = jax.nn.one_hot(indices, h.shape[-1]).sum(-2)
        return Code(jnp.where(is_kept > 0, h, 0), jnp.zeros(h.shape[0], jnp.float32)), state

    return Bottleneck(lambda rng, h, condition=None: ((), ()), apply)
