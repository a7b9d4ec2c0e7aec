"""The train state and the one pure train step."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxae.numerics import along_replicas, as_batch, weight_of
from jaxae.types import Batch, Objective, PyTree, TrainState


def init_state(
    objective: Objective, optimizer: optax.GradientTransformation, rng: Array, batch: Batch | PyTree
) -> TrainState:
    """The state before the first step.

    Args:
      objective: what is minimised.
      optimizer: any optax transformation.
      rng: a typed key; one half initialises, the other is the run's own and never advances.
      batch: an array or `Batch`; shapes and dtypes decide the parameters' shapes.

    Returns:
      A `TrainState` at step 0.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> state = train.init_state(objective, optax.adam(1e-3), jax.random.key(0), jnp.ones((4, 5)))
      >>> int(state.step)
      0
    """
    init_rng, run_rng = jax.random.split(rng)
    params, state = objective.init(init_rng, as_batch(batch))
    return TrainState(jnp.zeros((), jnp.int32), params, state, optimizer.init(params), run_rng)


def build_step(
    objective: Objective, optimizer: optax.GradientTransformation, axis_name: str | None = None
) -> Callable[[TrainState, Batch | PyTree], tuple[TrainState, dict[str, Array]]]:
    """The train step: gradient of the weighted mean loss, one update, the new state.

    Pure and not compiled: the caller owns `jit`, `scan`, `vmap`, `pmap`. Losses are summed and then divided by the
    sum of `batch.weight`, so padding counts for nothing, on however many devices.

    Args:
      objective: what is minimised.
      optimizer: the one that `init_state` was given.
      axis_name: the mapped axis, under `pmap` or `shard_map` alone; replicas then draw different noise and sum
        their gradients. Parts that read a batch as a whole (codebooks, entropies, total correlation) take it from here.

    Returns:
      `(state, batch) -> (state, metrics)`; metrics are scalars, "loss" and the objective's.

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

    def total(tree):
        return tree if axis_name is None else jax.lax.psum(tree, axis_name)

    def step(state, batch):
        batch = as_batch(batch)
        # the first replica's key is that of a single device: what is drawn once for all is then the same
        replica = 0 if axis_name is None else jax.lax.axis_index(axis_name)
        rng = jax.random.fold_in(jax.random.fold_in(state.rng, state.step), replica)

        def mean_loss(params):
            loss, (_, new, metrics) = objective.apply(params, state.state, rng, batch, state.step)
            weight = weight_of(batch, loss)
            count = total(weight.sum())
            means = {name: (value * weight).sum() / count for name, value in {**metrics, "loss": loss}.items()}
            return means["loss"], (new, means)

        with along_replicas(axis_name):
            gradients, (new, means) = jax.grad(mean_loss, has_aux=True)(state.params)
        gradients, means = total((gradients, means))
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        updates = _without(updates, objective.frozen)
        params = cast(dict, optax.apply_updates(state.params, updates))
        return TrainState(state.step + 1, params, new, opt_state, state.rng), means

    step.axis_name = axis_name  # pyright: ignore[reportFunctionMemberAccess]  pmap must name its axis the same
    return step


def _without(updates: Any, frozen: tuple[str, ...]) -> Any:
    """No update of the model's frozen parts: without a gradient they would still decay."""
    if not frozen:
        return updates
    model = {
        name: jax.tree.map(jnp.zeros_like, part) if name in frozen else part for name, part in updates["model"].items()
    }
    return {**updates, "model": model}
