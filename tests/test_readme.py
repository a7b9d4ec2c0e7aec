"""The README's promises: its two commands, its Python, its picture."""

import pathlib
import re

README = pathlib.Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


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
