"""Sorting scores by integer keys: XLA's CPU sort of one integer array is about five times faster than of floats.

Floats are ordered like their bits read as sign and magnitude, so an integer key can replace each. With one more bit
for the label, key and label are one 32-bit word, and only that word is sorted.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

_MAGNITUDE = jnp.iinfo(jnp.int32).max  # every bit but the sign


def order_key(values: Float[Array, " N"]) -> Int[Array, " N"]:
    """Integers in the order of float32 numbers: `key(-x) = -key(x)`, `key(-0.0) = key(0.0)`.

    Only bits are read: subnormal numbers keep their order where processors flush them to zero.

    Args:
      values: `[N]`, converted to float32.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.ordering import order_key
      >>> order_key(jnp.array([-1e-40, -0.0, 0.0, 1e-45])).tolist()
      [-71362, 0, 0, 1]
    """
    bits = jax.lax.bitcast_convert_type(jnp.asarray(values, jnp.float32), jnp.int32)
    # a set sign bit: the magnitude is negated, as two's complement orders negative integers the other way round
    return jnp.where(bits < 0, -(bits & _MAGNITUDE), bits)


def from_order_key(key: Int[Array, " N"]) -> Float[Array, " N"]:
    """The float32 numbers of which `order_key` made these keys.

    Args:
      key: `[N]` int32, keys of `order_key`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.ordering import from_order_key, order_key
      >>> from_order_key(order_key(jnp.array([-2.5, 0.0, 3.0]))).tolist()
      [-2.5, 0.0, 3.0]
    """
    # the inverse: magnitude of a negative key, with the sign bit set
    return jax.lax.bitcast_convert_type(jnp.where(key < 0, -key | ~_MAGNITUDE, key), jnp.float32)


def descending(scores: Float[Array, " N"]) -> Int[Array, " N"]:
    """Indices of the rows in descending order of score, stable on ties; -0.0 equals 0.0.

    Args:
      scores: `[N]`, higher is more anomalous.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.ordering import descending
      >>> descending(jnp.array([1.0, -0.0, 3.0, 0.0])).tolist()
      [2, 0, 1, 3]
    """
    return jnp.argsort(-order_key(scores))


def sort_with_labels(
    scores: Float[Array, " N"], labels: Int[Array, " N"]
) -> tuple[Float[Array, " N"], Int[Array, " N"]]:
    """Scores in descending order and the 0/1 label of each, by a sort of one word per row.

    The word has 31 bits for the score. They suffice for all floats between the least and the greatest score, without
    those nearer to zero than any score. Scores of both signs whose exponents together span 256 powers of two are
    sorted as two arrays, which is as exact and slower.

    Args:
      scores: `[N]`, higher is more anomalous.
      labels: `[N]`, 1 anomaly, 0 normal.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.ordering import sort_with_labels
      >>> [v.tolist() for v in sort_with_labels(jnp.array([1.0, -2.0, 3.0]), jnp.array([0, 1, 1]))]
      [[3.0, 1.0, -2.0], [1, 0, 1]]
    """
    key = -order_key(scores)
    # no row has a key of magnitude 1 to gap; closing that gap on both sides of 0 shortens the range of keys
    gap = jnp.min(jnp.where(key == 0, _MAGNITUDE, jnp.abs(key))) - 1

    def without_gap(key):
        return jnp.sign(key) * jnp.maximum(jnp.abs(key) - gap, 0)

    lowest, highest = without_gap(jnp.min(key)), without_gap(jnp.max(key))
    # the difference may overflow int32; modulo 2^32 it is right, and adding `lowest` back wraps around again
    code = (without_gap(key) - lowest).astype(jnp.uint32)
    label = labels.astype(jnp.uint32)

    def in_one_word():
        # the label is the lowest bit: it breaks ties between equal scores and changes no other order
        word = jnp.sort(code << 1 | label)
        return word >> 1, word & 1

    def as_two_arrays():
        return tuple(jax.lax.sort((code, label), num_keys=1))

    # compared as unsigned, since the range of keys may be as large as 2^32 - 2
    is_short = (highest - lowest).astype(jnp.uint32) <= jnp.uint32(_MAGNITUDE)
    code, label = jax.lax.cond(is_short, in_one_word, as_two_arrays)
    key = code.astype(jnp.int32) + lowest
    # key 0 (score 0.0) lies in the middle of the gap and stays; other keys move out by its width
    return from_order_key(-jnp.sign(key) * (jnp.abs(key) + jnp.where(key == 0, 0, gap))), label.astype(jnp.int32)
