"""The bottleneck of a k-sparse autoencoder: the k largest latents of each token, and zeros."""

import jax
import jax.numpy as jnp

from jaxae.bottlenecks.tokens import require_input, without_padding
from jaxae.numerics import as_whole
from jaxae.types import Bottleneck, Code


def top_k(k: int, *, positive: bool = False) -> Bottleneck:
    """Keep the k channels of largest magnitude along the last axis; the others are 0 and get no gradient.

    A channel that no example keeps gets no gradient and stays off: `diagnostics.active_counts` and
    `train.latent_monitor` count such dead latents.

    Args:
      k: number of channels kept, at least 1 and at most the channels of `h`. Of equal values the first are kept.
      positive: whether channels are ranked by their value instead of their magnitude, and negative ones become 0: k
        active latents at most, as in the literature's sparse dictionaries. False: large negative values are kept too.

    Returns:
      A continuous `Bottleneck`; tokens that `condition["mask"]` `[B, ...]` leaves out are 0.

    Raises:
      ValueError: k is no whole number of at least 1, or (from `apply`) above the channels.

    Source: Makhzani and Frey 2014, "k-Sparse Autoencoders", section 2, which ranks by value; zeros in place of negative
    values: Gao et al. 2024, "Scaling and evaluating sparse autoencoders", section 2.3.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> h = jnp.array([[1.0, -3.0, 2.0]])
      >>> [bottlenecks.top_k(2, positive=p).apply((), (), None, h)[0].latent.tolist() for p in (False, True)]
      [[[0.0, -3.0, 2.0]], [[1.0, 0.0, 2.0]]]
    """
    if (whole := as_whole(k)) is None or whole < 1:
        raise ValueError(f"top_k must keep at least 1 latent, a whole number; got {k}")

    def apply(params, state, rng, h, condition=None):
        require_input("top_k", h)
        if k > h.shape[-1]:
            raise ValueError(f"top_k cannot keep {k} of {h.shape[-1]} latents")
        h = without_padding(h.astype(jnp.float32), condition)
        _, indices = jax.lax.top_k(h if positive else jnp.abs(h), k)
        # a sum of one-hot rows instead of a comparison with the k-th value, which would keep ties beyond k
        is_kept = jax.nn.one_hot(indices, h.shape[-1]).sum(-2) > 0
        # `h <= 0`, not `h > 0`: a NaN stays visible
        is_off = ~is_kept | (h <= 0) if positive else ~is_kept
        return Code(jnp.where(is_off, 0, h), jnp.zeros(h.shape[0], jnp.float32)), state

    return Bottleneck(lambda rng, h, condition=None: ((), ()), apply)
