"""Every command on every other command's output: it works rightly, or it refuses in one line and touches nothing."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxae import runs
from jaxae.runs.contents import ENTRIES, SERVES

SMALL = ("--epochs", 1, "--set", "latent_size=2")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes of 6 x 6 images: bright left halves, bright right halves, grey."""
    rng = np.random.default_rng(0)
    kind = np.arange(330) % 3
    x = rng.integers(0, 20, (330, 6, 6, 1), np.uint8)
    x[kind == 0, :, :3] += 200
    x[kind == 1, :, 3:] += 200
    x[kind == 2] += 100
    names = np.array(["left", "right", "grey"])[kind]
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    np.savez(path, x_train=x[:270], y_train=names[:270], x_test=x[270:], y_test=names[270:])
    return path


@pytest.fixture(scope="module")
def outputs(images, jaxae, tmp_path_factory):
    """A folder of each kind that a command writes."""
    root = tmp_path_factory.mktemp("outputs")
    jaxae("detect", "--data", images, "--normal", "left", *SMALL, "--out", root / "detect", notes=True)
    jaxae("open-set", "--data", images, "--known", "left,right", "--epochs", 1, "--out", root / "open-set", notes=True)
    jaxae("train", "--data", images, "--model", "vae", *SMALL, "--out", root / "train", notes=True)
    codes = ("--set", "num_codes=4", "--set", "num_tokens=2", "--set", "code_size=2", "--epochs", 1)
    jaxae("train", "--data", images, "--model", "vq_vae", *codes, "--out", root / "codes", notes=True)
    jaxae("train-prior", root / "codes", "--prior", "unigram", "--epochs", 1)
    jaxae("calibrate", root / "detect", "--max-false-alarm-rate", 0.2, "--out", root / "calibrate")
    jaxae("score", "--detector", root / "detect", "--data", images, "--out", root / "scores.csv")
    (root / "empty").mkdir()
    (root / "foreign").mkdir()
    (root / "foreign" / "thesis.tex").write_text("years of work")
    return root


def digest(path):
    """Everything below a path, by content."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    whole = hashlib.sha256()
    for file in files:
        whole.update(str(file.relative_to(path.parent)).encode() + file.read_bytes())
    return whole.hexdigest()


# words of the refusal, or None where the command serves that output
PRIOR = "is the prior of a run: give the run's own folder"
DETECTOR = "is a saved detector, no run"
NO_RUN = "holds no run"
FILE = "does not exist"
READERS = {
    "calibrate": {
        "detect": None,
        "open-set": None,
        "train": "is a run of `jaxae train`, which `jaxae calibrate` cannot read",
        "codes": "which `jaxae calibrate` cannot read: give one of `jaxae detect` or `jaxae open-set`",
        "codes/prior": PRIOR,
        "calibrate": DETECTOR,
    },
    "score": {
        "detect": None,
        "open-set": None,
        "train": "is a run of `jaxae train`, which `jaxae score` cannot read",
        "codes": "which `jaxae score` cannot read",
        "codes/prior": PRIOR,
        "calibrate": None,
    },
    "sample": {
        "detect": "no prior of its own to draw from: train it with `jaxae train --model denoising_ae`",
        "open-set": "is a run of `jaxae open-set`, which `jaxae sample` cannot read",
        "train": None,
        "codes": None,
        "codes/prior": PRIOR,
        "calibrate": DETECTOR,
    },
    "train-prior": {
        "detect": "is a run of `jaxae detect`, which `jaxae train-prior` cannot read: give one of `jaxae train`",
        "open-set": "which `jaxae train-prior` cannot read",
        "train": None,
        "codes": "already holds a run of `jaxae train-prior`",
        "codes/prior": PRIOR,
        "calibrate": DETECTOR,
    },
    "report": {
        "detect": None,
        "open-set": None,
        "train": None,
        "codes": None,
        "codes/prior": PRIOR,
        "calibrate": DETECTOR,
    },
    "info": {
        "detect": None,
        "open-set": None,
        "train": None,
        "codes": None,
        "codes/prior": None,
        "calibrate": None,
    },
}
for _words in READERS.values():
    _words |= {"empty": NO_RUN, "foreign": NO_RUN, "scores.csv": FILE, "nothing": FILE}
READERS["score"] |= dict.fromkeys(("scores.csv", "nothing"), "there is no detector")
READERS["score"] |= dict.fromkeys(("empty", "foreign"), "is no saved detector")
WRITERS = ("detect", "open-set", "train")


def command_on(command, path, images, folder):
    """The command line of a command that is given this output."""
    return {
        "calibrate": ("calibrate", path, "--max-false-alarm-rate", 0.2, "--out", folder / "d"),
        "score": ("score", "--detector", path, "--data", images, "--out", folder / "s.csv"),
        "sample": ("sample", path, "-n", 4),
        "train-prior": ("train-prior", path, "--epochs", 1),
        "report": ("report", path),
        "info": ("info", path),
        "detect": ("detect", "--data", images, "--normal", "right", *SMALL, "--out", path),
        "open-set": ("open-set", "--data", images, "--known", "left,grey", "--epochs", 1, "--out", path),
        "train": ("train", "--data", images, "--model", "ae", *SMALL, "--out", path),
    }[command]


def test_the_table_names_every_reader_and_every_output():
    assert set(READERS) == set(SERVES)
    for command, words in READERS.items():
        served = {name for name in WRITERS if words[name] is None}
        assert served <= set(SERVES[command]), command


@pytest.mark.parametrize(("command", "output"), [(c, o) for c, words in READERS.items() for o in words])
def test_a_reader_serves_an_output_or_refuses_it(command, output, outputs, images, jaxae, refused, tmp_path):
    words = READERS[command][output]
    copy = tmp_path / Path(output).parts[0]
    if (outputs / copy.name).is_dir():
        shutil.copytree(outputs / copy.name, copy)
    elif (outputs / copy.name).is_file():
        shutil.copy(outputs / copy.name, copy)
    path = tmp_path / output
    line = command_on(command, path, images, tmp_path)
    if words is None:
        assert jaxae(*line, notes=True).output
        return
    before = digest(copy) if copy.exists() else None
    assert words in refused(*line)
    assert before == (digest(copy) if copy.exists() else None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ([copy.name] if before else [])


@pytest.mark.parametrize("output", ["detect", "open-set", "train", "codes/prior", "calibrate", "foreign", "scores.csv"])
@pytest.mark.parametrize("command", WRITERS)
def test_a_writer_never_mixes_its_run_with_another(command, output, outputs, images, refused, tmp_path):
    copy = tmp_path / Path(output).parts[0]
    (shutil.copy if (outputs / copy.name).is_file() else shutil.copytree)(outputs / copy.name, copy)
    before = digest(copy)
    line = command_on(command, tmp_path / output, images, tmp_path)
    said = refused(*line)
    assert "already holds a run of" in said or "holds no run" in said or "is a file" in said
    if output in WRITERS and output != command:
        assert f"is a run of `jaxae {output}`, which `jaxae {command}` cannot resume" in refused(*line, "--resume")
    assert digest(copy) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_every_file_of_a_run_stands_in_the_table_with_its_writer(writer, outputs):
    named = {entry.name: entry for entry in ENTRIES}
    for file in (outputs / writer).iterdir():
        assert writer in named[file.name].writers, file.name
    always = {"config.json", "deal.json", "deal.npz", "metrics.json", "metrics.jsonl", "checkpoints", "report.html"}
    assert always <= {file.name for file in (outputs / writer).iterdir()}
    for file in (outputs / "codes").iterdir():
        assert {"train", "train-prior"} & set(named[file.name].writers), file.name


def test_overwrite_leaves_nothing_of_the_run_before(outputs, images, jaxae, tmp_path):
    """The report of the new run would otherwise show the old model's walks and samples."""
    run = tmp_path / "run"
    shutil.copytree(outputs / "train", run)
    jaxae("sample", run, "-n", 4)
    assert (run / "walks.npz").is_file()
    (run / "notes.txt").write_text("mine")
    jaxae("train", "--data", images, "--model", "ae", *SMALL, "--out", run, "--overwrite", notes=True)
    kept = {file.name for file in run.iterdir()}
    assert not {"walks.npz", "samples.npz", "prior", "dev.npz", "scores.csv", "detector"} & kept
    assert "interpolations" not in (run / "report.html").read_text()
    assert (run / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.shown], ids=lambda entry: entry.name)
def test_the_report_shows_what_the_table_says_it_shows(entry, outputs, jaxae, tmp_path):
    source = next(
        outputs / name for name in ("detect", "open-set", "train", "codes") if (outputs / name / entry.name).exists()
    )
    shutil.copytree(source, tmp_path / "run")
    before = (tmp_path / "run" / "report.html").read_bytes()  # drawing it again would give the same bytes
    path = tmp_path / "run" / entry.name
    if entry.name == "config.json":
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "seed": 12345}))
    elif entry.name != "figures":
        path.unlink()
    if entry.name == "figures":
        shutil.rmtree(path)
        jaxae("report", tmp_path / "run")
        assert list(path.iterdir())
        return
    jaxae("report", tmp_path / "run")
    assert (tmp_path / "run" / "report.html").read_bytes() != before


def test_an_open_set_keeps_its_classes_under_another_threshold(outputs, images, jaxae, tmp_path):
    for name, flags in (("rate", ("--max-false-alarm-rate", 0.2)), ("cost", ("--cost", "3:1"))):
        jaxae("calibrate", outputs / "open-set", *flags, "--out", tmp_path / name)
        jaxae("score", "--detector", tmp_path / name, "--data", images, "--out", tmp_path / f"{name}.csv")
        lines = (tmp_path / f"{name}.csv").read_text().splitlines()
        header = lines[0].split(",")
        rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
        assert {row["decision"] for row in rows} <= {"left", "right", "unknown"}
        for row in rows:
            assert (row["decision"] == "unknown") == (row["is_anomaly"] == "1")
        card = json.loads((tmp_path / name / "card.json").read_text())
        assert card["classes"] == ["left", "right", "unknown"]
    jaxae("score", "--detector", outputs / "open-set", "--data", images, "--out", tmp_path / "first.csv")
    first = (tmp_path / "first.csv").read_text().splitlines()
    again = (tmp_path / "rate.csv").read_text().splitlines()
    place = first[0].split(",").index("decision")
    named = [(a.split(",")[place], b.split(",")[place]) for a, b in zip(first[1:], again[1:], strict=True)]
    both = [pair for pair in named if "unknown" not in pair]
    assert both
    assert all(a == b for a, b in both)  # the class is the same wherever both name one


def test_folders_of_images_are_scored_whole_and_each_row_names_its_file(outputs, images, jaxae, tmp_path):
    from PIL import Image

    with np.load(images) as data:
        x, y = data["x_test"][:12, ..., 0], data["y_test"][:12]
    for layout, place in (
        ("classes", lambda index, kind: f"{kind}/{index}.png"),
        ("parts", lambda index, kind: f"{'train' if index % 2 else 'test'}/{kind}/{index}.png"),
        ("flat", lambda index, kind: f"{index:02d}.png"),
    ):
        files = {place(index, kind): index for index, kind in enumerate(y)}
        for file, index in files.items():
            (tmp_path / layout / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x[index]).save(tmp_path / layout / file)
        out = tmp_path / f"{layout}.csv"
        jaxae("score", "--detector", outputs / "detect", "--data", tmp_path / layout, "--out", out)
        header, *lines = (line.split(",") for line in out.read_text().splitlines())
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        assert {row["source"] for row in rows} == set(files)
        for row in rows:
            label = "" if layout == "flat" else str(int(y[files[row["source"]]] != "left"))
            assert row["label"] == label
    jaxae(
        "score",
        "--detector",
        outputs / "detect",
        "--data",
        tmp_path / "parts",
        "--part",
        "test",
        "--out",
        out,
        "--overwrite",
    )
    assert all(line.split(",")[1].startswith("test/") for line in out.read_text().splitlines()[1:])


def test_sample_compares_with_the_test_part_of_the_run(outputs, images, jaxae, tmp_path, monkeypatch):
    """By the deal, not by another split of the file: the features see just the run's test rows."""
    from jaxae import generation
    from jaxae.jobs.dealing import read_source
    from jaxae.jobs.sample import _figures
    from jaxae.jobs.trained import open_run
    from jaxae.runs import deal as deals

    _, deal = open_run("sample", outputs / "train")
    seen = []

    class Space:
        def features(self, x):
            seen.append(x)
            return x.reshape(len(x), -1)[:, :3]

    monkeypatch.setattr(generation, "classifier_features", lambda x, y: Space())
    monkeypatch.setattr(generation, "compare", lambda real, made: {"frechet": 0.0, "precision": 0.0, "recall": 0.0})
    dataset, found = read_source(outputs / "train", deal)
    _figures(dataset, deal, found, np.arange(3), np.zeros((30, 6, 6, 1), np.float32))
    test, _ = deals.rows_at(dataset, deal.parts["test"])
    wanted = {row.tobytes() for row in test}
    assert {row.tobytes() for row in seen[0]} <= wanted
    assert not {row.tobytes() for row in seen[1]} & wanted


def test_require_served_speaks_of_every_command():
    for command in SERVES:
        for wrote in (*WRITERS, "train-prior"):
            if wrote in SERVES[command]:
                runs.require_served(command, "r", {"command": wrote})
            else:
                with pytest.raises(ValueError, match=r"cannot read|prior of a run"):
                    runs.require_served(command, "r", {"command": wrote})
