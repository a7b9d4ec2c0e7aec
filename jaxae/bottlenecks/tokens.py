"""Tokens of discrete bottlenecks: padding is left out, symbols out of range are refused, NaN is marked."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array
from jax.core import Tracer

MAX_CODES = 2**31
"""Symbols are int32."""

DROPPED = -2
"""The symbol of a level that quantize dropout left out; -1 marks a token that is not finite."""


def unpadded(name: str, h: Array, condition=None, width: int | None = None) -> tuple[Array, Array | None]:
    """`h` in float32 with zeros where `condition["mask"]` is 0, and that mask (None where there is none).

    Padding is replaced, not multiplied by 0: a NaN in it reaches neither values nor gradients.

    Args:
      name: name of the bottleneck, for the error.
      h: `[B, ..., D]`, input of the bottleneck.
      condition: condition of the model; a mapping may hold "mask" `[B, ...]`, 1 where a token counts.
      width: required D; None accepts any.

    Raises:
      ValueError: the width or the mask's shape does not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.tokens import unpadded
      >>> unpadded("fsq", jnp.ones((1, 2, 1)), {"mask": jnp.array([[1, 0]])})[0].tolist()
      [[[1.0], [0.0]]]
    """
    if width is not None and h.shape[-1] != width:
        raise ValueError(f"{name}: the last axis of h must be {width}, got {h.shape[-1]}: change the encoder's width")
    h = h.astype(jnp.float32)
    mask = condition.get("mask") if isinstance(condition, Mapping) else None
    if mask is None:
        return h, None
    if mask.shape != h.shape[:-1]:
        raise ValueError(f'{name}: condition["mask"] must have a value per token, {h.shape[:-1]}, got {mask.shape}')
    # where, not a product: 0 * NaN is NaN, in the value and in the gradient
    return jnp.where(mask[..., None] > 0, h, 0.0), mask


def tokens_per_example(h: Array, mask: Array | None) -> Array:
    """Number of tokens of each example that count, `[B]` float32."""
    ones = jnp.ones(h.shape[:-1], jnp.float32) if mask is None else (mask > 0).astype(jnp.float32)
    return ones.sum(range(1, ones.ndim))


def checked_symbols(name: str, symbols: Array, num_codes: int) -> tuple[Array, Array]:
    """Symbols clipped to their range, and a mask of those that were in range.

    Args:
      name: name of the bottleneck, for the error.
      symbols: integers of any shape.
      num_codes: number of codes; symbols are in [0, num_codes).

    Raises:
      ValueError: a symbol is out of range and its value is known; under a trace the caller gives NaN instead.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.tokens import checked_symbols
      >>> checked_symbols("fsq", jnp.array([0, 3]), 4)[1].tolist()
      [True, True]
    """
    symbols = jnp.asarray(symbols)
    if not jnp.issubdtype(symbols.dtype, jnp.integer):
        raise ValueError(f"{name}: symbols must be integers, got {symbols.dtype}")
    symbols = symbols.astype(jnp.int32)
    top = num_codes - 1  # 2**31 itself is no int32
    in_range = (symbols >= 0) & (symbols <= top)
    if not isinstance(in_range, Tracer) and not bool(in_range.all()):
        low, high = int(symbols.min()), int(symbols.max())
        raise ValueError(f"{name}: symbols must be in [0, {num_codes}), got values from {low} to {high}")
    # clipped, so that a lookup under a trace stays in bounds; the caller puts NaN where `in_range` is False
    return jnp.clip(symbols, 0, top), in_range
