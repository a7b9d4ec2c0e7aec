"""How alive the codes of a discrete latent are, over held-out rows, as training goes on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.bottlenecks import diagnostics
from jaxae.data.batches import padded
from jaxae.types import Batch, Objective, PyTree, TrainState

# a table of counts: 4 MB; beyond it usage would say little of any data set here
MOST_CODES = 2**20


def countable(num_codes: PyTree | None) -> bool:
    """Whether `code_monitor` takes these: there are codes, and no more than 2**20.

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
    """A function that tells which codes the rows of `data` have, by the frozen state: restarts do not count.

    Args:
      objective: over a model with a discrete latent, its transform in front.
      data: rows `[N, ...]` or a `Batch` of such.
      num_codes: the model's `num_codes`. Where symbols are of several levels or groups, these are pooled; where they
        are several arrays, usage and perplexity are means over the arrays, numbers of codes and bits sums.
      batch_size: rows of each call.

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
    stacked = jax.tree.map(lambda *rows: jnp.asarray(np.stack(rows)), *batches)

    @jax.jit
    def figures(params, state, stacked):
        def count(total, batch):
            _, (output, _, _) = objective.apply(params, state, None, batch, 0)
            leaves = jax.tree.leaves(output.code.symbols)
            # not -1 alone: a padded row repeats a real one
            rows = [jnp.where(batch.weight.reshape(-1, *(1,) * (s.ndim - 1)) > 0, s, -1) for s in leaves]
            seen = [diagnostics.code_counts(s, size) for s, size in zip(rows, sizes, strict=True)]
            return jax.tree.map(jnp.add, total, seen), None

        counts, _ = jax.lax.scan(count, [jnp.zeros(size, jnp.int32) for size in sizes], stacked)
        spread = jnp.stack([diagnostics.perplexity(c) for c in counts])
        symbols = jnp.stack([c.sum() for c in counts]) / (stacked.weight > 0).sum()
        return {
            "usage": jnp.stack([diagnostics.usage(c) for c in counts]).mean(),
            "perplexity": spread.mean(),
            "codes_in_use": jnp.stack([(c > 0).sum() for c in counts]).sum(),
            "dead_codes": jnp.stack([diagnostics.dead_codes(c).sum() for c in counts]).sum(),
            "bits_per_example": (symbols * jnp.log2(spread)).sum(),
        }

    def monitor(state: TrainState) -> dict[str, float]:
        found = jax.device_get(figures(state.params, state.state, stacked))
        return {name: float(value) for name, value in found.items()}

    return monitor
