"""Imports point one way, and `import jaxae` is light."""

import ast
import importlib.util
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(importlib.util.find_spec("jaxae").origin).parent

# Each room may import those of the lines above its own, and itself. A room that is named with its sub-rooms is the
# door alone: its `__init__`.
ORDER = (
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
    ("jobs.trained",),
    ("jobs.fitting", "jobs.deciding"),
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


def test_no_file_is_long():
    long = {str(path): count for path in modules() if (count := len(path.read_text().splitlines())) > 400}
    assert not long
