"""FactorVAE: a critic estimates the total correlation."""

from jaxae.networks import AnyNetwork
from jaxae.objectives.adversarial import adversarial
from jaxae.objectives.elbo import Weight
from jaxae.objectives.references import permuted
from jaxae.types import Objective


def factor(objective: Objective, critic: AnyNetwork, gamma: Weight) -> Objective:
    """FactorVAE: `adversarial` with the reference `permuted` and the density ratio as loss.

    The metric "total_correlation" is the critic's logit, an estimate of `log q(z) / prod_d q(z_d)`. The shuffled
    latents are those of the same batch; the paper draws a second one.

    Args:
      objective: ELBO of a model with a gaussian bottleneck.
      critic: network `[B, D] -> [B, 1]` to the logit.
      gamma: weight of the total correlation, a number or a schedule `step -> number`.

    Source: Kim and Mnih 2018, "Disentangling by Factorising", equation 3 and algorithm 2.

    Example:
      >>> from jaxae import networks, objectives, presets
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> objective = objectives.factor(objectives.elbo(model), networks.mlp(64, 64, 1), gamma=6.0)
    """
    return adversarial(objective, "total_correlation", critic, permuted, gamma, "ratio")
