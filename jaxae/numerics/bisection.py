"""The zero of a monotone function, halved into an interval: no derivative, no failure to converge."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def bisected(
    is_above: Callable[[Array], Array], low: Float[Array, "*N"], high: Float[Array, "*N"], steps: int = 40
) -> tuple[Float[Array, "*N"], Float[Array, "*N"]]:
    """Halve intervals that hold a crossing each, until floating point tells their ends apart no more.

    Args:
      is_above: `x [*N] -> [*N]` bool, false left of the crossing and true from it on.
      low: `[*N]` left ends, where `is_above` is false or the crossing is taken to lie.
      high: `[*N]` right ends.
      steps: number of halvings; 24 reach float32's resolution relative to the interval.

    Returns:
      The last ends `(low, high)`: `is_above` is false at low, or low is the given one, and true at high, or high is.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.bisection import bisected
      >>> low, high = bisected(lambda x: x**2 >= 2, jnp.float32(0), jnp.float32(2))
      >>> round(float(high), 6)
      1.414214
    """

    def halve(_, ends):
        left, right = ends
        middle = (left + right) / 2
        above = is_above(middle)
        return jnp.where(above, left, middle), jnp.where(above, middle, right)

    return jax.lax.fori_loop(0, steps, halve, (low, high))
