"""Several models trained in one: a `TrainState` with an axis of members, which the loop drives unchanged.

Members differ in their initialisation, their noise and, if wished, in the rows they learn from. They share the order
of the batches, so that a batch is read once for all of them.
"""

from collections.abc import Callable

import jax
import numpy as np
import optax
from jax import Array

from jaxae.numerics import as_batch
from jaxae.numerics.arguments import check_arguments
from jaxae.train.step import build_step as build_single_step
from jaxae.train.step import init_state
from jaxae.types import Batch, Objective, PyTree, TrainState

# everything but the step has an axis of members
_AXES = TrainState(None, 0, 0, 0, 0)  # pyright: ignore[reportArgumentType]


def init_states(
    objective: Objective, optimizer: optax.GradientTransformation, rng: Array, batch: Batch | PyTree, num: int
) -> TrainState:
    """The states of `num` models before the first step, stacked.

    Args:
      objective: the objective of each member.
      optimizer: any optax transformation.
      rng: a typed key; member i is `init_state` with `jax.random.split(rng, num)[i]`.
      batch: an array or `Batch`; shapes and dtypes decide the parameters' shapes.
      num: number of members, at least 1.

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
    # initialised under vmap: each member from its own key
    init_members = jax.vmap(lambda key: init_state(objective, optimizer, key, batch), out_axes=_AXES)
    return init_members(jax.random.split(rng, num))


def build_step(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Batch | PyTree], tuple[TrainState, dict[str, Array]]]:
    """One train step of every member on the same rows.

    A batch whose `weight` is `[B, K]` has a column for each member: with the weights of `leave_fold_out`, member k does
    not learn from fold k. A weight `[B]` holds for all members. Codebook statistics read no weight: quantizers that
    keep them see the rows of every fold.

    Args:
      objective: the objective of each member.
      optimizer: the optimizer given to `init_states`; gradients and their norms are computed per member.

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
        # the rows are shared (axis None); a weight with a column per member is the only mapped leaf
        columns = batch.weight is not None and batch.weight.ndim == 2
        axes = Batch(None, weight=1 if columns else None)  # pyright: ignore[reportArgumentType]
        # states and weights are mapped, rows are shared, the step counter is common
        state, metrics = jax.vmap(single, (_AXES, axes), (_AXES, 0))(state, batch)
        return state, jax.tree.map(lambda values: values.mean(0), metrics)

    return step


def members(objective: Objective) -> Objective:
    """The objective of all members at once, for `train.evaluator`: losses and metrics are means over the members.

    Args:
      objective: the objective of one member.

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
        per_member = jax.vmap(lambda p, s: objective.apply(p, s, rng, batch, step))
        loss, (output, model_state, metrics) = per_member(params, state)
        return loss.mean(0), (output, model_state, jax.tree.map(lambda values: values.mean(0), metrics))

    return Objective(objective.init, apply, objective.frozen)


def member(state: TrainState, index: int) -> TrainState:
    """The `TrainState` of one member, as if it had been trained alone.

    Args:
      state: the stacked state of all members.
      index: number of the member, from 0.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets
      >>> from jaxae.train import ensemble
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> states = ensemble.init_states(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)), num=3)
      >>> ensemble.member(states, 2).rng.shape
      ()
    """
    # `step` has no axis of members
    return jax.tree.map(lambda leaf: leaf[index], state._replace(step=()))._replace(step=state.step)


def folds(num_rows: int, num: int, seed: int = 0) -> np.ndarray:
    """The fold of each row, 0 to num - 1, `[num_rows]` int32: fold sizes differ by at most one row.

    Args:
      num_rows: number of training rows.
      num: number of folds.
      seed: seed of the random assignment.

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
    # 0, 1 ... num - 1 repeated, then shuffled: fold sizes differ by at most one
    return np.random.default_rng([seed, 0xF01D]).permutation(np.arange(num_rows, dtype=np.int32) % num)


def leave_fold_out(num_rows: int, num: int, seed: int = 0) -> np.ndarray:
    """Weights `[num_rows, num]` float32 with which member k learns from every row but those of fold k.

    Args:
      num_rows: number of training rows.
      num: number of members, which is the number of folds.
      seed: seed of `folds(num_rows, num, seed)`, which says which member does not learn from a row.

    Raises:
      ValueError: fewer than 2 folds, or fewer rows than folds.

    Example:
      >>> from jaxae.train.ensemble import folds, leave_fold_out
      >>> folds(3, 3).tolist(), leave_fold_out(3, 3).tolist()
      ([0, 2, 1], [[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    """
    # [N, 1] against [K]: column k is 0 on the rows of fold k
    return (folds(num_rows, num, seed)[:, None] != np.arange(num)).astype(np.float32)


check_arguments(__name__)
