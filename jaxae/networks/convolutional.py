"""Residual convolutional encoder and decoder, for images of any size."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxae.networks.convolution import Form, plain, products
from jaxae.networks.linen import stateless
from jaxae.types import Network


def conv_encoder(
    shape: Sequence[int],
    num_outputs: int,
    *,
    channels: Sequence[int] = (32, 64, 128),
    num_blocks: int = 1,
    kernel: int = 4,
    stride: int = 2,
    spatial: bool = False,
    activation: Callable = nn.gelu,
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """Strided convolutions, each followed by residual blocks: `[B, H, W, C] -> [B, num_outputs]`.

    Each stage divides height and width by `stride`, rounding up. A residual block is
    `x + conv1x1(activation(conv3x3(activation(x))))`. A last linear layer reads the whole map, or each of its
    places. A condition is ignored. On CPUs the convolutions are matrix products (`networks.convolution`).

    Args:
      shape: one image's `(H, W, C)`, any size from 1.
      num_outputs: width of the output.
      channels: of each stage.
      num_blocks: residual blocks in each stage; 0 for plain convolutions.
      kernel: height and width of the strided convolutions' windows.
      stride: of each stage.
      spatial: keep the map, `[B, h, w, num_outputs]`, for codes with a place in the image.
      activation: the non-linearity.
      dtype: compute type; parameters and output are float32.

    Returns:
      A `Network`.

    Raises:
      ValueError: a shape that is not `(H, W, C)`, a size below 1; (from `init` and `apply`) other images.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning", section 4.1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> encoder = networks.conv_encoder((27, 20, 3), 8, channels=(4, 8))
      >>> params = jax.jit(encoder.init)(jax.random.key(0), jnp.ones((2, 27, 20, 3)))
      >>> jax.eval_shape(encoder.apply, params, jnp.ones((2, 27, 20, 3))).shape
      (2, 8)
    """
    shape = _checked(shape, channels, num_blocks, kernel, stride, num_outputs)
    stages = _Stages(tuple(channels), num_blocks, kernel, stride, activation, dtype)
    return _in_both_forms(_Encoder(shape, num_outputs, stages, spatial))


def conv_decoder(
    shape: Sequence[int],
    num_params: int = 1,
    *,
    channels: Sequence[int] = (32, 64, 128),
    num_blocks: int = 1,
    kernel: int = 4,
    stride: int = 2,
    activation: Callable = nn.gelu,
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """The mirror of `conv_encoder`: `[B, D]` or `[B, h, w, D] -> [B, H, W, C * num_params]`, exactly `shape`.

    Each stage is the adjoint of the encoder's convolution at that size, after residual blocks.

    Args:
      shape: one image's `(H, W, C)`, any size from 1.
      num_params: output channels for each data channel, the likelihood's `num_params`.
      channels: of the encoder's stages; the decoder runs through them from the last to the first.
      num_blocks: residual blocks in each stage; 0 for plain convolutions.
      kernel: height and width of the transposed convolutions' windows.
      stride: of each stage.
      activation: the non-linearity.
      dtype: compute type; parameters and output are float32.

    Returns:
      A `Network`.

    Raises:
      ValueError: a shape that is not `(H, W, C)`, a size below 1; (from `init` and `apply`) a latent map of
        another height and width than the encoder's.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning", section 4.1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> decoder = networks.conv_decoder((27, 20, 3), num_params=2, channels=(4, 8))
      >>> params = jax.jit(decoder.init)(jax.random.key(0), jnp.ones((2, 5)))
      >>> jax.eval_shape(decoder.apply, params, jnp.ones((2, 5))).shape
      (2, 27, 20, 6)
    """
    shape = _checked(shape, channels, num_blocks, kernel, stride, num_params)
    stages = _Stages(tuple(channels), num_blocks, kernel, stride, activation, dtype)
    return _in_both_forms(_Decoder((*shape[:2], shape[2] * num_params), stages))


def _checked(shape, channels, num_blocks, kernel, stride, outputs) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"a convolutional network reads images (height, width, channels); got shape {tuple(shape)}")
    if min(*shape, *channels, kernel, stride, outputs) < 1 or num_blocks < 0 or not channels:
        raise ValueError(
            f"sizes must be 1 or more: shape {tuple(shape)}, channels {tuple(channels)}, kernel {kernel}, "
            f"stride {stride}, outputs {outputs}, num_blocks {num_blocks} (0 or more)"
        )
    return tuple(shape)


def _in_both_forms(module) -> Network:
    """The form is chosen when a program is lowered for its platform, so that one export serves all of them."""
    network, on_cpu = stateless(module), stateless(module.clone(form=products))

    def apply(params, x, condition=None):
        return jax.lax.platform_dependent(params, x, cpu=on_cpu.apply, default=network.apply)

    return Network(network.init, apply, network.hidden)


class _Stages(NamedTuple):
    """What encoder and decoder share; a stage is a strided (or transposed) convolution and its residual blocks."""

    channels: tuple[int, ...]
    num_blocks: int
    kernel: int
    stride: int
    activation: Callable
    dtype: Any


class _Convolution(nn.Module):
    features: int
    kernel: int
    stride: int
    dtype: Any
    form: Form
    size: tuple[int, int] | None = None  # of the output, for a transposed convolution
    scale: float = 1.0

    @nn.compact
    def __call__(self, x):
        inputs = x.shape[self.form.channel_axis]
        if self.size is None:
            kernel_shape = (self.kernel, self.kernel, inputs, self.features)
            fan_in = self.kernel**2 * inputs
        else:  # a place of the output reads only some of the windows
            kernel_shape = (self.kernel, self.kernel, self.features, inputs)
            fan_in = max(self.kernel / self.stride, 1) ** 2 * inputs
        kernel = self.param("kernel", nn.initializers.normal(self.scale * math.sqrt(2 / fan_in)), kernel_shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        if self.size is None:
            x = self.form.convolve(x, kernel, self.stride)
        else:
            x = self.form.transpose(x, kernel, self.stride, self.size)
        return x + self.form.per_channel(bias)


class _Block(nn.Module):
    stages: _Stages
    form: Form

    @nn.compact
    def __call__(self, x):
        stages, features = self.stages, x.shape[self.form.channel_axis]
        y = _Convolution(features, 3, 1, stages.dtype, self.form)(stages.activation(x))
        # starts near the identity
        return x + _Convolution(features, 1, 1, stages.dtype, self.form, scale=0.1)(stages.activation(y))


class _Encoder(nn.Module):
    shape: tuple[int, int, int]
    num_outputs: int
    stages: _Stages
    spatial: bool
    form: Form = plain

    @nn.compact
    def __call__(self, x):
        stages, form, rows = self.stages, self.form, x.shape[0]
        if x.ndim != 4 or x.shape[1:3] != self.shape[:2]:
            raise ValueError(f"this encoder reads images of shape {self.shape}; got a batch of shape {x.shape}")
        x = form.enter(x.astype(stages.dtype))
        for i, features in enumerate(stages.channels):
            x = stages.activation(x) if i else x
            x = _Convolution(features, stages.kernel, stages.stride, stages.dtype, form)(x)
            for _ in range(stages.num_blocks):
                x = _Block(stages, form)(x)
        x = form.leave(stages.activation(x), rows)
        x = x if self.spatial else x.reshape(rows, -1)
        return nn.Dense(self.num_outputs, dtype=stages.dtype)(x).astype(jnp.float32)


class _Decoder(nn.Module):
    shape: tuple[int, int, int]
    stages: _Stages
    form: Form = plain

    @nn.compact
    def __call__(self, x):
        stages, form, rows = self.stages, self.form, x.shape[0]
        sizes = [self.shape[:2]]
        for _ in stages.channels:
            height, width = sizes[-1]
            sizes.append((-(-height // stages.stride), -(-width // stages.stride)))
        deepest = sizes.pop()
        if x.ndim != 2 and (x.ndim != 4 or x.shape[1:3] != deepest):
            raise ValueError(f"this decoder reads latents [B, D] or [B, {deepest[0]}, {deepest[1]}, D]; got {x.shape}")
        features = stages.channels[-1] if x.ndim == 4 else math.prod(deepest) * stages.channels[-1]
        x = nn.Dense(features, dtype=stages.dtype)(x)
        x = form.enter(x.reshape(rows, *deepest, stages.channels[-1]))
        outputs = (self.shape[2], *stages.channels[:-1])
        for size, features in zip(reversed(sizes), reversed(outputs), strict=True):
            for _ in range(stages.num_blocks):
                x = _Block(stages, form)(x)
            x = stages.activation(x)
            x = _Convolution(features, stages.kernel, stages.stride, stages.dtype, form, size)(x)
        return form.leave(x, rows).astype(jnp.float32)
