"""Transformers over an image's patches: an encoder that reads the visible ones, a decoder that fills in the rest."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxae.networks.transformer import _attend, _close, _dense, _init_block, _init_dense, _init_norm, _norm, _split
from jaxae.types import Network, PyTree


class _Sizes(NamedTuple):
    grid: tuple[int, int]
    width: int
    depth: int
    heads: int
    dtype: DTypeLike


def patch_encoder(
    shape: Sequence[int],
    num_outputs: int,
    *,
    patch: int = 4,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """A vision transformer: patches, their positions, `depth` blocks of attention, `num_outputs` for each patch.

    Args:
      shape: `(H, W, C)` of one image; a side that is no multiple of the patch is filled up with zeros.
      num_outputs: numbers for each token.
      patch: side of a patch, pixels.
      width: of the vectors between the layers, a multiple of `heads`.
      depth: blocks.
      heads: of the attention.
      dtype: compute type; parameters and output are float32.

    Returns:
      A `Network` `[B, H, W, C] -> [B, V, num_outputs]`. `condition["visible"]`, `[B, V]` int32, says which patches are
      read (row by row); without it all are. Hidden patches cost nothing.

    Raises:
      ValueError: the shape is no image's, a size is below 1, or the heads do not divide the width.

    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; He et al. 2022, "Masked Autoencoders Are Scalable
    Vision Learners", section 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> encoder, x = networks.patch_encoder((8, 8, 1), 5, width=8, depth=1), jnp.ones((2, 8, 8, 1))
      >>> params = encoder.init(jax.random.key(0), x)
      >>> encoder.apply(params, x, {"visible": jnp.array([[0], [3]])}).shape
      (2, 1, 5)
    """
    sizes = _checked("patch_encoder", shape, patch, width, depth, heads, dtype, num_outputs)

    def init(rng, x, condition=None):
        read, rest = jax.random.split(rng)
        return {"patches": _init_dense(read, patch * patch * shape[2], width)} | _init(rest, sizes, num_outputs)

    def apply(params, x, condition=None):
        tokens = _cut(jnp.asarray(x), patch, sizes.grid)
        places = params["positions"][None]
        if (visible := _visible(condition)) is not None:
            tokens = jnp.take_along_axis(tokens, visible[..., None], 1)
            places = params["positions"][visible]
        return _through(params, _dense(params["patches"], tokens, dtype) + places, sizes)

    return Network(init, apply)


def patch_decoder(
    shape: Sequence[int],
    num_params: int = 1,
    *,
    patch: int = 4,
    width: int = 64,
    depth: int = 1,
    heads: int = 4,
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """The mirror of `patch_encoder`: a learned vector stands for each hidden patch, and all patches are predicted.

    Args:
      shape: `(H, W, C)` of one image.
      num_params: output channels for each data channel, the likelihood's `num_params`.
      patch: as the encoder's.
      width: as the encoder's, as are the others.
      depth: blocks.
      heads: of the attention.
      dtype: compute type.

    Returns:
      A `Network` `[B, V, D] -> [B, H, W, C * num_params]`; reads the same `condition["visible"]`.

    Raises:
      ValueError: as `patch_encoder`.

    Source: He et al. 2022, section 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> decoder, z = networks.patch_decoder((8, 8, 1), width=8), jnp.ones((2, 1, 5))
      >>> params = decoder.init(jax.random.key(0), z)
      >>> decoder.apply(params, z, {"visible": jnp.array([[0], [3]])}).shape
      (2, 8, 8, 1)
    """
    sizes = _checked("patch_decoder", shape, patch, width, depth, heads, dtype, num_params)
    channels = shape[2] * num_params

    def init(rng, z, condition=None):
        read, hidden, rest = jax.random.split(rng, 3)
        return {
            "latent": _init_dense(read, z.shape[-1], width),
            "hidden": 0.02 * jax.random.normal(hidden, (width,)),
        } | _init(rest, sizes, patch * patch * channels)

    def apply(params, z, condition=None):
        tokens = _dense(params["latent"], z, dtype)
        if (visible := _visible(condition)) is not None:
            rows = jnp.arange(z.shape[0])[:, None]
            unseen = jnp.broadcast_to(params["hidden"], (z.shape[0], math.prod(sizes.grid), width))
            tokens = unseen.at[rows, visible].set(tokens)
        elif z.shape[1] != math.prod(sizes.grid):
            raise ValueError(f"{z.shape[1]} of {math.prod(sizes.grid)} patches came without condition['visible']")
        pixels = _through(params, tokens + params["positions"][None], sizes)
        return _joined(pixels, patch, sizes.grid, (*shape[:2], channels))

    return Network(init, apply)


def _init(rng: Array, sizes: _Sizes, num_outputs: int) -> dict:
    positions, blocks, last = jax.random.split(rng, 3)
    return {
        "positions": 0.02 * jax.random.normal(positions, (math.prod(sizes.grid), sizes.width)),
        "blocks": [_init_block(k, sizes.width, sizes.depth) for k in jax.random.split(blocks, sizes.depth)],
        "norm": _init_norm(sizes.width),
        "last": _init_dense(last, sizes.width, num_outputs),
    }


def _through(params: dict, x: Array, sizes: _Sizes) -> Array:
    seen = jnp.ones((1, 1, x.shape[1], x.shape[1]), bool)
    for block in params["blocks"]:
        q, k, v = _split(block, x, sizes.heads, sizes.dtype)
        x = _close(block, x, _attend(q, k, v, seen, sizes.dtype), sizes.dtype)
    return _dense(params["last"], _norm(params["norm"], x), sizes.dtype)


def _visible(condition: PyTree) -> Array | None:
    return condition.get("visible") if isinstance(condition, Mapping) else None


def _cut(x: Array, patch: int, grid: tuple[int, int]) -> Array:
    """`[B, H, W, C] -> [B, patches, patch * patch * C]`."""
    high, wide = (n * patch - side for n, side in zip(grid, x.shape[1:3], strict=True))
    x = jnp.pad(x, ((0, 0), (0, high), (0, wide), (0, 0)))
    x = x.reshape(x.shape[0], grid[0], patch, grid[1], patch, -1).swapaxes(2, 3)
    return x.reshape(x.shape[0], math.prod(grid), -1)


def _joined(tokens: Array, patch: int, grid: tuple[int, int], shape: tuple[int, ...]) -> Array:
    """The inverse of `_cut`."""
    x = tokens.reshape(tokens.shape[0], *grid, patch, patch, shape[2]).swapaxes(2, 3)
    return x.reshape(x.shape[0], grid[0] * patch, grid[1] * patch, shape[2])[:, : shape[0], : shape[1]]


def _checked(name, shape, patch, width, depth, heads, dtype, outputs) -> _Sizes:
    if len(shape) != 3 or min(*shape, patch, width, depth, heads, outputs) < 1 or width % heads:
        raise ValueError(
            f"{name}: an image's shape and sizes of at least 1 are needed, and heads that divide the width; got shape "
            f"{tuple(shape)}, patch {patch}, width {width}, depth {depth}, heads {heads}, outputs {outputs}"
        )
    return _Sizes((-(-shape[0] // patch), -(-shape[1] // patch)), width, depth, heads, dtype)
