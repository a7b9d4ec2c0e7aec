"""Every example in a docstring runs."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import jaxae

MODULES = ["jaxae", *sorted(module.name for module in pkgutil.walk_packages(jaxae.__path__, "jaxae."))]


class _Finder(doctest.DocTestFinder):
    """A finder that sees through decorators: a function belongs to the module of what they wrap."""

    def _from_module(self, module, object):
        return super()._from_module(module, inspect.unwrap(object) if callable(object) else object)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what an example writes is not left behind
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for examples in _Finder().find(module, module.__name__):
        runner.run(examples)
    assert runner.summarize().failed == 0


def test_examples_of_checked_functions_are_found():
    from jaxae.data import batches

    found = {examples.name for examples in _Finder().find(batches, "batches") if examples.examples}
    assert "batches.shuffled" in found
