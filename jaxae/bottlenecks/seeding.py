"""Initial codes from the first batch: k-means++ and Lloyd's algorithm."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae.bottlenecks.nearest import nearest_code


def kmeans(
    rng: Array, tokens: Float[Array, "N D"], weight: Float[Array, " N"], num_codes: int, steps: int = 10
) -> tuple[Float[Array, "K D"], Float[Array, " K"]]:
    """Centres of the tokens by k-means++ and Lloyd's algorithm; costs `N * K * D` products twice and once a step.

    A seed is drawn with probability proportional to its squared distance from the nearest seed so far. Where all
    tokens are seeds already (fewer distinct tokens than codes) further seeds repeat tokens and have a count of 0.

    Args:
      rng: a key.
      tokens: `[N, D]`, finite.
      weight: `[N]`, weight of each token, 0 where it only pads.
      num_codes: number of codes K.
      steps: number of steps of Lloyd's algorithm.

    Returns:
      `(centres [K, D], counts [K])`, the centres and the weight of the tokens nearest to each.

    Source: Arthur and Vassilvitskii 2007, "k-means++: The Advantages of Careful Seeding"; Lloyd 1982.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.seeding import kmeans
      >>> tokens = jnp.array([[0.0], [1.0], [10.0], [11.0]])
      >>> centres, counts = kmeans(jax.random.key(0), tokens, jnp.ones(4), 2)
      >>> sorted(centres[:, 0].tolist()), counts.tolist()
      ([0.5, 10.5], [2.0, 2.0])
    """

    def seed(distance, key):
        # before the first seed all distances are infinite: it is drawn by weight alone
        chance = jnp.where(jnp.isinf(distance), weight, distance * weight)
        # if every token equals a seed, any token with weight
        chance = jnp.where(chance.sum() > 0, chance, weight)
        # log 0 = -inf: a token of weight 0 or at a seed is never drawn
        pick = tokens[jax.random.categorical(key, jnp.log(chance))]
        return jnp.minimum(distance, ((tokens - pick[None]) ** 2).sum(-1)), pick

    def assigned(centres):
        ids = nearest_code(tokens, centres)
        counts = jnp.zeros(num_codes).at[ids].add(weight, mode="drop")
        sums = jnp.zeros_like(centres).at[ids].add(tokens * weight[:, None], mode="drop")
        return counts, sums

    def step(centres, _):
        counts, sums = assigned(centres)
        full = (counts > 0)[:, None]
        # a centre without tokens stays
        return jnp.where(full, sums / jnp.where(full, counts[:, None], 1.0), centres), None

    infinite = jnp.full(tokens.shape[0], jnp.inf, tokens.dtype)
    _, centres = jax.lax.scan(seed, infinite, jax.random.split(rng, num_codes))
    centres, _ = jax.lax.scan(step, centres, None, steps)
    return centres, assigned(centres)[0]
