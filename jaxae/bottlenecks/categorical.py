"""The one-hot latent: independent categorical variables, sampled hard or relaxed, or summed over exactly."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.lax import stop_gradient

from jaxae.bottlenecks.temperature import Temperature, at_state, check_temperature, first_step, next_step
from jaxae.bottlenecks.tokens import checked_symbols, unpadded
from jaxae.numerics import straight_through, sum_per_example
from jaxae.types import Bottleneck, Code, Estimator

ESTIMATORS = ("gumbel_straight_through", "relaxed")


class Categorical(NamedTuple):
    """Independent categorical variables.

    Attributes:
      logits: `[B, ..., V, C]`, unnormalised log-probabilities.
    """

    logits: Array


def categorical(
    variables: int,
    classes: int,
    *,
    estimator: str = "gumbel_straight_through",
    temperature: Temperature = 1.0,
) -> Bottleneck:
    """`variables` one-hot vectors of `classes` each, concatenated: `q(z|x) = prod_v Categorical(softmax(h_v))`.

    With a key `y = softmax((log q + gumbel noise) / temperature)` is drawn; `rng=None` takes the likeliest class (the
    lowest on a tie). "gumbel_straight_through" passes on the one-hot argmax of y with the derivative of y; "relaxed"
    passes on y itself, so the decoder reads soft vectors in training only, and `symbols` are their argmax.
    Small spaces need neither: `exact_expectation` sums over all latents.

    `penalty` is the KL to the uniform distribution in nats, `sum_v log C - entropy(q_v)`, exact. `rate` is
    `log q(z|x) + V log C` of the classes in `symbols`; with a key its expectation is the penalty. NaN in `h` stays
    NaN in the latent, the symbol of its variable is -1.

    Args:
      variables: number of variables V, at least 1.
      classes: number of classes C of each variable, at least 2; `h` and the latent are `V * C` wide.
      estimator: gradient estimator, "gumbel_straight_through" or "relaxed".
      temperature: temperature of the relaxed sample, above 0; a number or a schedule `step -> number`, whose step is
        kept in the state and counts calls with a key.

    Returns:
      A `Bottleneck`; symbols are `[B, ..., V]`. `condition["mask"]` `[B, ...]` leaves padded tokens out.

    Raises:
      ValueError: an argument is out of its range; from `apply` a wrong width.

    Source: Jang, Gu and Poole 2017, "Categorical Reparameterization with Gumbel-Softmax".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks import categorical
      >>> layer = categorical(2, 3)
      >>> h = jnp.array([[0.0, 1.0, 0.0, 5.0, 0.0, 0.0]])
      >>> code, _ = layer.apply({}, (), None, h)
      >>> code.latent.tolist(), code.symbols.tolist()
      ([[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]], [[1, 0]])
    """
    if variables < 1 or classes < 2:
        raise ValueError(f"categorical: needs variables >= 1 and classes >= 2, got {variables} and {classes}")
    if estimator not in ESTIMATORS:
        raise ValueError(f"categorical: estimator must be one of {ESTIMATORS}, got {estimator!r}")
    check_temperature("categorical", temperature)
    width = variables * classes

    def init(rng, h, condition=None):
        return {}, first_step(temperature)

    def flat(values):
        return values.reshape(*values.shape[:-2], width)

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded("categorical", h, condition, width)
        logits = h.reshape(*h.shape[:-1], variables, classes)
        log_q = jax.nn.log_softmax(logits)
        # the argmax of log q + Gumbel noise is a draw from q
        noisy = log_q if rng is None else log_q + jax.random.gumbel(rng, log_q.shape)
        ids = jnp.argmax(noisy, -1)
        hard = jax.nn.one_hot(ids, classes)
        # the relaxation of the same noisy logits, so value and gradient belong to one draw
        soft = jax.nn.softmax(noisy / at_state(temperature, state))
        latent = soft if estimator == "relaxed" and rng is not None else straight_through(hard, soft)
        counted = None if mask is None else mask[..., None] > 0
        # KL(q || uniform) = log C - H(q)
        kl = math.log(classes) + (jnp.exp(log_q) * log_q).sum(-1)
        chosen = jnp.take_along_axis(log_q, stop_gradient(ids)[..., None], -1)[..., 0]
        # log q(z|x) - log p(z) with log p = -log C for each variable
        rate = sum_per_example(chosen + math.log(classes), counted)
        symbols = jnp.where(jnp.isnan(logits).any(-1), -1, ids).astype(jnp.int32)
        code = Code(flat(latent), sum_per_example(kl, counted), rate, symbols, Categorical(logits))
        return code, next_step(state, rng)

    def lookup(params, state, symbols, condition=None):
        ids, in_range = checked_symbols("categorical", symbols, classes)
        if ids.shape[-1:] != (variables,):
            raise ValueError(f"categorical: symbols need a last axis of {variables} variables, got {ids.shape}")
        return flat(jnp.where(in_range[..., None], jax.nn.one_hot(ids, classes), jnp.nan))

    def sample(params, state, rng, h, condition=None):
        drawn = jax.random.randint(rng, (*h.shape[:-1], variables), 0, classes)
        return flat(jax.nn.one_hot(drawn, classes))

    return Bottleneck(init, apply, sample, lookup, classes, Estimator(estimator))


def exact_expectation(posterior: Categorical, function: Callable, max_latents: int = 4096) -> Array:
    """`E_q f(z)`, summed over every latent: no sampling, no temperature, the exact gradient of the logits.

    `function` runs once for each of the `C ** V` latents (V counts the variables of all tokens), one after another.

    Args:
      posterior: `Code.posterior` of `categorical`, logits `[B, ..., V, C]`.
      function: function of the one-hot latent, `[B, ..., V * C] -> [B]`, such as a loss.
      max_latents: largest number of latents that is accepted.

    Returns:
      `[B]`, the expectation for each example.

    Raises:
      ValueError: there are more than `max_latents` latents.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.categorical import Categorical, exact_expectation
      >>> posterior = Categorical(jnp.log(jnp.array([[[0.25, 0.75]]])))
      >>> exact_expectation(posterior, lambda z: 4 * z[:, 1]).tolist()
      [3.0]
    """
    log_q = jax.nn.log_softmax(posterior.logits.astype(jnp.float32))
    *_, variables, classes = log_q.shape
    size = int(np.prod(log_q.shape[1:-1]))
    if classes**size > max_latents:
        raise ValueError(
            f"exact_expectation: {classes} ** {size} latents are more than max_latents {max_latents}: use an estimator"
        )
    # every latent as one class per variable: the numbers 0..C^V - 1 in base C
    digits = np.stack(np.unravel_index(np.arange(classes**size), (classes,) * size), -1)

    def add(total, ids):
        z = jax.nn.one_hot(ids.reshape(log_q.shape[1:-1]), classes)[None]
        # log q(z) sums the chosen classes' terms; where, not a product, as log q may be -inf elsewhere
        log_weight = (jnp.where(z > 0, log_q, 0.0)).sum(range(1, log_q.ndim))
        z = jnp.broadcast_to(z, log_q.shape).reshape(*log_q.shape[:-2], variables * classes)
        return total + jnp.exp(log_weight) * function(z), None

    return jax.lax.scan(add, jnp.zeros(log_q.shape[0]), jnp.asarray(digits))[0]
