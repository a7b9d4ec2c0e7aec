"""Combinators of objectives: transforms in front, added penalties, weighted sums, and frozen parts."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxae.networks.stateful import kept
from jaxae.numerics import at_step, split_keys
from jaxae.objectives.elbo import Weight
from jaxae.types import Objective, Penalty, Transform


def prepared(objective: Objective, transform: Transform) -> Objective:
    """An objective that reads transformed batches: scaling, binarisation, corruption, masking.

    With `rng=None` the transform gets no key either, so corruptions are off.

    Args:
      objective: objective that reads the transformed batches.
      transform: function `(rng, Batch) -> Batch`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, likelihoods, networks, objectives, transforms
      >>> from jaxae.model import autoencoder
      >>> from jaxae.numerics import as_batch
      >>> model = autoencoder(networks.mlp(2), bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())
      >>> objective = objectives.prepared(objectives.elbo(model), transforms.scale_uint8())
      >>> batch = as_batch(jnp.zeros((3, 5), jnp.uint8))
      >>> params, state = objective.init(jax.random.key(0), batch)
      >>> objective.apply(params, state, None, batch, 0)[0].shape
      (3,)
    """

    def init(rng, batch):
        transform_rng, objective_rng = jax.random.split(rng)
        return objective.init(objective_rng, transform(transform_rng, batch))

    def apply(params, state, rng, batch, step):
        transform_rng, objective_rng = split_keys(rng, 2)
        return objective.apply(params, state, objective_rng, transform(transform_rng, batch), step)

    return Objective(init, apply, objective.frozen)


def penalized(objective: Objective, name: str, penalty: Penalty, weight: Weight) -> Objective:
    """`loss + weight * penalty`; the penalty is reported under `name`, without its weight.

    Args:
      objective: objective that the penalty is added to.
      name: key of the penalty among the metrics; no other metric may have it.
      penalty: function `(params, state, rng, batch, output) -> [B]` or to a scalar; `params` and `state` are those of
        the model.
      weight: weight of the penalty, a number or a schedule `step -> number`.

    Raises:
      ValueError: (from apply) the metric's name is taken.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, likelihoods, networks, objectives
      >>> from jaxae.model import autoencoder
      >>> from jaxae.numerics import as_batch
      >>> model = autoencoder(networks.mlp(2), bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())
      >>> sparse = lambda params, state, rng, batch, output: jnp.abs(output.code.latent).sum(-1)
      >>> objective = objectives.penalized(objectives.elbo(model), "sparsity", sparse, weight=0.1)
      >>> params, state = objective.init(jax.random.key(0), as_batch(jnp.ones((3, 5))))
      >>> sorted(objective.apply(params, state, None, as_batch(jnp.ones((3, 5))), 0)[1][2])
      ['nll', 'penalty', 'sparsity']
    """

    def apply(params, state, rng, batch, step):
        objective_rng, penalty_rng = split_keys(rng, 2)
        loss, (output, new_state, metrics) = objective.apply(params, state, objective_rng, batch, step)
        if name in metrics:
            raise ValueError(f"the metric {name!r} is taken ({sorted(metrics)} are): pick another name")
        added = jnp.broadcast_to(penalty(params["model"], state["model"], penalty_rng, batch, output), loss.shape)
        return loss + at_step(weight, step) * added, (output, new_state, {**metrics, name: added})

    return Objective(objective.init, apply, objective.frozen)


def combined(objectives: Sequence[Objective], weights: Sequence[Weight]) -> Objective:
    """The weighted sum of objectives over the same model; output, state and metrics are those of the first.

    All get the same key, so two bounds use the same noise.

    Args:
      objectives: objectives, at least one; `init` is that of the first.
      weights: weight of each objective, a number or a schedule `step -> number`.

    Raises:
      ValueError: the two lengths differ, or are zero.

    Source: Rainforth et al. 2018, "Tighter Variational Bounds are Not Necessarily Better" (CIWAE).

    Example:
      >>> from jaxae import bottlenecks, likelihoods, networks, objectives
      >>> from jaxae.model import autoencoder
      >>> model = autoencoder(networks.mlp(4), bottlenecks.gaussian(), networks.mlp(5), likelihoods.gaussian())
      >>> ciwae = objectives.combined([objectives.elbo(model), objectives.iwae(model, 8)], [0.5, 0.5])
    """
    for name, given in (("objectives", objectives), ("weights", weights)):
        if not isinstance(given, list | tuple):
            raise ValueError(f"combined: {name} must be a list, got a {type(given).__name__}")
    if not objectives or len(objectives) != len(weights):
        raise ValueError(f"combined: {len(objectives)} objectives need as many weights, got {len(weights)}")

    def apply(params, state, rng, batch, step):
        losses, details = zip(*(o.apply(params, state, rng, batch, step) for o in objectives), strict=True)
        total = jnp.stack([at_step(w, step) * loss for w, loss in zip(weights, losses, strict=True)]).sum(0)
        return total, details[0]

    frozen = [name for name in objectives[0].frozen if all(name in o.frozen for o in objectives)]
    return Objective(objectives[0].init, apply, tuple(frozen))


def partial(objective: Objective, *frozen: str) -> Objective:
    """An objective that does not change some parts of the model ("encoder", "bottleneck", "decoder").

    They get no gradient, `train.build_step` gives them no update whatever the optimizer (weight decay would move them),
    and their state (a codebook's moving averages, batch statistics) is returned unchanged. In `combined` a part is
    frozen only if every objective freezes it.

    Args:
      objective: any objective over a model.
      *frozen: names of the frozen parts, keys of `params["model"]`.

    Raises:
      ValueError: (from apply) the model has no such part.

    Source: Rainforth et al. 2018: PIWAE trains the encoder by MIWAE and the decoder by IWAE.

    Example:
      >>> from jaxae import bottlenecks, likelihoods, networks, objectives
      >>> from jaxae.model import autoencoder
      >>> model = autoencoder(networks.mlp(4), bottlenecks.gaussian(), networks.mlp(5), likelihoods.gaussian())
      >>> decoder_only = objectives.partial(objectives.iwae(model, 8), "encoder", "bottleneck")
    """

    def apply(params, state, rng, batch, step):
        parts = params["model"]
        if unknown := sorted(set(frozen) - set(parts)):
            raise ValueError(f"partial: the model has no part {unknown}; it has {sorted(parts)}")
        parts = {name: stop_gradient(part) if name in frozen else part for name, part in parts.items()}
        loss, (output, new_state, metrics) = objective.apply({**params, "model": parts}, state, rng, batch, step)
        new_state = {**new_state, "model": kept(state["model"], new_state["model"], frozen)}
        return loss, (output, new_state, metrics)

    return Objective(objective.init, apply, (*objective.frozen, *frozen))
