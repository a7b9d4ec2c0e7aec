"""Strict surroundings for every test: eight devices, no silent broadcasting, annotated shapes checked."""

import itertools
import os
import pathlib
import shutil
import tempfile

# Tests compile many small programs and run each for milliseconds. By the environment, so that the processes that
# tests start compile alike: some compare bits.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# The run's workers share the cores: scikit-learn's threads would wait for each other at every call.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import chex
import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("jaxae", "beartype.beartype")


def pytest_configure(config):
    """The run's workers, and the processes that tests start, share what any of them has compiled."""
    if not hasattr(config, "workerinput"):  # the first process of the run
        config.compiled = tempfile.mkdtemp(prefix="jaxae-tests-")
        shared = {
            "jax_compilation_cache_dir": config.compiled,
            "jax_persistent_cache_min_compile_time_secs": 0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
        for name, value in shared.items():
            os.environ[name.upper()] = str(value)
            jax.config.update(name, value)


def pytest_unconfigure(config):
    if hasattr(config, "compiled"):
        shutil.rmtree(config.compiled, ignore_errors=True)


@pytest.fixture(autouse=True)
def _fresh_trace_counts():
    # chex counts by name and module: constructors give many functions of one name
    chex.clear_trace_counter()


finished = itertools.count(1)


@pytest.fixture(autouse=True)
def _forgets_programs():
    """Compiled programs leave the process when they hold many of the 65,530 memory maps that Linux grants it."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if next(finished) % 10 == 0 and maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
