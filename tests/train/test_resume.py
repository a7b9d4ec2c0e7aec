"""A real training killed with SIGKILL at three instants continues, in a new process, to the same bits."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np

CHUNK, STEPS, KILLED_AT = 10, 60, 37

TRAINING = """
import os, pathlib, signal, sys, threading, time
import jax, numpy as np, optax
from jaxae import bottlenecks, likelihoods, networks, objectives, transforms
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.train import build_step, evaluator, fit, init_state, metrics_log

CHUNK, STEPS, KILLED_AT = 10, 60, 37
data = np.random.default_rng(0).integers(0, 256, (60, 12)).astype(np.uint8)
book = bottlenecks.vector_quantizer(8, decay=0.9)
model = autoencoder(networks.mlp(16, 4), book, networks.mlp(16, 12), likelihoods.gaussian())
steps = transforms.chain(transforms.scale_uint8(), transforms.gaussian_noise(0.3))
objective = objectives.prepared(objectives.elbo(model), steps)
optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-2, 15, STEPS))
evaluate = evaluator(objective, data[50:], STEPS)
step = build_step(objective, optimizer)
start = jax.jit(lambda rng: init_state(objective, optimizer, rng, data[:8]))(jax.random.key(7))
order = shuffled(50, 8, seed=1)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class DiesWhenRead:
    # rows are read ahead: the device works on the chunk before, and a checkpoint may be on its way
    def __getitem__(self, i):
        if i == KILLED_AT:
            die()
        return order[i]


def die_when_writing(folder, step):
    def watch():
        while not list(folder.glob(f"{step}.*tmp*")):
            time.sleep(0.0002)
        die()

    threading.Thread(target=watch, daemon=True).start()


def train(folder, instant):
    folder.mkdir(exist_ok=True)
    kept = checkpoints(folder / "checkpoints")
    state = start if kept.latest() is None else kept.restore(start)
    begun = int(state.step)
    batches, saving = order, kept
    if instant == "steps":
        batches = DiesWhenRead()
    if instant == "write":
        die_when_writing(folder / "checkpoints", 30)
    if instant == "after":

        def save(state, loss):
            kept.save(state, loss)
            if int(state.step) == 30:
                kept.wait()
                die()

        saving = kept._replace(save=save)
    log = metrics_log(folder / "metrics.jsonl", begun)
    result = fit(
        step, state, batches, STEPS, data=data, chunk=CHUNK, validation=evaluate, checkpoints=saving, log=log
    )
    best, loss = kept.best(start)
    kept.close()
    for name, found in {"state": result.state, "best": result.best, "best_on_disk": best}.items():
        leaves = jax.tree.leaves(found._replace(rng=jax.random.key_data(found.rng)))
        np.savez(folder / f"{name}.npz", *map(np.asarray, leaves), begun=begun, loss=loss)


for folder in sys.argv[2:]:
    train(pathlib.Path(folder), sys.argv[1])
"""


def start(script, instant, *folders):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    command = [sys.executable, str(script), instant, *map(str, folders)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(processes):
    try:
        return {name: (process.communicate(timeout=400)[0], process.returncode) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()


def arrays(path):
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def test_a_killed_training_continues_to_the_same_bits(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    instants = ("steps", "write", "after")
    runs = finished({name: start(script, name, tmp_path / name) for name in instants})
    for name, (said, code) in runs.items():
        assert code == -signal.SIGKILL, (name, said)
        assert not (tmp_path / name / "state.npz").exists()
    left = {name: sorted(path.name for path in (tmp_path / name / "checkpoints").iterdir()) for name in instants}
    assert any("tmp" in path for path in left["write"]), left  # it was in the middle of it
    assert "30" not in left["write"]
    assert "30" in left["after"]

    # a new process trains one run without an interruption, and continues the others
    assert finished({"all": start(script, "never", *(tmp_path / name for name in ("whole", *instants)))})["all"] == (
        "",
        0,
    )
    wanted_lines = (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert [json.loads(line)["step"] for line in wanted_lines.splitlines()] == list(range(CHUNK, STEPS + 1, CHUNK))
    for name in instants:
        assert (tmp_path / name / "metrics.jsonl").read_text() == wanted_lines, name
        for what in ("state", "best", "best_on_disk"):
            found, wanted = (arrays(tmp_path / run / f"{what}.npz") for run in (name, "whole"))
            begun = int(found.pop("begun")), int(wanted.pop("begun"))
            assert begun[0] in ((30,) if name == "after" else (20,) if name == "write" else (10, 20, 30))
            assert begun[1] == 0
            assert found.keys() == wanted.keys()
            for leaf in wanted:
                assert found[leaf].dtype == wanted[leaf].dtype
                np.testing.assert_array_equal(found[leaf], wanted[leaf], err_msg=f"{name} {what} {leaf}")
