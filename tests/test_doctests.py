"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import jaxae

MODULES = ["jaxae", *sorted(module.name for module in pkgutil.walk_packages(jaxae.__path__, "jaxae."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what an example writes is not left behind
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
