"""How long until jaxae works: `import jaxae` beyond `import jax`, and `jaxae detect` until its first training steps.

Command: `python benchmarks/bench_startup.py [--runs 5]`. Takes about two minutes. Every measurement is a new
process. The first `detect` has an empty compilation cache, the later ones find what it compiled; each is timed from
its launch to the first line of `metrics.jsonl`, which ends its first twentieth of the training.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from common import emit


def seconds_to_import(names: str) -> float:
    """Wall time of a new process that imports these modules, less that of one that imports nothing."""

    def run(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return run(f"import {names}") - run("pass")


def seconds_to_first_steps(folder: pathlib.Path, cache: pathlib.Path) -> tuple[float, float]:
    """Wall time of a new `jaxae detect` until its first line of metrics, and until its end."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxae.cli", "detect", "--out", folder],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = folder / "metrics.jsonl"
    while process.poll() is None and not (log.is_file() and log.stat().st_size):
        time.sleep(0.02)
    first = time.perf_counter() - start
    if process.wait():
        raise RuntimeError("jaxae detect failed; run it alone to see why")
    return first, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    seconds_to_import("jax, jaxae.presets")  # the disk's cache, for both sides alike
    # the same process order for both, one after the other: the machine's drift hits both
    pairs = [(seconds_to_import("jax"), seconds_to_import("jax, jaxae")) for _ in range(runs)]
    rooms = [seconds_to_import("jax, jaxae.presets, jaxae.train, jaxae.scoring") for _ in range(runs)]
    jax_alone = statistics.median(a for a, _ in pairs)
    emit(
        question="import",
        jax_seconds=jax_alone,
        jaxae_beyond_jax=statistics.median(b - a for a, b in pairs),
        rooms_beyond_jax=statistics.median(rooms) - jax_alone,
        runs=runs,
    )
    with tempfile.TemporaryDirectory() as parent:
        base = pathlib.Path(parent)
        times = [seconds_to_first_steps(base / f"run-{i}", base / "cache") for i in range(3)]
    emit(
        question="detect",
        first_run_to_steps=times[0][0],
        first_run=times[0][1],
        later_run_to_steps=statistics.median(t for t, _ in times[1:]),
        later_run=statistics.median(t for _, t in times[1:]),
    )


if __name__ == "__main__":
    main()
