"""AUROC, average precision and bootstrap intervals beside scikit-learn, in one process, one after the other.

    python benchmarks/bench_metrics.py

Scores are float32 normals, those of the anomalies (a tenth) one higher. Ours are compiled; the compilation is a
figure of its own. Medians of `--repeats` calls; both sides read the same NumPy arrays. The bootstrap redraws 10,000
rows within their classes 1,000 times; scikit-learn's loop does so 20 times and its time is scaled up.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import sklearn
import sklearn.metrics
from common import emit

from jaxae.scoring import metrics
from jaxae.scoring.metrics.bootstrap import bootstrap

METRICS = {
    "auroc": (metrics.auroc, sklearn.metrics.roc_auc_score),
    "average_precision": (metrics.average_precision, sklearn.metrics.average_precision_score),
}


def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, a tenth of them anomalies, and normal scores one deviation apart."""
    rng = np.random.default_rng(0)
    labels = (rng.random(rows) < 0.1).astype(np.int32)
    return labels, rng.normal(size=rows).astype(np.float32) + labels


def timed(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds, and what the last call gave."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        value = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), value


def resampled(labels: np.ndarray, scores: np.ndarray, times: int) -> np.ndarray:
    """A bootstrap interval as one writes it with scikit-learn."""
    rng, of = np.random.default_rng(0), [np.flatnonzero(labels == c) for c in (0, 1)]
    draws = [np.concatenate([rng.choice(rows, len(rows)) for rows in of]) for _ in range(times)]
    return np.quantile([sklearn.metrics.roc_auc_score(labels[rows], scores[rows]) for rows in draws], [0.025, 0.975])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for rows in arguments.rows:
        labels, scores = drawn(rows)
        for name, (ours, theirs) in METRICS.items():
            started = time.perf_counter()
            compiled = jax.jit(ours).lower(labels, scores).compile()
            compilation = time.perf_counter() - started
            own, value = timed(lambda call=compiled, data=(labels, scores): call(*data), arguments.repeats)
            peer, expected = timed(lambda call=theirs, data=(labels, scores): call(*data), arguments.repeats)
            emit(
                metric=name,
                rows=rows,
                seconds=own,
                compile_seconds=compilation,
                scikit_learn_seconds=peer,
                times_faster=peer / own,
                value=float(value),
                scikit_learn_value=float(expected),
                scikit_learn=sklearn.__version__,
            )
    labels, scores = drawn(10_000)
    interval = jax.jit(lambda *data: bootstrap(metrics.auroc, *data, jax.random.key(0), num=1000))
    started = time.perf_counter()
    compiled = interval.lower(labels, scores).compile()
    compilation = time.perf_counter() - started
    own, value = timed(lambda: compiled(labels, scores), arguments.repeats)
    peer, expected = timed(lambda: resampled(labels, scores, 20), arguments.repeats)
    emit(
        metric="auroc, 1,000 bootstrap replicates",
        rows=10_000,
        seconds=own,
        compile_seconds=compilation,
        scikit_learn_seconds=50 * peer,
        times_faster=50 * peer / own,
        interval=[float(value.low), float(value.high)],
        scikit_learn_interval_of_20=expected.tolist(),
        scikit_learn=sklearn.__version__,
    )


if __name__ == "__main__":
    main()
