"""Surprisal of an example's symbols, for models with a discrete latent."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import require_count, require_within, sum_per_example
from jaxae.scoring.scores.held_out import in_chunks, require_reference, row_weights
from jaxae.types import Autoencoder, Batch, PyTree, Scorer


def surprisal(model: Autoencoder, num_symbols: int, smoothing: ArrayLike = 1.0, per_position: bool = True) -> Scorer:
    """`-log p(symbol)` summed over an example's positions, nats, with p counted on the reference.

    At each position `p(s) = (n_s + smoothing) / (n + smoothing * num_symbols)`, n_s of the n reference rows having
    symbol s there: a symbol that no normal has adds about `log n`. The map is `[B, ...]` like the symbols, or `[B, P]`
    over all positions where symbols are several arrays. Rows of `weight` 0 are not counted.

    Args:
      model: an `Autoencoder` whose code has symbols, one array or several.
      num_symbols: number of different symbols, of every array.
      smoothing: pseudo-count of every symbol (Laplace), > 0.
      per_position: whether each position has its own frequencies; False counts all positions together, for symbols
        that move with an object.

    Raises:
      ValueError: fewer than 2 symbols, or smoothing not above 0; in `fit`, no reference, or a code without symbols.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import surprisal
      >>> from jaxae.types import Autoencoder, Batch, Code
      >>> encode = lambda params, state, x, condition=None: Code(x, x[:, 0], symbols=x.astype(int))
      >>> scorer = surprisal(Autoencoder(None, None, encode, None, None, None, None), num_symbols=2)
      >>> fitted = scorer.fit((), (), Batch(jnp.zeros((6, 1))))
      >>> [round(s, 3) for s in scorer.apply(fitted, None, Batch(jnp.array([[0.0], [1.0]]))).tolist()]
      [0.134, 2.079]
    """
    num_symbols = require_count("num_symbols", num_symbols, 2)
    require_within("smoothing", smoothing, "(0, inf)")

    def symbols_of(params: PyTree, state: PyTree, batch: Batch) -> list[Array]:
        symbols = model.encode(params, state, batch.x, batch.condition).symbols
        if symbols is None:
            raise ValueError("this model's code has no symbols: its latent is continuous, score it by latent.knn")
        return jax.tree.leaves(symbols)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        rows = require_reference(reference)
        symbols = in_chunks(lambda batch: symbols_of(params, state, batch), rows)
        return {"params": params, "state": state, "surprisal": [nats_of(leaf, row_weights(rows)) for leaf in symbols]}

    def nats_of(symbols: Array, weight: Array) -> Array:
        """`[positions, num_symbols]` nats."""
        symbols = symbols.reshape(symbols.shape[0], -1)
        positions = jnp.broadcast_to(jnp.arange(symbols.shape[1])[None], symbols.shape)
        weights = jnp.broadcast_to(weight[:, None], symbols.shape)
        counts = jnp.zeros((symbols.shape[1], num_symbols)).at[positions, symbols].add(weights)
        if not per_position:
            # pooled counts, repeated for each position, so that the lookup is the same
            counts = jnp.broadcast_to(counts.sum(0, keepdims=True), counts.shape)
        counts = counts + smoothing
        # -log p = log(n + smoothing * num_symbols) - log(n_s + smoothing)
        return jnp.log(counts.sum(-1, keepdims=True)) - jnp.log(counts)

    def symbol_nats(fitted: PyTree, batch: Batch) -> list[Array]:
        """Nats at each position, shaped like the symbols."""
        nats_per_symbol = []
        for nats, symbols in zip(
            fitted["surprisal"], symbols_of(fitted["params"], fitted["state"], batch), strict=True
        ):
            flat = symbols.reshape(symbols.shape[0], -1)
            # the table of each position, at the symbol of the example
            nats_per_symbol.append(nats[jnp.arange(flat.shape[1])[None], flat].reshape(symbols.shape))
        return nats_per_symbol

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        total, *more = (sum_per_example(nats) for nats in symbol_nats(fitted, batch))
        return sum(more, total)

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        maps = symbol_nats(fitted, batch)
        return maps[0] if len(maps) == 1 else jnp.concatenate([m.reshape(m.shape[0], -1) for m in maps], -1)

    return Scorer(fit, apply, score_map)
