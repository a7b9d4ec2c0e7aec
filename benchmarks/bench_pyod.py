"""PyOD's default AutoEncoder against the same layers trained here: seconds to fit and score, AUROC beside them.

10,000 x 64 normals, 10 epochs, batch 32, Adam at 1e-3; scored are 10,000 other rows, half of them anomalies (each
joins the halves of two normal rows, so that every column looks normal by itself). Both standardise by the training
rows, both fit and score the training rows in "fit". The layers are PyOD's, 64-64-32-64-64 with ReLUs; PyOD's default
adds batch norm and dropout of 0.2 to them, which networks here never have, so PyOD is run without them too. "cold" is
the first call of a process, compilation included and imports left out; "compiled" the calls after it.

    pip install pyod torch
    python benchmarks/bench_pyod.py
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import emit

from jaxae import bottlenecks, likelihoods, networks, objectives, scoring, train, transforms
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.scoring import metrics, prepared, reconstruction
from jaxae.types import Batch

ROWS, WIDTH, EPOCHS, BATCH = 10_000, 64, 10, 32


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training normals, scored rows and their labels: points on a curved sheet of 8 dimensions, with noise."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(8, 48)), rng.normal(size=(48, WIDTH)) / 7

    def normal(number):
        sheet = np.tanh(rng.normal(size=(number, 8)) @ first) @ second
        return sheet + 0.3 * rng.normal(size=(number, WIDTH))

    half = ROWS // 2
    anomalies = np.concatenate([normal(half)[:, : WIDTH // 2], normal(half)[:, WIDTH // 2 :]], -1)
    x = np.concatenate([normal(half), anomalies])
    return np.float32(normal(ROWS)), np.float32(x), np.repeat([0, 1], half)


def ours():
    """`(x, seed) -> score`: what is compiled in one call is used in the next."""
    encoder, decoder = networks.mlp(64, 32, activation=jax.nn.relu), networks.mlp(64, WIDTH, activation=jax.nn.relu)
    model = autoencoder(_with_relu(encoder), bottlenecks.identity(), decoder, likelihoods.gaussian())
    objective, optimizer = objectives.elbo(model), optax.adam(1e-3)
    step = train.build_step(objective, optimizer)
    # run once: compiled without optimisation, which takes half the time
    quick = {"xla_backend_optimization_level": 0}
    init = jax.jit(lambda key, x: train.init_state(objective, optimizer, key, x), compiler_options=quick)
    base = reconstruction(model, "l2")
    num_steps = EPOCHS * (ROWS // BATCH)

    @jax.jit
    def score(params, mean, scale, x):
        scorer = prepared(base, transforms.standardise(mean, scale))
        return scorer.apply({"params": params, "state": ()}, None, Batch(x))

    def fit(x, seed):
        units = transforms.standardisation(x)
        data = (x - units.mean) / units.scale
        mean, scale = jnp.asarray(units.mean), jnp.asarray(units.scale)
        state = init(jax.random.key(seed), data[:BATCH])
        batches = shuffled(ROWS, BATCH, seed)
        state = train.fit(
            step, state, batches, num_steps, data=jax.device_put(data), chunk=num_steps, progress=False
        ).state

        def scored(x):
            return scoring.score_batches(lambda rows: score(state.params["model"], mean, scale, rows), x, ROWS)

        scored(x)  # PyOD's fit scores the training rows too
        return scored

    return fit


def _with_relu(network):
    """PyOD's encoder ends in its non-linearity."""
    return network._replace(apply=lambda params, x, condition=None: jax.nn.relu(network.apply(params, x)), hidden=None)


def pyods(**options):
    """`(rows, seed) -> score` of PyOD's autoencoder."""
    from pyod.models.auto_encoder import AutoEncoder

    def fit(x, seed):
        model = AutoEncoder(epoch_num=EPOCHS, batch_size=BATCH, random_state=seed, verbose=0, **options)
        model.fit(x)
        return model.decision_function

    return fit


def timed(fit, x, new, labels, seed) -> dict:
    """Seconds of fitting and scoring, and how well it scores."""
    started, busy = time.perf_counter(), time.process_time()
    score = fit(x, seed)
    fitted = time.perf_counter()
    scores = score(new)
    scored = time.perf_counter()
    return {
        "fit_seconds": fitted - started,
        "score_seconds": scored - fitted,
        "processor_seconds": time.process_time() - busy,  # tells more where other work is running
        "auroc": float(metrics.auroc(labels, np.float32(scores))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of the compiled call and of PyOD, interleaved")
    arguments = parser.parse_args()
    x, new, labels = rows()
    metrics.auroc(labels, np.float32(new[:, 0]))  # is not what is timed
    fit = ours()
    cold = timed(fit, x, new, labels, 0)
    emit(system="jaxae, cold", **cold)
    systems = {"jaxae, compiled": fit, "pyod": pyods(), "pyod, plain": pyods(batch_norm=False, dropout_rate=0.0)}
    found = {name: [] for name in systems}
    for seed in range(arguments.repeats):
        for name, function in systems.items():
            found[name].append(timed(function, x, new, labels, seed))
    least = {}
    for name, results in found.items():
        least[name] = {key: min(r[key] for r in results) for key in results[0] if key != "auroc"}
        emit(system=name, **least[name], auroc=[round(r["auroc"], 4) for r in results])
    for name in ("pyod", "pyod, plain"):
        theirs, ours_compiled = least[name], least["jaxae, compiled"]
        emit(
            against=name,
            times_faster_cold=_both(theirs) / _both(cold),
            times_faster_compiled=_both(theirs) / _both(ours_compiled),
            times_faster_scoring=theirs["score_seconds"] / ours_compiled["score_seconds"],
            processor_times_faster_cold=theirs["processor_seconds"] / cold["processor_seconds"],
            processor_times_faster_compiled=theirs["processor_seconds"] / ours_compiled["processor_seconds"],
        )


def _both(result: dict) -> float:
    return result["fit_seconds"] + result["score_seconds"]


if __name__ == "__main__":
    main()
