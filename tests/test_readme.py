"""The README's promises: its two commands, its Python, its picture. And the Python of the guides."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"


def blocks(language, path=README):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_two_commands_stand_alone_in_their_blocks():
    assert blocks("bash")[:2] == ["pip install . && jaxae detect\n", "pip install '.[test]' && pytest\n"]


def test_python_runs(capsys):
    scope = {}
    for block in blocks("python"):
        exec(block, scope)  # one scope: later blocks go on from earlier ones
    area = float(re.search(r"AUROC (0\.\d+)", capsys.readouterr().out)[1])
    assert area > 0.9


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        assert (README.parent / target).is_file(), target


def test_it_stays_about_a_hundred_lines():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


def test_python_of_the_concepts_runs():
    found = blocks("python", ROOT / "docs" / "concepts.md")
    assert found
    for block in found:
        exec(block, {})
