"""The FactorVAE score: the dimension of least variance in a group predicts the factor that the group shares."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae.disentanglement.sources import Source
from jaxae.numerics import require_count, require_within


def factor_vae_score(
    source: Source,
    rng: Array,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    group_size: int = 64,
    num_variance: int = 10_000,
    least_deviation: float = 0.05,
) -> Float[Array, ""]:
    """Accuracy of a majority vote: from the dimension of least relative variance in a group to the factor it shares.

    In each group one factor, drawn at random, has one value; each dimension's variance in the group is divided by its
    variance over all data, and the least votes. Dimensions of little deviation over all data do not vote.

    Args:
      source: draws of codes and factors, see `sources`.
      rng: a key.
      num_train: number of groups that vote.
      num_test: number of groups on which the majority vote is tested.
      group_size: number of rows of a group, at least 2.
      num_variance: number of rows for the variance over all data.
      least_deviation: standard deviation below which a dimension is idle, for codes at the scale of a standard normal
        prior.

    Returns:
      A scalar in 0..1, chance is about 1 / F; 0 where all dimensions are idle.

    Raises:
      ValueError: counts that are too low, or more rows than a source of arrays has.

    Source: Kim and Mnih 2018, "Disentangling by Factorising", section 4; 10,000 and 5,000 groups of 64 as in Locatello
    et al. 2019 (both drop deviations below 0.05).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import factor_vae_score, from_generator
      >>> source = from_generator(lambda factors: factors.astype(jnp.float32), (3, 6, 40))
      >>> score = factor_vae_score(source, jax.random.key(0), num_train=200, num_test=100, num_variance=500)
      >>> float(score) > 0.98
      True
    """
    num_train, num_test = require_count("num_train", num_train), require_count("num_test", num_test)
    # a variance needs two rows
    group_size = require_count("group_size", group_size, 2)
    num_variance = require_count("num_variance", num_variance, 2)
    require_within("least_deviation", least_deviation, "[0, inf)")
    variance_rng, factor_rng, group_rng = jax.random.split(rng, 3)
    overall = jnp.var(source.sample(variance_rng, num_variance)[0], 0, ddof=1)
    active = jnp.sqrt(overall) >= least_deviation
    num_factors = len(source.factor_sizes)
    shared = jax.random.randint(factor_rng, (num_train + num_test,), 0, num_factors)
    within = jnp.var(source.sharing(group_rng, shared, group_size), 1, ddof=1)
    # relative to the variance over all data, or a dimension of small scale would win every vote
    least_varying = jnp.where(active[None], within / jnp.where(active, overall, 1)[None], jnp.inf).argmin(1)
    # votes[d, f]: number of train groups that share factor f and vary least in dimension d
    votes = jnp.zeros((len(overall), num_factors)).at[least_varying[:num_train], shared[:num_train]].add(1)
    # majority vote: each dimension predicts the factor that it was the least-varying dimension of most often
    is_correct = votes.argmax(1)[least_varying[num_train:]] == shared[num_train:]
    return jnp.where(active.any(), is_correct.mean(), 0.0)
