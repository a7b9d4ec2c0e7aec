"""A small pre-norm transformer over symbols, causal or bidirectional, with a cache for one symbol at a time."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike


class Transformer(NamedTuple):
    """A function from symbols to logits, as pure functions of its parameters.

    Attributes:
      init: `(rng, length) -> params`; `length` is the number of positions T.
      apply: `(params, symbols [B, T], condition [B] or None) -> logits [B, T, num_outputs]`.
      start: `(params, batch_size) -> cache`, empty, for T positions.
      step: `(params, cache, symbols [B], position, condition) -> (logits [B, num_outputs], cache)`: what `apply` gives
        at this position where positions 0 to `position` hold these symbols and those of the steps before. None
        where every position reads every other.
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

    Symbols are embedded and a learned vector of their position is added, and one of the class where there are classes.

    Args:
      num_inputs: symbols are 0..num_inputs-1.
      num_outputs: logits at each position.
      width: of the vectors between the layers, a multiple of `heads`; four times as wide inside a block.
      depth: blocks.
      heads: of the attention.
      causal: position t reads positions 0..t; False: all.
      num_classes: the condition is a class 0..num_classes-1 for each example, `[B]`; None: any condition is ignored.
      dtype: compute type of the products; parameters, norms, attention weights and logits are float32.

    Returns:
      A `Transformer`.

    Raises:
      ValueError: a size below 1, or a width that the heads do not divide; (from `apply` and `step`) another number of
        positions than in `init`, or no condition where there are classes.

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
    if min(num_inputs, num_outputs, width, depth, heads, num_classes or 1) < 1 or width % heads:
        raise ValueError(
            f"transformer: sizes must be at least 1 and the heads divide the width; got num_inputs {num_inputs}, "
            f"num_outputs {num_outputs}, width {width}, depth {depth}, heads {heads}, num_classes {num_classes}"
        )

    def init(rng, length):
        embed, position, label, blocks = jax.random.split(rng, 4)
        normal = jax.random.normal
        params = {
            "symbols": 0.02 * normal(embed, (num_inputs, width)),
            "positions": 0.02 * normal(position, (length, width)),
            "blocks": [_init_block(key, width, depth) for key in jax.random.split(blocks, depth)],
            "norm": _init_norm(width),
            # zero: the first predictions are uniform
            "logits": {"kernel": jnp.zeros((width, num_outputs)), "bias": jnp.zeros(num_outputs)},
        }
        if num_classes is not None:
            params["classes"] = 0.02 * normal(label, (num_classes, width))
        return params

    def embedded(params, symbols, place, condition):
        x = params["symbols"][symbols] + place
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
        seen = jnp.tril(jnp.ones((length, length), bool)) if causal else jnp.ones((length, length), bool)
        for block in params["blocks"]:
            q, k, v = _split(block, x, heads, dtype)
            x = _close(block, x, _attend(q, k, v, seen[None, None], dtype), dtype)
        return head(params, x)

    def start(params, batch_size):
        shape = (batch_size, heads, params["positions"].shape[0], width // heads)
        return [(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in params["blocks"]]

    def step(params, cache, symbols, position, condition=None):
        x = embedded(params, symbols, params["positions"][position][None], condition)
        seen = jnp.arange(params["positions"].shape[0]) <= position
        kept = []
        for block, (keys, values) in zip(params["blocks"], cache, strict=True):
            q, k, v = _split(block, x[:, None], heads, dtype)
            keys = jax.lax.dynamic_update_slice_in_dim(keys, k, position, 2)
            values = jax.lax.dynamic_update_slice_in_dim(values, v, position, 2)
            kept.append((keys, values))
            x = _close(block, x, _attend(q, keys, values, seen[None, None, None], dtype)[:, 0], dtype)
        return head(params, x), kept

    return Transformer(init, apply, start, step if causal else None)


def _init_block(rng, width, depth):
    read, out, wide, narrow = jax.random.split(rng, 4)
    # what adds to the stream is smaller, so that its size does not grow with the depth
    last = 1 / math.sqrt(2 * depth)
    return {
        "attention_norm": _init_norm(width),
        "attention_in": _init_dense(read, width, 3 * width),
        "attention_out": _init_dense(out, width, width, last),
        "product_norm": _init_norm(width),
        "product_in": _init_dense(wide, width, 4 * width),
        "product_out": _init_dense(narrow, 4 * width, width, last),
    }


def _init_norm(width):
    return {"scale": jnp.ones(width), "bias": jnp.zeros(width)}


def _init_dense(rng, inputs, outputs, scale=1.0):
    kernel = scale / math.sqrt(inputs) * jax.random.normal(rng, (inputs, outputs))
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def _norm(params, x):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * _along(params["scale"], x) + _along(params["bias"], x)


def _dense(params, x, dtype):
    y = jnp.matmul(x.astype(dtype), params["kernel"].astype(dtype), preferred_element_type=jnp.float32)
    return y + _along(params["bias"], y)


def _along(vector, like):
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


def _split(block, x, heads, dtype):
    """Queries, keys and values, `[B, heads, T, width / heads]` each."""
    mixed = _dense(block["attention_in"], _norm(block["attention_norm"], x), dtype).astype(dtype)
    parts = mixed.reshape(*mixed.shape[:2], 3, heads, -1)
    return [parts[:, :, i].swapaxes(1, 2) for i in range(3)]


def _attend(q, k, v, seen, dtype):
    """`softmax(q k' / sqrt(d)) v` over what is seen: `[B, T, width]`."""
    weights = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32) / math.sqrt(q.shape[-1])
    weights = jax.nn.softmax(jnp.where(seen, weights, -jnp.inf)).astype(dtype)
    mixed: Array = jnp.einsum("bhqk,bhkd->bqhd", weights, v, preferred_element_type=jnp.float32)
    return mixed.reshape(*mixed.shape[:2], -1)


def _close(block, x, attended, dtype):
    x = x + _dense(block["attention_out"], attended, dtype)
    inner = jax.nn.gelu(_dense(block["product_in"], _norm(block["product_norm"], x), dtype))
    return x + _dense(block["product_out"], inner, dtype)
