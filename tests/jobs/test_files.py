"""Every file of a run, damaged in every way: each command that reads it gives the right result or one line."""

import io
import json
import math
import shutil
import warnings
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from jaxae import data, runs, scoring
from jaxae.cli import main
from jaxae.jobs.fitted_prior import FOLDER
from jaxae.jobs.trained import recipe_of
from jaxae.report import page
from jaxae.runs import deal as deals

TABLE = ("--set", "latent_size=2", "--epochs", 3)


@pytest.fixture(scope="module")
def detected(jaxae, csv, rows, tmp_path_factory):
    """A run of `detect` on a table."""
    folder = tmp_path_factory.mktemp("detected")
    x, labels = rows(400, 60)
    table = csv(folder / "t.csv", x, labels=labels)
    options = ("--label-column", "kind", "--normal", "ok", *TABLE, "--model", "vae")
    arguments = ("detect", "--data", table, *options, "--out")
    jaxae(*arguments, folder / "run", notes=True)
    readers = {
        "report": lambda run: ("report", run),
        "info": lambda run: ("info", run),
        "calibrate": lambda run: ("calibrate", run, "--out", run.parent / "new"),
        "score": lambda run: (
            "score",
            "--detector",
            run,
            "--data",
            table,
            "--out",
            run.parent / "s.csv",
            "--overwrite",
        ),
        "sample": lambda run: ("sample", run, "-n", 4),
        "resume": lambda run: (*arguments, run, "--resume"),
    }
    return folder / "run", readers


@pytest.fixture(scope="module")
def trained(jaxae, images, tmp_path_factory):
    """A run of `train` on images, with a prior."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = ("train", "--data", images, "--model", "vq_vae", "--set", "num_codes=4", "--epochs", 2, "--out")
    jaxae(*arguments, folder / "run", notes=True)
    prior = ("train-prior", folder / "run", "--epochs", 1, "--set", "width=8", "--set", "depth=1", "--set", "heads=2")
    jaxae(*prior, notes=True)
    readers = {
        "report": lambda run: ("report", run),
        "info": lambda run: ("info", run),
        "sample": lambda run: ("sample", run, "-n", 4),
        "train-prior": lambda run: (prior[0], run, *prior[2:], "--resume"),
        "resume": lambda run: (*arguments, run, "--resume"),
    }
    return folder / "run", readers


def ended(arguments):
    """What a command ends with: nothing, or its one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    trouble = "".join(str(result.exc_info[1])) if result.exc_info else ""
    assert result.exit_code in (0, 2), (arguments, repr(result.exception), trouble[-500:])
    if result.exit_code == 0:
        return None
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, (arguments, lines)
    assert lines[0].startswith("jaxae: ")
    assert len(lines[0]) < 1200, (arguments, lines[0])
    return lines[0]


def damaged(path):
    """What a file may hold instead, whatever it is."""
    whole = path.read_bytes()
    yield "empty", b""
    yield "half", whole[: len(whole) // 2]
    yield "noise", np.random.default_rng(0).bytes(2000)
    yield "text", b"no such thing\n"
    yield "zeros", bytes(300)
    if path.suffix in (".json", ".jsonl"):
        yield "lists", b"[" * 100_000
        yield "objects", b'{"a": ' * 100_000
        yield "not a number", b'{"a": NaN}'
        yield "infinite", b'{"a": 1e999}'
        yield "twice", b'{"a": 1, "a": 2}'
        yield "list", b"[]"
        yield "number", b"7"
        yield "latin", '{"é": 1}'.encode("latin-1")
    if path.suffix == ".npz":
        yield from archives(path)


def archive(members, compression=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return stream.getvalue()


def header(shape, descr="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def packed(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def archives(path):
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    first = next(iter(arrays))
    yield "a member that is no array", archive({first: b"1,2,3"})
    yield "a header of 10^15 numbers", archive({f"{first}.npy": header((10**15,)) + bytes(64)})
    yield "a header of many axes", archive({f"{first}.npy": header((10**5,) * 4) + bytes(64)})
    yield "a negative size", archive({f"{first}.npy": header((-1, 5)) + bytes(64)})
    yield "objects", archive({f"{first}.npy": header((3,), "|O") + b"cos\nsystem\n(S'false'\ntR."})
    yield "no members", archive({})
    yield "a packing of another kind", archive({f"{first}.npy": header((4,)) + bytes(16)}, zipfile.ZIP_BZIP2)
    yield "an unknown array", packed(**arrays, unknown=np.ones(3))
    for name, array in arrays.items():
        yield f"without {name}", packed(**{other: value for other, value in arrays.items() if other != name})
        yield f"{name} of text", packed(**{**arrays, name: np.full(array.shape, "x")})
        yield f"{name} of complex numbers", packed(**{**arrays, name: np.full(array.shape, 1j)})
        yield f"{name} with one more axis", packed(**{**arrays, name: array[..., None, None]})
        yield f"{name} as a number", packed(**{**arrays, name: np.float32(3)})
        yield f"{name} empty", packed(**{**arrays, name: array[:0] if array.ndim else np.ones(0)})
        if array.dtype.kind == "f":
            yield f"{name} with NaN", packed(**{**arrays, name: np.full_like(array, math.nan)})
            yield f"{name} of large numbers", packed(**{**arrays, name: np.full_like(array, 3e38)})
        if array.dtype.kind in "iu":
            yield f"{name} negative", packed(**{**arrays, name: np.full(array.shape, -5)})
            yield f"{name} of large numbers", packed(**{**arrays, name: np.full(array.shape, 2**40)})


WRONG = [
    None,
    True,
    -1,
    0,
    10**30,
    1e300,
    0.5,
    "",
    "x\0",
    "no such",
    "\ud800",
    [],
    [[1]],
    [None],
    {},
    {"a": {"b": None}},
]


def edited(text, most):
    """A JSON object with each of its keys, also of those inside, of another type, away, or given twice."""
    whole = json.loads(text)
    for path in list(paths_of(whole))[:most]:
        for new in (*WRONG, KeyError):
            changed = json.loads(text)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if new is KeyError:
                del inner[path[-1]]
            else:
                inner[path[-1]] = new
            yield f"{'.'.join(map(str, path))} = {str(new)[:20]}", json.dumps(changed).encode()


def paths_of(value, path=()):
    if isinstance(value, dict):
        for key, part in value.items():
            yield (*path, key)
            yield from paths_of(part, (*path, key))
    elif isinstance(value, list) and value:
        yield (*path, 0)
        yield from paths_of(value[0], (*path, 0))


def read(run, name):
    """What reads a file of a run, without drawing and training."""
    if name.startswith("detector"):
        scoring.load_detector(run / "detector")
    elif name.startswith(FOLDER):
        runs.read_config(run / FOLDER, whole=True)
    elif name.startswith("deal"):
        deals.read(run)
    elif name in ("config.json", "standardise.npz"):
        recipe_of(run, runs.read_config(run, whole=True), deals.read(run))
    if name not in ("deal.npz", "standardise.npz") and not name.startswith(("detector", FOLDER)):
        page.contents(runs.read_run(run))


def refusals(run, name, contents):
    """What the readers say of each content in the file's place, one line each; those that they take are left out."""
    path = run / name
    before = path.read_bytes()
    said = {}
    for what, content in contents:
        path.write_bytes(content)
        try:
            read(run, name)
        except ValueError as error:
            said[what] = str(error)
    path.write_bytes(before)
    assert all("\n" not in line and len(line) < 1200 for line in said.values()), said
    return said


@pytest.fixture
def work(tmp_path):
    """A copy of a run that may be damaged."""

    def copy(run):
        shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("figures", "checkpoints"))
        return tmp_path / "run"

    return copy


FILES = ["config.json", "deal.json", "deal.npz", "standardise.npz", "metrics.json", "metrics.jsonl", "scores.csv"]
FILES += ["dev.npz", "examples.npz", "detector/card.json", "detector/arrays.npz"]
OF_TRAINED = ["samples.npz", "examples.npz", "prior/config.json"]


@pytest.mark.parametrize(("which", "name"), [*(("detected", n) for n in FILES), *(("trained", n) for n in OF_TRAINED)])
def test_a_damaged_file_of_a_run_is_one_line_that_names_it(which, name, request, work):
    run, _ = request.getfixturevalue(which)
    contents = list(damaged(run / name))
    said = refusals(work(run), name, contents)
    assert {"noise"} <= said.keys()
    own = name.partition("/")[2] or name
    assert all(own in line for line in said.values()), [line for line in said.values() if own not in line][:3]
    if name.endswith(".json"):
        assert len(said) == len(contents)
    if name.endswith(".npz"):
        must = ("a ", "objects", "an unknown", "of text", "of complex", "as a number")
        assert not [
            what
            for what, _ in contents
            if any(word in what for word in must) and what not in said and "kind of text" not in what
        ]


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("detected", "config.json"),
        ("detected", "deal.json"),
        ("detected", "metrics.json"),
        ("detected", "detector/card.json"),
        ("trained", "prior/config.json"),
    ],
)
def test_every_key_of_every_json_is_of_its_kind_or_named(which, name, request, work):
    run, _ = request.getfixturevalue(which)
    contents = list(edited((run / name).read_text("utf-8"), 60))[::3]
    said = refusals(work(run), name, contents)
    own = name.partition("/")[2] or name
    assert len(said) > len(contents) / 4
    elsewhere = ("its card says", "a detector of version")
    unnamed = [line for line in said.values() if not any(word in line for word in (own, *elsewhere))]
    assert not unnamed, unnamed[:5]
    lone = [what for what in said if what.endswith("no such") and "seed" in what]
    for what in lone:
        assert "seed" in said[what]


@pytest.mark.parametrize(
    "name", ["config.json", "deal.json", "deal.npz", "standardise.npz", "dev.npz", "detector/card.json"]
)
def test_commands_end_in_that_line(detected, tmp_path, name):
    run, readers = detected
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    contents = dict(damaged(run / name))
    key = "twice" if name.endswith(".json") else "a header of 10^15 numbers"
    own = name.partition("/")[2] or name
    readings = next(entry.readers for entry in runs.ENTRIES if entry.name == name.partition("/")[0])
    reading = {*readings} & readers.keys() | ({"resume"} if name in ("config.json", "deal.json", "deal.npz") else set())
    reading -= {"score"} if name.startswith("deal") else set()  # which reads them for --part alone
    reading -= {"report", "info"} if name.startswith("detector") else set()
    for what in ("noise", key):
        for reader in sorted(reading):
            (copy / name).write_bytes(contents[what])
            line = ended(readers[reader](copy))
            assert line is not None, (what, reader)
            assert own in line, (what, reader, line)


def test_an_archive_that_announces_10_15_numbers_takes_no_memory(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(archive({"x.npy": header((10**15,)) + bytes(64)}))
    with pytest.raises(ValueError, match=r"x is damaged \(it announces float32\[10+\], 4\d+ bytes, and holds 64\)"):
        data.load(str(path))
    for content, said in (
        (b"a,b\n1,2\n", "not a readable .npz file"),
        (archive({"x": b"1,2,3"}), "is no array of NumPy"),
        (archive({"x.npy": header((4,), "|O") + b"cos"}), "Python objects"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said) as error:
            data.load(str(path))
        assert "\n" not in str(error.value)
        assert "allow_pickle" not in str(error.value)
