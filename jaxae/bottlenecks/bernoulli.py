"""The binary latent: independent bits, sampled hard or relaxed, with the exact KL to a Bernoulli prior."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

from jaxae.bottlenecks.temperature import Temperature, at_state, check_temperature, first_step, next_step
from jaxae.bottlenecks.tokens import checked_symbols, unpadded
from jaxae.numerics import straight_through, sum_per_example
from jaxae.types import Bottleneck, Code, Estimator

ESTIMATORS = ("straight_through", "gumbel_straight_through", "relaxed")


class Bernoulli(NamedTuple):
    """Independent bits.

    Attributes:
      logits: `[B, ..., D]`, log-odds `log p(1) / p(0)` of each bit.
    """

    logits: Array


def bernoulli(
    bits: int,
    *,
    estimator: str = "straight_through",
    temperature: Temperature = 2 / 3,
    prior: str = "uniform",
) -> Bottleneck:
    """`q(z|x) = prod_i Bernoulli(sigmoid(h_i))`; the latent holds 0 and 1.

    With a key the bits are drawn; `rng=None` takes the likelier value of each (0 on a tie). The gradient:

    - "straight_through": the latent is hard, its derivative that of `sigmoid(h)`: `p (1 - p)`.
    - "gumbel_straight_through": the latent is hard, its derivative that of the relaxed sample.
    - "relaxed": the latent is `sigmoid((h + logistic noise) / temperature)` with a key, so the decoder reads values
      between 0 and 1 in training only; `symbols` are the bits of that sample.

    `penalty` is `KL(q || p)` in nats, exact. `rate` is `log q(z|x) - log p(z)` of the bits in `symbols`; with a key
    its expectation is the penalty. NaN in `h` stays NaN in the latent, its symbol is -1.

    Args:
      bits: number of bits D, at least 1: the width of `h` and of the latent.
      estimator: gradient estimator, one of the three above.
      temperature: temperature of the relaxed sample, above 0; a number or a schedule `step -> number`. The step of a
        schedule is kept in the state and counts calls with a key. Not read by "straight_through".
      prior: distribution p of the bits, "uniform" (a bit costs at most `log 2`) or "learned" (a logit per bit, the
        same for all tokens).

    Returns:
      A `Bottleneck`; symbols are `[B, ..., D]` bits. `condition["mask"]` `[B, ...]` leaves padded tokens out.

    Raises:
      ValueError: bits < 1, an unknown estimator or prior, a temperature not above 0; from `apply` a wrong width.

    Source: Bengio, Leonard and Courville 2013; Maddison, Mnih and Teh 2017, "The Concrete Distribution"; Jang, Gu and
    Poole 2017.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks import bernoulli
      >>> layer = bernoulli(3)
      >>> h = jnp.array([[2.0, -1.0, 0.0]])
      >>> params, state = layer.init(jax.random.key(0), h)
      >>> layer.apply(params, state, None, h)[0].latent.tolist()
      [[1.0, 0.0, 0.0]]
    """
    _check(bits, estimator, temperature, prior)

    def init(rng, h, condition=None):
        return {"prior": jnp.zeros(bits)} if prior == "learned" else {}, first_step(temperature)

    def prior_logits(params, logits):
        return jnp.broadcast_to(params["prior"], logits.shape) if prior == "learned" else jnp.zeros_like(logits)

    def apply(params, state, rng, h, condition=None):
        logits, mask = unpadded("bernoulli", h, condition, bits)
        mask = None if mask is None else mask[..., None] > 0
        # logit + logistic noise > 0 has probability sigmoid(logit): the Gumbel-max trick for two classes
        noisy = logits if rng is None else logits + jax.random.logistic(rng, logits.shape)
        hard = (noisy > 0).astype(jnp.float32)
        if estimator == "straight_through":
            latent = straight_through(hard, jax.nn.sigmoid(logits))
        else:
            # the concrete relaxation of the same draw, so value and gradient belong to one sample
            soft = jax.nn.sigmoid(noisy / at_state(temperature, state))
            latent = soft if estimator == "relaxed" and rng is not None else straight_through(hard, soft)
        p = prior_logits(params, logits)
        penalty = sum_per_example(_kl(logits, p), mask)
        # the drawn bits are constants here: the gradient of the rate reaches the logits and the prior alone
        rate = sum_per_example(_log_prob(stop_gradient(hard), logits) - _log_prob(stop_gradient(hard), p), mask)
        # NaN > 0 is False: without the mark a NaN would pass for a 0 bit
        symbols = jnp.where(jnp.isnan(logits), -1, hard.astype(jnp.int32))
        return Code(latent, penalty, rate, symbols, Bernoulli(logits)), next_step(state, rng)

    def lookup(params, state, symbols, condition=None):
        ids, in_range = checked_symbols("bernoulli", symbols, 2)
        if ids.shape[-1:] != (bits,):
            raise ValueError(f"bernoulli: symbols need a last axis of {bits} bits, got {ids.shape}")
        return jnp.where(in_range, ids.astype(jnp.float32), jnp.nan)

    def sample(params, state, rng, h, condition=None):
        p = jax.nn.sigmoid(prior_logits(params, jnp.zeros(h.shape)))
        return jax.random.bernoulli(rng, p).astype(jnp.float32)

    relaxed = None if estimator == "straight_through" else Estimator(estimator)
    return Bottleneck(init, apply, sample, lookup, 2, relaxed)


def _log_prob(bits, logits):
    return bits * jax.nn.log_sigmoid(logits) + (1 - bits) * jax.nn.log_sigmoid(-logits)


def _kl(q, p):
    # log-sigmoids instead of logs of probabilities: finite for any logit
    of_ones = jax.nn.sigmoid(q) * (jax.nn.log_sigmoid(q) - jax.nn.log_sigmoid(p))
    return of_ones + jax.nn.sigmoid(-q) * (jax.nn.log_sigmoid(-q) - jax.nn.log_sigmoid(-p))


def _check(bits, estimator, temperature, prior):
    if bits < 1:
        raise ValueError(f"bernoulli: bits must be at least 1, got {bits}")
    if estimator not in ESTIMATORS:
        raise ValueError(f"bernoulli: estimator must be one of {ESTIMATORS}, got {estimator!r}")
    if prior not in ("uniform", "learned"):
        raise ValueError(f'bernoulli: prior must be "uniform" or "learned", got {prior!r}')
    check_temperature("bernoulli", temperature)
