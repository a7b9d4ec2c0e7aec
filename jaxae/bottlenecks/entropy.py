"""Entropies of soft binary codes: they factorise over bits, so no table of all codes is needed."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxae.numerics import over_replicas, replica_axis


def bit_entropy(logits: Array) -> Array:
    """Entropy of each bit of `Bernoulli(sigmoid(logits))` in nats; a token's entropy is the sum over its bits.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.entropy import bit_entropy
      >>> round(float(bit_entropy(jnp.float32(0.0))), 4)
      0.6931
    """
    return -jax.nn.sigmoid(logits) * jax.nn.log_sigmoid(logits) - jax.nn.sigmoid(-logits) * jax.nn.log_sigmoid(-logits)


def mean_code_entropy(
    logits: Float[Array, "N bits"],
    weight: Float[Array, " N"] | None = None,
    group_bits: int = 8,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Entropy of the mean of the tokens' code distributions, in nats: `log 2 * bits` when all codes are used alike.

    A group's mean distribution over its `2 ** g` codes is exact; groups are taken as independent, so the sum over
    groups is an upper bound of the joint entropy, and equals it for `group_bits >= bits`. The mean of outer products
    is one matrix product of the group's halves: memory `N * 2 ** (g / 2) + 2 ** g`, never `N * 2 ** g`.

    Args:
      logits: of each token's bits.
      weight: of each token, 0 where it only pads; None weighs all 1.
      group_bits: g, at most this many bits a group.
      axis_name: the mapped axis of a step of one's own; None: that of the train step, if it has one. The mean is over
        the tokens of all replicas.

    Source: the factorisation: Zhao, Xiong and Krähenbühl 2024, "Image and Video Tokenization with Binary Spherical
    Quantization", section 4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.entropy import mean_code_entropy
      >>> certain = jnp.array([[99.0, 99.0], [-99.0, -99.0]])
      >>> [round(float(mean_code_entropy(certain, group_bits=g)), 4) for g in (1, 2)]
      [1.3863, 0.6931]
    """
    tokens, bits = logits.shape
    axis = replica_axis(axis_name)
    weight = jnp.ones(tokens, jnp.float32) if weight is None else weight
    weight = weight / jnp.maximum(over_replicas(weight.sum(), axis), 1.0)
    total = jnp.zeros((), jnp.float32)
    for group in np.array_split(np.arange(bits), -(-bits // group_bits)):
        low, high = np.array_split(group, 2)
        left, right = _codes(logits[:, low]), _codes(logits[:, high])
        mean = jnp.matmul((left * weight[:, None]).T, right, precision=jax.lax.Precision.HIGHEST)
        total = total - _x_log_x(over_replicas(mean, axis)).sum()
    return total


def _codes(logits):
    """`[N, g] -> [N, 2 ** g]`: the probability of each code, by products of bits."""
    probabilities = jnp.ones((logits.shape[0], 1), jnp.float32)
    for i in range(logits.shape[1]):
        one, zero = jax.nn.sigmoid(logits[:, i, None]), jax.nn.sigmoid(-logits[:, i, None])
        probabilities = jnp.concatenate([probabilities * zero, probabilities * one], 1)
    return probabilities


def _x_log_x(p):
    # NaN must stay NaN, 0 must give 0 with a finite gradient
    empty = p < jnp.finfo(p.dtype).tiny
    return jnp.where(empty, 0.0, p * jnp.log(jnp.where(empty, 1.0, p)))
