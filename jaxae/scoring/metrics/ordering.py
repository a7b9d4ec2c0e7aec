"""Sorting scores by whole numbers: XLA's CPU sort of one integer array is about five times faster than of floats.

Floats compare like their bits read as sign and magnitude, so an integer key can stand for each. One bit says whether
a row is an anomaly: key and label then travel in one word, and nothing but that word is sorted.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

_MAGNITUDE = jnp.iinfo(jnp.int32).max  # every bit but the sign


def order_key(values: Float[Array, " N"]) -> Int[Array, " N"]:
    """Whole numbers in the order of float32 numbers, which may be negated: `key(-x) = -key(x)`, `key(-0.0) = key(0.0)`.

    Only bits are looked at: subnormal numbers keep their order where processors flush them to zero.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.ordering import order_key
      >>> order_key(jnp.array([-1e-40, -0.0, 0.0, 1e-45])).tolist()
      [-71362, 0, 0, 1]
    """
    bits = jax.lax.bitcast_convert_type(jnp.asarray(values, jnp.float32), jnp.int32)
    return jnp.where(bits < 0, -(bits & _MAGNITUDE), bits)


def from_order_key(key: Int[Array, " N"]) -> Float[Array, " N"]:
    """The float32 numbers that `order_key` gave these keys.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.ordering import from_order_key, order_key
      >>> from_order_key(order_key(jnp.array([-2.5, 0.0, 3.0]))).tolist()
      [-2.5, 0.0, 3.0]
    """
    return jax.lax.bitcast_convert_type(jnp.where(key < 0, -key | ~_MAGNITUDE, key), jnp.float32)


def descending(scores: Float[Array, " N"]) -> Int[Array, " N"]:
    """The rows in the order of falling scores, equal ones as they come; -0.0 equals 0.0.

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
    """Falling scores and the 0/1 label of each, by a sort of one word a row.

    The word has 31 bits for the score. That is enough for all floats between the least and the greatest score once
    those nearer to zero than any score are left out; scores of both signs whose exponents span 256 powers of two
    together are sorted in two arrays, which is as exact and slower.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.ordering import sort_with_labels
      >>> [v.tolist() for v in sort_with_labels(jnp.array([1.0, -2.0, 3.0]), jnp.array([0, 1, 1]))]
      [[3.0, 1.0, -2.0], [1, 0, 1]]
    """
    key = -order_key(scores)
    gap = jnp.min(jnp.where(key == 0, _MAGNITUDE, jnp.abs(key))) - 1  # keys 1 to gap are no row's

    def without_gap(key):
        return jnp.sign(key) * jnp.maximum(jnp.abs(key) - gap, 0)

    lowest, highest = without_gap(jnp.min(key)), without_gap(jnp.max(key))
    code = (without_gap(key) - lowest).astype(jnp.uint32)  # wraps around, and back
    flag = labels.astype(jnp.uint32)

    def in_one_word():
        word = jnp.sort(code << 1 | flag)
        return word >> 1, word & 1

    def in_two():
        return tuple(jax.lax.sort((code, flag), num_keys=1))

    fits = (highest - lowest).astype(jnp.uint32) <= jnp.uint32(_MAGNITUDE)  # as unsigned: may be 2^32 - 2
    code, flag = jax.lax.cond(fits, in_one_word, in_two)
    key = code.astype(jnp.int32) + lowest
    return from_order_key(-jnp.sign(key) * (jnp.abs(key) + jnp.where(key == 0, 0, gap))), flag.astype(jnp.int32)
