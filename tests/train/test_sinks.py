"""Metrics files: one line a step, whatever happened to the run that wrote the first part."""

import gc
import json
import sys

import numpy as np
import pytest

from jaxae.train import metrics_log


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_line_a_step_with_plain_numbers(tmp_path):
    log = metrics_log(tmp_path / "metrics.jsonl")
    log({"step": 10, "loss": 0.5})
    log({"step": np.int64(20), "loss": np.float32(0.25), "nll": float("inf")})
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25, "nll": None}]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("torn", ["", '{"step": 40, "lo', '{"step": 40, "loss": 0.1}', "\x00\x00"])
def test_a_resume_drops_what_came_after_the_checkpoint_and_a_torn_line(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    log = metrics_log(path)
    for step in (10, 20, 30):
        log({"step": step, "loss": 1 / step})
    with open(path, "a") as file:
        file.write(torn)
    log = metrics_log(path, step=20)
    assert [line["step"] for line in lines(path)] == [10, 20]
    log({"step": 30, "loss": 0.5})
    assert [line["step"] for line in lines(path)] == [10, 20, 30]
    assert lines(path)[1]["loss"] == 1 / 20


def test_a_last_line_without_its_end_is_kept_when_it_is_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10, "loss": 0.5}')
    metrics_log(path, step=10)({"step": 20, "loss": 0.25})
    assert [line["step"] for line in lines(path)] == [10, 20]


def test_a_new_run_starts_the_file_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics_log(path)({"step": 10, "loss": 0.5})
    metrics_log(path)
    assert path.read_text() == ""


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"name": "mine"}\n')
    with pytest.raises(ValueError, match="is not a metrics log of jaxae"):
        metrics_log(path, step=5)
    assert path.read_text() == '{"name": "mine"}\n'


def test_tensorboard_gets_every_figure(tmp_path):
    pytest.importorskip("tensorboardX")
    log = metrics_log(tmp_path / "metrics.jsonl", tensorboard=tmp_path / "events")
    log({"step": 10, "loss": 0.5, "validation_loss": 0.75})
    del log  # its writer is closed with it
    gc.collect()
    (events,) = (tmp_path / "events").iterdir()
    content = events.read_bytes()
    assert b"validation_loss" in content
    assert np.float32(0.75).tobytes() in content


def test_tensorboard_without_its_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxae\[tensorboard\]'"):
        metrics_log(tmp_path / "metrics.jsonl", tensorboard=tmp_path / "events")
    assert not (tmp_path / "metrics.jsonl").exists()
