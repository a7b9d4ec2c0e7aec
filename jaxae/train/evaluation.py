"""The objective over validation rows: padded batches, sums, one division, no update."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.data.batches import padded
from jaxae.networks import evaluated
from jaxae.numerics import weight_of, without_padding_rows
from jaxae.train.step import require_batch
from jaxae.types import Batch, Objective, PyTree, TrainState


def evaluator(
    objective: Objective, data: Batch | PyTree, final_step: int, batch_size: int = 256, seed: int = 0
) -> Callable[[TrainState], dict[str, float]]:
    """A function that computes the objective's mean metrics over `data`, with the same noise at every call.

    Networks with state use their running statistics and no dropout.

    Schedules are read at `final_step`: with the current value of a warm-up, the first evaluation would be the best.

    Args:
      objective: the training objective, with its transform in front.
      data: rows `[N, ...]` or a `Batch` of such.
      final_step: last step of the training, at which schedules are read.
      batch_size: number of rows in each call; padded rows of the last batch have weight 0.
      seed: seed of the noise that the objective draws (a posterior's, a corruption's), one key a batch.

    Returns:
      `state -> {"loss": ..., ...}` as Python floats; the new codebook statistics are dropped.

    Raises:
      ValueError: there are no rows, or all weigh nothing.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, optax
      >>> from jaxae import presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> state = train.init_state(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)))
      >>> evaluate = train.evaluator(objective, np.ones((7, 5), np.float32), final_step=10, batch_size=4)
      >>> sorted(evaluate(state))
      ['loss', 'nll', 'penalty']
    """
    stacked = jax.tree.map(
        lambda *rows: jnp.asarray(np.stack(rows)), *padded(require_batch("evaluator", data), batch_size)
    )
    if not (total := float(stacked.weight.sum())) > 0:
        raise ValueError(f"evaluator needs rows that count: their weights sum to {total}")
    # keys are drawn once: every evaluation sees the same noise, so that losses are comparable over steps
    keys = jax.random.split(jax.random.key(seed), jax.tree.leaves(stacked)[0].shape[0])

    @jax.jit
    def totals(params, state, stacked, keys):
        def batch_sums(batch_and_key):
            batch, key = batch_and_key
            # penalties of the whole batch read rows of weight 0 too
            batch = without_padding_rows(batch)
            loss, (_, _, metrics) = objective.apply(params, evaluated(state), key, batch, jnp.asarray(final_step))
            weight = weight_of(batch, loss)
            # where: a padded row repeats a real one, but 0 * inf would still be NaN
            sums = {k: jnp.where(weight > 0, v * weight, 0).sum() for k, v in {**metrics, "loss": loss}.items()}
            return sums, weight.sum()

        sums, counts = jax.lax.map(batch_sums, (stacked, keys))
        # sums of all batches, then one division: the padded last batch would distort a mean of means
        return jax.tree.map(lambda v: v.sum() / counts.sum(), sums)

    def evaluate(state: TrainState) -> dict[str, float]:
        means = jax.device_get(totals(state.params, state.state, stacked, keys))
        return {name: float(value) for name, value in means.items()}

    return evaluate
