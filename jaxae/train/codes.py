"""Usage of the codes of a discrete latent over validation rows, as training goes on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.bottlenecks import diagnostics
from jaxae.data.batches import padded
from jaxae.types import Batch, Objective, PyTree, TrainState

# int32 counts of so many codes take 4 MB; with more codes than rows, usage would say little
MOST_CODES = 2**20


def countable(num_codes: PyTree | None) -> bool:
    """Whether `code_monitor` takes these numbers of codes: there are codes, and no more than 2**20.

    Args:
      num_codes: a model's `num_codes`, an int or a tree of them; None for continuous codes.

    Example:
      >>> from jaxae.train import countable
      >>> countable(None), countable(512), countable((512, 2**30))
      (False, True, False)
    """
    sizes = jax.tree.leaves(num_codes)
    return bool(sizes) and max(sizes) <= MOST_CODES


def code_monitor(
    objective: Objective, data: Batch | PyTree, num_codes: PyTree, batch_size: int = 256
) -> Callable[[TrainState], dict[str, float]]:
    """A function that counts the codes of the rows of `data`, without updating the state: restarts do not count.

    Args:
      objective: the training objective of a model with a discrete latent, its transform in front.
      data: rows `[N, ...]` or a `Batch` of such.
      num_codes: the model's `num_codes`. Levels and groups of one array of symbols are pooled. Over several arrays,
        usage and perplexity are means, numbers of codes and bits are sums.
      batch_size: number of rows in each call.

    Returns:
      `state -> figures`: "usage" (fraction of codes that occur), "codes_in_use" and "dead_codes" (how many do and do
      not), "perplexity", and "bits_per_example" (code length of its symbols under their frequencies in `data`).

    Raises:
      ValueError: there are no rows, or more than 2**20 codes.

    Example:
      >>> import jax, numpy as np, optax
      >>> from jaxae import presets, train
      >>> model, objective = presets.vq_vae((5,), num_codes=8, num_tokens=2, code_size=3)
      >>> rows = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
      >>> state = train.init_state(objective, optax.adam(1e-3), jax.random.key(0), rows)
      >>> sorted(train.code_monitor(objective, rows, model.num_codes)(state))
      ['bits_per_example', 'codes_in_use', 'dead_codes', 'perplexity', 'usage']
    """
    sizes = jax.tree.leaves(num_codes)
    if not countable(num_codes):
        raise ValueError(f"code_monitor counts up to {MOST_CODES} codes, got {num_codes}")
    batches = list(padded(data, batch_size))
    if not batches:
        raise ValueError("code_monitor needs at least one row, got none")
    # all batches as one array: one compiled scan counts them
    stacked = jax.tree.map(lambda *rows: jnp.asarray(np.stack(rows)), *batches)

    @jax.jit
    def figures(params, state, stacked):
        def count(total, batch):
            _, (output, _, _) = objective.apply(params, state, None, batch, 0)
            leaves = jax.tree.leaves(output.code.symbols)
            # a padded row repeats a real one, so its symbols become -1, which is not counted
            symbols = [jnp.where(batch.weight.reshape(-1, *(1,) * (s.ndim - 1)) > 0, s, -1) for s in leaves]
            batch_counts = [diagnostics.code_counts(s, size) for s, size in zip(symbols, sizes, strict=True)]
            return jax.tree.map(jnp.add, total, batch_counts), None

        # perplexity is exp of the entropy, so log2 of it is the mean code length of a symbol in bits
        counts, _ = jax.lax.scan(count, [jnp.zeros(size, jnp.int32) for size in sizes], stacked)
        perplexities = jnp.stack([diagnostics.perplexity(c) for c in counts])
        symbols_per_row = jnp.stack([c.sum() for c in counts]) / (stacked.weight > 0).sum()
        return {
            "usage": jnp.stack([diagnostics.usage(c) for c in counts]).mean(),
            "perplexity": perplexities.mean(),
            "codes_in_use": jnp.stack([(c > 0).sum() for c in counts]).sum(),
            "dead_codes": jnp.stack([diagnostics.dead_codes(c).sum() for c in counts]).sum(),
            "bits_per_example": (symbols_per_row * jnp.log2(perplexities)).sum(),
        }

    def monitor(state: TrainState) -> dict[str, float]:
        figures_on_host = jax.device_get(figures(state.params, state.state, stacked))
        return {name: float(value) for name, value in figures_on_host.items()}

    return monitor
