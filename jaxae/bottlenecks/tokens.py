"""What every discrete bottleneck does with tokens: leave padding out, refuse foreign symbols, mark NaN."""

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

    Zeros, not a factor: whatever stands in the padding (a NaN too) reaches neither values nor gradients.

    Args:
      name: who asks, for the error.
      h: `[B, ..., D]`.
      condition: may be a mapping with "mask" `[B, ...]`, 1 where a token counts.
      width: the D that is needed; None takes any.

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
    return jnp.where(mask[..., None] > 0, h, 0.0), mask


def tokens_per_example(h: Array, mask: Array | None) -> Array:
    """How many tokens of each example count: `[B]` float32."""
    ones = jnp.ones(h.shape[:-1], jnp.float32) if mask is None else (mask > 0).astype(jnp.float32)
    return ones.sum(range(1, ones.ndim))


def checked_symbols(name: str, symbols: Array, num_codes: int) -> tuple[Array, Array]:
    """Symbols clipped into range, and where they were in range.

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
    known = (symbols >= 0) & (symbols <= top)
    if not isinstance(known, Tracer) and not bool(known.all()):
        low, high = int(symbols.min()), int(symbols.max())
        raise ValueError(f"{name}: symbols must be in [0, {num_codes}), got values from {low} to {high}")
    return jnp.clip(symbols, 0, top), known
