"""The evidence lower bound; plain reconstruction with a bottleneck without penalty."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import at_step, counted_target, rows_weighing, sum_per_example
from jaxae.types import Autoencoder, Batch, Objective, Output, Schedule

Weight = ArrayLike | Schedule


def negative_log_likelihood(model: Autoencoder, batch: Batch, output: Output) -> Array:
    """`-log p(target | prediction)`, nats, summed over the elements that count: `[B]`.

    Elements that `batch.mask` hides reach neither the sum nor its gradient, whatever they hold.

    Args:
      model: the autoencoder whose likelihood scores the target.
      batch: batch of B rows.
      output: the model's output for the batch.

    Raises:
      ValueError: the prediction's shape does not fit the target's.
    """
    target, prediction, channels = counted_target(batch), output.prediction, model.likelihood.num_params
    if hasattr(target, "shape"):
        expected = (*target.shape[:-1], *(size * channels for size in target.shape[-1:]))
        if prediction.shape != expected:
            # shapes that broadcast would give a number for each pair of elements
            raise ValueError(
                f"the decoder gives {prediction.shape}, but the target {target.shape} with {channels} parameter(s) per "
                f"channel needs {expected}: change the decoder's output size, or the target"
            )
    return -sum_per_example(model.likelihood.log_prob(target, prediction), batch.mask)


def elbo(model: Autoencoder, beta: Weight = 1.0, capacity: Weight | None = None) -> Objective:
    """The objective of single-sample models: `-log p(x|z) + beta * penalty`, or `... + beta * |penalty - capacity|`.

    Args:
      model: an `Autoencoder`.
      beta: weight of the bottleneck's penalty, a number or a schedule `step -> number` (a KL warm-up is
        `optax.linear_schedule(0.0, 1.0, steps)`).
      capacity: target of the penalty in nats, a number or a schedule (a rising capacity); None: 0.

    Returns:
      An `Objective` whose metrics, each `[B]` in nats, are "nll", "penalty" (without beta), "rate" where the code has
      one, and the terms of the penalty by name (`Code.terms`).

    Source: Kingma and Welling 2014; beta: Higgins et al. 2017; capacity: Burgess et al. 2018, equation 8.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, likelihoods, networks, objectives
      >>> from jaxae.model import autoencoder
      >>> from jaxae.numerics import as_batch
      >>> model = autoencoder(networks.mlp(8, 4), bottlenecks.gaussian(), networks.mlp(8, 5), likelihoods.gaussian())
      >>> objective = objectives.elbo(model, beta=0.5)
      >>> batch = as_batch(jnp.ones((3, 5)))
      >>> params, state = objective.init(jax.random.key(0), batch)
      >>> loss, (output, state, metrics) = objective.apply(params, state, jax.random.key(1), batch, 0)
      >>> loss.shape, sorted(metrics)
      ((3,), ['nll', 'penalty', 'rate'])
    """

    def apply(params, state, rng, batch, step):
        with rows_weighing(batch.weight):
            output, model_state = model.apply(params["model"], state["model"], rng, batch.x, batch.condition)
        nll = negative_log_likelihood(model, batch, output)
        penalty = output.code.penalty
        if capacity is not None:
            # per example, as the penalty itself
            penalty = jnp.abs(penalty - at_step(capacity, step))
        loss = nll + at_step(beta, step) * penalty
        metrics = {"nll": nll, "penalty": output.code.penalty}
        if output.code.rate is not None:
            metrics["rate"] = output.code.rate
        # terms carry their weights already: their sum is the penalty
        metrics.update(output.code.terms or {})
        return loss, (output, {**state, "model": model_state}, metrics)

    return Objective(init_model(model), apply)


def init_model(model: Autoencoder) -> Callable:
    """An objective's `init` for a model alone: `(rng, batch) -> ({"model": params}, {"model": state})`."""

    def init(rng, batch):
        params, state = model.init(rng, batch.x, batch.condition)
        return {"model": params}, {"model": state}

    return init
