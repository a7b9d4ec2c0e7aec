"""A run keeps its deal: which row was used for what stands in one place, and later commands read it there."""

import csv as csv_module
import json
import shutil

import numpy as np
import pytest

from jaxae import jobs, runs
from jaxae.runs import deal as deals

FLAGS = ("--normal", "ok", "--epochs", 2, "--set", "latent_size=2", "--set", "encoder=null")


def table_of(path):
    with open(path, newline="") as file:
        return list(csv_module.DictReader(file))


@pytest.fixture(scope="module")
def source(tmp_path_factory, rows, csv):
    x, labels = rows(260, 60)
    order = np.random.default_rng(5).permutation(len(x))
    return csv(tmp_path_factory.mktemp("data") / "parts.csv", x[order], labels=labels[order])


@pytest.fixture(scope="module")
def run(source, jaxae, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "r"
    jaxae("detect", "--data", source, "--label-column", "kind", *FLAGS, "--known-anomalies", 30, "--out", out)
    return out


def calibrated(jaxae, run, out, *flags):
    result = jaxae("calibrate", run, *flags, "--out", out, notes=True)
    return json.loads((out / "card.json").read_text())["calibration"], result.stderr


def test_the_parts_are_disjoint_and_hold_every_row(run, source):
    deal = deals.read(run)
    held = np.concatenate([*deal.parts.values(), deal.taught])
    assert sorted(held) == list(range(320))
    assert len(deal.taught) == 30
    labels = [row["kind"] for row in table_of(source)]
    assert {labels[row] for row in deal.taught} == {"bad"}
    assert {labels[row] for row in deal.parts["train"]} == {"ok"}
    facts = json.loads((run / "deal.json").read_text())
    assert [column["name"] for column in facts["schema"]["parts"]] == ["a", "b", "c"]
    assert facts["sizes"]["train"] == len(deal.parts["train"])


def test_scores_name_their_rows_in_the_source(run, source):
    scored, labels = table_of(run / "scores.csv"), [row["kind"] for row in table_of(source)]
    assert [int(row["source"]) for row in scored] == deals.read(run).parts["test"].tolist()
    assert all((labels[int(row["source"])] == "bad") == (row["label"] == "1") for row in scored)


def test_rows_that_taught_the_model_certify_nothing(run, jaxae, tmp_path):
    deal = deals.read(run)
    left = 42 - 30  # of the 60 anomalies 18 are in the test part
    proven, _ = calibrated(jaxae, run, tmp_path / "d", "--certify", 0.5)
    assert proven["num_certify"] == left // 2
    assert proven["num_calibration"] == len(deal.parts["calibration"])


def test_a_source_that_grew_or_was_shuffled_is_matched_by_content(run, source, jaxae, rows, csv, tmp_path):
    before, _ = calibrated(jaxae, run, tmp_path / "before")
    moved = tmp_path / "r"
    shutil.copytree(run, moved)
    x = np.array([[float(row[name]) for name in "abc"] for row in table_of(source)])
    labels = np.array([row["kind"] for row in table_of(source)])
    new, new_labels = rows(40, 10, seed=9)
    grown = csv(tmp_path / "grown.csv", np.r_[x, new, x[:4]], labels=np.r_[labels, new_labels, labels[:4]])
    order = np.random.default_rng(0).permutation(len(x))
    shuffled = csv(tmp_path / "shuffled.csv", x[order], labels=labels[order])
    after, said = calibrated(jaxae, moved, tmp_path / "g", "--data", grown)
    deal = deals.read(run)
    seen = np.isin(np.arange(4), np.r_[deal.parts["train"], deal.parts["validation"], deal.taught])
    assert after["num_calibration"] == before["num_calibration"] + 40 + int(((labels[:4] == "ok") & ~seen).sum())
    assert f"{int(seen.sum())} that equal a row which taught the model" in said
    assert "54 rows are new since the run" in said
    again, said = calibrated(jaxae, moved, tmp_path / "s", "--data", shuffled)
    assert "another order" in said
    for name in ("threshold", "false_alarm_bound", "miss_rate_bound", "num_certify"):
        assert again[name] == before[name]


def edited(source, path, change):
    lines = source.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")
    return path


def with_data(run, path, data):
    """A copy of the run whose source is another file."""
    shutil.copytree(run, path)
    for name, keys in (("config.json", ("data",)), ("deal.json", ("source", "spec"))):
        facts = json.loads((path / name).read_text())
        place = facts
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = str(data)
        (path / name).write_text(json.dumps(facts))
    return path


def test_a_source_whose_rows_changed_is_refused_with_what_changed(run, source, refused, jaxae, tmp_path):
    def value(lines):
        lines[8] = "9.0,9.0,9.0," + lines[8].split(",")[3]

    def label(lines):
        first, _, kind = lines[8].rpartition(",")
        lines[8] = f"{first},{'ok' if kind == 'bad' else 'bad'}"

    for name, change, words in (
        ("value", value, "1 of its 320 rows have other values or are gone (the first: row 7)"),
        ("label", label, "1 have another label (the first: row 7)"),
        ("gone", lambda lines: lines.pop(8), "it has 319 rows now"),
    ):
        data = edited(source, tmp_path / f"{name}.csv", change)
        changed = with_data(run, tmp_path / name, data)
        assert words in refused("calibrate", changed, "--out", tmp_path / "d")
        flags = ("--label-column", "kind", *FLAGS, "--known-anomalies", 30)
        assert words in refused("detect", "--data", data, *flags, "--out", changed, "--resume")
    assert not (tmp_path / "d").exists()


def test_resume_reads_the_deal_and_gives_the_same_scores(run, source, jaxae, csv, rows, tmp_path):
    """Rows that were added in the meantime would be dealt otherwise: a run that goes on keeps to its own."""
    before = [row["score"] for row in table_of(run / "scores.csv")]
    grown = tmp_path / "parts.csv"
    grown.write_text(source.read_text() + "0.5,0.5,0.5,ok\n")
    copy = with_data(run, tmp_path / "r", grown)
    flags = ("--label-column", "kind", *FLAGS, "--known-anomalies", 30)
    jaxae("detect", "--data", grown, *flags, "--out", copy, "--resume", notes=True)
    assert [row["score"] for row in table_of(copy / "scores.csv")] == before


def test_nothing_to_resume_is_said(source, refused, tmp_path):
    command = ("detect", "--data", source, "--label-column", "kind", *FLAGS, "--resume")
    assert "--resume continues the run in --out" in refused(*command)
    assert "there is nothing to resume" in refused(*command, "--out", tmp_path / "r")
    train = ("train", "--data", source, "--label-column", "kind", "--epochs", 1, "--resume")
    assert "there is nothing to resume" in refused(*train, "--out", tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_source_that_moved_is_named_and_found_elsewhere(run, source, jaxae, refused, tmp_path):
    gone = with_data(run, tmp_path / "r", tmp_path / "gone.csv")
    facts = json.loads((gone / "deal.json").read_text())
    facts["source"]["path"] = str(tmp_path / "gone.csv")
    (gone / "deal.json").write_text(json.dumps(facts))
    line = refused("calibrate", gone, "--out", tmp_path / "d")
    assert "gone.csv" in line
    assert "where the run" in line
    assert "--data" in line
    before, _ = calibrated(jaxae, run, tmp_path / "before")
    again, said = calibrated(jaxae, gone, tmp_path / "e", "--data", source)
    assert (again["threshold"], again["num_certify"]) == (before["threshold"], before["num_certify"])
    assert said == ""


def test_columns_are_found_by_name(run, source, jaxae, refused, csv, rows, tmp_path):
    x, labels = rows(50, 10, seed=3)
    names = np.array(["a", "b", "c"])
    first = csv(tmp_path / "abc.csv", x, names)
    turned = csv(tmp_path / "cab.csv", x[:, [2, 0, 1]], names[[2, 0, 1]], labels)
    jaxae("score", "--detector", run, "--data", first, "--out", tmp_path / "1.csv")
    jaxae("score", "--detector", run / "detector", "--data", turned, "--out", tmp_path / "2.csv")
    one, two = table_of(tmp_path / "1.csv"), table_of(tmp_path / "2.csv")
    assert len(one) == 60
    assert [row["score"] for row in one] == [row["score"] for row in two]
    assert [row["source"] for row in two] == [str(i) for i in range(60)]
    assert {row["label"] for row in one} == {""}
    assert [row["label"] for row in two] == [str(int(label == "bad")) for label in labels]
    others = csv(tmp_path / "other.csv", x, ("a", "b", "foo"))
    line = refused("score", "--detector", run, "--data", others, "--out", tmp_path / "3.csv")
    assert "missing: c; unknown: foo" in line
    assert "missing: c; unknown: foo" in refused("calibrate", run, "--data", others, "--out", tmp_path / "d")
    more = csv(tmp_path / "more.csv", np.c_[x, x[:, 0]], ("a", "b", "c", "d"))
    assert "unknown: d" in refused("score", "--detector", run, "--data", more, "--out", tmp_path / "3.csv")
    assert not (tmp_path / "3.csv").exists()


def test_another_unit_and_columns_without_names_are_told(run, jaxae, csv, rows, tmp_path):
    x, _ = rows(60, seed=4)
    scaled = csv(tmp_path / "mm.csv", x * [1, 1000, 1])
    said = jaxae("score", "--detector", run, "--data", scaled, "--out", tmp_path / "s.csv", notes=True).stderr
    assert "b: " in said
    assert "another unit?" in said
    np.savez(tmp_path / "x.npz", x=x)
    said = jaxae(
        "score", "--detector", run, "--data", tmp_path / "x.npz", "--out", tmp_path / "t.csv", notes=True
    ).stderr
    assert "matched by their position" in said


def test_score_takes_all_rows_and_a_part_by_option_alone(run, source, jaxae, refused, tmp_path):
    jaxae("score", "--detector", run, "--data", source, "--out", tmp_path / "all.csv")
    everything = table_of(tmp_path / "all.csv")
    assert len(everything) == 320
    jaxae("score", "--detector", run, "--data", source, "--part", "test", "--out", tmp_path / "test.csv")
    assert table_of(tmp_path / "test.csv") == table_of(run / "scores.csv")
    jaxae("score", "--detector", run, "--data", source, "--part", "dev", "--out", tmp_path / "dev.csv")
    wanted = deals.read(run).parts["dev"]
    assert [int(row["source"]) for row in table_of(tmp_path / "dev.csv")] == wanted.tolist()
    assert "no certify part" in refused(
        "score", "--detector", run, "--data", source, "--part", "certify", "--out", tmp_path / "x.csv"
    )
    shutil.copytree(run / "detector", tmp_path / "alone")
    line = refused(
        "score", "--detector", tmp_path / "alone", "--data", source, "--part", "test", "--out", tmp_path / "x"
    )
    assert "has no test part" in line


def test_calibrate_uses_all_rows_of_other_data(run, jaxae, refused, csv, rows, tmp_path):
    x, labels = rows(80, seed=7)
    plain = csv(tmp_path / "cal80.csv", x)
    flags = ("--max-false-alarm-rate", 0.05, "--confidence", 0.95)
    proven, _ = calibrated(jaxae, run, tmp_path / "d", "--data", plain, *flags)
    assert proven["num_calibration"] == 80
    labelled = csv(tmp_path / "labelled.csv", *rows(80, 20, seed=8)[:1], labels=rows(80, 20, seed=8)[1])
    proven, _ = calibrated(jaxae, run, tmp_path / "e", "--data", labelled)
    assert (proven["num_calibration"], proven["num_certify"]) == (40, 10)
    half = csv(tmp_path / "half.csv", x[:40], labels=labels[:40])
    assert "no anomalies" in refused("calibrate", run, "--data", half, "--out", tmp_path / "f")


def test_train_rows_given_as_other_data_are_left_aside(run, source, jaxae, refused, csv, rows, tmp_path):
    deal, table = deals.read(run), table_of(source)
    seen = np.array([[float(table[row][name]) for name in "abc"] for row in deal.parts["train"][:50]])
    new, _ = rows(70, seed=11)
    mixed = csv(tmp_path / "mixed.csv", np.r_[seen, new])
    proven, said = calibrated(jaxae, run, tmp_path / "d", "--data", mixed, "--max-false-alarm-rate", 0.1)
    assert "50 of 120 rows equal one that taught the model" in said
    assert proven["num_calibration"] == 70
    only = csv(tmp_path / "seen.csv", seen)
    line = refused("calibrate", run, "--data", only, "--max-false-alarm-rate", 0.1, "--out", tmp_path / "e")
    assert "all 50 rows equal one that taught the model" in line


def test_a_damaged_or_missing_deal_is_one_line(run, refused, tmp_path):
    shutil.copytree(run, tmp_path / "r")
    (tmp_path / "r" / "deal.npz").write_bytes(b"PK\x03\x04 cut")
    assert "deal.npz: not a readable .npz file" in refused("calibrate", tmp_path / "r", "--out", tmp_path / "d")
    shutil.copy(run / "deal.npz", tmp_path / "r" / "deal.npz")
    facts = json.loads((run / "deal.json").read_text())
    for change in ({"version": 99}, {"schema": {"version": 1}}, {"source": 3}, {"normal": 4}):
        (tmp_path / "r" / "deal.json").write_text(json.dumps({**facts, **change}))
        assert "deal.json" in refused("calibrate", tmp_path / "r", "--out", tmp_path / "d")
    other = dict(np.load(run / "deal.npz"))
    np.savez(tmp_path / "r" / "deal.npz", **{**other, "taught": other["taught"][:-1]})
    (tmp_path / "r" / "deal.json").write_text(json.dumps(facts))
    assert "damaged" in refused("calibrate", tmp_path / "r", "--out", tmp_path / "d")
    (tmp_path / "r" / "deal.json").unlink()
    assert "earlier version" in refused("calibrate", tmp_path / "r", "--out", tmp_path / "d")


def test_a_value_that_overflows_is_flagged_in_test_and_dev_and_refused_in_training(rows, csv, jaxae, refused, tmp_path):
    x, labels = rows(200, 60)
    test, test_labels = rows(30, 10, seed=1)
    test[-1, 0] = x[-1, 1] = 1e30
    arrays = {"x_train": x, "y_train": labels, "x_test": test, "y_test": test_labels}
    np.savez(tmp_path / "far.npz", **arrays)
    jaxae("detect", "--data", tmp_path / "far.npz", *FLAGS, "--out", tmp_path / "r")
    last = table_of(tmp_path / "r" / "scores.csv")[-1]
    assert float(last["score"]) == np.inf
    assert last["is_anomaly"] == "1"
    assert (tmp_path / "r" / "report.html").is_file()
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["auroc"] > 0.9
    x[:200, 2] = np.where(np.arange(200) % 2, 1e30, x[:200, 2])
    np.savez(tmp_path / "fill.npz", **arrays)
    line = refused("detect", "--data", tmp_path / "fill.npz", *FLAGS, "--out", tmp_path / "f")
    assert "column 2" in line
    assert "fill value" in line
    assert not (tmp_path / "f").exists()


@pytest.mark.filterwarnings("always")
def test_an_outlier_that_drowns_its_column_is_told():
    from jaxae.data import Dataset
    from jaxae.data.splits import split
    from jaxae.jobs.dealing import require_usable

    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    parts = split(Dataset("t", x, None, x[:5] + 1, None), calibration=0, dev=0)
    parts.train.x[3, 1] = 1e9
    with pytest.warns(UserWarning, match="column 'b': a training row holds 1e"):
        require_usable(parts, ("a", "b"))


def test_group_duplicates_are_kept_with_the_deal(rows, csv, jaxae, tmp_path):
    x, labels = rows(120, 30)
    data = csv(tmp_path / "twice.csv", np.r_[x, x], labels=np.r_[labels, labels])
    jaxae("detect", "--data", data, "--label-column", "kind", *FLAGS, "--group-duplicates", "--out", tmp_path / "r")
    deal = deals.read(tmp_path / "r")
    for name, part in deal.parts.items():
        others = np.concatenate([rows for other, rows in deal.parts.items() if other != name])
        assert not set(deal.groups[part]) & set(deal.groups[others]), name


def test_known_anomalies_must_exist(source, refused, tmp_path):
    command = ("detect", "--data", source, "--label-column", "kind", *FLAGS, "--out", tmp_path / "r")
    assert "43 known anomalies are wanted and dev has 42" in refused(*command, "--known-anomalies", 43)


def test_python_face_takes_settings_and_returns_the_folder(source, tmp_path):
    settings = jobs.TrainSettings(str(source), "kind", model="ae", epochs=np.int64(1), options={"latent_size": 2})
    folder = jobs.train(settings, tmp_path / "r")
    assert runs.read_config(folder)["epochs"] == 1
    assert deals.read(folder).parts["calibration"].tolist() == []
