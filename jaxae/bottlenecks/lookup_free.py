"""Lookup-free quantization: the signs of the channels are the code; plain, or on the unit sphere."""

import math

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.typing import ArrayLike

from jaxae.bottlenecks.directions import unit
from jaxae.bottlenecks.entropy import bit_entropy, mean_code_entropy
from jaxae.bottlenecks.tokens import checked_symbols, counted_tokens, tokens_per_example, unpadded
from jaxae.numerics import as_number, straight_through, sum_per_example
from jaxae.types import Bottleneck, Code


def lfq(
    bits: int,
    *,
    entropy: ArrayLike = 0.1,
    diversity: ArrayLike = 1.0,
    commitment: ArrayLike = 0.25,
    temperature: ArrayLike = 1.0,
    group_bits: int = 8,
    axis_name: str | None = None,
) -> Bottleneck:
    """The latent is the sign of each channel, -1 or 1 (-1 at 0); the gradient is straight-through, the identity.

    `penalty = entropy * (sum_t H(q_t) - diversity * T * H(mean q)) + commitment * sum_t |h_t - sg(latent_t)|^2` over
    an example's T tokens. `q_t` is the softmax of `-|h_t - code|^2 / temperature` over all `2 ** bits` codes: bits
    are independent in it, with logits `4 h / temperature`, so the first entropy is exact at any size. The mean is over
    the batch's tokens, its entropy exact within groups of `group_bits` bits, so the penalty depends on the batch:
    low entropy of each token makes its code certain, high entropy of the mean keeps codes in use.

    `rate` is `bits * log 2` nats a token, the code length under the uniform prior. NaN in `h` stays NaN in the
    latent, the token's symbol is -1.

    Args:
      bits: number of bits, 1 to 31, the width of `h`. For more, `grouped(lfq(bits), n)`.
      entropy: weight of the entropy terms, >= 0.
      diversity: weight of the mean's entropy against the tokens', >= 0.
      commitment: weight of the commitment term, >= 0.
      temperature: temperature of `q_t`, above 0.
      group_bits: number of bits in a group, 1 to 20; a group costs `N * 2 ** group_bits` multiplications.
      axis_name: name of the mapped axis of a step that `build_step` did not build; None: that of the train step, if
        any. The mean is over the tokens of all replicas.

    Returns:
      A `Bottleneck`; a token's symbol reads its bits, the first the least significant. `condition["mask"]` `[B, ...]`
      leaves padded tokens out.

    Raises:
      ValueError: an argument is out of its range; from `apply` a wrong width.

    Source: Yu et al. 2023, "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", section 3.1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks import lfq
      >>> code, _ = lfq(3).apply({}, (), None, jnp.array([[0.3, -2.0, 1.0]]))
      >>> code.latent.tolist(), code.symbols.tolist()
      ([[1.0, -1.0, 1.0]], [5])
    """
    return _signs("lfq", bits, False, entropy, diversity, commitment, temperature, group_bits, axis_name)


def bsq(
    bits: int,
    *,
    entropy: ArrayLike = 0.1,
    diversity: ArrayLike = 1.0,
    commitment: ArrayLike = 0.0,
    temperature: ArrayLike = 1.0,
    group_bits: int = 8,
    axis_name: str | None = None,
) -> Bottleneck:
    """Binary spherical quantization: `u = h / |h|`, the latent is `sign(u) / sqrt(bits)`, a corner on the unit sphere.

    Terms and arguments are those of `lfq` with u instead of h; its soft code has bit logits
    `4 sqrt(bits) u / temperature`, which is the softmax of `tau u . code` with `tau = 2 bits / temperature`. The
    sphere bounds the quantization error, so no commitment is needed. The gradient is straight-through to u: the
    Jacobian of latent to `h` is that of the normalisation, `(I - u u^T) / |h|`.

    Source: Zhao, Xiong and Krähenbühl 2024, "Image and Video Tokenization with Binary Spherical Quantization",
    section 4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks import bsq
      >>> code, _ = bsq(4).apply({}, (), None, jnp.array([[0.3, -2.0, 1.0, 7.0]]))
      >>> code.latent.tolist(), code.symbols.tolist()
      ([[0.5, -0.5, 0.5, 0.5]], [13])
    """
    return _signs("bsq", bits, True, entropy, diversity, commitment, temperature, group_bits, axis_name)


def _signs(name, bits, spherical, entropy, diversity, commitment, temperature, group_bits, axis_name) -> Bottleneck:
    _check(name, bits, entropy, diversity, commitment, temperature, group_bits)
    # corners of the unit sphere for bsq, of the cube for lfq
    scale = 1 / math.sqrt(bits) if spherical else 1.0

    def corner(is_positive):
        return jnp.where(is_positive, jnp.float32(scale), jnp.float32(-scale))

    def bit_positions(ndim):
        return jnp.arange(bits, dtype=jnp.int32).reshape((1,) * (ndim - 1) + (bits,))

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded(name, h, condition, bits)
        u = unit(h) if spherical else h
        latent = corner(u > 0)
        penalty = charge(u, latent, mask)
        # bit i of the symbol is the sign of channel i
        symbols = ((u > 0).astype(jnp.int32) << bit_positions(h.ndim)).sum(-1)
        symbols = jnp.where(jnp.isnan(u).any(-1), -1, symbols).astype(jnp.int32)
        rate = tokens_per_example(h, mask) * (bits * math.log(2))
        return Code(straight_through(latent, u), penalty, rate, symbols), state

    def charge(u, latent, mask):
        counted = None if mask is None else mask[..., None] > 0
        # -|u - s|^2 and -|u + s|^2 differ by 4 u s, with s = scale: the log-odds of a bit at this temperature
        logits = u * (4 / (scale * temperature))
        in_mean = counted_tokens(u, mask)
        weight = None if in_mean is None else in_mean.astype(jnp.float32).reshape(-1)
        # bits are independent in a token's soft code, but not in the mean over tokens
        mean_entropy = mean_code_entropy(logits.reshape(-1, bits), weight, group_bits, axis_name)
        token_entropy = sum_per_example(bit_entropy(logits), counted)
        distance = sum_per_example((u - stop_gradient(latent)) ** 2, counted)
        return (
            # mean_entropy is that of the whole batch; times the example's tokens it is in nats per example
            entropy * (token_entropy - diversity * tokens_per_example(u, mask) * mean_entropy) + commitment * distance
        )

    def lookup(params, state, symbols, condition=None):
        ids, in_range = checked_symbols(name, symbols, 2**bits)
        is_positive = (ids[..., None] >> bit_positions(ids.ndim + 1)) & 1 > 0
        return jnp.where(in_range[..., None], corner(is_positive), jnp.nan)

    def sample(params, state, rng, h, condition=None):
        return corner(jax.random.bernoulli(rng, 0.5, h.shape))

    return Bottleneck(lambda rng, h, condition=None: ({}, ()), apply, sample, lookup, 2**bits)


def _check(name, bits, entropy, diversity, commitment, temperature, group_bits):
    if not 1 <= bits <= 31:
        raise ValueError(f"{name}: bits must be in [1, 31], so that int32 holds the symbols; got {bits}: use grouped")
    if not 1 <= group_bits <= 20:
        raise ValueError(f"{name}: group_bits must be in [1, 20], got {group_bits}")
    for key, value in {"entropy": entropy, "diversity": diversity, "commitment": commitment}.items():
        if (number := as_number(value)) is not None and not 0 <= number < math.inf:
            raise ValueError(f"{name}: {key} must be a finite number >= 0, got {value}")
    if (number := as_number(temperature)) is not None and not 0 < number < math.inf:
        raise ValueError(f"{name}: temperature must be a finite number above 0, got {temperature}")
