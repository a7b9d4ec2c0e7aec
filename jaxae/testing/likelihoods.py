"""The contract of a likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae.testing.properties import Compiled, differ, keys, require, require_equal, require_finite, require_shape
from jaxae.types import Likelihood

DRAWS = 5_000


def check_likelihood(likelihood: Likelihood, x: Array | None = None) -> None:
    """Refuse a likelihood that breaks its contract.

    - `log_prob`, `mean` and `sample` are shaped as `x`, and compile in one trace; nats are float32, for predictions in
      half precision too;
    - nats are finite for predictions that lie far out;
    - where it is binary, the probabilities of 0 and 1 add up to 1;
    - draws have the mean that `mean` says, and other keys give other draws.

    Args:
      likelihood: what is checked; `num_params` must be a number.
      x: `[B, ..., C]` data that it gives a probability to; None: zeros and ones, `[3, 4, 2]`.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae import likelihoods
      >>> from jaxae.testing import check_likelihood
      >>> check_likelihood(likelihoods.bernoulli())
    """
    first, second, third, fourth = keys(4)
    x = jax.random.bernoulli(first, 0.5, (3, 4, 2)).astype(jnp.float32) if x is None else x
    prediction = jax.random.normal(second, (*x.shape[:-1], x.shape[-1] * likelihood.num_params))

    def everything(x, prediction, key):
        many = jnp.broadcast_to(prediction[:1], (DRAWS, *prediction.shape[1:]))
        return {
            "log_prob": likelihood.log_prob(x, prediction),
            "half": likelihood.log_prob(x, prediction.astype(jnp.bfloat16)),
            "far": [likelihood.log_prob(x, jnp.full_like(prediction, far)) for far in (1e4, -1e4)],
            "mean": likelihood.mean(prediction),
            "sample": likelihood.sample(key, prediction),
            "either": [likelihood.log_prob(jnp.full_like(x, value), prediction) for value in (0, 1)],
            "many": likelihood.sample(key, many).astype(jnp.float32).mean(0),
            "deviation": likelihood.sample(key, many).astype(jnp.float32).std(0) / np.sqrt(len(many)),
        }

    run = Compiled(everything, "likelihood")
    found, again = run(x, prediction, third), run(x, prediction, fourth)
    for name in ("log_prob", "half", "mean", "sample"):
        require_shape(found[name], x.shape, name)
    for name in ("log_prob", "half"):
        require(found[name].dtype == jnp.float32, f"log_prob must be float32, got {found[name].dtype}")
        require_finite(found[name], "log_prob")
    require_finite(found["far"], "log_prob of predictions that lie far out")
    require_equal(found["log_prob"], again["log_prob"], "log_prob must be deterministic, but it")
    require(differ(found["sample"], again["sample"]), "sample ignores its seed: two keys give the same draws")
    if likelihood.binary:
        total = np.exp(np.asarray(found["either"], np.float64)).sum(0)
        require(np.allclose(total, 1, atol=1e-5), f"p(0) + p(1) must be 1, got up to {total.max():.6g}")
    gap = np.abs(np.asarray(found["many"]) - np.asarray(found["mean"][0]))
    require(
        (gap < 5 * np.asarray(found["deviation"]) + 1e-3).all(),
        f"draws must have the mean that `mean` says, but they lie {gap.max():.4g} beside it",
    )
    run.require_pure(x, prediction, third)
