"""A temperature that may follow a schedule: the step is counted in the bottleneck's state."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import as_number, at_step, require_real
from jaxae.types import Schedule

Temperature = ArrayLike | Schedule


def check_temperature(name: str, temperature: Temperature) -> None:
    """Raise for a number that is not finite and above 0."""
    require_real(name, temperature=temperature)
    if (number := as_number(temperature)) is not None and not 0 < number < float("inf"):
        raise ValueError(f"{name}: temperature must be a finite number above 0, or a schedule, got {temperature}")


def first_step(temperature: Temperature):
    """Initial state of a bottleneck with this temperature: `{"step": 0}` for a schedule, else empty."""
    return {"step": jnp.zeros((), jnp.int32)} if callable(temperature) else ()


def at_state(temperature: Temperature, state) -> Array | float:
    """The temperature at the step in the state."""
    return at_step(temperature, state["step"] if callable(temperature) else 0)


def next_step(state, rng: Array | None):
    """The state after a call: only calls with a key (training) count."""
    return state if rng is None or not state else {"step": state["step"] + 1}
