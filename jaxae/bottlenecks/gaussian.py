"""The bottleneck of a variational autoencoder: a diagonal normal posterior, optionally transformed by a flow."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.bottlenecks.tokens import refuse_mask, require_input
from jaxae.networks.stateful import AnyNetwork, require_stateless
from jaxae.numerics import (
    as_number,
    bounded_log_variance,
    normal_log_prob,
    over_replicas,
    replica_axis,
    row_counts,
    sum_per_example,
)
from jaxae.priors import standard_normal
from jaxae.types import Bottleneck, Code, Gaussian, Prior


def gaussian(prior: Prior | None = None, flow: AnyNetwork | None = None, free_bits: ArrayLike = 0.0) -> Bottleneck:
    """`q(z|x) = N(mean, exp(log_variance))`, parameters from the channels of `h`, z by reparametrisation.

    The last axis of `h` holds the mean, the log-variance (bounded smoothly to ±10) and, with a flow, the flow's
    context: D channels each. `rng=None` gives the mean (through the flow, if there is one).

    `penalty` is the KL in nats, in closed form where the prior has one and there is no flow, else the sampled
    `log q(z|x) - log p(z)`. `rate` is always that sampled difference, so a multi-sample bound may use it.

    Args:
      prior: prior `p(z)`; None: the standard normal.
      flow: network `(params, z, context) -> (z', log |det dz'/dz| [B])`; None: no flow.
      free_bits: nats of KL in each latent dimension that are not penalised. `sum_d max(mean_b KL_bd, free_bits)`
        replaces the KL in `penalty`, which then depends on the batch: report and score `rate` instead.

    Returns:
      A `Bottleneck`; its params are a dict with "prior" and "flow".

    Raises:
      ValueError: free_bits is negative or not finite, is combined with a flow or a prior without closed-form KL, or
        the channels of `h` do not divide; from `apply` a mask of tokens in the condition.

    Source: Kingma and Welling 2014; free bits: Kingma et al. 2016, appendix C.8; flows: Rezende and Mohamed 2015.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.gaussian()
      >>> params, state = layer.init(jax.random.key(0), jnp.zeros((2, 6)))
      >>> code, _ = layer.apply(params, state, jax.random.key(1), jnp.zeros((2, 6)))
      >>> code.latent.shape, code.penalty.tolist()
      ((2, 3), [0.0, 0.0])
    """
    prior = standard_normal() if prior is None else prior
    flow = None if flow is None else require_stateless("gaussian: the flow", flow)
    closed = flow is None and prior.kl is not None
    if (number := as_number(free_bits)) is not None:
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"gaussian: free_bits must be a finite number of nats >= 0, got {free_bits}")
        if number and not closed:
            raise ValueError(f"gaussian: free_bits {free_bits} needs a KL per dimension: no flow, and a prior with kl")
    blocks = 2 if flow is None else 3

    def read(h):
        if h.shape[-1] % blocks:
            names = "mean and log-variance" if flow is None else "mean, log-variance and flow context"
            raise ValueError(
                f"gaussian: the last axis of h must hold {names}; {h.shape[-1]} does not divide by {blocks}"
            )
        # float32: exponentials and differences of log-densities lose too much in bfloat16
        mean, raw, *context = jnp.split(h.astype(jnp.float32), blocks, -1)
        return Gaussian(mean, bounded_log_variance(raw)), context

    def init(rng, h, condition=None):
        require_input("gaussian", h)
        prior_rng, flow_rng = jax.random.split(rng)
        posterior, context = read(jnp.zeros(h.shape, h.dtype))
        return {
            "prior": prior.init(prior_rng, posterior.mean, condition),
            "flow": () if flow is None else flow.init(flow_rng, posterior.mean, *context),
        }, ()

    def apply(params, state, rng, h, condition=None):
        refuse_mask("gaussian", h, condition)
        posterior, context = read(h)
        z = reparametrised(posterior, rng)
        # log q(z|x) of the normal draw; a flow subtracts its log-determinant
        log_q = sum_per_example(normal_log_prob(z, *posterior))
        if flow is not None:
            z, log_det = flow.apply(params["flow"], z, *context)
            log_q = log_q - log_det
        rate = log_q - prior.log_prob(params["prior"], z, condition)
        return Code(z, charge(params, posterior, rate, condition), rate, None, posterior), state

    def charge(params, posterior, rate, condition):
        # without a closed form the sampled difference is an unbiased estimate of the KL
        if flow is not None or prior.kl is None:
            return rate
        kl = prior.kl(params["prior"], posterior, condition)
        if as_number(free_bits) == 0:
            return sum_per_example(kl)
        # the mean KL of a dimension is over the batch of all replicas, or each would apply its own threshold
        counts = row_counts(kl.shape[0])
        counts = jnp.ones(kl.shape[0], bool) if counts is None else counts
        counted_kl = jnp.where(counts.reshape(-1, *(1,) * (kl.ndim - 1)), kl, 0.0)
        total, count = over_replicas((counted_kl.sum(0, keepdims=True), counts.astype(kl.dtype).sum()), replica_axis())
        mean = total / jnp.maximum(count, 1.0)
        # where, not maximum: the value stays a number per example, and a dimension below its bits gets no gradient
        return sum_per_example(jnp.where(mean > free_bits, kl, free_bits))

    def sample(params, state, rng, h, condition=None):
        latent = jax.ShapeDtypeStruct((*h.shape[:-1], h.shape[-1] // blocks), jnp.float32)
        return prior.sample(params["prior"], rng, latent, condition)

    return Bottleneck(init, apply, sample)


def reparametrised(posterior: Gaussian, rng: Array | None) -> Array:
    """`mean + exp(log_variance / 2) * noise`; without a key the mean.

    Args:
      posterior: mean and log-variance.
      rng: a key, or None.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.gaussian import reparametrised
      >>> from jaxae.types import Gaussian
      >>> reparametrised(Gaussian(jnp.ones(2), jnp.zeros(2)), None).tolist()
      [1.0, 1.0]
    """
    if rng is None:
        return posterior.mean
    return posterior.mean + jnp.exp(0.5 * posterior.log_variance) * jax.random.normal(rng, posterior.mean.shape)
