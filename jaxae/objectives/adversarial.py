"""Adversarial training in one loss: a critic that separates samples of a model from a reference, and the model."""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxae.networks.stateful import AnyNetwork, require_stateless
from jaxae.numerics import at_step, require_part, require_real, split_keys
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
    """`objective + weight * term(critic(z)) + cross-entropy of the critic`, with gradients to one player each.

    The critic's logit `l(z)` learns `log q(z) / p(z)`, q the distribution of the latents and p that of the reference.
    The term of the model is "ratio", `l(z)`, an estimate of the divergence, or "non_saturating", `log(1 + exp(l(z)))`.
    `stop_gradient` keeps the term from the critic's parameters and the cross-entropy from the model's, so one step of
    one optimizer trains both; `optax.multi_transform` over the keys of the params gives the critic a separate rate.

    Args:
      objective: objective that the two terms are added to.
      name: key of the model's term (without its weight) among the metrics.
      critic: network `[B, ...] -> [B, 1]` to the logit.
      reference: function `(params, state, rng, batch, output) -> [B, ...]` of samples of the reference:
        `prior_draws(model)`, `permuted` or `targets`.
      weight: weight of the model's term, a number or a schedule `step -> number`.
      loss: form of the model's term, "ratio" or "non_saturating".
      seen: function of the same form of the model's samples, which the critic separates from the reference:
        `latent_rows` or `decoded_draws(model)`.

    Returns:
      An `Objective` whose params have the key "critic" too. Metrics: the term, "critic" (its cross-entropy, nats;
      log 2 for an uninformed critic) and "critic_accuracy" (at 1 its gradient is no longer informative).

    Raises:
      ValueError: an unknown loss; from `init`, the objective has a critic; from `apply`, a metric of that name exists.

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
    require_part("adversarial", Objective, objective=objective)
    require_real("adversarial", weight=weight)
    critic = require_stateless("adversarial: the critic", critic)
    if loss not in ("ratio", "non_saturating"):
        raise ValueError(f"adversarial: the loss is ratio or non_saturating, not {loss!r}")

    def init(rng, batch):
        objective_rng, critic_rng = jax.random.split(rng)
        params, state = objective.init(objective_rng, batch)
        if "critic" in params:
            raise ValueError("adversarial: this objective has a critic already")

        def samples_of(params, state, batch):
            _, (output, *_) = objective.apply(params, state, None, batch, 0)
            return seen(params["model"], state["model"], None, batch, output)

        return {**params, "critic": critic.init(critic_rng, jax.eval_shape(samples_of, params, state, batch))}, state

    def apply(params, state, rng, batch, step):
        objective_rng, reference_rng, seen_rng = split_keys(rng, 3)
        total, (output, new_state, metrics) = objective.apply(params, state, objective_rng, batch, step)
        samples = seen(params["model"], state["model"], seen_rng, batch, output)
        # the reference is data of the critic: its parameters get no gradient here
        reference_samples = stop_gradient(reference(params["model"], state["model"], reference_rng, batch, output))
        # the model's term: gradients reach the samples, not the critic
        logit = critic.apply(stop_gradient(params["critic"]), samples)[:, 0]
        term = logit if loss == "ratio" else jax.nn.softplus(logit)
        # the critic's term: gradients reach the critic, not the samples
        sample_logit = critic.apply(params["critic"], stop_gradient(samples))[:, 0]
        reference_logit = critic.apply(params["critic"], reference_samples)[:, 0]
        # binary cross-entropy of logits: -log sigmoid(l) = softplus(-l) for samples, softplus(l) for the reference
        entropy = (jax.nn.softplus(-sample_logit) + jax.nn.softplus(reference_logit)) / 2
        accuracy = ((sample_logit > 0).astype(jnp.float32) + (reference_logit < 0).astype(jnp.float32)) / 2
        added = {name: term, "critic": entropy, "critic_accuracy": stop_gradient(accuracy)}
        if conflicts := sorted(set(added) & set(metrics)):
            raise ValueError(f"the metrics {conflicts} are taken: pick another name")
        return total + at_step(weight, step) * term + entropy, (output, new_state, {**metrics, **added})

    return Objective(init, apply, objective.frozen)
