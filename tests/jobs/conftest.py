"""Small data, few chunks, and the command line as a function."""

import warnings

import numpy as np
import pytest
from click.testing import CliRunner

from jaxae.cli import main
from jaxae.jobs import fitting
from jaxae.report import canvas


@pytest.fixture(scope="session", autouse=True)
def _few_checkpoints():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "CHUNKS", 2)
        patch.setattr(canvas, "DPI", 30)
        yield


@pytest.fixture(scope="session")
def jaxae():
    """`(*arguments, code=0, notes=False) -> click's result`, which must end with this exit code and say no note."""

    def call(*arguments, code=0, notes=False):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == code, result.output + repr(result.exception)
        assert notes or "note: " not in result.stderr, result.stderr
        return result

    return call


@pytest.fixture(scope="session")
def refused(jaxae):
    """`(*arguments) -> the one line` that a command ends with, exit code 2."""

    def call(*arguments):
        lines = jaxae(*arguments, code=2).stderr.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("jaxae: ")
        return lines[0]

    return call


@pytest.fixture(scope="session")
def rows():
    """`(count, anomalous=0, seed=0) -> x [count, 3], labels`: normal rows about 0, anomalies about 6."""

    def draw(count, anomalous=0, seed=0):
        x = np.random.default_rng(seed).normal(size=(count + anomalous, 3))
        x[count:] += 6
        return x, np.repeat(["ok", "bad"], [count, anomalous])

    return draw


@pytest.fixture(scope="session")
def csv():
    """`(path, x, names, labels=None) -> path` of a table with a column `kind` where there are labels."""

    def write(path, x, names=("a", "b", "c"), labels=None):
        lines = [",".join([*names, *([] if labels is None else ["kind"])])]
        for index, row in enumerate(x):
            values = [repr(float(value)) for value in row]
            lines.append(",".join([*values, *([] if labels is None else [labels[index]])]))
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Bright left halves and bright right halves, two classes."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 260)
    x = rng.integers(0, 20, (260, 6, 6, 1), np.uint8)
    for image, right in zip(x, side, strict=True):
        image[:, 3 * right : 3 * right + 3] += 200
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    names = np.array(["left", "right"])[side]
    np.savez(path, x_train=x[:220], y_train=names[:220], x_test=x[220:], y_test=names[220:])
    return path
