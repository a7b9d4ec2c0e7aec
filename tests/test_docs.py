"""What the pages say of the code: each public name in one place of the API pages, numbers and lists from the tables."""

import importlib
import pathlib
import re
import types

import pytest

import jaxae

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
TARGET = re.compile(r"^::: (\S+)$", re.MULTILINE)


def resolved(path):
    """The object that a user gets by a dotted path: attributes before files, as Python does."""
    value = jaxae
    for name in path.split(".")[1:]:
        if not hasattr(value, name):
            importlib.import_module(f"{value.__name__}.{name}")
        value = getattr(value, name)
    return value


def public(path):
    """`(path, name, object)` of every public name of a room, and of the rooms that it exports.

    A module without `__all__` is one entry, shown whole; of a folder without `__all__` each file is one.
    """
    module = resolved(path)
    if hasattr(module, "__all__"):
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, types.ModuleType):
                yield from public(f"{path}.{name}")
            else:
                yield f"{path}.{name}", name, value
    elif hasattr(module, "__path__"):
        for file in sorted(pathlib.Path(module.__file__).parent.glob("[!_]*.py")):
            yield f"{path}.{file.stem}", file.stem, resolved(f"{path}.{file.stem}")
    else:
        yield path, path.rpartition(".")[2], module


def shown():
    return [name for page in sorted((DOCS / "api").glob("*.md")) for name in TARGET.findall(page.read_text("utf-8"))]


def test_every_public_name_is_shown_on_one_api_page_and_nothing_else_is():
    ways = {}  # the paths by which one object is reached: `scoring.summary` is `scoring.costs.summary`
    for room in jaxae.__all__:
        for path, name, value in public(f"jaxae.{room}"):
            ways.setdefault((name, id(value)), set()).add(path)
    targets = shown()
    assert sorted(set(targets)) == sorted(targets), "shown twice"
    assert set(targets) <= set().union(*ways.values()), set(targets) - set().union(*ways.values())
    counts = {min(paths): len(paths & set(targets)) for paths in ways.values()}
    assert set(counts.values()) == {1}, {path: count for path, count in counts.items() if count != 1}


def test_api_pages_show_names_as_users_write_them():
    griffe = pytest.importorskip("griffe")  # of the docs extra
    extensions = griffe.load_extensions(str(DOCS / "docstrings.py"))
    loader = griffe.GriffeLoader(search_paths=[ROOT], extensions=extensions)
    loader.load("jaxae", try_relative_path=False)
    loader.resolve_aliases(implicit=False, external=False)
    for target in shown():
        collected = loader.modules_collection[target]
        assert collected.path == target
        assert collected.is_module == isinstance(resolved(target), types.ModuleType), target


def test_every_page_is_in_the_navigation_and_every_api_page_in_the_index():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    index = (DOCS / "api" / "index.md").read_text("utf-8")
    for page in DOCS.rglob("*.md"):
        assert re.search(rf"\s{re.escape(page.relative_to(DOCS).as_posix())}$", navigation, re.MULTILINE), page
    for page in (DOCS / "api").glob("*.md"):
        assert page.stem == "index" or f"({page.name})" in index, page
