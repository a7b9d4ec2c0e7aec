"""The beta-VAE score: pairs that share a factor differ least in the dimension that encodes it."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae.disentanglement.sources import Source
from jaxae.downstream.logistic import fit_logistic, predict_logits
from jaxae.numerics import require_count, require_within


def beta_vae_score(
    source: Source,
    rng: Array,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    group_size: int = 64,
    penalty: float = 1.0,
) -> Float[Array, ""]:
    """Accuracy of a linear classifier that names the shared factor from `mean_l |z_l - z'_l|` over L pairs.

    Args:
      source: draws of codes and factors, see `sources`.
      rng: a key.
      num_train: number of points that the classifier is fitted to.
      num_test: number of points that it is tested on.
      group_size: number of pairs L that a point averages. All pairs of a point share the same factor, at values that
        differ from pair to pair.
      penalty: inverse weight C of the squared coefficients of the logistic regression, beside a sum over points.

    Returns:
      A scalar in 0..1; chance is about 1 / F.

    Raises:
      ValueError: counts below 1.

    Source: Higgins et al. 2017, "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
    section 3; logistic regression on 10,000 and 5,000 points of 64 pairs as in Locatello et al. 2019.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import beta_vae_score, from_generator
      >>> source = from_generator(lambda factors: factors.astype(jnp.float32), (3, 6, 40))
      >>> float(beta_vae_score(source, jax.random.key(0), num_train=300, num_test=100)) > 0.98
      True
    """
    num_train, num_test = require_count("num_train", num_train), require_count("num_test", num_test)
    group_size = require_count("group_size", group_size)
    require_within("penalty", penalty, "(0, inf)")
    factor_rng, pair_rng = jax.random.split(rng)
    num_factors, num_points = len(source.factor_sizes), num_train + num_test
    shared = jax.random.randint(factor_rng, (num_points,), 0, num_factors)
    # two rows that share the point's factor, L pairs for each point
    pairs = source.sharing(pair_rng, jnp.repeat(shared, group_size), 2)
    # the dimensions that encode the shared factor differ least within a pair
    features = jnp.abs(pairs[:, 0] - pairs[:, 1]).reshape(num_points, group_size, -1).mean(1)
    # scikit-learn's C weighs a sum over N points: l2 of a mean is 1 / (C N)
    model = fit_logistic(
        features[:num_train], shared[:num_train], num_factors, 1 / (penalty * num_train), tolerance=1e-4
    )
    predicted = predict_logits(model, features[num_train:]).argmax(1)
    return jnp.mean(predicted == shared[num_train:])
