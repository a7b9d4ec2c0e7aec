"""A small pre-norm transformer over symbols, causal or bidirectional, with a cache for step-by-step draws."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxae.numerics import require_whole


class Transformer(NamedTuple):
    """A function from symbols to logits, as pure functions of its parameters.

    Attributes:
      init: `(rng, length) -> params`; `length` is the number of positions T.
      apply: `(params, symbols [B, T], condition [B] or None) -> logits [B, T, num_outputs]`.
      start: `(params, batch_size) -> cache`, empty, for T positions.
      step: `(params, cache, symbols [B], position, condition) -> (logits [B, num_outputs], cache)`: the logits of
        `apply` at this position, given these symbols and those of the steps before. None for a bidirectional
        transformer.
    """

    init: Callable
    apply: Callable
    start: Callable
    step: Callable | None


def transformer(
    num_inputs: int,
    num_outputs: int,
    *,
    width: int = 128,
    depth: int = 3,
    heads: int = 4,
    causal: bool = True,
    num_classes: int | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Transformer:
    """`x <- x + attention(norm(x))`, then `x <- x + W_2 gelu(W_1 norm(x))`, `depth` times; a linear layer at the end.

    The embedding of a symbol is the sum of learned vectors for the symbol, its position and, with classes, the class.

    Args:
      num_inputs: number of different input symbols, 0..num_inputs-1.
      num_outputs: number of logits at each position.
      width: width of the vectors between the layers, a multiple of `heads`; it is four times as large inside a block.
      depth: number of blocks.
      heads: number of attention heads.
      causal: whether position t reads positions 0..t alone; False: it reads all positions.
      num_classes: number of classes; the condition is then a class 0..num_classes-1 for each example, `[B]`. None
        ignores the condition.
      dtype: compute type of the products; parameters, norms, attention weights and logits are float32.

    Returns:
      A `Transformer`.

    Raises:
      ValueError: a size below 1, or a width that the heads do not divide; (from `apply` and `step`) another number of
        positions than in `init`, or no condition with `num_classes`.

    Source: Vaswani et al. 2017, "Attention Is All You Need"; norms before the layers: Radford et al. 2019, "Language
    Models are Unsupervised Multitask Learners".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> network = networks.transformer(5, 4, width=8, depth=1, heads=2)
      >>> params = jax.jit(lambda rng: network.init(rng, length=3))(jax.random.key(0))
      >>> jax.jit(network.apply)(params, jnp.zeros((2, 3), jnp.int32)).shape
      (2, 3, 4)
    """
    require_whole("transformer", num_inputs=num_inputs, num_outputs=num_outputs, width=width, depth=depth, heads=heads)
    if num_classes is not None:
        require_whole("transformer", num_classes=num_classes)
    if min(num_inputs, num_outputs, width, depth, heads, num_classes or 1) < 1 or width % heads:
        raise ValueError(
            f"transformer: sizes must be at least 1 and the heads divide the width; got num_inputs {num_inputs}, "
            f"num_outputs {num_outputs}, width {width}, depth {depth}, heads {heads}, num_classes {num_classes}"
        )

    def init(rng, length):
        symbols_rng, positions_rng, classes_rng, blocks_rng = jax.random.split(rng, 4)
        normal = jax.random.normal
        params = {
            "symbols": 0.02 * normal(symbols_rng, (num_inputs, width)),
            "positions": 0.02 * normal(positions_rng, (length, width)),
            "blocks": [_init_block(key, width, depth) for key in jax.random.split(blocks_rng, depth)],
            "norm": _init_norm(width),
            # zeros, so that the first predictions are uniform
            "logits": {"kernel": jnp.zeros((width, num_outputs)), "bias": jnp.zeros(num_outputs)},
        }
        if num_classes is not None:
            params["classes"] = 0.02 * normal(classes_rng, (num_classes, width))
        return params

    def embedded(params, symbols, position_vector, condition):
        x = params["symbols"][symbols] + position_vector
        if num_classes is None:
            return x
        if condition is None:
            raise ValueError(f"this transformer reads one of {num_classes} classes: give the condition, [B] labels")
        classes = params["classes"][condition]
        return x + (classes if x.ndim == 2 else classes[:, None])

    def head(params, x):
        return _dense(params["logits"], _norm(params["norm"], x), dtype)

    def apply(params, symbols, condition=None):
        length = params["positions"].shape[0]
        if symbols.ndim != 2 or symbols.shape[1] != length:
            raise ValueError(
                f"this transformer has {length} positions: symbols must be [B, {length}], got {symbols.shape}"
            )
        x = embedded(params, symbols, params["positions"][None], condition)
        attends_to = jnp.tril(jnp.ones((length, length), bool)) if causal else jnp.ones((length, length), bool)
        for block in params["blocks"]:
            q, k, v = _split(block, x, heads, dtype)
            x = _finish_block(block, x, _attend(q, k, v, attends_to[None, None], dtype), dtype)
        return head(params, x)

    def start(params, batch_size):
        shape = (batch_size, heads, params["positions"].shape[0], width // heads)
        return [(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in params["blocks"]]

    def step(params, cache, symbols, position, condition=None):
        x = embedded(params, symbols, params["positions"][position][None], condition)
        # positions after this one hold zeros in the cache and are masked
        attends_to = jnp.arange(params["positions"].shape[0]) <= position
        new_cache = []
        for block, (keys, values) in zip(params["blocks"], cache, strict=True):
            q, k, v = _split(block, x[:, None], heads, dtype)
            keys = jax.lax.dynamic_update_slice_in_dim(keys, k, position, 2)
            values = jax.lax.dynamic_update_slice_in_dim(values, v, position, 2)
            new_cache.append((keys, values))
            x = _finish_block(block, x, _attend(q, keys, values, attends_to[None, None, None], dtype)[:, 0], dtype)
        return head(params, x), new_cache

    return Transformer(init, apply, start, step if causal else None)


def _init_block(rng, width, depth):
    attention_in_rng, attention_out_rng, product_in_rng, product_out_rng = jax.random.split(rng, 4)
    # 2 * depth layers add to the residual stream: scaled by 1 / sqrt(2 * depth), its variance does not grow with depth
    last = 1 / math.sqrt(2 * depth)
    return {
        "attention_norm": _init_norm(width),
        "attention_in": _init_dense(attention_in_rng, width, 3 * width),
        "attention_out": _init_dense(attention_out_rng, width, width, last),
        "product_norm": _init_norm(width),
        "product_in": _init_dense(product_in_rng, width, 4 * width),
        "product_out": _init_dense(product_out_rng, 4 * width, width, last),
    }


def _init_norm(width):
    return {"scale": jnp.ones(width), "bias": jnp.zeros(width)}


def _init_dense(rng, inputs, outputs, scale=1.0):
    kernel = scale / math.sqrt(inputs) * jax.random.normal(rng, (inputs, outputs))
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def _norm(params, x):
    centred = x - x.mean(-1, keepdims=True)
    # layer norm over the last axis: no batch statistics, so a row never depends on its batch
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * _broadcastable(params["scale"], x) + _broadcastable(params["bias"], x)


def _dense(params, x, dtype):
    y = jnp.matmul(x.astype(dtype), params["kernel"].astype(dtype), preferred_element_type=jnp.float32)
    return y + _broadcastable(params["bias"], y)


def _broadcastable(vector, like):
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


def _split(block, x, heads, dtype):
    """Queries, keys and values, `[B, heads, T, width / heads]` each."""
    mixed = _dense(block["attention_in"], _norm(block["attention_norm"], x), dtype).astype(dtype)
    # one product for queries, keys and values of all heads
    parts = mixed.reshape(*mixed.shape[:2], 3, heads, -1)
    return [parts[:, :, i].swapaxes(1, 2) for i in range(3)]


def _attend(q, k, v, mask, dtype):
    """`softmax(q k' / sqrt(d)) v` over the positions of the mask: `[B, T, width]`."""
    # attention weights in float32: a softmax in bfloat16 loses small weights
    weights = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32) / math.sqrt(q.shape[-1])
    # every position attends at least to itself, so no row of the softmax is all -inf
    weights = jax.nn.softmax(jnp.where(mask, weights, -jnp.inf)).astype(dtype)
    mixed: Array = jnp.einsum("bhqk,bhkd->bqhd", weights, v, preferred_element_type=jnp.float32)
    return mixed.reshape(*mixed.shape[:2], -1)


def _finish_block(block, x, attended, dtype):
    x = x + _dense(block["attention_out"], attended, dtype)
    hidden = jax.nn.gelu(_dense(block["product_in"], _norm(block["product_norm"], x), dtype))
    return x + _dense(block["product_out"], hidden, dtype)
