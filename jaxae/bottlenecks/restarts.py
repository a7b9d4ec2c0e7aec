"""Dead codes move to tokens of the batch: a draw without replacement, the same on every replica."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def restarts(
    rng: Array, dead: Bool[Array, " K"], tokens: Float[Array, "N D"], weight: Float[Array, " N"]
) -> tuple[Float[Array, "K D"], Bool[Array, " K"]]:
    """A token for each dead code, no token twice: two codes at one place would share its cell for ever.

    Args:
      rng: a key.
      dead: which codes want one.
      tokens: what the batch holds.
      weight: 0 where a token only pads; such a token is never drawn.

    Returns:
      `(tokens [K, D], moved [K])`: which codes get one, at most as many as there are tokens, and which.

    Source: Dhariwal et al. 2020, "Jukebox: A Generative Model for Music", section 3.1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.restarts import restarts
      >>> dead, tokens = jnp.array([True, False, True, True]), jnp.array([[5.0], [6.0], [7.0]])
      >>> fresh, moved = restarts(jax.random.key(0), dead, tokens, jnp.array([1.0, 0.0, 1.0]))
      >>> moved.tolist(), sorted(fresh[moved, 0].tolist())
      ([True, False, True, False], [5.0, 7.0])
    """
    counted = weight > 0
    # whole numbers sort several times faster than floats on a CPU
    place = jnp.argsort(jnp.where(counted, jax.random.randint(rng, counted.shape, 0, 2**30), 2**30))
    rank = jnp.cumsum(dead) - 1
    moved = dead & (rank < counted.sum())
    return tokens[place.at[rank].get(mode="clip")], moved
