"""Tokens of discrete bottlenecks: padding is left out, symbols out of range are refused, NaN is marked."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, ShapeDtypeStruct
from jax.core import Tracer

from jaxae.numerics import row_counts

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
    require_input(name, h)
    if width is not None and h.shape[-1] != width:
        raise ValueError(f"{name}: the last axis of h must be {width}, got {h.shape[-1]}: change the encoder's width")
    h = h.astype(jnp.float32)
    mask = mask_of(condition)
    if mask is None:
        return h, None
    if mask.shape != h.shape[:-1]:
        raise ValueError(f'{name}: condition["mask"] must have a value per token, {h.shape[:-1]}, got {mask.shape}')
    return without_padding(h, condition), mask


def require_input(name: str, h: Any) -> None:
    """Raise for an input of a bottleneck that is no `[B, ..., D]` of real numbers; its shape may be abstract.

    Args:
      name: name of the bottleneck, for the error.
      h: input of the bottleneck.

    Raises:
      ValueError: no array, fewer than two axes, no channels, or complex numbers (their imaginary part would be lost).
    """
    if not hasattr(h, "shape") or not hasattr(h, "dtype"):
        raise ValueError(f"{name}: h must be an array [B, ..., D], got a {type(h).__name__}")
    if not any(jnp.issubdtype(h.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise ValueError(f"{name}: h must hold real numbers, got {h.dtype}")
    if len(h.shape) < 2 or h.shape[-1] == 0:
        raise ValueError(f"{name}: h must be [B, ..., D] with at least one channel, got {h.shape}")


def mask_of(condition) -> Any:
    """The token mask of a condition, `condition["mask"]`, concrete or abstract; None where there is none."""
    mask = condition.get("mask") if isinstance(condition, Mapping) else None
    if mask is None or isinstance(mask, ShapeDtypeStruct | Array):
        return mask
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biuf":
        raise ValueError(f'condition["mask"] must hold 0 and 1, got {mask.dtype}')
    return jnp.asarray(mask)


def without_padding(x: Any, condition=None) -> Any:
    """`x` with zeros in its padded tokens, if `condition["mask"]` has a value for each of its tokens; else `x`.

    For what stands before a network: a NaN in padding would reach the gradients of the network's parameters.

    Args:
      x: `[B, ..., D]` of any dtype; trees are left as they are.
      condition: condition of the model, see `unpadded`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.tokens import without_padding
      >>> without_padding(jnp.array([[[1], [7]]]), {"mask": jnp.array([[1, 0]])}).tolist()
      [[[1], [0]]]
    """
    mask = mask_of(condition)
    if mask is None or not hasattr(x, "shape") or mask.shape != x.shape[:-1]:
        return x
    # where, not a product: 0 * NaN is NaN, in the value and in the gradient
    return jnp.where(mask[..., None] > 0, x, jnp.zeros((), x.dtype))


def refuse_mask(name: str, h: Array, condition=None) -> None:
    """Raise for what `require_input` refuses, and for a token mask that would be passed over in silence.

    Args:
      name: name of the bottleneck, for the error.
      h: `[B, ..., D]`, input of the bottleneck.
      condition: condition of the model; a mask of another shape than the tokens of `h` is for the encoder alone.

    Raises:
      ValueError: `condition["mask"]` has a value for each token of `h`.
    """
    require_input(name, h)
    mask = mask_of(condition)
    if mask is not None and len(h.shape) > 2 and mask.shape == h.shape[:-1]:
        raise ValueError(
            f'{name}: condition["mask"] {mask.shape} cannot leave tokens out here, where the prior is a density of the '
            "whole latent: let the encoder pool the tokens, or take a discrete bottleneck"
        )


def counted_tokens(h: Array, mask: Array | None) -> Array | None:
    """Which tokens count in statistics of the batch, `[B, ...]` bool: those of no padding, in rows of a weight.

    None where all do. An example's penalty and rate count the tokens of the mask alone, since the caller weighs them.

    Args:
      h: `[B, ..., D]`, input of the bottleneck.
      mask: mask of the tokens, see `unpadded`.
    """
    rows = row_counts(h.shape[0])
    if rows is None:
        return None if mask is None else mask > 0
    rows = jnp.broadcast_to(rows.reshape(-1, *(1,) * (h.ndim - 2)), h.shape[:-1])
    return rows if mask is None else rows & (mask > 0)


def whole_levels(name: str, levels: Any) -> tuple[int, ...]:
    """The numbers of levels of the channels, refused where they are no sequence of whole numbers."""
    if isinstance(levels, str) or not hasattr(levels, "__len__") or np.ndim(levels) != 1:
        raise ValueError(f"{name}: levels must be a sequence of whole numbers, such as (8, 5, 5), got {levels!r}")
    return tuple(int(level) for level in levels)


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
    if not isinstance(symbols, Array):
        symbols = np.asarray(symbols)
    if not jnp.issubdtype(symbols.dtype, jnp.integer):
        raise ValueError(f"{name}: symbols must be integers, got {symbols.dtype}")
    if not isinstance(symbols, Array) and symbols.size and np.abs(symbols).max() >= MAX_CODES:
        # a cast to int32 would wrap them into the range
        raise ValueError(f"{name}: symbols must be in [0, {num_codes}), got {symbols.max()}")
    symbols = jnp.asarray(symbols).astype(jnp.int32)
    top = num_codes - 1  # 2**31 itself is no int32
    in_range = (symbols >= 0) & (symbols <= top)
    if not isinstance(in_range, Tracer) and not bool(in_range.all()):
        low, high = int(symbols.min()), int(symbols.max())
        raise ValueError(f"{name}: symbols must be in [0, {num_codes}), got values from {low} to {high}")
    # clipped, so that a lookup under a trace stays in bounds; the caller puts NaN where `in_range` is False
    return jnp.clip(symbols, 0, top), in_range
