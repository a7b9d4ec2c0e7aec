"""Sparse autoencoders by a charge on the latents; `bottlenecks.top_k` has no charge and keeps the k largest."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import rel_entr
from jax.typing import ArrayLike

from jaxae.numerics import as_number, of_whole_batch, sum_per_example, weight_of, weighted_mean
from jaxae.types import Batch, Output, Penalty


def absolute_sum(params, state, rng, batch: Batch, output: Output) -> Array:
    """A penalty: `sum_d |z_d|`, the L1 norm of each latent.

    Source: Ng 2011, "Sparse autoencoder"; as a Laplace prior: Olshausen and Field 1996.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import absolute_sum
      >>> from jaxae.types import Batch, Code, Output
      >>> z = jnp.array([[3.0, -4.0]])
      >>> absolute_sum({}, {}, None, Batch(z), Output(Code(z, jnp.zeros(1)), z)).tolist()
      [7.0]
    """
    return sum_per_example(jnp.abs(output.code.latent))


def activation_kl(target: ArrayLike = 0.05) -> Penalty:
    """A penalty: `sum_d KL(Bernoulli(target) || Bernoulli(a_d))`, a_d the batch's mean of `sigmoid(z_d)`.

    Args:
      target: the wanted share of the time that a latent is on, in (0, 1).

    Returns:
      `(params, state, rng, batch, output) -> scalar` nats, for `penalized`.

    Raises:
      ValueError: the target is outside (0, 1).

    Source: Ng 2011, "Sparse autoencoder", lecture notes, section 3.

    Example:
      >>> from jaxae import objectives, presets
      >>> model, _ = presets.ae((5,), latent_size=2)
      >>> objective = objectives.penalized(objectives.elbo(model), "sparsity", objectives.activation_kl(0.1), 1.0)
    """
    if (number := as_number(target)) is not None and not 0 < number < 1:
        raise ValueError(f"activation_kl: the target must lie in (0, 1), got {target}")

    def penalty(params, state, rng, batch: Batch, output: Output) -> Array:
        weight = weight_of(batch, output.code.penalty)
        # the two sides by themselves: 1 - a rounds to 0 before a reaches 1
        on, off = (weighted_mean(jax.nn.sigmoid(sign * output.code.latent), weight) for sign in (1.0, -1.0))
        tiny = jnp.finfo(on.dtype).tiny
        one, other = jnp.float32(target), jnp.float32(1 - target)
        return (rel_entr(one, jnp.maximum(on, tiny)) + rel_entr(other, jnp.maximum(off, tiny))).sum()

    return of_whole_batch(penalty)
