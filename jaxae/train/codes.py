"""Usage of the codes of a discrete latent, or of sparse latents, over validation rows, as training goes on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.bottlenecks import diagnostics
from jaxae.bottlenecks.tokens import mask_of
from jaxae.data.batches import padded
from jaxae.numerics import require_count
from jaxae.train.step import require_batch
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
    sizes = [require_count("num_codes", size) for size in jax.tree.leaves(num_codes)]
    return bool(sizes) and max(sizes) <= MOST_CODES


def code_monitor(
    objective: Objective, data: Batch | PyTree, num_codes: PyTree, batch_size: int = 256
) -> Callable[[TrainState], dict[str, float]]:
    """A function that counts the codes of the rows of `data`, without updating the state: restarts do not count.

    Args:
      objective: the training objective of a model with a discrete latent, its transform in front.
      data: rows `[N, ...]` or a `Batch` of such. Rows of weight 0 and tokens that `condition["mask"]` leaves out do not
        count.
      num_codes: the model's `num_codes`. Levels and groups of one array of symbols are pooled. Over several arrays,
        usage and perplexity are means, numbers of codes and bits are sums.
      batch_size: number of rows in each call.

    Returns:
      `state -> figures`: "usage" (fraction of codes that occur), "codes_in_use" and "dead_codes" (how many do and do
      not), "perplexity", and "bits_per_example" (code length of its symbols under their frequencies in `data`).

    Raises:
      ValueError: there are no rows that count, more than 2**20 codes, or a token mask that does not fit the symbols.

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
    stacked = _stacked("code_monitor", data, batch_size)

    @jax.jit
    def figures(params, state, stacked):
        def count(total, batch):
            _, (output, _, _) = objective.apply(params, state, None, batch, 0)
            leaves = jax.tree.leaves(output.code.symbols)
            batch_counts = [
                diagnostics.code_counts(s, size, _counted("code_monitor", batch, s.shape))
                for s, size in zip(leaves, sizes, strict=True)
            ]
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

    return _monitor(figures, stacked)


def latent_monitor(
    objective: Objective, data: Batch | PyTree, batch_size: int = 256
) -> Callable[[TrainState], dict[str, float]]:
    """A function that counts the latents that are on in the rows of `data`, for sparse bottlenecks such as `top_k`.

    Args:
      objective: the training objective of a model with a continuous latent, its transform in front.
      data: rows `[N, ...]` or a `Batch` of such. Rows of weight 0 and tokens that `condition["mask"]` leaves out do not
        count.
      batch_size: number of rows in each call.

    Returns:
      `state -> figures`: "latents_in_use" and "dead_latents" (how many channels are other than 0 in some token, and in
      none), and "active_latents" (how many are, in the mean token).

    Raises:
      ValueError: there are no rows that count, or a token mask that does not fit the latent.

    Example:
      >>> import jax, numpy as np, optax
      >>> from jaxae import presets, train
      >>> _, objective = presets.sparse_ae((5,), latent_size=4, sparsity="top_k", k=2)
      >>> rows = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
      >>> state = train.init_state(objective, optax.adam(1e-3), jax.random.key(0), rows)
      >>> train.latent_monitor(objective, rows)(state)["active_latents"]
      2.0
    """
    stacked = _stacked("latent_monitor", data, batch_size)

    @jax.jit
    def figures(params, state, stacked):
        def counts_of(batch):
            _, (output, _, _) = objective.apply(params, state, None, batch, 0)
            latent = output.code.latent
            counted = _counted("latent_monitor", batch, latent.shape[:-1])
            return diagnostics.active_counts(latent, counted), (counted > 0).sum()

        counts, tokens = (values.sum(0) for values in jax.lax.map(counts_of, stacked))
        return {
            "latents_in_use": (counts > 0).sum(),
            "dead_latents": diagnostics.dead_codes(counts).sum(),
            "active_latents": counts.sum() / jnp.maximum(tokens, 1),
        }

    return _monitor(figures, stacked)


def _stacked(name, data, batch_size):
    # all batches as one array: one compiled scan counts them
    stacked = jax.tree.map(lambda *rows: jnp.asarray(np.stack(rows)), *padded(require_batch(name, data), batch_size))
    if not bool((stacked.weight > 0).any()):
        raise ValueError(f"{name} needs a row that counts: all weigh 0")
    return stacked


def _counted(name, batch, shape):
    """1 for the tokens (or symbols) `[B, ...]` of rows with a weight that the condition's mask does not leave out."""
    counted = batch.weight > 0
    mask = mask_of(batch.condition)
    if mask is not None:
        if mask.shape != shape[: mask.ndim]:
            raise ValueError(f'{name}: condition["mask"] {mask.shape} does not fit the tokens of the code {shape}')
        counted = counted.reshape(-1, *(1,) * (mask.ndim - 1)) & (mask > 0)
    # axes behind those of the tokens: levels, groups, channels
    return jnp.broadcast_to(counted.reshape(*counted.shape, *(1,) * (len(shape) - counted.ndim)), shape)


def _monitor(figures, stacked):
    def monitor(state: TrainState) -> dict[str, float]:
        figures_on_host = jax.device_get(figures(state.params, state.state, stacked))
        return {name: float(value) for name, value in figures_on_host.items()}

    return monitor
