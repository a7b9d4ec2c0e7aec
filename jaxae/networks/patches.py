"""Transformers over an image's patches: an encoder of the visible patches, a decoder that predicts all of them."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxae.networks.transformer import (
    _attend,
    _dense,
    _finish_block,
    _init_block,
    _init_dense,
    _init_norm,
    _norm,
    _split,
)
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
      shape: shape of one image, `(H, W, C)`; a side that is no multiple of the patch is padded with zeros.
      num_outputs: number of outputs for each token.
      patch: side of a patch, pixels.
      width: width of the vectors between the layers, a multiple of `heads`.
      depth: number of blocks.
      heads: number of attention heads.
      dtype: compute type; parameters and output are float32.

    Returns:
      A `Network` `[B, H, W, C] -> [B, V, num_outputs]`. `condition["visible"]`, `[B, V]` int32, holds the indices
      of the patches that are read (numbered row by row); without it all are read. Hidden patches cost no computation.

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
        patches_rng, blocks_rng = jax.random.split(rng)
        return {"patches": _init_dense(patches_rng, patch * patch * shape[2], width)} | _init(
            blocks_rng, sizes, num_outputs
        )

    def apply(params, x, condition=None):
        tokens = _to_patches(jnp.asarray(x), patch, sizes.grid)
        positions = params["positions"][None]
        if (visible := _visible(condition)) is not None:
            # hidden patches are dropped before the transformer, which is where the time is saved
            tokens = jnp.take_along_axis(tokens, visible[..., None], 1)
            positions = params["positions"][visible]
        return _transformed(params, _dense(params["patches"], tokens, dtype) + positions, sizes)

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
    """The mirror of `patch_encoder`: hidden patches are replaced by a learned vector, and all patches are predicted.

    Args:
      shape: shape of one image, `(H, W, C)`.
      num_params: number of output channels for each data channel, the likelihood's `num_params`.
      patch: side of a patch, pixels, as the encoder's.
      width: width of the vectors between the layers, a multiple of `heads`.
      depth: number of blocks.
      heads: number of attention heads.
      dtype: compute type; parameters and output are float32.

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
        latent_rng, hidden_rng, blocks_rng = jax.random.split(rng, 3)
        return {
            "latent": _init_dense(latent_rng, z.shape[-1], width),
            "hidden": 0.02 * jax.random.normal(hidden_rng, (width,)),
        } | _init(blocks_rng, sizes, patch * patch * channels)

    def apply(params, z, condition=None):
        tokens = _dense(params["latent"], z, dtype)
        if (visible := _visible(condition)) is not None:
            rows = jnp.arange(z.shape[0])[:, None]
            hidden_tokens = jnp.broadcast_to(params["hidden"], (z.shape[0], math.prod(sizes.grid), width))
            # every position starts as the learned hidden token; visible ones are written over it
            tokens = hidden_tokens.at[rows, visible].set(tokens)
        elif z.shape[1] != math.prod(sizes.grid):
            raise ValueError(f"{z.shape[1]} of {math.prod(sizes.grid)} patches came without condition['visible']")
        pixels = _transformed(params, tokens + params["positions"][None], sizes)
        return _from_patches(pixels, patch, sizes.grid, (*shape[:2], channels))

    return Network(init, apply)


def _init(rng: Array, sizes: _Sizes, num_outputs: int) -> dict:
    positions_rng, blocks_rng, last_rng = jax.random.split(rng, 3)
    return {
        "positions": 0.02 * jax.random.normal(positions_rng, (math.prod(sizes.grid), sizes.width)),
        "blocks": [_init_block(k, sizes.width, sizes.depth) for k in jax.random.split(blocks_rng, sizes.depth)],
        "norm": _init_norm(sizes.width),
        "last": _init_dense(last_rng, sizes.width, num_outputs),
    }


def _transformed(params: dict, x: Array, sizes: _Sizes) -> Array:
    attends_to = jnp.ones((1, 1, x.shape[1], x.shape[1]), bool)
    for block in params["blocks"]:
        # bidirectional: every visible patch reads every other
        q, k, v = _split(block, x, sizes.heads, sizes.dtype)
        x = _finish_block(block, x, _attend(q, k, v, attends_to, sizes.dtype), sizes.dtype)
    return _dense(params["last"], _norm(params["norm"], x), sizes.dtype)


def _visible(condition: PyTree) -> Array | None:
    return condition.get("visible") if isinstance(condition, Mapping) else None


def _to_patches(x: Array, patch: int, grid: tuple[int, int]) -> Array:
    """`[B, H, W, C] -> [B, patches, patch * patch * C]`."""
    bottom, right = (n * patch - side for n, side in zip(grid, x.shape[1:3], strict=True))
    x = jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)))
    # row of patches, row in a patch, column of patches, column in a patch: the swap puts a patch's pixels together
    x = x.reshape(x.shape[0], grid[0], patch, grid[1], patch, -1).swapaxes(2, 3)
    return x.reshape(x.shape[0], math.prod(grid), -1)


def _from_patches(tokens: Array, patch: int, grid: tuple[int, int], shape: tuple[int, ...]) -> Array:
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
