"""Several models trained in one: a `TrainState` with an axis of members, which the loop drives unchanged.

Members differ in their initialisation, their noise and, if wished, in the rows they learn from; the order of the
batches they share, so that a batch is read once for all.
"""

from collections.abc import Callable

import jax
import numpy as np
import optax
from jax import Array

from jaxae.numerics import as_batch
from jaxae.train.step import build_step as build_single_step
from jaxae.train.step import init_state
from jaxae.types import Batch, Objective, PyTree, TrainState

# everything but the step has an axis of members
_AXES = TrainState(None, 0, 0, 0, 0)  # pyright: ignore[reportArgumentType]


def init_states(
    objective: Objective, optimizer: optax.GradientTransformation, rng: Array, batch: Batch | PyTree, num: int
) -> TrainState:
    """The states of `num` models before the first step, as one.

    Args:
      objective: what each minimises.
      optimizer: any optax transformation.
      rng: a typed key; member i is `init_state` with `jax.random.split(rng, num)[i]`.
      batch: an array or `Batch`; shapes and dtypes decide the parameters' shapes.
      num: of members, at least 1.

    Returns:
      A `TrainState` whose leaves, but for `step`, have an axis of members in front.

    Raises:
      ValueError: `num` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets
      >>> from jaxae.train import ensemble
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> states = ensemble.init_states(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)), num=3)
      >>> states.step.shape, states.rng.shape
      ((), (3,))
    """
    if num < 1:
        raise ValueError(f"an ensemble has at least 1 member; got {num}")
    one = jax.vmap(lambda key: init_state(objective, optimizer, key, batch), out_axes=_AXES)
    return one(jax.random.split(rng, num))


def build_step(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Batch | PyTree], tuple[TrainState, dict[str, Array]]]:
    """One train step of every member on the same rows.

    A batch whose `weight` is `[B, K]` has a column for each member: with those of `leave_fold_out` each member never
    learns from its own fold. A weight `[B]` holds for all. Codebook statistics read no weight: quantizers that keep
    them see the rows of every fold.

    Args:
      objective: what each minimises.
      optimizer: the one that `init_states` was given; each member's gradients are its own, norms as well.

    Returns:
      `(state, batch) -> (state, metrics)`; the metrics are means over the members.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets, train
      >>> from jaxae.data.batches import shuffled
      >>> from jaxae.train import ensemble
      >>> from jaxae.types import Batch
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> optimizer, x = optax.adam(1e-3), jnp.ones((8, 5))
      >>> states = ensemble.init_states(objective, optimizer, jax.random.key(0), x, num=4)
      >>> data = Batch(x, weight=ensemble.leave_fold_out(8, num=4))
      >>> result = train.fit(ensemble.build_step(objective, optimizer), states, shuffled(8, 4), 3, data=data)
      >>> int(result.state.step)
      3
    """
    single = build_single_step(objective, optimizer)

    def step(state: TrainState, batch: Batch | PyTree) -> tuple[TrainState, dict[str, Array]]:
        batch = as_batch(batch)
        columns = batch.weight is not None and batch.weight.ndim == 2
        axes = Batch(None, weight=1 if columns else None)  # pyright: ignore[reportArgumentType]
        state, metrics = jax.vmap(single, (_AXES, axes), (_AXES, 0))(state, batch)
        return state, jax.tree.map(lambda values: values.mean(0), metrics)

    return step


def members(objective: Objective) -> Objective:
    """The objective of all members at once, for `train.evaluator`: losses and metrics are means over the members.

    Args:
      objective: one member's.

    Returns:
      An `Objective` whose `apply` takes params and state with an axis of members; all draw the same noise.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, optax
      >>> from jaxae import presets, train
      >>> from jaxae.train import ensemble
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> states = ensemble.init_states(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)), num=3)
      >>> evaluate = train.evaluator(ensemble.members(objective), np.ones((7, 5), np.float32), final_step=1)
      >>> sorted(evaluate(states))
      ['loss', 'nll', 'penalty']
    """

    def apply(params, state, rng, batch, step):
        each = jax.vmap(lambda p, s: objective.apply(p, s, rng, batch, step))
        loss, (output, new, metrics) = each(params, state)
        return loss.mean(0), (output, new, jax.tree.map(lambda values: values.mean(0), metrics))

    return Objective(objective.init, apply, objective.frozen)


def member(state: TrainState, index: int) -> TrainState:
    """One member's own `TrainState`, as if it had been trained alone.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets
      >>> from jaxae.train import ensemble
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> states = ensemble.init_states(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)), num=3)
      >>> ensemble.member(states, 2).rng.shape
      ()
    """
    return jax.tree.map(lambda leaf: leaf[index], state._replace(step=()))._replace(step=state.step)


def folds(num_rows: int, num: int, seed: int = 0) -> np.ndarray:
    """Each row's fold, 0 to num - 1, `[num_rows]` int32: sizes differ by at most one, rows are drawn at random.

    Raises:
      ValueError: fewer than 2 folds, or fewer rows than folds.

    Example:
      >>> import numpy as np
      >>> from jaxae.train.ensemble import folds
      >>> np.bincount(folds(7, 3)).tolist()
      [3, 2, 2]
    """
    if not 2 <= num <= num_rows:
        raise ValueError(f"folds: needs at least 2 folds and a row in each; got {num} folds of {num_rows} rows")
    return np.random.default_rng([seed, 0xF01D]).permutation(np.arange(num_rows, dtype=np.int32) % num)


def leave_fold_out(num_rows: int, num: int, seed: int = 0) -> np.ndarray:
    """Weights `[num_rows, num]` float32 with which member k learns from every row but those of fold k.

    Args:
      num_rows: of the training data.
      num: of members and folds.
      seed: of `folds(num_rows, num, seed)`, which says whose held-out row a row is.

    Raises:
      ValueError: fewer than 2 folds, or fewer rows than folds.

    Example:
      >>> from jaxae.train.ensemble import folds, leave_fold_out
      >>> folds(3, 3).tolist(), leave_fold_out(3, 3).tolist()
      ([0, 2, 1], [[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    """
    return (folds(num_rows, num, seed)[:, None] != np.arange(num)).astype(np.float32)
