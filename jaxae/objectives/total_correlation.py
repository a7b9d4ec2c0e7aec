"""The total correlation of the aggregate posterior, estimated within the batch: beta-TCVAE."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import normal_log_prob, of_whole_batch, require_whole, weight_of
from jaxae.objectives.posterior import normal_posterior
from jaxae.types import Batch, Output, Penalty


def total_correlation(num_rows: int | None = None, estimator: str = "weighted") -> Penalty:
    """A penalty: `log q(z) - sum_d log q(z_d)` at each latent; its mean is 0 for a factorised `q(z)`.

    `q(z) = mean_n q(z|x_n)` over all training rows is estimated from the M rows of the batch, as a mixture of their
    posteriors `q(z_i|x_j)` with weights `w_ij`:

    - "weighted": `w_ij = 1 / (N M)`. Biased; N shifts the value and does not change the gradient.
    - "stratified": `w_ii = 1 / N`, others `(1 - 1/N) / (M - 1)`. Unbiased for `q(z_i)`. The published form gives a
      single other row the weight `(N - M + 1) / (N (M - 1))` and the rest `1 / (M - 1)`. This is the mean over the
      choice of that row: the same expectation with less variance, independent of the order of the rows.

    Added to the ELBO by `penalized(elbo(model), "total_correlation", total_correlation(), beta - 1)`, this is
    beta-TCVAE with alpha = gamma = 1. The cost grows with the square of the batch: `M^2 D` densities.

    Args:
      num_rows: number of training rows N; None: 1 for "weighted" (the plain mean over the batch); "stratified" needs
        it.
      estimator: weights of the mixture, "weighted" or "stratified".

    Returns:
      `(params, state, rng, batch, output) -> [B]` nats, for `penalized`; needs a normal posterior without a flow.

    Raises:
      ValueError: an unknown estimator, num_rows below 1 or missing, or (when called) a posterior that is not normal.

    Source: Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders", equation 2 and
    appendix C.

    Example:
      >>> from jaxae import objectives, presets
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> penalty = objectives.total_correlation(num_rows=60_000, estimator="stratified")
      >>> objective = objectives.penalized(objectives.elbo(model), "total_correlation", penalty, weight=5.0)
    """
    if estimator not in ("weighted", "stratified"):
        raise ValueError(f"total_correlation: the estimator is weighted or stratified, not {estimator!r}")
    if num_rows is None and estimator == "stratified":
        raise ValueError("total_correlation: the stratified estimator needs num_rows, the number of training rows")
    if num_rows is not None:
        require_whole("total_correlation", num_rows=num_rows)
    if num_rows is not None and num_rows < 1:
        raise ValueError(f"total_correlation: num_rows must be at least 1, got {num_rows}")

    def penalty(params, state, rng, batch: Batch, output: Output) -> Array:
        latent, mean, log_variance = normal_posterior(output.code)
        weight = weight_of(batch, output.code.penalty)
        # log 0 = -inf removes padded rows from every mixture
        log_weights = jnp.log(_mixture_weights(weight, num_rows, estimator))
        log_q = normal_log_prob(latent[:, None], mean[None], log_variance[None])  # [i, j, d]: z_i under q(.|x_j)
        joint = jax.nn.logsumexp(log_weights + log_q.sum(-1), 1)
        # log q(z_i) - sum_d log q(z_id), the same weights for the joint and for every marginal
        return joint - jax.nn.logsumexp(log_weights[..., None] + log_q, 1).sum(-1)

    return of_whole_batch(penalty)


def _mixture_weights(weight: Array, num_rows: int | None, estimator: str) -> Array:
    """`[M, M]`, weight of row j's posterior in the estimate of q(z_i); 0 for rows that only pad."""
    tiny = jnp.finfo(weight.dtype).tiny
    if estimator == "weighted":
        shares = weight / jnp.maximum(weight.sum(), tiny) / (num_rows or 1)
        return jnp.broadcast_to(shares[None], (weight.size, weight.size))
    assert num_rows is not None
    diagonal = jnp.eye(weight.size)
    others = weight[None] * (1 - diagonal)
    others = others / jnp.maximum(others.sum(1, keepdims=True), tiny)
    return diagonal / num_rows + (1 - 1 / num_rows) * others
