"""The beta-VAE score: pairs that share a factor differ least in the dimension that encodes it."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae.disentanglement.sources import Source
from jaxae.downstream.logistic import fit_logistic, predict_logits


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
      source: see `sources`.
      rng: a key.
      num_train: points that the classifier learns from.
      num_test: points that it is tested on.
      group_size: L, the pairs behind each point. In all pairs of a point the same factor is shared, at values that
        differ from pair to pair.
      penalty: C of logistic regression, the inverse weight of the squared coefficients beside a sum over points.

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
    if min(num_train, num_test, group_size) < 1:
        raise ValueError(
            f"points and pairs must be 1 or more; got {num_train}, {num_test} points of {group_size} pairs"
        )
    factor_rng, pair_rng = jax.random.split(rng)
    number, points = len(source.factor_sizes), num_train + num_test
    shared = jax.random.randint(factor_rng, (points,), 0, number)
    pairs = source.sharing(pair_rng, jnp.repeat(shared, group_size), 2)
    features = jnp.abs(pairs[:, 0] - pairs[:, 1]).reshape(points, group_size, -1).mean(1)
    model = fit_logistic(features[:num_train], shared[:num_train], number, 1 / (penalty * num_train), tolerance=1e-4)
    predicted = predict_logits(model, features[num_train:]).argmax(1)
    return jnp.mean(predicted == shared[num_train:])
