"""The notebooks' first cell: one text in all of them, and it installs the checkout where there is one."""

import pathlib
import subprocess
import sys

import pytest

COLAB = pathlib.Path(__file__).parents[1] / "colab"
TEXTS = sorted(path for path in COLAB.glob("*.py") if path.name != "build.py")

# what the cell asks of the machine: whether jaxae is installed, and pip
WITHOUT = """
import importlib.metadata, subprocess
def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = missing
subprocess.run = lambda words, check: print("installs", words[-1])
"""


def install_cell(text):
    first = next(cell for cell in text.split("# %%\n")[1:])
    return first.split("\n# %%")[0]


def run_cell(folder, before=""):
    code = before + install_cell(TEXTS[0].read_text("utf-8"))
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def checkout(folder):
    (folder / "jaxae").mkdir(parents=True)
    (folder / "jaxae" / "__init__.py").touch()
    return folder


def test_all_notebooks_have_the_same_install_cell():
    assert len({install_cell(path.read_text("utf-8")) for path in TEXTS}) == 1
    assert len(TEXTS) > 5


@pytest.mark.parametrize(("made", "started"), [("jaxae", "."), (".", "."), (".", "colab")])
def test_a_checkout_beside_around_or_above_the_notebook_is_installed(tmp_path, made, started):
    root = checkout(tmp_path / made)
    (tmp_path / started).mkdir(exist_ok=True)
    result = run_cell(tmp_path / started, WITHOUT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["installs", str(root.resolve())]


def test_without_a_checkout_it_says_what_to_do(tmp_path):
    result = run_cell(tmp_path, WITHOUT)
    assert result.returncode == 1
    assert result.stderr.strip() == (
        "put a checkout of jaxae beside this notebook first: there is no release to install yet"
    )


def test_what_is_installed_is_left_alone(tmp_path):
    result = run_cell(tmp_path)
    assert (result.returncode, result.stdout, result.stderr, list(tmp_path.iterdir())) == (0, "", "", [])
