"""What an install brings: the library without its extras, and one line that names the extra where one is asked for."""

import ast
import pathlib
import re
import sys
import tomllib

import numpy as np
import pytest

from jaxae import networks, train
from jaxae.scoring import baselines

PROJECT = tomllib.loads((pathlib.Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TOOLS = {"dev", "docs", "notebook", "test"}  # of those who change the library

DOORS = {  # extra: the module that it brings, and what a user calls to need it
    "baselines": ("sklearn.neighbors", lambda folder: baselines.knn()(np.eye(3))),
    "equinox": ("equinox", lambda folder: networks.from_equinox(lambda key: None)),
    "tensorboard": ("tensorboardX", lambda folder: train.metrics_log(folder / "log.jsonl", tensorboard=folder)),
}


def name_of(requirement):
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0]


def test_each_extra_has_its_door_and_the_tests_have_all_extras():
    assert set(EXTRAS) - TOOLS == set(DOORS)
    brought = re.search(r"jaxae\[(\S+)\]", EXTRAS["test"][0])[1].split(",")
    assert set(brought) == set(DOORS)
    assert set(re.search(r"jaxae\[(\S+)\]", EXTRAS["dev"][0])[1].split(",")) == TOOLS - {"dev"}


@pytest.mark.parametrize("extra", sorted(DOORS))
def test_a_missing_extra_is_named_in_one_line(extra, monkeypatch, tmp_path):
    module, ask = DOORS[extra]
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(ValueError, match=re.escape(f"pip install 'jaxae[{extra}]'")) as refused:
        ask(tmp_path)
    assert "\n" not in str(refused.value)


def test_no_requirement_of_an_extra_is_one_of_the_library_as_well():
    core = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    for extra in DOORS:
        assert not core & {name_of(requirement) for requirement in EXTRAS[extra]}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_what_the_library_imports_is_required_or_an_extras():
    distributions = {"PIL": "pillow", "orbax": "orbax-checkpoint", "tensorflow_datasets": "tensorflow-datasets"}
    listed = {name_of(requirement) for extra in DOORS for requirement in EXTRAS[extra]}
    listed |= {name_of(requirement) for requirement in PROJECT["dependencies"]}
    package = pathlib.Path(train.__file__).parents[1]
    roots = {name for path in package.rglob("*.py") for name in imported(path)} - sys.stdlib_module_names - {"jaxae"}
    assert {"flax", "tensorboardX"} <= roots
    assert {distributions.get(name, name) for name in roots} <= listed
    # what no file imports is not required: flatbuffers is what jax.export serialises through
    assert {name_of(r) for r in PROJECT["dependencies"]} - {distributions.get(n, n) for n in roots} <= {"flatbuffers"}
