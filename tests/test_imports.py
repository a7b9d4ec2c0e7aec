"""Imports point one way, and `import jaxae` is light."""

import ast
import builtins
import dis
import importlib
import importlib.util
import pathlib
import subprocess
import sys
import types

import pytest

PACKAGE = pathlib.Path(importlib.util.find_spec("jaxae").origin).parent

# Each room may import those of the lines above its own, and itself. A room that is named with its sub-rooms is the
# door alone: its `__init__`.
ORDER = (
    ("files",),
    ("settings",),
    ("types",),
    ("numerics",),
    ("networks",),
    ("likelihoods", "transforms", "priors"),
    ("bottlenecks",),
    ("model",),
    ("objectives",),
    ("presets",),
    ("data",),
    ("parallel", "checkpoint"),
    ("train",),
    ("testing",),
    ("downstream",),
    ("scoring.checks",),
    ("scoring.batches",),
    ("scoring.metrics",),
    ("scoring.costs",),
    ("scoring.guarantees",),
    ("scoring.thresholds",),
    ("scoring.scores",),
    ("scoring.confidence",),
    ("scoring.detector",),
    ("scoring",),
    ("cleaning",),
    ("disentanglement", "generation"),
    ("runs",),
    ("report",),
    ("recipes",),
    # the steps that jobs share, then the jobs, each a room of its own: a job never imports a job
    ("jobs.trained",),
    ("jobs.dealing",),
    ("jobs.fitting",),
    ("jobs.deciding", "jobs.diagnosis", "jobs.fitted_prior", "jobs.latent_walks"),
    (
        "jobs.calibrate",
        "jobs.detect",
        "jobs.open_set",
        "jobs.sample",
        "jobs.score",
        "jobs.train",
        "jobs.train_prior",
    ),
    ("jobs",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
HEAVY = (
    "equinox",
    "grain",
    "jinja2",
    "matplotlib",
    "nbclient",
    "orbax",
    "pandas",
    "PIL",
    "pyarrow",
    "scipy.stats",
    "sklearn",
    "tensorboardX",
    "tensorflow",
    "tensorflow_datasets",
    "torch",
)
ONLY_IN = {
    "flax": "networks",
    "equinox": "networks",
    "orbax": "checkpoint",
    "matplotlib": "report",
    "jinja2": "report",
    "click": "cli",
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    """The innermost room with a place of its own that a file lies in."""
    return _room(path.relative_to(PACKAGE).with_suffix("").parts)


def _room(parts):
    inner = ".".join(parts[:2])
    return inner if inner in LEVEL else parts[0]


def imported(path):
    """Dotted names of everything that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place in the order of rooms"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "jaxae" and len(parts) > 1 and parts[1] in LEVEL:
            other = _room(parts[1:])
            assert other == room or LEVEL[other] < LEVEL[room], f"{room} imports {name}"


def test_an_import_that_points_the_wrong_way_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    for file, line in (
        ("numerics/filters.py", "from jaxae.scoring import metrics"),
        ("scoring/metrics/a.py", "from jaxae.scoring.thresholds import mad"),
        ("jobs/detect.py", "from jaxae.jobs.score import score"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(line)
        with pytest.raises(AssertionError, match="imports jaxae"):
            test_imports_point_one_way(tmp_path / file)


def test_a_job_never_imports_a_job():
    jobs = {path.stem for path in (PACKAGE / "jobs").glob("*.py")} - {"__init__"}
    steps = {"trained", "dealing", "fitting", "deciding", "diagnosis", "fitted_prior", "latent_walks"}
    assert steps < jobs
    for job in jobs - steps:
        found = {
            name.split(".")[2] for name in imported(PACKAGE / "jobs" / f"{job}.py") if name.startswith("jaxae.jobs.")
        }
        assert found <= steps, f"{job} imports {found - steps}"


def test_the_package_has_few_entries_at_its_top():
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= 30, sorted(entries)


def test_a_dependency_lives_in_one_room():
    for path in modules():
        for name in imported(path):
            home = ONLY_IN.get(name.split(".")[0])
            assert home in (None, room_of(path).split(".")[0]), f"{path.relative_to(PACKAGE)} imports {name}"


@pytest.mark.parametrize("what", ["jaxae", "jaxae.cli", "jaxae.presets", "jaxae.jobs"])
def test_importing_loads_nothing_heavy(what):
    program = f"import sys, {what}; print(*sorted(n for n in {HEAVY} if n in sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_the_command_line_answers_without_jax():
    program = "import sys, jaxae.cli; print('jax' in sys.modules, 'numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def code_of(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_of(constant)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_global_name_exists(path):
    """Linters are told to pass over undefined names, for jaxtyping's shapes; here a function would fail when called."""
    name = ".".join(("jaxae", *path.relative_to(PACKAGE).with_suffix("").parts))
    if name == "jaxae.cli.__main__":
        return
    known = vars(importlib.import_module(name.removesuffix(".__init__"))).keys() | vars(builtins).keys()
    for code in code_of(compile(path.read_text(encoding="utf-8"), str(path), "exec")):
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_GLOBAL":
                assert instruction.argval in known, f"{code.co_name} reads {instruction.argval}"


def test_no_file_is_long():
    long = {str(path): count for path in modules() if (count := len(path.read_text().splitlines())) > 400}
    assert not long
