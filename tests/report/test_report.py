import base64
import html.parser
import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxae import report
from jaxae.report import canvas, decisions, page, pictures, training
from jaxae.runs.reading import read_run

COSTS = np.array([[0, 1], [10, 0]], np.float32)
THRESHOLD = 1.5
KINDS = ("normal, accepted", "anomaly, flagged", "false alarm", "miss")


def scores_and_labels(count=80, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4 == 0
    return (rng.gamma(4, 0.25, count) + labels).astype(np.float32), labels.astype(int)


def write_run(folder, *, labels=True, table=False, **config):
    folder.mkdir(exist_ok=True)
    score, label = scores_and_labels()
    settings = {"command": "detect", "data": "tiny", "model": "ae", "anomaly_rate": 0.05, "normal": ["Bag"]}
    (folder / "config.json").write_text(json.dumps(settings | config))
    figures = {"threshold": THRESHOLD, "anomaly_rate": 0.05, "sizes": {"train": 300, "test": 80}, "seconds": 4.2}
    if labels:
        figures |= {"auroc": 0.9125, "recall": 0.75, "false_alarm_rate": 0.1, "precision": 0.25, "precision_raw": 0.5}
    (folder / "metrics.json").write_text(json.dumps(figures))
    log = [{"step": step, "loss": 1 / (1 + step)} for step in range(0, 300, 2)]
    log += [{"step": step, "validation_loss": 1.1 / (1 + step)} for step in (0, 100, 200)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    rows = [
        f"{i},test[{i}],{float(s)!r},0.5,{int(s >= THRESHOLD)},{y if labels else ''}"
        for i, (s, y) in enumerate(zip(score, label, strict=True))
    ]
    (folder / "scores.csv").write_text("\n".join(["index,source,score,p_value,is_anomaly,label", *rows]) + "\n")
    dev, dev_labels = scores_and_labels(40, seed=1)
    arrays = {"scores": dev, "labels": dev_labels} if labels else {}
    np.savez(folder / "dev.npz", calibration=dev[dev_labels == 0], costs=COSTS, **arrays)
    kinds = np.repeat(KINDS if labels else ("accepted", "flagged"), 2)
    inputs = np.random.default_rng(2).random((len(kinds), 5) if table else (len(kinds), 6, 7, 1))
    np.savez(
        folder / "examples.npz",
        input=inputs,
        reconstruction=inputs / 2,
        map=inputs**2,
        kind=kinds,
        score=score[: len(kinds)],
    )
    return folder


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    monkeypatch.setattr(canvas, "DPI", 30)


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order, and keeps images, texts and what would load from outside."""

    VOID = frozenset(("meta", "img", "br", "link"))

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.texts, self.tags = [], [], [], set()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture
def drawn(monkeypatch):
    """Figures that would have been written."""
    made = []
    monkeypatch.setattr(canvas, "write", lambda figure, path: made.append(figure) or Path(path))
    return made


def test_page_holds_every_figure_and_loads_nothing(tmp_path):
    settings = dict(matplotlib.rcParams)
    folder = write_run(tmp_path / "run")
    np.savez(folder / "samples.npz", images=np.zeros((4, 6, 6, 1)))
    path = report.render(folder)
    assert path == folder / "report.html"
    text = path.read_text()
    parsed = Page(text)
    expected = ["reconstructions", "scores", "cost", "roc", "precision_recall", "loss", "samples"]
    assert sorted(file.stem for file in (folder / "figures").iterdir()) == sorted(expected)
    for image, name in zip(parsed.images, expected, strict=True):
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert data == (folder / "figures" / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(image["alt"]) > 20
    assert not parsed.tags & {"script", "link", "iframe"}
    assert "http:" not in text
    assert "https:" not in text
    assert dict(matplotlib.rcParams) == settings


def test_page_counts_decisions_and_shows_metrics(tmp_path):
    texts = Page(report.render(write_run(tmp_path / "run")).read_text()).texts
    score, label = scores_and_labels()
    for truth, name in enumerate(("normal", "anomaly")):
        position = max(i for i, text in enumerate(texts[: texts.index("Figures")]) if text == name)
        cells = [text for text in texts[position + 1 :] if text][:2]
        of_truth = score[label == truth]
        assert cells == [str((of_truth < THRESHOLD).sum()), str((of_truth >= THRESHOLD).sum())]
    for number in ("0.9125", "0.2500", "0.5000"):
        assert number in texts
    assert f"test[{score.argmax()}]" in texts


def test_same_run_gives_the_same_bytes(tmp_path):
    folder = write_run(tmp_path / "run")
    first = report.render(folder).read_bytes()
    assert report.render(folder).read_bytes() == first


def test_page_tells_where_the_rows_came_from(tmp_path):
    folder = write_run(tmp_path / "run", table=True)
    columns = [{"name": f"cost $_{{ of $ {i}", "kind": "number", "low": 0.0, "high": 1.0} for i in range(5)]
    deal = {
        "source": {
            "spec": "d.csv",
            "path": "/data/d.csv",
            "name": "d.csv",
            "label_column": None,
            "digest": "0123456789abcdef" * 4,
        },
        "schema": {"version": 1, "kind": "table", "dtype": "float32", "parts": columns},
        "sizes": {"train": 300, "test": 80},
        "taught": 7,
        "left_out": 11,
    }
    (folder / "deal.json").write_text(json.dumps(deal))
    texts = Page(report.render(folder).read_text()).texts
    for shown in ("/data/d.csv", "5 columns", "0123456789abcdef", "7", "11"):
        assert shown in texts, shown
    assert any("d.csv: ae" in text for text in texts)


@pytest.mark.parametrize(("shift", "claimed"), [(0.0, True), (5.0, False)])
def test_a_ratio_of_scores_is_claimed_where_there_is_one(shift, claimed, tmp_path):
    folder = write_run(tmp_path / "run")
    lines = (folder / "scores.csv").read_text().splitlines()
    moved = []
    for line in lines[1:]:
        index, source, score, *rest = line.split(",")
        moved.append(",".join([index, source, repr(float(score) - shift), *rest]))
    (folder / "scores.csv").write_text("\n".join([lines[0], *moved]) + "\n")
    title = page._error_title(read_run(folder), "otherwise")
    assert ("times as high" in title) == claimed


def test_names_of_columns_are_shown_as_they_are(tmp_path):
    """`cost $_{ of $` is no mathematics: matplotlib would fail to parse it."""
    shares, kinds = np.array([[3.0, 1.0], [1.0, 2.0]]), ["miss", "false alarm"]
    path = pictures.contributions(tmp_path / "f.png", shares, kinds, ["cost $_{ of $", "$x^$"], title="a $ b $_{")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_labels_nothing_is_claimed_about_misses(tmp_path):
    folder = write_run(tmp_path / "run", labels=False, table=True)
    text = report.render(folder).read_text()
    assert sorted(file.stem for file in (folder / "figures").iterdir()) == ["features", "loss", "scores"]
    assert "nothing can be said about misses" in text
    assert "AUROC" not in text


def test_names_from_data_are_escaped(tmp_path):
    text = report.render(write_run(tmp_path / "run", normal=["<script>x</script>"], data="<b>")).read_text()
    assert "<script>" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;x&lt;/script&gt;" in text


def test_infinite_threshold_flags_nothing(tmp_path):
    folder = write_run(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | {"threshold": None}))
    assert page.threshold_of(read_run(folder)) == np.inf
    assert "λ = ∞" in report.render(folder).read_text()


def test_a_training_run_has_its_loss_only(tmp_path):
    (tmp_path / "config.json").write_text('{"command": "train", "model": "vae"}')
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "loss": 2.0}\n{"step": 10, "loss": 1.0}\n{"step": 20, "lo')
    Page(report.render(tmp_path).read_text())
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["loss.png"]
    assert [record["loss"] for record in read_run(tmp_path).log] == [2.0, 1.0]  # the torn last line is left out


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "holds no config.json"),
        ("metrics.json", "{", "metrics.json is not valid JSON"),
        ("metrics.jsonl", "{\n{}\n", "line 1 is not valid JSON"),
        ("scores.csv", "a,b\n1,2\n", "does not hold the columns index,source"),
        ("examples.npz", "not an archive", "examples.npz: not a readable .npz file"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, content, message):
    folder = write_run(tmp_path / "run")
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        report.render(folder)


def test_roc_figure_is_the_curve(drawn):
    score, label = scores_and_labels()
    decisions.roc("x.png", score, label, THRESHOLD)
    (axes,) = drawn[0].axes
    curve, _, chosen = axes.lines
    assert sk.auc(*curve.get_data()) == pytest.approx(sk.roc_auc_score(label, score), abs=1e-6)
    flagged = score >= THRESHOLD
    assert chosen.get_data() == pytest.approx((flagged[label == 0].mean(), flagged[label == 1].mean()))
    assert f"{sk.roc_auc_score(label, score):.3f}" in axes.get_legend().get_texts()[0].get_text()


def test_precision_is_at_the_anomaly_rate(drawn):
    score, label = scores_and_labels()
    decisions.precision_recall("x.png", score, label, THRESHOLD, 0.05)
    weight = np.where(label == 1, 0.05 / label.sum(), 0.95 / (1 - label).sum())
    chosen = drawn[0].axes[0].lines[2].get_data()
    expected = (
        sk.recall_score(label, score >= THRESHOLD),
        sk.precision_score(label, score >= THRESHOLD, sample_weight=weight),
    )
    assert chosen == pytest.approx(expected, abs=1e-6)


def test_cost_figure_marks_chosen_and_oracle(drawn):
    score, label = scores_and_labels()
    decisions.cost("x.png", (score, label), THRESHOLD, COSTS, 0.05, scores_and_labels(40, seed=1))
    (axes,) = drawn[0].axes
    points = {line.get_label(): line for line in axes.lines}
    by_hand = [0.5 * (score[label == 1] < t).mean() + 0.95 * (score[label == 0] >= t).mean() for t in np.unique(score)]
    oracle = next(line for name, line in points.items() if "oracle" in name)
    assert oracle.get_ydata()[0] == pytest.approx(min(by_hand), abs=1e-6)
    chosen = next(line for name, line in points.items() if "chosen" in name)
    paid = 0.5 * (score[label == 1] < THRESHOLD).mean() + 0.95 * (score[label == 0] >= THRESHOLD).mean()
    assert (chosen.get_xdata()[0], chosen.get_ydata()[0]) == pytest.approx((THRESHOLD, paid), abs=1e-6)
    assert sorted(points["test set"].get_ydata()) == pytest.approx(sorted(by_hand), abs=1e-6)


def test_histogram_shows_each_class_whole_and_lambda(drawn):
    score, label = scores_and_labels()
    decisions.histogram("x.png", score, THRESHOLD, label)
    (axes,) = drawn[0].axes
    bars = [sum(bar.get_height() for bar in group) for group in axes.containers if len(group) > 1]
    assert bars == pytest.approx([1, 1])
    assert THRESHOLD in [line.get_xdata()[0] for line in axes.lines]
    assert drawn[0].get_suptitle().startswith(f"λ flags {100 * (score >= THRESHOLD)[label == 1].mean():.0f} %")


@pytest.mark.parametrize("spread", [np.full(30, 2.0, np.float32), np.geomspace(1e-3, 1e3, 30).astype(np.float32)])
def test_histogram_of_extreme_scores(drawn, spread):
    decisions.histogram("x.png", spread, 1.0)
    assert drawn[0].axes[0].get_xscale() == ("linear" if spread[0] == spread[-1] else "log")


def test_loss_names_the_lowest_validation_loss(drawn):
    log = [{"step": s, "validation_loss": v} for s, v in ((10, 3.0), (20, 1.0), (30, 2.0))]
    training.losses("x.png", [*log, {"step": 5, "loss": float("nan")}, {"step": 6, "loss": 4.0}])
    assert " ".join(drawn[0].get_suptitle().split()) == "The validation loss was lowest, 1, after 20 of 30 steps"
    assert training.losses("x.png", [{"step": 5, "loss": float("nan")}]) is None


def test_codes_in_use_are_told(drawn):
    log = [
        {"step": s, "validation_codes_in_use": u, "validation_dead_codes": 8 - u, "validation_perplexity": 2.0}
        for s, u in ((10, 4), (20, 6))
    ]
    training.codes("x.png", log)
    title = " ".join(drawn[0].get_suptitle().split())
    assert title == "75 % of 8 codes are in use at the end; perplexity 2"
    assert training.codes("x.png", [{"step": 10, "loss": 1.0}]) is None


def test_sample_grid_lays_images_out_in_rows(drawn):
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 5, 3), 100, np.uint8)
    report.sample_grid("x.png", images, columns=2)
    sheet = drawn[0].axes[0].images[0].get_array()
    assert sheet.shape == (4 + 1 + 4, 5 + 1 + 5, 3)
    assert sheet[0, 6, 0] == pytest.approx(100 / 255)
    assert sheet[5, 0, 0] == pytest.approx(200 / 255)
    assert sheet[8, 10, 0] == 1  # no fourth image: paper
    with pytest.raises(ValueError, match=r"got shape \(0, 4, 4\)"):
        report.sample_grid("x.png", np.zeros((0, 4, 4)))


def test_contributions_are_sorted_shares(drawn):
    pictures.contributions("x.png", np.array([[1.0, 6.0, 3.0]]), ["miss"], ["a", "b", "c"], most=2)
    bars = drawn[0].axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([0.3, 0.6])
    assert [text.get_text() for text in drawn[0].axes[0].get_yticklabels()] == ["c", "b"]


@pytest.mark.parametrize("shape", [(6, 7, 1), (6, 7, 3), (6, 7, 4)])
def test_reconstructions_show_three_of_a_kind(drawn, shape):
    images = np.random.default_rng(0).random((6, *shape))
    pictures.reconstructions("x.png", images, images, images, ["a"] * 5 + ["b"], np.arange(6.0))
    shown = [axes for axes in drawn[0].axes if axes.images]
    assert len(shown) == 3 * (3 + 1)
