"""Two players in one loss: a critic that tells what a model makes from a reference, and a model that misleads it."""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxae.networks.stateful import AnyNetwork, require_stateless
from jaxae.numerics import at_step, split_keys
from jaxae.objectives.elbo import Weight
from jaxae.objectives.references import latent_rows
from jaxae.types import Objective, Penalty


def adversarial(
    objective: Objective,
    name: str,
    critic: AnyNetwork,
    reference: Penalty,
    weight: Weight,
    loss: str = "non_saturating",
    seen: Penalty = latent_rows,
) -> Objective:
    """`objective + weight * term(critic(z)) + cross-entropy of the critic`, each part blind to the other's parameters.

    The critic's logit `l(z)` learns `log q(z) / p(z)`, q the latents' distribution and p the reference's. The model
    pays "ratio", `l(z)`, an estimate of the divergence; or "non_saturating", `log(1 + exp(l(z)))`. A stop of the
    gradient keeps the model's term from the critic and the critic's cross-entropy from the model, so one step of one
    optimizer trains both; `optax.multi_transform` over the keys of the params gives the critic a rate of its own.

    Args:
      objective: what is added to.
      name: key of the model's term (without its weight) among the metrics.
      critic: `[B, ...] -> [B, 1]`, the logit.
      reference: `(params, state, rng, batch, output) -> [B, ...]`: `prior_draws(model)`, `permuted` or `targets`.
      weight: a number, or a schedule `step -> number`.
      loss: "ratio" or "non_saturating".
      seen: likewise, what the critic tells from the reference: `latent_rows`, or `decoded_draws(model)`.

    Returns:
      An `Objective` whose params have the key "critic" too. Metrics: the term, "critic" (its cross-entropy, nats;
      log 2 when it knows nothing) and "critic_accuracy" (1 when it wins outright: its gradient is then of no use).

    Raises:
      ValueError: an unknown loss; from `init`, there is a critic already; from `apply`, a metric's name is taken.

    Source: Makhzani et al. 2015, "Adversarial Autoencoders"; Goodfellow et al. 2014, section 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks, objectives, presets
      >>> from jaxae.types import Batch
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> objective = objectives.adversarial(
      ...     objectives.elbo(model, beta=0.0), "divergence", networks.mlp(8, 1), objectives.prior_draws(model), 1.0
      ... )
      >>> params, state = objective.init(jax.random.key(0), Batch(jnp.ones((3, 5))))
      >>> sorted(params), sorted(objective.apply(params, state, None, Batch(jnp.ones((3, 5))), 0)[1][2])
      (['critic', 'model'], ['critic', 'critic_accuracy', 'divergence', 'nll', 'penalty', 'rate'])
    """
    critic = require_stateless("adversarial: the critic", critic)
    if loss not in ("ratio", "non_saturating"):
        raise ValueError(f"adversarial: the loss is ratio or non_saturating, not {loss!r}")

    def init(rng, batch):
        own, other = jax.random.split(rng)
        params, state = objective.init(own, batch)
        if "critic" in params:
            raise ValueError("adversarial: this objective has a critic already")

        def made(params, state, batch):
            _, (output, *_) = objective.apply(params, state, None, batch, 0)
            return seen(params["model"], state["model"], None, batch, output)

        return {**params, "critic": critic.init(other, jax.eval_shape(made, params, state, batch))}, state

    def apply(params, state, rng, batch, step):
        objective_rng, reference_rng, seen_rng = split_keys(rng, 3)
        total, (output, new, metrics) = objective.apply(params, state, objective_rng, batch, step)
        made = seen(params["model"], state["model"], seen_rng, batch, output)
        other = stop_gradient(reference(params["model"], state["model"], reference_rng, batch, output))
        logit = critic.apply(stop_gradient(params["critic"]), made)[:, 0]
        term = logit if loss == "ratio" else jax.nn.softplus(logit)
        found = critic.apply(params["critic"], stop_gradient(made))[:, 0]
        foreign = critic.apply(params["critic"], other)[:, 0]
        entropy = (jax.nn.softplus(-found) + jax.nn.softplus(foreign)) / 2
        right = ((found > 0).astype(jnp.float32) + (foreign < 0).astype(jnp.float32)) / 2
        added = {name: term, "critic": entropy, "critic_accuracy": stop_gradient(right)}
        if taken := sorted(set(added) & set(metrics)):
            raise ValueError(f"the metrics {taken} are taken: pick another name")
        return total + at_step(weight, step) * term + entropy, (output, new, {**metrics, **added})

    return Objective(init, apply, objective.frozen)
