"""Signals to real processes at different moments: what is being written is finished, one line, the right exit code."""

import errno
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from jaxae import jobs, runs
from jaxae.cli import main

ENVIRONMENT = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "a table.npz"
    rng = np.random.default_rng(0)
    labels = np.r_[np.zeros(400, int), np.ones(40, int)]
    x = (rng.normal(size=(440, 6)) + 4 * labels[:, None]).astype(np.float32)
    np.savez(path, x=x, y=labels)
    return path


def command(*arguments):
    return [sys.executable, "-m", "jaxae.cli", *map(str, arguments)]


def training(table, out, *more):
    size = ("--set", "latent_size=4", "--epochs", 40)
    return ("train", "--data", table, "--model", "vae", *size, "--out", out, *more)


def start(*arguments, **options):
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options
    )


def when(process, condition):
    """Wait until something is so, or the process has ended."""
    end = time.monotonic() + 240
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)


def figures_of(out):
    """What a training ends with, but for its time."""
    figures = json.loads((out / "metrics.json").read_text())
    assert figures.pop("seconds") > 0
    log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    with np.load(out / "samples.npz") as samples:
        return figures, log, samples["images"].tolist()


@pytest.fixture(scope="module")
def uninterrupted(table, tmp_path_factory):
    """A training that nothing ends; it was started as `nohup` does, and gets a SIGHUP on its way."""
    out = tmp_path_factory.mktemp("whole") / "run"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is ignored is ignored by a child too
    process = start(*training(table, out))
    signal.signal(signal.SIGHUP, before)
    when(process, (out / "config.json").is_file)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return figures_of(out)


def has_lines(out):
    return (out / "metrics.jsonl").is_file() and (out / "metrics.jsonl").stat().st_size > 0


MOMENTS = {
    "importing": (signal.SIGTERM, None),
    "compiling": (signal.SIGHUP, lambda out: (out / "deal.json").is_file()),
    "training": (signal.SIGINT, has_lines),
    "checkpoint": (signal.SIGTERM, lambda out: has_lines(out) and any((out / "checkpoints").glob("*-tmp*"))),
    "report": (signal.SIGHUP, lambda out: (out / "metrics.json").is_file()),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_training_that_a_signal_ends_says_how_to_go_on_and_goes_on_to_the_same_end(
    moment, table, tmp_path, uninterrupted
):
    number, condition = MOMENTS[moment]
    out = tmp_path / "a run"
    process = start(*training(table, out, "--overwrite"), cwd=tmp_path)
    if condition is None:
        time.sleep(1.0)
    else:
        when(process, lambda: condition(out))
    sent = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - sent < 12
    assert process.returncode == 128 + number, (said, process.returncode)
    lines = [line for line in said.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, said
    assert not list(out.glob("checkpoints/*-tmp*"))
    if not (out / "config.json").is_file():
        assert lines[0] == "stopped; nothing is kept for later: run the command again"
        arguments = [str(argument) for argument in training(table, out)]
    else:
        assert lines[0].startswith("stopped; `jaxae train --data ")
        assert lines[0].endswith(" --resume` continues")
        program, *arguments = shlex.split(lines[0].partition("`")[2].partition("`")[0])
        assert program == "jaxae"
        assert "--overwrite" not in arguments
    again = subprocess.run(
        command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False
    )
    assert again.returncode == 0, again.stderr
    assert figures_of(out) == uninterrupted


def test_a_second_signal_ends_at_once(table, tmp_path):
    process = start(*training(table, tmp_path / "run"))
    when(process, lambda: has_lines(tmp_path / "run"))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - sent < 3
    assert process.returncode in (130, 143)
    assert "Traceback" not in said


def test_commands_that_keep_nothing_say_so(table, tmp_path):
    code = (
        "import time\nfrom jaxae import jobs\nfrom jaxae.cli import main\n"
        "def busy(*a, **k):\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "jobs.score = jobs.calibrate = jobs.sample = busy\nmain()\n"
    )
    for arguments in (
        ("score", "--detector", "d", "--data", table),
        ("calibrate", "d", "--out", "e"),
        ("sample", "r"),
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 143
        assert said == "stopped; nothing is kept for later: run the command again\n"


def test_a_process_that_is_busy_outside_of_python_ends_within_ten_seconds():
    code = (
        "import jax, jax.numpy as jnp\nfrom jaxae.cli.stopping import stopping\n"
        "with stopping(lambda: 'the last words'):\n"
        "    endless = jax.jit(lambda x: jax.lax.while_loop(lambda v: v[0] < 2, lambda v: v * 0.5, x))\n"
        "    print('begun', flush=True)\n    endless(jnp.ones(2)).block_until_ready()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1.5)
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert 5 < time.monotonic() - sent < 12
    assert (process.returncode, said) == (143, "the last words\n")


def test_handlers_are_there_while_a_command_runs_and_no_longer():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert CliRunner().invoke(main, ["--version"]).exit_code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    code = "import signal, jaxae, jaxae.jobs, jaxae.cli.commands; assert signal.getsignal(signal.SIGTERM) == 0"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "job", "advice"),
    [
        (("score", "--detector", "d", "--data", "x.npz"), "score", "nothing is kept for later: run the command again"),
        (("calibrate", "r", "--out", "d"), "calibrate", "nothing is kept for later: run the command again"),
        (("sample", "r"), "sample", "nothing is kept for later: run the command again"),
        (("train", "--out", "r"), "train", "`jaxae train --out r --resume` continues"),
        (("detect", "--overwrite"), "detect", "`jaxae detect --out runs/detect-1 --resume` continues"),
        (
            ("open-set", "--known", "a b,c"),
            "open_set",
            "`jaxae open-set --known 'a b,c' --out runs/open-set-1 --resume`",
        ),
        (("train-prior", "r", "--overwrite"), "train_prior", "`jaxae train-prior r --resume` continues"),
    ],
)
def test_the_advice_on_a_full_disk_is_of_the_command(tmp_path, monkeypatch, arguments, job, advice):
    monkeypatch.chdir(tmp_path)

    def fills_the_disk(first, second=None, *more, **options):
        if job in ("train", "detect", "open_set", "train_prior"):
            folder = pathlib.Path(first) / "prior" if job == "train_prior" else second
            runs.start(folder, {"command": job.replace("_", "-")})
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(jobs, job, fills_the_disk)
    result = CliRunner().invoke(main, [*arguments])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("jaxae: the disk is full (")
    assert advice in result.stderr
