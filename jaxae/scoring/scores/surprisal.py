"""How unusual the symbols are that a model with a discrete latent gives to an example."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import as_number, sum_per_example
from jaxae.scoring.scores.held_out import in_chunks, require_reference, row_weights
from jaxae.types import Autoencoder, Batch, PyTree, Scorer


def surprisal(model: Autoencoder, num_symbols: int, smoothing: ArrayLike = 1.0, per_position: bool = True) -> Scorer:
    """`-log p(symbol)` summed over an example's positions, nats, with p counted on the reference.

    At each position `p(s) = (n_s + smoothing) / (n + smoothing * num_symbols)`, n_s of the n reference rows having
    symbol s there: a symbol that no normal has is worth about `log n`. The map is `[B, ...]` like the symbols, one row
    an example where they are several arrays. Rows of `weight` 0 are not counted.

    Args:
      model: an `Autoencoder` whose code has symbols; where they are several arrays, all are counted alike.
      num_symbols: how many symbols there are.
      smoothing: pseudo-count of every symbol (Laplace), > 0.
      per_position: count each position by itself; False: all positions together, for symbols that move with an image.

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
    if num_symbols < 2:
        raise ValueError(f"surprisal needs at least 2 symbols; got {num_symbols}")
    if (number := as_number(smoothing)) is not None and not number > 0:
        raise ValueError(f"smoothing must be above 0; got {smoothing}")

    def symbols_of(params: PyTree, state: PyTree, batch: Batch) -> list[Array]:
        symbols = model.encode(params, state, batch.x, batch.condition).symbols
        if symbols is None:
            raise ValueError("this model's code has no symbols: its latent is continuous, score it by latent.knn")
        return jax.tree.leaves(symbols)

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        rows = require_reference(reference)
        symbols = in_chunks(lambda batch: symbols_of(params, state, batch), rows)
        return {"params": params, "state": state, "surprisal": [table(leaf, row_weights(rows)) for leaf in symbols]}

    def table(symbols: Array, weight: Array) -> Array:
        """`[positions, num_symbols]` nats."""
        symbols = symbols.reshape(symbols.shape[0], -1)
        place = jnp.broadcast_to(jnp.arange(symbols.shape[1])[None], symbols.shape)
        each = jnp.broadcast_to(weight[:, None], symbols.shape)
        counts = jnp.zeros((symbols.shape[1], num_symbols)).at[place, symbols].add(each)
        if not per_position:
            counts = jnp.broadcast_to(counts.sum(0, keepdims=True), counts.shape)
        counts = counts + smoothing
        return jnp.log(counts.sum(-1, keepdims=True)) - jnp.log(counts)

    def looked_up(fitted: PyTree, batch: Batch) -> list[Array]:
        """Nats at each position, shaped like the symbols."""
        found = []
        for nats, symbols in zip(
            fitted["surprisal"], symbols_of(fitted["params"], fitted["state"], batch), strict=True
        ):
            flat = symbols.reshape(symbols.shape[0], -1)
            found.append(nats[jnp.arange(flat.shape[1])[None], flat].reshape(symbols.shape))
        return found

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        total, *more = (sum_per_example(nats) for nats in looked_up(fitted, batch))
        return sum(more, total)

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        maps = looked_up(fitted, batch)
        return maps[0] if len(maps) == 1 else jnp.concatenate([m.reshape(m.shape[0], -1) for m in maps], -1)

    return Scorer(fit, apply, score_map)
