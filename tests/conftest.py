"""Strict surroundings for every test: eight devices, no silent broadcasting, annotated shapes checked."""

import os

# Tests compile many small programs and run each for milliseconds. By the environment, so that the processes that
# tests start compile alike: some compare bits.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import chex
import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("jaxae", "beartype.beartype")


@pytest.fixture(autouse=True)
def _fresh_trace_counts():
    # chex counts by name and module: constructors give many functions of one name
    chex.clear_trace_counter()
