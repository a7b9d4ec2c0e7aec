"""Weak supervision by pairs: dimensions that two examples share are estimated and averaged (Ada-GVAE)."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.bottlenecks.gaussian import reparametrised
from jaxae.networks.stateful import has_networks
from jaxae.numerics import at_step, sum_per_example
from jaxae.objectives.elbo import Weight, negative_log_likelihood
from jaxae.priors import standard_normal
from jaxae.types import Autoencoder, Batch, Code, Gaussian, Objective, Output


def ada_gvae(model: Autoencoder, beta: Weight = 1.0) -> Objective:
    """The ELBO of pairs of which some unknown factors are equal; their posteriors are averaged where they agree.

    A dimension counts as shared where `KL(q_d(z|x_1) || q_d(z|x_2))` is below the midpoint of the pair's least and
    greatest; there both posteriors become the normal with the mean of the two means and of the two variances.

    Args:
      model: an `Autoencoder` with `bottlenecks.gaussian()`, its prior standard normal.
      beta: weight of the KL, a number or a schedule `step -> number`.

    Returns:
      An `Objective` over batches of pairs, `x [B, 2, ...]` (the same for target, mask and condition). The loss of a
      pair is the mean over its two examples; the metrics are "nll", "penalty" (both nats) and "shared", the share of
      shared dimensions. The output holds the first example of each pair.

    Raises:
      ValueError: (from apply) x holds no pairs, the posterior is not normal, or a network has state.

    Source: Locatello et al. 2020, "Weakly-Supervised Disentanglement Without Compromises", section 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import objectives, presets
      >>> from jaxae.types import Batch
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> objective = objectives.ada_gvae(model)
      >>> pairs = Batch(jax.random.normal(jax.random.key(0), (4, 2, 5)))
      >>> params, state = objective.init(jax.random.key(1), pairs)
      >>> objective.apply(params, state, jax.random.key(2), pairs, 0)[0].shape
      (4,)
    """

    def init(rng, batch):
        first = _first(batch)
        params, state = model.init(rng, first.x, first.condition)
        return {"model": params}, {"model": state}

    def apply(params, state, rng, batch, step):
        rows = batch.x.shape[0]
        if has_networks(state["model"]):
            raise ValueError("ada_gvae encodes by evaluation alone, so batch statistics and dropout would never train")
        _first(batch)
        # the two examples of a pair are consecutive rows: one pass encodes them all
        flat_batch = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch._replace(weight=None))
        code = model.encode(params["model"], state["model"], flat_batch.x, flat_batch.condition)
        if not isinstance(code.posterior, Gaussian):
            raise ValueError("ada_gvae needs a normal posterior: the bottleneck must be a gaussian one")
        posterior, shared = _averaged(*(leaf.reshape(rows, 2, -1) for leaf in code.posterior))
        posterior = Gaussian(*(leaf.reshape(code.latent.shape) for leaf in posterior))
        latent = reparametrised(posterior, rng)
        prediction = model.decode(params["model"], latent, flat_batch.condition)
        nll = negative_log_likelihood(model, flat_batch, Output(code, prediction))
        kl = sum_per_example(_prior_kl(posterior))
        metrics = {"nll": nll.reshape(rows, 2).mean(1), "penalty": kl.reshape(rows, 2).mean(1), "shared": shared}
        loss = metrics["nll"] + at_step(beta, step) * metrics["penalty"]
        first = Output(Code(latent[::2], kl[::2], posterior=Gaussian(*(p[::2] for p in posterior))), prediction[::2])
        return loss, (first, state, metrics)

    return Objective(init, apply)


def _first(batch: Batch) -> Batch:
    if batch.x.ndim < 3 or batch.x.shape[1] != 2:
        raise ValueError(f"ada_gvae reads pairs, x [B, 2, ...]; got {batch.x.shape}")
    return jax.tree.map(lambda leaf: leaf[:, 0], batch._replace(weight=None))


def _averaged(mean: Array, log_variance: Array) -> tuple[Gaussian, Array]:
    """`[B, 2, D]` posteriors, averaged over the pair where they agree, and the share `[B]` of such dimensions."""
    variance = jnp.exp(log_variance)
    gap, ratio = mean[:, 0] - mean[:, 1], log_variance[:, 0] - log_variance[:, 1]
    # KL of two normals per dimension: (s_1^2 / s_2^2 - log(s_1^2 / s_2^2) - 1 + (m_1 - m_2)^2 / s_2^2) / 2
    kl = (jnp.exp(ratio) - ratio - 1 + gap**2 / variance[:, 1]) / 2
    # the paper's adaptive threshold, for each pair anew
    threshold = (kl.max(1, keepdims=True) + kl.min(1, keepdims=True)) / 2
    shared = (kl < threshold)[:, None]
    mean = jnp.where(shared, mean.mean(1, keepdims=True), mean)
    # the averaged variance is arithmetic, so it is averaged before the logarithm
    log_variance = jnp.where(shared, jnp.log(variance.mean(1, keepdims=True)), log_variance)
    return Gaussian(mean, log_variance), shared[:, 0].mean(1)


def _prior_kl(posterior: Gaussian) -> Array:
    kl = standard_normal().kl
    assert kl is not None
    return kl((), posterior)
