"""What the pages say of the code: each public name in one place of the API pages, numbers and lists from the tables."""

import importlib
import importlib.util
import inspect
import pathlib
import re
import tomllib
import types

import pytest

import jaxae
from jaxae import bottlenecks, presets, scoring
from jaxae.types import Bottleneck

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
        if not collected.is_module and "__call__" in collected.members:  # a protocol: its signature is shown
            assert collected.members["__call__"].has_docstring, target
        assert "\nExample:\n" not in getattr(collected.docstring, "value", ""), target  # would be shown as a quotation


def test_every_page_is_in_the_navigation_and_every_api_page_in_the_index():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    index = (DOCS / "api" / "index.md").read_text("utf-8")
    for page in DOCS.rglob("*.md"):
        assert re.search(rf"\s{re.escape(page.relative_to(DOCS).as_posix())}$", navigation, re.MULTILINE), page
    for page in (DOCS / "api").glob("*.md"):
        assert page.stem == "index" or f"({page.name})" in index, page


# ---- the rooms ------------------------------------------------------------------------------------------------


def order_of_rooms():
    spec = importlib.util.spec_from_file_location("test_imports", ROOT / "tests" / "test_imports.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ORDER


def test_the_page_of_the_rooms_has_their_order():
    page = (DOCS / "developer" / "rooms.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    assert [set(re.findall(r"`(\S+?)`", row)) for row in rows] == [set(rooms) for rooms in order_of_rooms()]


def test_every_folder_of_the_package_is_a_room():
    package = ROOT / "jaxae"
    found = {path.parent.name for path in package.glob("*/__init__.py")} | {
        path.stem for path in package.glob("[!_]*.py")
    }
    assert {folder.name for folder in package.iterdir() if folder.is_dir() and folder.name[0] not in "_."} <= found
    assert found == {room for rooms in order_of_rooms() for room in rooms if "." not in room}
    assert found == {*jaxae.__all__, "cli", "files"}  # these two are not public


# ---- numbers and lists ----------------------------------------------------------------------------------------


ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
WORDS = [*ONES.split(), "seventeen", "eighteen", "nineteen"]
TENS = {2: "twenty", 3: "thirty", 4: "forty", 5: "fifty"}


def in_words(number):
    if number < 20:
        return WORDS[number]
    return TENS[number // 10] + (f"-{WORDS[number % 10]}" if number % 10 else "")


def quantizers():
    """Bottlenecks with symbols that are no combinators: none of their arguments is a bottleneck."""
    made = {name: getattr(bottlenecks, name) for name in bottlenecks.BOTTLENECKS if name in bottlenecks.__all__}
    return [
        name
        for name, make in made.items()
        if bottlenecks.BOTTLENECKS[name]().lookup is not None
        and not any(p.annotation is Bottleneck for p in inspect.signature(make).parameters.values())
    ]


def functions(room):
    return [name for name in room.__all__ if inspect.isfunction(getattr(room, name))]


def test_numbers_in_the_text_are_those_of_the_tables():
    readme, concepts = (path.read_text("utf-8") for path in (ROOT / "README.md", DOCS / "concepts.md"))
    assert f"{in_words(len(presets.PRESETS)).capitalize()} [models](docs/models.md)" in readme
    assert f"There are {in_words(len(presets.PRESETS))}, listed" in concepts
    assert f"{in_words(len(quantizers()))} [quantizers](docs/quantizers.md)" in readme


HELPERS = {"exact_expectation"}  # functions of a room of constructors that construct nothing


@pytest.mark.parametrize(
    ("names", "pages"),
    [
        (presets.PRESETS, ["models"]),
        (set(functions(bottlenecks)) - HELPERS, ["models", "quantizers"]),
        (quantizers(), ["quantizers"]),
        (functions(scoring.thresholds), ["thresholds"]),
        (functions(importlib.import_module("jaxae.scoring.scores")), ["scores"]),
        (scoring.confidence.CONFIDENCES, ["open_set"]),
        (scoring.baselines.BASELINES, ["scores"]),
    ],
    ids=["presets", "bottlenecks", "quantizers", "rules", "scores", "confidences", "baselines"],
)
def test_every_member_of_a_table_is_named_where_one_chooses(names, pages):
    text = "".join((DOCS / f"{page}.md").read_text("utf-8") for page in pages)
    code = " ".join(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    closed = re.findall(r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert project["version"] == jaxae.__version__ == closed[0]


PAGES = {path.name: path.read_text("utf-8") for path in (*DOCS.glob("*.md"), ROOT / "README.md")}


def test_a_figure_with_a_link_stands_where_the_link_leads():
    link = re.compile(r"\(\[[^\]]+\]\((?:docs/)?([\w-]+\.md)(?:#[\w-]+)?\)\)")
    found = 0
    for name, text in PAGES.items():
        for match in link.finditer(text):
            sentence = re.split(r"(?<=[a-z)])\.\s|\n\n|\|", text[: match.start()])[-1]
            for figure in re.findall(r"(?<![\w.])-?\d*\.\d{2,}(?![\w.])", sentence):
                found += 1
                assert figure in PAGES[match[1]], f"{name}: {figure} is not on {match[1]}"
    assert found


def test_every_option_in_the_text_is_one_of_its_command():
    from jaxae.cli import main

    options = {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        for name, command in main.commands.items()
    }
    known = {"--help", "--version", "-h"}.union(*options.values())
    scripts = "".join(path.read_text("utf-8") for path in (ROOT / "benchmarks").glob("*.py"))
    of_benchmarks = set(re.findall(r"add_argument\(\s*\"(--[\w-]+)\"", scripts))
    for name, text in PAGES.items():
        for line in re.findall(r"jaxae ((?:[a-z]+-?)+ [^\n`#&|]*)", text):
            command, *words = line.split()
            if command in options:
                unknown = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} - options[command]
                assert unknown <= {"--help"}, f"{name}: jaxae {command} has no {unknown}"
        assert set(re.findall(r"`(--[a-z][\w-]*)", text)) <= known | of_benchmarks, name
