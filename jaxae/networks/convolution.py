"""Convolutions of image batches, in two forms with the same results.

`plain` is `lax.conv` on `[B, H, W, C]`, the fast form on accelerators. `products` is for XLA's CPU backend, whose
weight gradients of convolutions are many times slower than a matrix product: of transposed convolutions everywhere, of
all convolutions in `lax.scan`. It turns each convolution into one product per chunk of 32 rows. The rows are the last
axis, so that patches are gathered by copying contiguous memory, and the patches of a chunk stay in the cache.

Convolutions are padded to `ceil(size / stride)` outputs (as "SAME" is); a transposed convolution is the adjoint of
the convolution that reads its output's size, so every size can be reached. Kernels are `[k, k, C, O]`, for the
transposed convolution too, which maps `O` channels to `C`. `products` has no forward-mode derivative.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

ROWS = 32  # rows of a chunk: enough for vector units, few enough for a patch matrix to stay in the cache


class Form(NamedTuple):
    """A layout for images and the convolutions in it.

    Attributes:
      channel_axis: axis of the channels in the layout.
      enter: `[B, H, W, C] -> layout`.
      leave: `(layout, B) -> [B, H, W, C]`.
      per_channel: `[C]` -> array that broadcasts to the layout.
      convolve: `(x, kernel, stride) -> y`, in the arguments' dtype.
      transpose: `(y, kernel, stride, size) -> x`, the adjoint, of height and width `size`.
    """

    channel_axis: int
    enter: Callable
    leave: Callable
    per_channel: Callable
    convolve: Callable
    transpose: Callable


def _plain_convolve(x, kernel, stride):
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _plain_transpose(y, kernel, stride, size):
    x = jax.ShapeDtypeStruct((y.shape[0], *size, kernel.shape[2]), y.dtype)
    # the adjoint itself, so that both forms agree for every size, stride and kernel
    return jax.linear_transpose(lambda x: _plain_convolve(x, kernel, stride), x)(y)[0]


plain = Form(-1, lambda x: x, lambda x, rows: x, lambda b: b[None, None, None], _plain_convolve, _plain_transpose)


def _enter(x: Array) -> Array:
    rows = x.shape[0]
    chunks, width = 1, rows
    if isinstance(rows, int):  # a symbolic batch (export) is one chunk, as the number of chunks must be static
        chunks, width = -(-rows // ROWS), min(rows, ROWS)
        x = jnp.pad(x, ((0, chunks * width - rows), (0, 0), (0, 0), (0, 0)))
    return x.reshape(chunks, width, *x.shape[1:]).transpose(0, 4, 2, 3, 1)


def _leave(x: Array, rows: Any) -> Array:
    x = x.transpose(0, 4, 2, 3, 1)
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])[:rows]


class _Window(NamedTuple):
    """One axis of a convolution: each of `outputs` windows reads `taps * stride >= kernel` rows.

    Attributes:
      outputs: number of windows, `ceil(size / stride)`.
      taps: number of strides that a window covers.
      before: padding before the first row, as of "SAME".
      padded: number of rows after padding, a multiple of the stride.
    """

    outputs: int
    taps: int
    before: int
    padded: int


def _window(size: int, kernel: int, stride: int) -> _Window:
    outputs = -(-size // stride)
    taps = -(-kernel // stride)
    # "SAME": the padding that the last window needs, half of it in front
    before = max((outputs - 1) * stride + kernel - size, 0) // 2
    return _Window(outputs, taps, before, (outputs + taps - 1) * stride)


def _patches(x: Array, kernel: int, stride: int) -> Array:
    """`[C, H, W, n] -> [taps * taps * stride * stride * C, h * w * n]`, the patch of each window as a column."""
    channels, height, width, rows = x.shape
    down, across = _window(height, kernel, stride), _window(width, kernel, stride)
    # pad to whole strides, then split each side into (stride number, position inside the stride): a window is then
    # `taps` contiguous stride numbers at every position, so that slices gather all patches without an index
    pads = [(window.before, window.padded - size - window.before) for window, size in ((down, height), (across, width))]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    x = x.reshape(channels, down.padded // stride, stride, across.padded // stride, stride, rows)
    x = x.transpose(2, 4, 0, 1, 3, 5)
    h, w = down.outputs, across.outputs
    # slice (a, b) holds tap (a, b) of every window: no gather, only copies of contiguous rows
    taps = [x[:, :, :, a : a + h, b : b + w] for a in range(down.taps) for b in range(across.taps)]
    return jnp.stack(taps).reshape(-1, h * w * rows)


def _unpatch(columns: Array, shape: tuple, kernel: int, stride: int) -> Array:
    """The adjoint of `_patches`, `-> [C, H, W, n]` of `shape`: columns are added at the positions they came from."""
    channels, height, width, rows = shape
    down, across = _window(height, kernel, stride), _window(width, kernel, stride)
    h, w = down.outputs, across.outputs
    x = columns.reshape(down.taps, across.taps, stride, stride, channels, h, w, rows)
    taps = [
        jnp.pad(x[a, b], ((0, 0),) * 3 + ((a, down.taps - 1 - a), (b, across.taps - 1 - b), (0, 0)))
        for a in range(down.taps)
        for b in range(across.taps)
    ]
    # the adjoint of reading a value twice is adding both gradients
    x = functools.reduce(jnp.add, taps)
    x = x.transpose(2, 3, 0, 4, 1, 5).reshape(channels, down.padded, across.padded, rows)
    return x[:, down.before : down.before + height, across.before : across.before + width]


def _as_matrix(kernel: Array, stride: int) -> Array:
    """`[k, k, C, O] -> [taps * taps * stride * stride * C, O]`, its rows in the order of `_patches`."""
    size, _, channels, outputs = kernel.shape
    taps = -(-size // stride)
    # taps beyond the kernel's size have weight 0
    kernel = jnp.pad(kernel, ((0, taps * stride - size),) * 2 + ((0, 0),) * 2)
    kernel = kernel.reshape(taps, stride, taps, stride, channels, outputs)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(-1, outputs)


def _as_kernel(matrix: Array, shape: tuple, stride: int) -> Array:
    """The adjoint of `_as_matrix`."""
    size, _, channels, outputs = shape
    taps = -(-size // stride)
    kernel = matrix.reshape(taps, taps, stride, stride, channels, outputs).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(taps * stride, taps * stride, channels, outputs)[:size, :size]


def _over_chunks(f: Callable, total: Any, *arrays: Array) -> tuple[Any, Array]:
    """`f` returns a term of `total` and an output; the terms are summed and the outputs stacked over the chunks."""
    if arrays[0].shape[0] == 1:
        term, output = f(*(a[0] for a in arrays))
        return term, output[None]

    def accumulate(total, chunk):
        term, output = f(*chunk)
        return jax.tree.map(jnp.add, total, term), output

    return lax.scan(accumulate, total, arrays)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x, kernel, stride):
    k, _, _, outputs = kernel.shape
    # transposed once, outside of the loop over chunks: a product with a transposed left operand is slow
    matrix = _as_matrix(kernel, stride).T
    shape = (outputs, -(-x.shape[2] // stride), -(-x.shape[3] // stride), x.shape[4])
    return _over_chunks(lambda x: ((), (matrix @ _patches(x, k, stride)).reshape(shape)), (), x)[1]


def _convolve_forward(x, kernel, stride):
    return _convolve(x, kernel, stride), (x, kernel)


def _convolve_backward(stride, residuals, gradient):
    x, kernel = residuals
    k, _, _, outputs = kernel.shape
    matrix = _as_matrix(kernel, stride)

    def chunk(x, g):
        g = g.reshape(outputs, -1)
        # dL/dK sums patch times output gradient over windows and rows; float32 over chunks, whatever the compute type
        term = jnp.matmul(_patches(x, k, stride), g.T, preferred_element_type=jnp.float32)
        return term, _unpatch(matrix @ g, x.shape, k, stride)

    # one product for the kernel's gradient and one for the input's, per chunk
    total, dx = _over_chunks(chunk, jnp.zeros(matrix.shape, jnp.float32), x, gradient)
    return dx, _as_kernel(total, kernel.shape, stride).astype(kernel.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _transpose(y, kernel, stride, size):
    k, _, channels, outputs = kernel.shape
    matrix = _as_matrix(kernel, stride)
    shape = (channels, *size, y.shape[4])

    def chunk(y):
        return (), _unpatch(matrix @ y.reshape(outputs, -1), shape, k, stride)

    return _over_chunks(chunk, (), y)[1]


def _transpose_forward(y, kernel, stride, size):
    return _transpose(y, kernel, stride, size), (y, kernel)


def _transpose_backward(stride, size, residuals, gradient):
    y, kernel = residuals
    k, _, _, outputs = kernel.shape
    matrix = _as_matrix(kernel, stride).T

    def chunk(y, g):
        patches = _patches(g, k, stride)
        # the adjoint of a transposed convolution is the convolution: patches of the gradient
        term = jnp.matmul(patches, y.reshape(outputs, -1).T, preferred_element_type=jnp.float32)
        return term, (matrix @ patches).reshape(y.shape)

    total, dy = _over_chunks(chunk, jnp.zeros(matrix.T.shape, jnp.float32), y, gradient)
    return dy, _as_kernel(total, kernel.shape, stride).astype(kernel.dtype)


_transpose.defvjp(_transpose_forward, _transpose_backward)

products = Form(1, _enter, _leave, lambda b: b[None, :, None, None, None], _convolve, _transpose)
