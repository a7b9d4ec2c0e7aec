"""Sign quantization: each channel is one bit, and nothing is learned."""

import math

import jax
import jax.numpy as jnp

from jaxae.numerics import as_number, straight_through, sum_per_example
from jaxae.testing import check_bottleneck
from jaxae.types import Bottleneck, Code


def signs(commitment: float = 0.25) -> Bottleneck:
    """`latent = sign(h)`, +1 or -1, with the identity as gradient; charges `commitment * sum (h - latent)^2`.

    Args:
      commitment: weight of the squared distance between `h` and its code, not negative.

    Returns:
      A `Bottleneck`; symbols are 1 where the latent is +1 and 0 where it is -1, one for each channel.

    Raises:
      ValueError: commitment is negative or not finite.

    Example:
      >>> code, _ = signs().apply({}, (), None, jnp.array([[0.5, -3.0]]))
      >>> code.latent.tolist(), code.symbols.tolist()
      ([[1.0, -1.0]], [[1, 0]])
    """
    if (number := as_number(commitment)) is not None and not 0 <= number < math.inf:
        raise ValueError(f"signs: commitment must be finite and not negative, got {commitment}")

    def lookup(params, state, symbols, condition=None):
        return 2.0 * symbols.astype(jnp.float32) - 1.0

    def apply(params, state, rng, h, condition=None):
        h = h.astype(jnp.float32)  # half precision would merge codes
        symbols = (h >= 0).astype(jnp.int32)
        hard = lookup(params, state, symbols)
        penalty = commitment * sum_per_example((h - hard) ** 2)
        # nats: the length of the code if all codes are alike
        rate = jnp.full(h.shape[0], math.prod(h.shape[1:]) * math.log(2), jnp.float32)
        return Code(straight_through(hard, h), penalty, rate, symbols), state

    def sample(params, state, rng, h, condition=None):
        return lookup(params, state, jax.random.bernoulli(rng, 0.5, h.shape))

    return Bottleneck(lambda rng, h, condition=None: ({}, ()), apply, sample, lookup, num_codes=2)


def test_signs_keep_the_contract():
    check_bottleneck(signs())
