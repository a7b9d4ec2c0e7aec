"""The objective of a prior alone, trained on latents or symbols of a trained model."""

import jax.numpy as jnp

from jaxae.numerics import as_batch
from jaxae.types import Code, Objective, Output, Prior


def negative_log_prob(prior: Prior) -> Objective:
    """`-log p(x | condition)`; in calls with a key, the negative `bound` of a prior that has one.

    Args:
      prior: prior over the contents of the batches, e.g. `priors.autoregressive(512)` over symbols.

    Returns:
      An `Objective` over batches whose `x` is latents or symbols `[B, ...]` and whose condition is the prior's. Its
      metric is "nll", `[B]` nats. There is no decoder: the output's latent and prediction are `x` itself.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import objectives, priors
      >>> from jaxae.types import Batch
      >>> objective = objectives.negative_log_prob(priors.uniform(2))
      >>> batch = Batch(jnp.zeros((1, 3), int))
      >>> params, state = objective.init(jax.random.key(0), batch)
      >>> round(float(objective.apply(params, state, None, batch, 0)[0][0]), 4)
      2.0794
    """

    def init(rng, batch):
        batch = as_batch(batch)
        return {"model": prior.init(rng, batch.x, batch.condition)}, {"model": ()}

    def apply(params, state, rng, batch, step):
        if rng is None or prior.bound is None:
            loss = -prior.log_prob(params["model"], batch.x, batch.condition)
        else:
            loss = -prior.bound(params["model"], rng, batch.x, batch.condition)
        code = Code(batch.x, penalty=jnp.zeros_like(loss))
        return loss, (Output(code, batch.x), state, {"nll": loss})

    return Objective(init, apply)
