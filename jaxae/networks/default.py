"""The networks that presets use when none are given."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxae.networks.linen import stateless
from jaxae.types import Network

# The largest image that is read as one row: beyond it the first product alone has more than two million weights.
_WHOLE = 4096


def default_encoder(shape: Sequence[int], num_outputs: int, *, dtype: DTypeLike = jnp.float32) -> Network:
    """The encoder that presets use: `[B, *shape] -> [B, num_outputs]`, products and ReLUs.

    Products keep every kind of processor busy: in the same time, a perceptron reconstructs small images better than
    convolutions do. An image of more than 4096 numbers is cut into patches, of which every one passes through the
    same layer to a few features, so that neither the parameters nor the time grow with the image's area as those
    of a whole product would. A condition is ignored; `conditional` makes a network that reads one.

    Args:
      shape: one example's shape: `(H, W, C)`, or `(D,)` for a row of a table.
      num_outputs: the size of the bottleneck's input.
      dtype: compute type; parameters and output are float32.

    Returns:
      A `Network`.

    Raises:
      ValueError: a size below 1; (from `init` and `apply`) examples of another shape (but for the channels).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> encoder = networks.default_encoder((28, 28, 1), 32)
      >>> params = encoder.init(jax.random.key(0), jnp.ones((2, 28, 28, 1)))
      >>> encoder.apply(params, jnp.ones((2, 28, 28, 1))).shape
      (2, 32)
    """
    shape = _checked(shape, num_outputs)
    return stateless(_Encoder(shape, _widths(shape), num_outputs, _patch(shape), dtype))


def default_decoder(shape: Sequence[int], num_params: int = 1, *, dtype: DTypeLike = jnp.float32) -> Network:
    """The decoder that presets use: `[B, latent] -> [B, *shape[:-1], shape[-1] * num_params]`.

    The mirror of `default_encoder`.

    Args:
      shape: one example's shape: `(H, W, C)`, or `(D,)` for a row of a table.
      num_params: output channels for each data channel, the likelihood's `num_params`.
      dtype: compute type; parameters and output are float32.

    Returns:
      A `Network`.

    Raises:
      ValueError: a size below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> decoder = networks.default_decoder((28, 28, 1), num_params=2)
      >>> params = decoder.init(jax.random.key(0), jnp.ones((2, 32)))
      >>> decoder.apply(params, jnp.ones((2, 32))).shape
      (2, 28, 28, 2)
    """
    shape = _checked(shape, num_params)
    output_shape = (*shape[:-1], shape[-1] * num_params)
    return stateless(_Decoder(output_shape, _widths(shape)[::-1], _patch(shape), dtype))


def _checked(shape, outputs) -> tuple[int, ...]:
    shape = tuple(shape)
    if not shape or min(*shape, outputs) < 1:
        raise ValueError(f"an example's shape and the outputs must be 1 or more; got shape {shape}, outputs {outputs}")
    return shape


def _widths(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (512, 256) if math.prod(shape) > 256 else (128, 64)


def _patch(shape: tuple[int, ...]) -> int:
    """Patches' height and width: 1 for examples read whole, else about 16 patches along the longer side."""
    if len(shape) != 3 or math.prod(shape) <= _WHOLE:
        return 1
    return max(2, round(max(shape[:2]) / 16))


def _grid(shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    return -(-shape[0] // patch), -(-shape[1] // patch)


def _features(patch: int, shape: tuple[int, ...]) -> int:
    """Of one patch: such that the whole map has as many numbers as an image that is read as one row."""
    return max(8, _WHOLE // math.prod(_grid(shape, patch)))


class _Encoder(nn.Module):
    shape: tuple[int, ...]
    widths: tuple[int, ...]
    num_outputs: int
    patch: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x):
        if x.ndim != len(self.shape) + 1 or x.shape[1:-1] != self.shape[:-1]:
            raise ValueError(f"this encoder reads examples of shape {self.shape}; got a batch of shape {x.shape}")
        x = x.astype(self.dtype)
        if self.patch > 1:
            x = _cut(x, self.patch)
            x = nn.relu(nn.Dense(_features(self.patch, self.shape), dtype=self.dtype, name="patches")(x))
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width, dtype=self.dtype)(x))
        return nn.Dense(self.num_outputs, dtype=self.dtype)(x).astype(jnp.float32)


class _Decoder(nn.Module):
    output_shape: tuple[int, ...]
    widths: tuple[int, ...]
    patch: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x):
        for width in self.widths:
            x = nn.relu(nn.Dense(width, dtype=self.dtype)(x))
        if self.patch == 1:
            x = nn.Dense(math.prod(self.output_shape), dtype=self.dtype)(x)
            return x.reshape(x.shape[0], *self.output_shape).astype(jnp.float32)
        grid, features = _grid(self.output_shape, self.patch), _features(self.patch, self.output_shape)
        x = nn.relu(nn.Dense(math.prod(grid) * features, dtype=self.dtype)(x)).reshape(x.shape[0], *grid, features)
        x = nn.Dense(self.patch**2 * self.output_shape[2], dtype=self.dtype, name="patches")(x)
        return _join(x, self.patch)[:, : self.output_shape[0], : self.output_shape[1]].astype(jnp.float32)


def _cut(x, patch):
    """`[B, H, W, C] -> [B, h, w, patch * patch * C]`, zeros past the right and the lower edge."""
    rows, height, width, channels = x.shape
    h, w = _grid((height, width), patch)
    x = jnp.pad(x, ((0, 0), (0, h * patch - height), (0, w * patch - width), (0, 0)))
    return x.reshape(rows, h, patch, w, patch, channels).transpose(0, 1, 3, 2, 4, 5).reshape(rows, h, w, -1)


def _join(x, patch):
    """`[B, h, w, patch * patch * C] -> [B, h * patch, w * patch, C]`."""
    rows, h, w, size = x.shape
    x = x.reshape(rows, h, w, patch, patch, size // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(rows, h * patch, w * patch, -1)
