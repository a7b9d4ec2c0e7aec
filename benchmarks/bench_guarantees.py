"""Guarantees against what happens: the whole selection, repeated on fresh draws, in one compiled call.

Real scores are the population: each repetition draws calibration, dev (chooses λ), certify (bounds its misses) and test
rows from them, independently and with replacement, so that the true false-alarm and miss rates of every λ are known
exactly. A bound of 95 % confidence may fail in 5 % of the repetitions; `fails` says in how many it did, with the 95 %
interval that the number of repetitions leaves. `wrong` rows show what happens if the rows that chose λ also bound it.

    python benchmarks/bench_guarantees.py --data fashion_mnist.npz

With `--data` the first lines refit the score itself, the distance to the nearest of 100 rows, in every
repetition: once on half of the rows, calibrated by the others (split), or without each of K folds in turn, so that all
rows calibrate (cross-conformal, CV+, and the jackknife+ with a fold for every row).

Scores come from `--scores FILE.npz` (`scores` `[N]`, or `[S, N]` for S settings to choose among; `labels` `[N]`) or are
PCA errors of 20 numbers of components, fitted on 10,000 rows of the classes 0 to 4, with 5 to 9 as anomalies.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import emit

from jaxae.scoring import metrics, thresholds
from jaxae.scoring.costs.expected import expected_cost_curve
from jaxae.scoring.guarantees import bounds
from jaxae.scoring.guarantees.conformal import cross_p_values, jackknife_plus_p_values, p_values
from jaxae.scoring.guarantees.discoveries import benjamini_hochberg, storey_null_share
from jaxae.types import CostTable

COMPONENTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 50, 64, 80, 100, 128, 160)
TABLE = CostTable.binary(miss=10.0, false_alarm=1.0)
RATE = 0.05
ALPHA = 0.05
CONFIDENCE = 0.95
LEVELS = (0.05, 0.1, 0.2)
REFITTED = {"cross": (5, 10), "jackknife+": (5, 10, None)}  # numbers of folds; None: a fold for every row
RULES = {
    "conformal(0.05)": thresholds.conformal(ALPHA),
    "false_alarm_bound(0.05, 0.95)": thresholds.false_alarm_bound(ALPHA, CONFIDENCE),
    "mad(3)": thresholds.mad(3.0),
    "extreme_value(0.001)": thresholds.extreme_value(0.001),
    "expected_cost(10:1, 0.05)": thresholds.expected_cost(TABLE, RATE),
    "recall(0.9)": thresholds.recall(0.9),
}


def pixels(path: str) -> tuple[np.ndarray, np.ndarray]:
    """All rows of both parts, `[N, 784]` in 0..1; the classes 5 to 9 are the anomalies."""
    with np.load(path, allow_pickle=False) as file:
        x = np.concatenate([file["x_train"], file["x_test"]]).reshape(-1, 784).astype(np.float32) / 255
        return x, (np.concatenate([file["y_train"], file["y_test"]]) >= 5).astype(np.int32)


def pca_scores(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared error `[S, N]` without the first c components, for each c; labels `[N]`."""
    order = np.random.default_rng(0).permutation(np.flatnonzero(labels == 0))
    reference, mean = x[order[:10000]], x[order[:10000]].mean(0)
    basis = np.linalg.eigh((reference - mean).T @ (reference - mean))[1][:, ::-1]
    left = np.setdiff1d(np.arange(len(x)), order[:10000])
    squares = ((x[left] - mean) @ basis) ** 2
    kept = np.cumsum(squares[:, : max(COMPONENTS)], axis=1)[:, np.array(COMPONENTS) - 1]
    return (squares.sum(1, keepdims=True) - kept).T, labels[left]


def population(scores: np.ndarray, labels: np.ndarray):
    """The true rates of any λ of any setting, and the cost of the best."""
    normals, anomalies = (jnp.sort(jnp.asarray(scores[:, labels == label], jnp.float32), axis=1) for label in (0, 1))

    def rates(setting, threshold):
        false_alarms = 1 - jnp.searchsorted(normals[setting], threshold) / normals.shape[1]
        return false_alarms, jnp.searchsorted(anomalies[setting], threshold) / anomalies.shape[1]

    curve = jax.jit(lambda scores: expected_cost_curve(labels, scores, TABLE, RATE).oracle)
    oracle = np.array([curve(row) for row in scores])
    return normals, anomalies, rates, oracle


def cost(false_alarm_rate, miss_rate):
    """Expected cost at the deployment's rate."""
    return RATE * TABLE.costs[1, 0] * miss_rate + (1 - RATE) * TABLE.costs[0, 1] * false_alarm_rate


def errors(rates, setting, threshold, clean, anomalies, reads):
    """True rates of a λ, and their bounds by what the rule reads and by the anomalies given."""
    by = {"dev": bounds.false_alarm_bound, "rank": bounds.rank_bound}
    if reads in by:
        bound = by[reads](clean, threshold, CONFIDENCE)
    else:
        bound = bounds.uniform_bound(jnp.sum(clean >= threshold), clean.shape[0], CONFIDENCE)
    false_alarms, misses = rates(setting, threshold)
    return {
        "false_alarm_rate": false_alarms,
        "false_alarm_bound": bound,
        "miss_rate": misses,
        "miss_rate_bound": bounds.miss_rate_bound(anomalies, threshold, CONFIDENCE),
    }


def selection(key, normals, anomalies, rates, main: int, sizes):
    """One repetition: draw all parts, choose λ by every rule, bound it, and discover."""

    def draw(key, pool, count):
        return pool[:, jax.random.randint(key, (count,), 0, pool.shape[1])]

    keys = jax.random.split(key, 7)
    clean = draw(keys[0], normals, sizes.calibration)
    dev_normals, dev_anomalies = (
        draw(keys[1], normals, sizes.dev_normals),
        draw(keys[2], anomalies, sizes.dev_anomalies),
    )
    certify = draw(keys[3], anomalies, sizes.certify_anomalies)
    dev = jnp.concatenate([dev_normals, dev_anomalies], axis=1)
    labels = jnp.repeat(
        jnp.arange(2), np.array([sizes.dev_normals, sizes.dev_anomalies]), total_repeat_length=dev.shape[1]
    )
    found = {}
    for name, rule in RULES.items():
        threshold = rule.fit(clean[main], dev[main], labels)["threshold"]
        found[name] = errors(rates, main, threshold, clean[main], certify[main], rule.reads)
        if rule.reads == "dev":
            found[f"{name}, wrong: dev bounds"] = errors(
                rates, main, threshold, dev_normals[main], dev_anomalies[main], rule.reads
            )

    def choose(dev):
        curves = jax.vmap(lambda scores: expected_cost_curve(labels, scores, TABLE, RATE))(dev)
        best = jnp.argmin(curves.oracle)
        return best, curves.oracle_threshold[best]

    setting, threshold = choose(dev)
    name = f"expected_cost among {len(normals)} settings"
    found[name] = errors(rates, setting, threshold, clean[setting], certify[setting], "dev")
    wrong = errors(rates, setting, threshold, dev_normals[setting], dev_anomalies[setting], "dev")
    found[f"{name}, wrong: dev bounds"] = wrong
    # settings as good as each other whose errors have nothing in common: where choosing fools most
    alike = jnp.stack([draw(k, normals[main][None], sizes.dev_normals)[0] for k in jax.random.split(keys[4], 20)])
    other = jnp.stack([draw(k, anomalies[main][None], sizes.dev_anomalies)[0] for k in jax.random.split(keys[5], 20)])
    best, threshold = choose(jnp.concatenate([alike, other], axis=1))
    name = "expected_cost among 20 independent settings"
    found[name] = errors(rates, main, threshold, clean[main], certify[main], "dev")
    found[f"{name}, wrong: dev bounds"] = errors(rates, main, threshold, alike[best], other[best], "dev")
    a, b = jax.random.split(keys[6])
    num_anomalies = sizes.test // 10
    test = jnp.concatenate([draw(a, normals, sizes.test - num_anomalies), draw(b, anomalies, num_anomalies)], axis=1)
    return found, discoveries(p_values(clean[main], test[main]), num_anomalies)


def discoveries(values, num_anomalies: int):
    """False discovery proportion and power of each procedure at each level; the last rows are the anomalies."""

    def at(level, null_share):
        is_discovery = benjamini_hochberg(values, level, null_share).is_discovery
        hits = is_discovery[-num_anomalies:].sum()
        false = is_discovery.sum() - hits
        return {"proportion": false / jnp.maximum(is_discovery.sum(), 1), "power": hits / num_anomalies}

    by_level = jax.vmap(at, (0, None))
    levels = jnp.array(LEVELS)
    return {"BH": by_level(levels, jnp.float32(1)), "BH, Storey": by_level(levels, storey_null_share(values))}


def refitted(key, normals, anomalies, count: int):
    """One repetition of `REFITTED` and of split p-values: those of 100 new normals and of 100 anomalies."""

    def draw(key, pool, count):
        return pool[jax.random.randint(key, (count,), 0, pool.shape[0])]

    a, b, c = jax.random.split(key, 3)
    rows = draw(a, normals, count)
    everything = jnp.concatenate([rows, draw(b, normals, 100), draw(c, anomalies, 100)])
    squares = (rows**2).sum(1)[:, None] + (everything**2).sum(1)[None] - 2 * rows @ everything.T
    half = count // 2
    nearest = squares[:half].min(0)
    found = {"split": p_values(nearest[half:count], nearest[count:])}
    for name, numbers in REFITTED.items():
        for folds in numbers:
            of = jnp.arange(count) % (folds or count)
            members = jax.lax.map(
                lambda fold, of=of: jnp.where((of == fold)[:, None], jnp.inf, squares).min(0),
                jnp.arange(folds or count),
            )
            p = cross_p_values if name == "cross" else jackknife_plus_p_values
            calibration = members[of, jnp.arange(count)]
            found[f"{name}, {folds or 'all'} folds"] = p(calibration, of, members[:, count:])
    return found


def refits(x: np.ndarray, labels: np.ndarray, arguments) -> None:
    """A line for each way of calibrating a score that is fitted anew, and each level."""
    normals, anomalies = (jnp.asarray(x[labels == label]) for label in (0, 1))
    count, keys = arguments.refit_rows, jax.random.split(jax.random.key(arguments.seed), arguments.resamplings)
    run = jax.jit(lambda keys: jax.lax.map(lambda key: refitted(key, normals, anomalies, count), keys, batch_size=10))
    for name, values in jax.device_get(run(keys)).items():
        for level in LEVELS[:2]:
            flagged = (values <= level).mean(1, where=np.arange(200) < 100)
            power = (values[:, 100:] <= level).mean()
            emit(
                procedure=name,
                rows=count,
                level=level,
                proven_at_most=proven(name, level, count),
                false_alarm_rate=float(flagged.mean()),
                interval=mean_interval(flagged),
                power=float(power),
            )


def proven(name: str, level: float, count: int) -> float:
    """The most that a new normal can be flagged with, on average, see `scoring.conformal`."""
    if name == "split":
        return level
    if not name.startswith("jackknife+") or "all" in name:
        return 2 * level
    folds = int(name.split()[1])
    return 2 * level + min(2 * (folds - 1) / (count + folds), (1 - folds / count) / (folds + 1))


def share(bad: np.ndarray) -> dict:
    """The share of repetitions, with its 95 % interval."""
    low, high = bounds.interval(int(bad.sum()), bad.size)
    return {"share": round(float(bad.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def mean_interval(values: np.ndarray) -> list[float]:
    """Of the mean over repetitions, 95 %."""
    margin = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    return [round(float(v), 5) for v in (values.mean() - margin, values.mean() + margin)]


def report(name: str, found: dict, oracle: np.ndarray) -> None:
    """A bound fails where the true rate is above it; regret is against the best λ of the best setting offered."""
    rates, misses = found["false_alarm_rate"], found["miss_rate"]
    regret = np.asarray(cost(rates, misses)) - oracle
    emit(
        rule=name,
        false_alarm_rate=float(rates.mean()),
        false_alarm_rate_interval=mean_interval(rates),
        above_alpha=share(rates > ALPHA),
        false_alarm_bound=float(found["false_alarm_bound"].mean()),
        false_alarm_bound_fails=share(rates > found["false_alarm_bound"]),
        miss_rate=float(misses.mean()),
        miss_rate_bound=float(found["miss_rate_bound"].mean()),
        miss_rate_bound_fails=share(misses > found["miss_rate_bound"]),
        regret=float(regret.mean()),
        regret_interval=mean_interval(regret),
        regret_95_percent_of_repetitions=[round(float(q), 5) for q in np.quantile(regret, [0.025, 0.975])],
        oracle_cost=float(oracle),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="a .npz file with x_train, y_train, x_test, y_test of 28 x 28 images")
    source.add_argument("--scores", help="a .npz file with scores [N] or [S, N] and labels [N]")
    parser.add_argument("--setting", type=int, help="the setting of the single-setting rows; the middle one by default")
    parser.add_argument("--resamplings", type=int, default=1000)
    parser.add_argument("--calibration", type=int, default=1000)
    parser.add_argument("--dev-normals", type=int, default=500)
    parser.add_argument("--dev-anomalies", type=int, default=40)
    parser.add_argument("--certify-anomalies", type=int, default=40)
    parser.add_argument("--test", type=int, default=100, help="rows tested at once for discoveries, a tenth anomalies")
    parser.add_argument("--refit-rows", type=int, default=100, help="rows that the refitted score has in all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data:
        x, classes = pixels(arguments.data)
        refits(x, classes, arguments)
        scores, labels = pca_scores(x, classes)
    else:
        with np.load(arguments.scores, allow_pickle=False) as file:
            scores, labels = np.atleast_2d(file["scores"]), file["labels"]
    middle = len(scores) // 2 if arguments.setting is None else arguments.setting
    normals, anomalies, rates, oracle = population(scores, labels)
    run = jax.jit(jax.vmap(lambda key: selection(key, normals, anomalies, rates, middle, arguments)))
    keys = jax.random.split(jax.random.key(arguments.seed), arguments.resamplings)
    started = time.monotonic()
    compiled = run.lower(keys).compile()
    compile_seconds = time.monotonic() - started
    started = time.monotonic()
    found, discovered = jax.device_get(compiled(keys))
    emit(
        resamplings=arguments.resamplings,
        normals=normals.shape[1],
        anomalies=anomalies.shape[1],
        settings=len(scores),
        setting=middle,
        auroc=float(metrics.auroc(labels, scores[middle])),
        calibration=arguments.calibration,
        dev_normals=arguments.dev_normals,
        dev_anomalies=arguments.dev_anomalies,
        certify_anomalies=arguments.certify_anomalies,
        compile_seconds=compile_seconds,
        seconds=time.monotonic() - started,
    )
    for name, values in found.items():
        report(name, values, oracle.min() if f"among {len(scores)} settings" in name else oracle[middle])
    for name, values in discovered.items():
        for index, level in enumerate(LEVELS):
            proportion, power = values["proportion"][:, index], values["power"][:, index]
            emit(
                procedure=name,
                level=level,
                test=arguments.test,
                proven_at_most=0.9 * level if name == "BH" else None,
                false_discovery_rate=float(proportion.mean()),
                interval=mean_interval(proportion),
                power=float(power.mean()),
            )


if __name__ == "__main__":
    main()
