"""Build the notebooks that Colab opens from their text, without outputs.

python colab/build.py            write colab/*.ipynb from colab/*.py
python colab/build.py --check    fail where a committed notebook differs from its text
python colab/build.py --run      execute each notebook, here on whatever device there is
"""

import argparse
import pathlib
import sys
import time

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parent


def build(text: pathlib.Path) -> nbformat.NotebookNode:
    """The notebook of a text in percent format; the same text gives the same bytes."""
    notebook = jupytext.read(text)
    notebook.metadata = {
        "accelerator": "TPU",
        "colab": {"name": text.with_suffix(".ipynb").name, "provenance": []},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
    return notebook


def run(notebook: nbformat.NotebookNode) -> None:
    """Execute every cell; a cell that raises ends this with its traceback."""
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()


def main() -> int:
    """Build, check or run all notebooks of this folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--run", action="store_true", help="execute, keep no output")
    arguments = parser.parse_args()
    stale = []
    for text in sorted(path for path in FOLDER.glob("*.py") if path.name != "build.py"):
        target = text.with_suffix(".ipynb")
        notebook = build(text)
        nbformat.validate(notebook)
        content = nbformat.writes(notebook) + "\n"
        if not arguments.check and not arguments.run:
            target.write_text(content, encoding="utf-8")
            print(f"{target.name}: written")
        elif arguments.check and (not target.exists() or target.read_text(encoding="utf-8") != content):
            stale.append(target.name)
        if arguments.run:
            began = time.monotonic()
            run(notebook)
            print(f"{text.name}: ran in {time.monotonic() - began:.0f} s")
    if stale:
        print(f"{', '.join(stale)} not as its text says: run python colab/build.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
