"""What every prior over symbols does with them: one row an example, out of range is refused, logits are narrowed."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxae.numerics import as_number, as_whole


def flat_symbols(name: str, symbols: ArrayLike, num_codes: int) -> tuple[Array, Array]:
    """`[B, ...]` symbols as `[B, T]` int32, clipped into range, and which examples have all in range: `[B]`.

    Raises:
      ValueError: no integers, no batch axis, or a symbol is out of range and its value is known; under a trace the
        caller gives NaN instead.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.priors.symbols import flat_symbols
      >>> flat_symbols("uniform", jnp.zeros((3, 2, 2), int), 4)[0].shape
      (3, 4)
    """
    symbols = jnp.asarray(symbols)
    if not jnp.issubdtype(symbols.dtype, jnp.integer) or symbols.ndim < 1:
        raise ValueError(f"{name}: symbols must be integers [B, ...], got {symbols.dtype} {symbols.shape}")
    rows = symbols.reshape(symbols.shape[0], math.prod(symbols.shape[1:])).astype(jnp.int32)
    known = ((rows >= 0) & (rows < num_codes)).all(-1)
    if not isinstance(known, Tracer) and not bool(known.all()):
        low, high = int(rows.min()), int(rows.max())
        raise ValueError(f"{name}: symbols must be in [0, {num_codes}), got values from {low} to {high}")
    return jnp.clip(rows, 0, num_codes - 1), known


def positions(symbols: ArrayLike | jax.ShapeDtypeStruct) -> int:
    """T, the number of symbols of one example."""
    return math.prod(jnp.shape(symbols)[1:])


def log_prob_of(logits: Array, symbols: Array) -> Array:
    """`log softmax(logits)` at the symbols, nats: `[..., K]` and `[...]` to `[...]`."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), symbols[..., None], -1)[..., 0]


def narrowed(
    logits: Array, temperature: ArrayLike = 1.0, top_k: int | None = None, top_p: ArrayLike | None = None
) -> Array:
    """Logits of the distribution that is drawn from: `-inf` where a symbol is cut off.

    First all are divided by the temperature; then the `top_k` greatest are kept, the lowest symbols among equals;
    then of those the fewest whose probabilities sum to `top_p` or more.

    Args:
      logits: `[..., K]`.
      temperature: above 0; below 1 probable symbols become more so.
      top_k: at least 1; None keeps all.
      top_p: in (0, 1]; None keeps all.

    Raises:
      ValueError: an argument is out of its range.

    Source: top-p: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.priors.symbols import narrowed
      >>> jnp.exp(narrowed(jnp.log(jnp.array([0.5, 0.125, 0.25])), top_p=0.8)).tolist()
      [0.5, 0.0, 0.25]
    """
    require_narrowing("narrowed", temperature, top_k, top_p)
    logits = logits.astype(jnp.float32) / temperature
    if top_k is None and top_p is None:
        return logits
    order = jnp.argsort(-logits, axis=-1, stable=True)
    rank = jnp.argsort(order, axis=-1)  # the place of each symbol among the sorted
    keep = rank < (logits.shape[-1] if top_k is None else top_k)
    if top_p is not None:
        p = jnp.take_along_axis(jax.nn.softmax(jnp.where(keep, logits, -jnp.inf)), order, -1)
        before = jnp.cumsum(p, -1) - p
        keep &= jnp.take_along_axis(before < top_p, rank, -1)
    return jnp.where(keep, logits, -jnp.inf)


def require_narrowing(name: str, temperature: object, top_k: object, top_p: object) -> None:
    """Refuse what no distribution can be narrowed by; traced values pass."""
    if (number := as_number(temperature)) is not None and not 0 < number < math.inf:
        raise ValueError(f"{name}: temperature must be above 0 and finite, got {temperature}; top_k=1 is greedy")
    if top_k is not None and ((whole := as_whole(top_k)) is None or whole < 1):
        raise ValueError(f"{name}: top_k must be a whole number of at least 1, got {top_k}")
    if (number := as_number(top_p)) is not None and not 0 < number <= 1:
        raise ValueError(f"{name}: top_p must lie in (0, 1], got {top_p}")


def require_codes(name: str, num_codes: int) -> None:
    """There is something to tell apart."""
    if (whole := as_whole(num_codes)) is None or whole < 2:
        raise ValueError(f"{name}: num_codes must be a whole number of at least 2, got {num_codes}")
