"""Several models trained in one: a `TrainState` with an axis of members, which the loop drives unchanged.

Members differ in their initialisation, their noise and, if wished, in the rows they learn from. They share the order
of the batches, so that a batch is read once for all of them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxae.numerics import as_whole, weight_of, without_padding_rows
from jaxae.numerics.arguments import check_arguments
from jaxae.train.step import bare_step, init_state, require_batch
from jaxae.types import Batch, Objective, PyTree, TrainState

MEMBER_IS_FINITE = "member_is_finite"
"""Metric `[num]` bool of a step of several members, which `train.fit` reads."""

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
    if (whole := as_whole(num)) is None or whole < 1:
        raise ValueError(f"an ensemble has at least 1 member, a whole number; got {num}")
    # initialised under vmap: each member from its own key
    init_members = jax.vmap(lambda key: init_state(objective, optimizer, key, batch), out_axes=_AXES)
    return init_members(jax.random.split(rng, num))


def build_step(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Batch | PyTree], tuple[TrainState, dict[str, Array]]]:
    """One train step of every member on the same rows.

    A member whose loss or whose new parameters are not finite is left behind: it keeps the state that it had, is left
    out of the metrics, and the others go on. `train.fit` warns with its number, and ends where none is left.

    A batch whose `weight` is `[B, K]` has a column for each member: with the weights of `leave_fold_out`, member k does
    not learn from fold k, and its codebook statistics leave those rows out. A weight `[B]` holds for all members.

    Args:
      objective: the objective of each member.
      optimizer: the optimizer given to `init_states`; gradients and their norms are computed per member.

    Returns:
      `(state, batch) -> (state, metrics)`; the metrics are means over the members that took the step, and
      "member_is_finite", `[num]` bool, says which did.

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
    single = bare_step(objective, optimizer)

    def guarded(state, batch):
        new, metrics = single(state, batch)
        inexact = [leaf for leaf in jax.tree.leaves((new.params, new.state)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        is_finite = jnp.isfinite(metrics["loss"]) & jnp.stack([jnp.isfinite(leaf).all() for leaf in inexact]).all()
        stopped = state._replace(step=new.step)
        # typed keys cannot be selected, and never change
        new, stopped = (s._replace(rng=()) for s in (new, stopped))
        kept = jax.tree.map(lambda a, b: jnp.where(is_finite, a, b), new, stopped)
        return kept._replace(step=new.step, rng=state.rng), (metrics, is_finite)

    def step(state: TrainState, batch: Batch | PyTree) -> tuple[TrainState, dict[str, Array]]:
        # before the map over members, so that they go on sharing the rows
        batch = without_padding_rows(require_batch("the train step", batch))
        # the rows are shared (axis None); a weight with a column per member is the only mapped leaf
        columns = batch.weight is not None and batch.weight.ndim == 2
        axes = Batch(None, weight=1 if columns else None)  # pyright: ignore[reportArgumentType]
        # states and weights are mapped, rows are shared, the step counter is common
        state, (metrics, is_finite) = jax.vmap(guarded, (_AXES, axes), (_AXES, 0))(state, batch)
        means = {name: _mean_of_finite(values, is_finite) for name, values in metrics.items()}
        return state, {**means, MEMBER_IS_FINITE: is_finite}

    return step


def members(objective: Objective) -> Objective:
    """The objective of all members at once, for `train.evaluator`: losses and metrics are means over the members.

    Members whose losses are not finite are left out of the means, as they are of training.

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
        counts = weight_of(batch, loss[0]) > 0
        is_finite = jnp.where(counts, jnp.isfinite(loss), True).all(1)
        loss, metrics = jax.tree.map(lambda values: _mean_of_finite(values, is_finite), (loss, metrics))
        return loss, (output, model_state, metrics)

    return Objective(objective.init, apply, objective.frozen)


def _mean_of_finite(values: Array, is_finite: Array) -> Array:
    """Mean over the members (the first axis) that are finite; NaN where none is."""
    chosen = is_finite.reshape(-1, *(1,) * (values.ndim - 1))
    return jnp.where(chosen, values, 0).sum(0) / is_finite.sum()


def member(state: TrainState, index: int) -> TrainState:
    """The `TrainState` of one member, as if it had been trained alone.

    Args:
      state: the stacked state of all members.
      index: number of the member, from 0.

    Raises:
      ValueError: there is no such member.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets
      >>> from jaxae.train import ensemble
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> states = ensemble.init_states(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)), num=3)
      >>> ensemble.member(states, 2).rng.shape
      ()
    """
    num = state.rng.shape[0] if state.rng.ndim else 0
    if (whole := as_whole(index)) is not None and not 0 <= whole < num:
        raise ValueError(f"member: index must be in 0..{num - 1}, got {index}")
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
