"""A sample of the hostile inputs of benchmarks/bench_hostile.py; the script tries them all."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / "benchmarks" / "bench_hostile.py"


def tried(*options):
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--workers", "1", *options], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    *bad, last = map(json.loads, result.stdout.splitlines())
    return bad, last


@pytest.mark.parametrize(
    "options",
    [
        ("--family", "functions", "--units", "40", "--count", "250", "--seed", "1"),
        ("--family", "commands", "--only", "train --,score ,info ", "--count", "30", "--seed", "1"),
        ("--family", "files", "--only", "report ,score ,info ", "--count", "30", "--seed", "1"),
    ],
    ids=["functions", "commands", "files"],
)
def test_hostile_input_ends_in_one_line_or_the_right_result(options):
    bad, last = tried(*options)
    assert bad == []
    assert last["bad"] == 0
    assert last["refused"] >= last["inputs"] / 4


def test_what_is_no_clear_line_is_called_bad():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import hostile
    finally:
        sys.path.remove(str(SCRIPT.parent))
    assert hostile.judged(ValueError("x must be above 0; got -1")).startswith("refused")
    assert hostile.judged(TypeError("x must be above 0")).startswith("TypeError")
    assert hostile.judged(ValueError("two\nlines")).startswith("no single line")
    assert hostile.judged(ValueError("a" * 900)).startswith("a message of 900")
    here = {"a": (1, 1)}
    line = "jaxae: no such file\n"
    assert hostile.judged_command(2, line, 1.0, here, here).startswith("refused")
    assert hostile.judged_command(2, line, 1.0, here, {}) == "refused, but changed a: jaxae: no such file"
    assert hostile.judged_command(2, line, 11.0, here, here).startswith("refused only after 11 s")
    assert hostile.judged_command(2, "Traceback (most recent call last)\n" + line, 1.0, here, here).startswith(
        "a traceback"
    )
    assert hostile.judged_command(1, "", 1.0, here, here).startswith("exit code 1")
    assert hostile.judged_command(2, line * 2, 1.0, here, here).startswith("2 lines")
