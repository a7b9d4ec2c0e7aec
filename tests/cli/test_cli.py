"""The command line as a user meets it: real commands in real folders, and one line where the input is at fault."""

import csv
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

from jaxae.cli import main
from jaxae.jobs.detect import threshold_for
from jaxae.settings import DetectSettings
from jaxae.types import CostTable


def jaxae(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def refused(*arguments):
    """The one line that a command ends with, exit code 2."""
    result = jaxae(*arguments, code=2)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("jaxae: ")
    assert "Traceback" not in result.output
    return lines[0]


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Bars: upright ones are normal, lying ones are not."""
    rng = np.random.default_rng(0)

    def draw(count, upright):
        x = rng.integers(0, 30, (count, 9, 8, 1), np.uint8)
        for image, place in zip(x, rng.integers(1, 7, count), strict=True):
            image[(slice(None), place) if upright else (place, slice(None))] = 220
        return x

    def part(count):
        y = np.repeat(["upright", "lying"], count)
        return np.concatenate([draw(count, True), draw(count, False)]), y

    path = tmp_path_factory.mktemp("data") / "bars.npz"
    (x_train, y_train), (x_test, y_test) = part(120), part(30)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "bars"
    result = jaxae("detect", "--data", images, "--normal", "upright", "--epochs", 60, "--out", out)
    return out, result.output


def test_detect_finds_the_anomalies_and_writes_every_file(run):
    out, printed = run
    metrics = json.loads((out / "metrics.json").read_text())
    named = (
        "auroc average_precision f1 recall precision false_alarm_rate threshold expected_cost expected_cost_oracle "
        "expected_cost_always expected_cost_never anomaly_rate sizes seconds"
    )
    assert set(named.split()) <= set(metrics)
    assert metrics["auroc"] > 0.95
    assert metrics["sizes"]["test"] == 60
    assert metrics["expected_cost_never"] == pytest.approx(0.05 * 10)
    assert metrics["expected_cost_always"] == pytest.approx(0.95)
    assert metrics["expected_cost_oracle"] <= metrics["expected_cost"]
    for name in ("config.json", "scores.csv", "metrics.jsonl", "report.html", "detector/card.json"):
        assert (out / name).is_file(), name
    assert len(list((out / "figures").glob("*.png"))) >= 5
    assert "expected cost at 10:1" in printed


def test_scores_table_agrees_with_the_metrics(run):
    out, _ = run
    metrics = json.loads((out / "metrics.json").read_text())
    rows = rows_of(out / "scores.csv")
    assert list(rows[0]) == ["index", "source", "score", "p_value", "is_anomaly", "label"]
    assert [int(r["index"]) for r in rows] == list(range(60))
    score = np.array([float(r["score"]) for r in rows], np.float32)
    flagged, label = (np.array([int(r[k]) for r in rows]) for k in ("is_anomaly", "label"))
    np.testing.assert_array_equal(flagged, score >= np.float32(metrics["threshold"]))
    assert flagged[label == 1].mean() == pytest.approx(metrics["recall"])
    assert flagged[label == 0].mean() == pytest.approx(metrics["false_alarm_rate"])


def test_score_in_a_new_process_gives_the_same_scores_to_the_bit(run, images, tmp_path):
    out, _ = run
    command = [sys.executable, "-m", "jaxae.cli", "score", "--detector", out / "detector", "--data", images]
    environment = {**os.environ, "XLA_FLAGS": "", "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([*command, "--part", "test", "--out", tmp_path / "s.csv"], check=True, env=environment)
    assert (tmp_path / "s.csv").read_text() == (out / "scores.csv").read_text()


def test_a_run_is_neither_mixed_nor_lost(run, images):
    out, _ = run
    before = (out / "scores.csv").read_bytes()
    command = ("detect", "--data", images, "--normal", "upright", "--out", out)
    assert "already holds a run of `jaxae detect`" in refused(*command)
    assert "seed = 0, now it is 1" in refused(*command, "--epochs", 60, "--seed", 1, "--resume")
    assert "exclude each other" in refused(*command, "--resume", "--overwrite")
    assert (out / "scores.csv").read_bytes() == before


def test_resume_of_a_finished_run_gives_the_same_scores(run, images):
    out, _ = run
    before = (out / "scores.csv").read_bytes()
    jaxae("detect", "--data", images, "--normal", "upright", "--epochs", 60, "--out", out, "--resume")
    assert (out / "scores.csv").read_bytes() == before


def test_a_foreign_folder_is_left_alone(images, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    line = refused("detect", "--data", images, "--normal", "upright", "--out", tmp_path, "--overwrite")
    assert "holds no run" in line
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_report_and_info_read_a_run(run):
    out, _ = run
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert str(out / "report.html") in jaxae("report", out).output
    assert len((out / "report.html").read_bytes()) == pytest.approx(len(page), rel=0.01)
    facts = json.loads(jaxae("info", out).output)
    assert facts["config"]["normal"] == ["upright"]
    assert json.loads(jaxae("info", out / "detector").output)["config"]["model"] == "denoising_ae"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (("expected_cost", None), 6.0),
        (("false_alarm_rate", 0.5), 3.0),
        (("mad", None), 2.5 + 3 * 1.4826),
        (("youden", None), 6.0),
        (("recall", 1.0), 6.0),
        (("best_f1", None), 6.0),
        (None, 6.0),
    ],
)
def test_settings_choose_the_rule(rule, expected):
    settings = DetectSettings(rule=rule)
    threshold = threshold_for(settings, CostTable.binary(*settings.cost), labelled=True)
    dev, labels = np.array([1.0, 2.0, 3.0, 5.0, 6.0, 9.0], np.float32), np.array([0, 0, 0, 0, 1, 1])
    fitted = threshold.fit(np.array([1.0, 2.0, 3.0, 4.0], np.float32), dev, labels)
    assert float(fitted["threshold"]) == pytest.approx(expected, abs=1e-5)


def test_a_table_without_labels_flags_at_a_rate_and_prints_no_test_figures(tmp_path):
    x = np.random.default_rng(0).normal(size=(400, 5)) * [1, 10, 100, 1, 0] + [0, 5, 0, 0, 3]
    table = tmp_path / "t.csv"
    header = "a,b,c,d,constant"
    np.savetxt(table, x, delimiter=",", header=header, comments="")
    flags = ("--max-false-alarm-rate", 0.1)
    result = jaxae("detect", "--data", table, "--epochs", 20, "--out", tmp_path / "r", *flags)
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert "auroc" not in metrics
    assert 0 < metrics["flagged"] < 0.3
    assert "no labels" in result.output
    assert {r["label"] for r in rows_of(tmp_path / "r" / "scores.csv")} == {""}


def test_train_then_sample_draws_images_and_rows(images, tmp_path):
    jaxae("train", "--data", images, "--model", "vae", "--epochs", 2, "--out", tmp_path / "v")
    page = (tmp_path / "v" / "report.html").read_text()
    assert page.count("data:image/gif;base64,") == 1
    with np.load(tmp_path / "v" / "walks.npz", allow_pickle=False) as walks:
        assert walks["traversals"].shape[:2] == (10, 9)
        assert np.all(np.diff(walks["kl"]) <= 0)
        ends = walks["interpolations"][0][[0, -1]]
    with np.load(tmp_path / "v" / "examples.npz", allow_pickle=False) as examples:
        np.testing.assert_allclose(ends, examples["reconstruction"][:2], atol=1e-5)
    for name in ("traversals.png", "moving.gif", "interpolations.png"):
        assert (tmp_path / "v" / "figures" / name).stat().st_size > 1000
    jaxae("sample", tmp_path / "v", "-n", 9, "--out", tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes()[:4] == b"\x89PNG"
    table = tmp_path / "t.csv"
    np.savetxt(table, 5 + np.random.default_rng(0).normal(size=(300, 3)), delimiter=",", header="a,b,c", comments="")
    jaxae("train", "--data", table, "--model", "vae", "--set", "latent_size=2", "--out", tmp_path / "t")
    jaxae("sample", tmp_path / "t", "-n", 200)
    drawn = np.array([[float(v) for v in r.values()] for r in rows_of(tmp_path / "t" / "samples.csv")])
    assert drawn.shape == (200, 3)
    np.testing.assert_allclose(drawn.mean(0), 5, atol=0.5)


def test_a_model_without_a_prior_says_how_it_gets_one(images, tmp_path):
    jaxae("train", "--data", images, "--model", "ae", "--epochs", 1, "--out", tmp_path / "a")
    assert "`jaxae train-prior" in refused("sample", tmp_path / "a")


BAD = {
    "two rules": (["--best-f1", "--min-recall", "0.9"], "--min-recall and --best-f1 exclude each other"),
    "a cost": (["--cost", "ten"], "two numbers such as 10:1"),
    "a negative cost": (["--cost=-1:1"], "not negative"),
    "a rate": (["--max-false-alarm-rate", "1.5"], "1.5"),
    "an anomaly rate": (["--anomaly-rate", "0"], "anomaly_rate"),
    "a recall": (["--min-recall", "0"], "got 0"),
    "a confidence": (["--confidence", "1.5"], "confidence must lie in (0, 1); got 1.5"),
    "no confidence": (["--confidence", "nan"], "confidence must be finite"),
    "a rate that float32 cannot hold": (["--anomaly-rate", "1e-320"], "anomaly_rate must lie in"),
    "a model that reads labels": (["--normal", "upright", "--model", "conditional_vae"], "reads labels, which `jaxae"),
    "an option of another kind": (["--normal", "upright", "--set", "latent_size=x"], "takes a whole number; got 'x'"),
    "a class": (["--normal", "sideways"], "sideways"),
    "a model": (["--normal", "upright", "--model", "gan"], "there is no model 'gan'; there are ae, denoising_ae"),
    "an option of the model": (["--normal", "upright", "--set", "depth=3"], "has no option depth"),
    "a rate below what calibration resolves": (
        ["--normal", "upright", "--max-false-alarm-rate", "0.001", "--epochs", "1"],
        "at least 999 are needed",
    ),
    "a bound that calibration cannot give": (
        ["--normal", "upright", "--max-false-alarm-rate", "0.01", "--confidence", "0.95"],
        "299",
    ),
    "an unknown rule": (["--normal", "upright", "--rule", "coin"], "there is no rule 'coin'"),
    "a rule without its value": (["--normal", "upright", "--rule", "precision"], "precision=VALUE"),
    "a rule with a word": (["--rule", "mad=much"], "NAME=NUMBER"),
    "a contamination": (["--normal", "upright", "--contamination", "1.5"], "contamination must lie in [0, 1)"),
    "a view": (["--normal", "upright", "--view", "inside"], "inside"),
    "a robust objective": (["--normal", "upright", "--robust", "hope"], "refined"),
    "a share to certify": (["--normal", "upright", "--certify", "2"], "certify must lie in [0, 1)"),
    "too many known anomalies": (["--normal", "upright", "--known-anomalies", "9999"], "9999 known anomalies"),
    "an unknown flag": (["--fast"], "--fast"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_end_in_one_line_and_leave_no_run(name, images, tmp_path):
    flags, words = BAD[name]
    assert words in refused("detect", "--data", images, "--out", tmp_path / "r", *flags)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("command", ["report", "info", "sample"])
def test_a_folder_that_is_no_run_is_one_line(command, tmp_path):
    assert "does not exist" in refused(command, tmp_path / "nothing")
    assert "holds no run" in refused(command, tmp_path)


def test_data_without_train_anomalies_says_which_rule_still_works(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (80, 4, 4), np.uint8)
    y_test = np.r_[np.zeros(10, int), np.ones(10, int)]
    np.savez(tmp_path / "d.npz", x_train=x, y_train=np.zeros(80, int), x_test=x[:20] // 2, y_test=y_test)
    command = ("detect", "--data", tmp_path / "d.npz", "--normal", "0", "--out", tmp_path / "r")
    assert "--max-false-alarm-rate works without" in refused(*command)


def test_a_full_disk_is_one_line(images, tmp_path, monkeypatch):
    from jaxae import runs

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "metrics.json")

    monkeypatch.setattr(runs, "write_json", full)
    line = refused("detect", "--data", images, "--normal", "upright", "--out", tmp_path / "r")
    assert "the disk is full" in line


def test_calibrate_chooses_another_threshold_without_training(images, tmp_path):
    run = tmp_path / "r"
    jaxae("detect", "--data", images, "--normal", "upright", "--epochs", 2, "--certify", 0.3, "--out", run)
    figures = json.loads((run / "metrics.json").read_text())
    proven = figures["guarantees"]
    assert proven["num_certify"] > 0
    assert proven["miss_rate"] <= proven["miss_rate_bound"]
    assert proven["false_alarm_rate"] < proven["false_alarm_bound"] <= 1
    assert "What is guaranteed" in (run / "report.html").read_text()
    printed = jaxae("calibrate", run, "--min-recall", 1.0, "--out", tmp_path / "d").output
    assert "anomalies like certify's" in printed
    card = json.loads(jaxae("info", tmp_path / "d").output)
    assert card["calibration"]["rule"] == ["recall", 1.0]
    assert card["config"]["model"] == "denoising_ae"
    jaxae("score", "--detector", tmp_path / "d", "--data", images, "--part", "test", "--out", tmp_path / "again.csv")
    first, again = rows_of(run / "scores.csv"), rows_of(tmp_path / "again.csv")
    assert [row["score"] for row in first] == [row["score"] for row in again]
    threshold = card["calibration"]["threshold"]
    assert all((float(row["score"]) >= threshold) == (row["is_anomaly"] == "1") for row in again)
    with np.load(images) as data:
        x = np.concatenate([data["x_test"], data["x_train"][:100]])
        y = np.concatenate([data["y_test"], ["upright"] * 100])
    np.savez(tmp_path / "new.npz", x_train=x, y_train=y, x_test=x[:1] // 2, y_test=y[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = jaxae("calibrate", run, "--data", tmp_path / "new.npz", "--rule", "mad=2", "--out", tmp_path / "e")
    assert "72 of 161 rows equal one that taught the model" in result.stderr
    assert "anomalies like certify's" in result.output
    line = refused("calibrate", run, "--max-false-alarm-rate", 0.0001, "--out", tmp_path / "f")
    assert "are needed" in line
    assert not (tmp_path / "f").exists()
    assert "holds no run" in refused("calibrate", tmp_path, "--out", tmp_path / "g")


def test_edges_are_learnt_scored_and_saved(images, tmp_path):
    out = tmp_path / "r"
    jaxae("detect", "--data", images, "--normal", "upright", "--view", "edges", "--epochs", 30, "--out", out)
    assert json.loads((out / "metrics.json").read_text())["auroc"] > 0.95
    jaxae("score", "--detector", out, "--data", images, "--part", "test", "--out", tmp_path / "again.csv")
    first, again = rows_of(out / "scores.csv"), rows_of(tmp_path / "again.csv")
    assert [row["score"] for row in first] == [row["score"] for row in again]
    assert "only images have edges" in refused("detect", "--data", flat(tmp_path), "--view", "edges")


def flat(folder):
    np.savez(folder / "t.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    return folder / "t.npz"


def test_polluted_rows_are_left_out_and_known_anomalies_taught(images, tmp_path):
    base = ("detect", "--data", images, "--normal", "upright", "--epochs", 1, "--contamination", 0.05)
    printed = jaxae(*base, "--robust", "refined", "--known-anomalies", 5, "--out", tmp_path / "r").output
    assert "left out as suspected anomalies" in printed
    entry = json.loads((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()[0])
    assert entry["anomalies"] > 0
    neighbours = jaxae(*base, "--robust", "neighbours", "--view", "edges", "--out", tmp_path / "n").output
    assert "rows left out as suspected anomalies" in neighbours
    jaxae(*base, "--robust", "soft_exposure", "--out", tmp_path / "s")
    assert "exposed" in json.loads((tmp_path / "s" / "metrics.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize(
    "command", [[], ["calibrate"], ["open-set"], ["detect"], ["train"], ["score"], ["sample"], ["report"], ["info"]]
)
def test_help_has_examples(command):
    printed = jaxae(*command, "--help").output
    assert "Example" in printed
    assert "jaxae " + (command[0] if command else "detect") in printed


def test_an_empty_path_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "the name of the data is empty" in refused("train", "--data", "")
    for words in (["train", "--out", ""], ["report", ""], ["info", ""], ["score", "--detector", ""]):
        assert "an empty text is no path" in refused(*words)
    assert "no UTF-8" in refused("train", "--out", "run\udcff")
    assert list(tmp_path.iterdir()) == []


def test_a_long_value_gives_a_short_message():
    for words in (["train", "--model", "a" * 9000], ["report", "b/" * 9000], ["detect", "--cost", "1" * 9000]):
        assert len(refused(*words)) < 600
