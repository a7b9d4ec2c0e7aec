"""The train state and the one pure train step."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxae.numerics import along_replicas, as_batch, weight_of, without_padding_rows
from jaxae.types import Batch, Objective, PyTree, TrainState


def init_state(
    objective: Objective, optimizer: optax.GradientTransformation, rng: Array, batch: Batch | PyTree
) -> TrainState:
    """The state before the first step.

    Args:
      objective: the objective to minimise.
      optimizer: any optax transformation.
      rng: a typed key; half of it initialises, the other half is `TrainState.rng`, which never advances.
      batch: an array or `Batch`; shapes and dtypes decide the parameters' shapes.

    Returns:
      A `TrainState` at step 0.

    Raises:
      ValueError: the batch has no rows, or is a tuple or dict that names no parts; the optimizer needs more than
        gradients (`optax.lbfgs` does).

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> state = train.init_state(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)))
      >>> int(state.step)
      0
    """
    if not callable(getattr(optimizer, "update", None)):
        kind = type(optimizer).__name__
        raise ValueError(
            f"init_state: the optimizer is an optax transformation, such as optax.adam(1e-3); got a {kind}"
        )
    batch = require_batch("init_state", batch)
    init_rng, run_rng = jax.random.split(rng)
    params, state = objective.init(init_rng, batch)
    opt_state = optimizer.init(params)
    # before a checkpoint is written: does the optimizer do with gradients alone?
    jax.eval_shape(lambda p, o: _updates(optimizer, p, o, p), params, opt_state)
    return TrainState(jnp.zeros((), jnp.int32), params, state, opt_state, run_rng)


def require_batch(name: str, batch: Batch | PyTree) -> Batch:
    """The batch, refused where it names no parts or has no rows; shapes may be abstract.

    Args:
      name: name of the function, for the error.
      batch: an array or a `Batch`; a tree that a network reads as a whole is the `x` of a `Batch`.

    Raises:
      ValueError: a tuple, list or dict that is no `Batch`, or no rows.

    Example:
      >>> import numpy as np
      >>> from jaxae.train.step import require_batch
      >>> require_batch("fit", np.zeros((2, 3))).x.shape
      (2, 3)
    """
    if isinstance(batch, tuple | list | dict) and not isinstance(batch, Batch):
        kind = f"{type(batch).__name__} of {len(batch)}"
        raise ValueError(
            f"{name}: a batch is an array or a jaxae.types.Batch, got a {kind}: say what its parts are, "
            "Batch(x, condition=labels), Batch(x, target=y), or Batch(tree) for a tree that the encoder reads"
        )
    batch = as_batch(batch)
    leaves = jax.tree.leaves(batch.x)
    if wrong := sorted({str(leaf.dtype) for leaf in leaves if hasattr(leaf, "dtype") and not _real(leaf)}):
        raise ValueError(f"{name}: a batch holds real numbers, got {', '.join(wrong)}")
    if not leaves or any(not hasattr(leaf, "shape") for leaf in leaves):
        kinds = sorted({type(leaf).__name__ for leaf in leaves}) or "nothing"
        raise ValueError(f"{name}: a batch holds arrays, got {kinds}")
    if any(len(leaf.shape) == 0 or leaf.shape[0] == 0 for leaf in leaves):
        raise ValueError(f"{name}: a batch needs at least one row, got x of shape {leaves[0].shape}")
    return batch


def _real(leaf):
    return any(jnp.issubdtype(leaf.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))


def _updates(optimizer, gradients, opt_state, params):
    try:
        return optimizer.update(gradients, opt_state, params)
    except TypeError as error:
        raise ValueError(
            f"this optimizer needs more than gradients ({error}): a line search such as optax.lbfgs would evaluate the "
            "loss again at every step; take a first-order optimizer such as optax.adam"
        ) from None


def build_step(
    objective: Objective, optimizer: optax.GradientTransformation, axis_name: str | None = None
) -> Callable[[TrainState, Batch | PyTree], tuple[TrainState, dict[str, Array]]]:
    """The train step: gradient of the weighted mean loss, one update, the new state.

    Pure and not compiled: the caller owns `jit`, `scan`, `vmap`, `pmap`. Losses are summed and then divided by the
    sum of `batch.weight`, so padded rows do not count, whatever the number of devices. What `batch.mask` hides and what
    is not finite in rows of weight 0 reach no gradient.

    Args:
      objective: the objective to minimise.
      optimizer: the optimizer given to `init_state`.
      axis_name: name of the mapped axis, under `pmap` or `shard_map` alone; replicas then draw different noise and sum
        their gradients. Parts that read a batch as a whole (codebooks, entropies, total correlation) use this axis.

    Returns:
      `(state, batch) -> (state, metrics)`; metrics are scalars, "loss" and the objective's.

    Raises:
      ValueError: (from the step) as `init_state`.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> optimizer = optax.adam(1e-3)
      >>> state = train.init_state(objective, optimizer, jax.random.key(0), jnp.ones((4, 5)))
      >>> state, metrics = jax.jit(train.build_step(objective, optimizer))(state, jnp.ones((4, 5)))
      >>> int(state.step), sorted(metrics)
      (1, ['loss', 'nll', 'penalty'])
    """

    bare = bare_step(objective, optimizer, axis_name)

    def step(state, batch):
        return bare(state, without_padding_rows(require_batch("the train step", batch)))

    step.axis_name = axis_name  # pyright: ignore[reportFunctionMemberAccess]  pmap must name its axis the same
    return step


def bare_step(objective: Objective, optimizer: optax.GradientTransformation, axis_name: str | None = None) -> Callable:
    """`build_step` of batches that are checked, and finite in rows of weight 0."""

    def total(tree):
        return tree if axis_name is None else jax.lax.psum(tree, axis_name)

    def step(state, batch):
        # replica 0 has the key of a single device, so that draws shared by all replicas equal those of one device
        replica = 0 if axis_name is None else jax.lax.axis_index(axis_name)
        rng = jax.random.fold_in(jax.random.fold_in(state.rng, state.step), replica)

        def mean_loss(params):
            loss, (_, model_state, metrics) = objective.apply(params, state.state, rng, batch, state.step)
            weight = weight_of(batch, loss)
            # the divisor is the global weight: replicas' gradients then sum to the gradient of the global mean
            count = total(weight.sum())
            # where, not a product: a row of weight 0 may have an infinite loss
            means = {
                name: jnp.where(weight > 0, value * weight, 0).sum() / count
                for name, value in {**metrics, "loss": loss}.items()
            }
            return means["loss"], (model_state, means)

        with along_replicas(axis_name):
            gradients, (model_state, means) = jax.grad(mean_loss, has_aux=True)(state.params)
        # each replica's loss has the global divisor, so the sum over replicas is the global mean
        gradients, means = total((gradients, means))
        # equal gradients on all replicas: their parameters stay equal without further communication
        updates, opt_state = _updates(optimizer, gradients, state.opt_state, state.params)
        updates = _without(updates, objective.frozen)
        params = cast(dict, optax.apply_updates(state.params, updates))
        return TrainState(state.step + 1, params, model_state, opt_state, state.rng), means

    return step


def _without(updates: Any, frozen: tuple[str, ...]) -> Any:
    """No update of the model's frozen parts: without a gradient they would still decay."""
    if not frozen:
        return updates
    model = {
        name: jax.tree.map(jnp.zeros_like, part) if name in frozen else part for name, part in updates["model"].items()
    }
    return {**updates, "model": model}
