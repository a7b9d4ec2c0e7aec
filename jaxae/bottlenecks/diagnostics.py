"""Usage of a discrete code: pure functions of symbols or of their counts, none a mean over examples."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxae.numerics.arguments import check_arguments


def code_counts(symbols: Int[Array, "*dims"], num_codes: int, mask: Array | None = None) -> Int[Array, " K"]:
    """How often each code occurs, `[K]` int32; the other functions here read it. Counts of several batches add up.

    Args:
      symbols: int array of any shape; symbols out of range (-1 marks NaN) are not counted.
      num_codes: number of codes K, at least 1.
      mask: array shaped like `symbols`, 0 where a token only pads.

    Raises:
      ValueError: num_codes < 1, or the mask's shape differs.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.diagnostics import code_counts
      >>> code_counts(jnp.array([[0, 2], [2, -1]]), 4).tolist()
      [1, 0, 2, 0]
    """
    if num_codes < 1:
        raise ValueError(f"code_counts: num_codes must be at least 1, got {num_codes}")
    if mask is not None and np.shape(mask) != np.shape(symbols):
        raise ValueError(f"code_counts: the mask must be like the symbols, {symbols.shape}, got {mask.shape}")
    symbols = _integers("code_counts", symbols)
    counted = (symbols >= 0) if mask is None else (symbols >= 0) & (mask > 0)
    # symbols that do not count become K, which the scatter drops; -1 would index the last code
    ids = jnp.where(counted, symbols, num_codes).reshape(-1)
    return jnp.zeros(num_codes, jnp.int32).at[ids].add(1, mode="drop")


def active_counts(latent: Float[Array, "*tokens D"], mask: Array | None = None) -> Int[Array, " D"]:
    """In how many tokens each latent is not 0, `[D]` int32: `dead_codes` of it are latents that are never on.

    Counts of several batches add up.

    Args:
      latent: latent of a sparse bottleneck such as `top_k`.
      mask: `[*tokens]`, 0 where a token only pads.

    Raises:
      ValueError: the mask's shape differs.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.diagnostics import active_counts, dead_codes
      >>> counts = active_counts(jnp.array([[0.0, -3.0, 2.0], [0.0, 1.0, 0.0]]))
      >>> counts.tolist(), dead_codes(counts).tolist()
      ([0, 2, 1], [True, False, False])
    """
    is_on = latent != 0
    if mask is not None:
        if mask.shape != latent.shape[:-1]:
            raise ValueError(
                f"active_counts: the mask must have a value per token {latent.shape[:-1]}, got {mask.shape}"
            )
        is_on = is_on & (mask[..., None] > 0)
    return is_on.reshape(-1, latent.shape[-1]).sum(0, dtype=jnp.int32)


def usage(counts: Array) -> Float[Array, ""]:
    """The fraction of codes that occur.

    Args:
      counts: `[K]`, see `code_counts`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.diagnostics import usage
      >>> float(usage(jnp.array([1, 0, 2, 0])))
      0.5
    """
    return (_counts("usage", counts) > 0).astype(jnp.float32).mean()


def perplexity(counts: Array) -> Float[Array, ""]:
    """`exp(entropy)` of the codes' frequencies: K where all occur equally often, 1 for a single code or no counts.

    Args:
      counts: `[K]`, see `code_counts`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.diagnostics import perplexity
      >>> round(float(perplexity(jnp.array([5, 5, 0]))), 5)
      2.0
    """
    p = _frequencies(_counts("perplexity", counts))
    # 0 log 0 = 0; the inner where keeps log 0 out
    return jnp.exp(-jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0).sum())


def dead_codes(counts: Array, below: float = 0.0) -> Bool[Array, " K"]:
    """Which codes are dead: their count is at most `below` times the mean count. `.sum()` is their number.

    Args:
      counts: `[K]`, see `code_counts`.
      below: fraction of the mean count.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.diagnostics import dead_codes
      >>> dead_codes(jnp.array([10, 0, 1, 9]), below=0.2).tolist()
      [False, True, True, False]
    """
    counts = _counts("dead_codes", counts).astype(jnp.float32)
    # relative to the mean: the number of tokens then plays no role
    return counts <= below * counts.mean()


def quantization_error(
    h: Float[Array, "*tokens D"], latent: Float[Array, "*tokens D"], mask: Array | None = None
) -> Float[Array, ""]:
    """The mean of `|h - latent|^2` over tokens, in the units of `h` squared.

    Args:
      h: input of the bottleneck.
      latent: latent of the bottleneck.
      mask: `[*tokens]`, 0 where a token only pads.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.diagnostics import quantization_error
      >>> float(quantization_error(jnp.array([[0.0, 2.0], [1.0, 1.0]]), jnp.ones((2, 2))))
      1.0
    """
    distance = ((h.astype(jnp.float32) - latent.astype(jnp.float32)) ** 2).sum(-1)
    if mask is None:
        return distance.mean()
    if mask.shape != distance.shape:
        raise ValueError(f"quantization_error: the mask must have a value per token {distance.shape}, got {mask.shape}")
    return jnp.where(mask > 0, distance, 0.0).sum() / jnp.maximum((mask > 0).sum(), 1)


def bits_per_example(symbols: Int[Array, "B *dims"], counts: Array, mask: Array | None = None) -> Float[Array, " B"]:
    """The code length of each example, `-sum log2 p(symbol)`, under the frequencies of `counts`.

    Uniform counts give the fixed-length code, `tokens * log2 K`; counts of the training set the length that an
    entropy coder without context reaches. A symbol with count 0 costs infinitely many bits, and one out of range
    (-1 marks NaN) gives NaN.

    Args:
      symbols: `[B, ...]` int32.
      counts: `[K]`, see `code_counts`.
      mask: array shaped like `symbols`, 0 where a token only pads.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.diagnostics import bits_per_example
      >>> bits_per_example(jnp.array([[0, 1], [1, 1]]), jnp.array([3, 1, 0])).tolist()
      [2.4150376319885254, 4.0]
    """
    if mask is not None and mask.shape != symbols.shape:
        raise ValueError(f"bits_per_example: the mask must be like the symbols, {symbols.shape}, got {mask.shape}")
    symbols, counts = _integers("bits_per_example", symbols), _counts("bits_per_example", counts)
    in_range = (symbols >= 0) & (symbols < counts.shape[0])
    # the ideal code length of a symbol with frequency p is -log2 p bits
    length = -jnp.log2(_frequencies(counts))[jnp.clip(symbols, 0, counts.shape[0] - 1)]
    length = jnp.where(in_range, length, jnp.nan)
    if mask is not None:
        length = jnp.where(mask > 0, length, 0.0)
    return length.sum(range(1, length.ndim))


def _integers(name, symbols):
    symbols = symbols if isinstance(symbols, Array) else np.asarray(symbols)
    if not jnp.issubdtype(symbols.dtype, jnp.integer):
        raise ValueError(f"{name}: symbols must be integers, got {symbols.dtype}")
    return jnp.asarray(symbols)


def _counts(name, counts):
    counts = counts if isinstance(counts, Array) else np.asarray(counts)
    real = jnp.issubdtype(counts.dtype, jnp.integer) or jnp.issubdtype(counts.dtype, jnp.floating)
    if not real or counts.ndim != 1 or counts.shape[0] == 0:
        raise ValueError(f"{name}: counts must be numbers [K], got {counts.dtype} of shape {counts.shape}")
    return jnp.asarray(counts)


def _frequencies(counts):
    counts = counts.astype(jnp.float32)
    return counts / jnp.maximum(counts.sum(), 1.0)


check_arguments(__name__)
