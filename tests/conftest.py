"""Strict surroundings for every test: eight devices, no silent broadcasting, annotated shapes checked."""

import ctypes
import os
import pathlib
import shutil
import sys
import tempfile

# Tests compile many small programs and run each for milliseconds: no optimisation, no fusion emitters (half of the
# compile time), one part for the code generator. By the environment, so that the processes that tests start compile
# alike: some compare bits.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["XLA_FLAGS"] = " ".join(
    sorted(
        {
            *os.environ.get("XLA_FLAGS", "").split(),
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
        }
    )
)
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
    """The run's workers, and the processes that tests start, share what any of them has compiled.

    With JAX_COMPILATION_CACHE_DIR in the environment the next run has it too, and takes about two thirds of the time.
    """
    if not hasattr(config, "workerinput"):  # the first process of the run
        folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        config.compiled = None if folder else tempfile.mkdtemp(prefix="jaxae-tests-")
        shared = {
            "jax_compilation_cache_dir": folder or config.compiled,
            "jax_persistent_cache_min_compile_time_secs": 0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
        for name, value in shared.items():
            os.environ[name.upper()] = str(value)
            jax.config.update(name, value)


def pytest_unconfigure(config):
    if getattr(config, "compiled", None):
        shutil.rmtree(config.compiled, ignore_errors=True)


@pytest.fixture(autouse=True)
def _fresh_trace_counts():
    # chex counts by name and module: constructors give many functions of one name
    chex.clear_trace_counter()


def resident():
    """Bytes of memory that this process holds."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session")
def _allowed():
    return {"bytes": 1200 * 2**20}


@pytest.fixture(autouse=True)
def _forgets_programs(_allowed):
    """Compiled programs leave a process that has grown: jax keeps each, at 1 to 2 MB, until it is told to clear.

    What is needed again is traced again and comes back, compiled, from the run's cache on disk.
    """
    yield
    if sys.platform == "linux" and resident() > _allowed["bytes"]:
        jax.clear_caches()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory counts as resident until it goes back to the system
        _allowed["bytes"] = max(_allowed["bytes"], resident() + 300 * 2**20)
