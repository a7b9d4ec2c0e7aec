"""Hostile inputs: the values, the calls that they are put into, and what counts as a bad answer.

Three families. `functions`: each public function is called as the example in its docstring calls it, with one argument
replaced. `commands`: each command of the command line is run as it would be, with one option replaced. `files`: each
file that jaxae reads back is damaged, and each command that reads it is run. A good answer is the right result or one
clear line: a `ValueError` in Python, exit code 2 on the command line, nothing left behind.
"""

import ast
import dataclasses
import doctest
import importlib
import inspect
import json
import os
import pathlib
import pkgutil
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

LONGEST = 600  # characters of a message that is still one clear line


# ---------------------------------------------------------------------------------------------------- public functions


def public_functions() -> dict[str, Callable]:
    """The public functions by the shortest path to each: names in `__all__` of the rooms and of what they export."""
    import jaxae

    found: dict[int, tuple[str, Callable]] = {}
    for room in jaxae.__all__:
        for path, value in _public(f"jaxae.{room}"):
            if inspect.isfunction(value):
                known = found.get(id(value))
                if known is None or len(path) < len(known[0]):
                    found[id(value)] = path, value
    return dict(sorted(found.values()))


def _public(path: str) -> Iterator[tuple[str, Any]]:
    module = _resolved(path)
    own = getattr(module, "__all__", None)
    if own is None and hasattr(module, "__path__"):
        own = [name for _, name, _ in pkgutil.iter_modules(module.__path__) if not name.startswith("_")]
    if own is None:
        own = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    for name in own:
        value = _resolved(f"{path}.{name}")
        if isinstance(value, types.ModuleType):
            yield from _public(f"{path}.{name}")
        else:
            yield f"{path}.{name}", value


def _resolved(path: str) -> Any:
    value: Any = importlib.import_module("jaxae")
    for name in path.split(".")[1:]:
        if not hasattr(value, name):
            importlib.import_module(f"{value.__name__}.{name}")
        value = getattr(value, name)
    return value


@dataclasses.dataclass
class Call:
    """A call that works: the function, its path and its arguments by name."""

    path: str
    function: Callable
    arguments: dict[str, Any]

    def run(self, replaced: str | None = None, value: Any = None) -> Any:
        """The call, with one argument replaced."""
        given = dict(self.arguments)
        if replaced is not None:
            given[replaced] = value
        signature = inspect.signature(self.function)
        positional: list[Any] = []
        keyword: dict[str, Any] = {}
        for name, parameter in signature.parameters.items():
            if name not in given:
                continue
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) and len(
                positional
            ) == list(signature.parameters).index(name):
                positional.append(given[name])
            elif parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(given[name] if isinstance(given[name], tuple) else (given[name],))
            elif parameter.kind is parameter.VAR_KEYWORD:
                keyword.update(given[name] if isinstance(given[name], dict) else {name: given[name]})
            else:
                keyword[name] = given[name]
        return self.function(*positional, **keyword)


_MODEL = """
from jaxae import presets
from jaxae.types import Batch
model, objective = presets.vae((5,), latent_size=2)
batch = Batch(jnp.ones((4, 5)))
params, state = model.init(jax.random.key(0), batch.x)
output, _ = model.apply(params, state, jax.random.key(1), batch.x)
"""
_FIGURES = """
scores, labels = np.linspace(0, 1, 20), np.arange(20) % 2
images = np.zeros((4, 6, 6, 1), np.float32)
kinds = ["normal"] * 4
"""
# a call for functions whose docstring has no example
CALLS = {
    "data.factors.check_sizes": "data.factors.check_sizes((2, 3))",
    "data.rooms.check_factors": "data.rooms.check_factors(jnp.zeros((2, 6), int), data.rooms.FACTOR_SIZES, 64)",
    "data.splits.joined": """
part = data.splits.Part(np.ones((2, 3)), np.array([0, 1]), np.array([0, 1]), np.arange(2))
data.splits.joined(part, part)
""",
    "downstream.cross_entropy": _MODEL + "downstream.cross_entropy(model)",
    "downstream.predict_logits": """
fitted = downstream.fit_logistic(np.ones((4, 2)), np.array([0, 1, 0, 1]), 2)
downstream.predict_logits(fitted, np.ones((3, 2)))
""",
    "numerics.at_step": "numerics.at_step(0.5, 3)",
    "numerics.bounded_log_variance": "numerics.bounded_log_variance(jnp.ones((2, 3)))",
    "numerics.first_nonfinite": "numerics.first_nonfinite(np.ones(3))",
    "numerics.is_traced": "numerics.is_traced(np.ones(3))",
    "numerics.row_counts": "numerics.row_counts(3)",
    "numerics.split_keys": "numerics.split_keys(jax.random.key(0), 2)",
    "numerics.target_of": _MODEL + "numerics.target_of(batch)",
    "numerics.weight_of": _MODEL + "numerics.weight_of(batch, jnp.ones(4))",
    "objectives.log_weights": _MODEL
    + "objectives.log_weights(model, params, state, jax.random.split(jax.random.key(0), 3), batch)",
    "objectives.negative_log_likelihood": _MODEL + "objectives.negative_log_likelihood(model, batch, output)",
    "recipes.default_steps": "recipes.default_steps(100)",
    "recipes.optimizer": "recipes.optimizer(100)",
    "recipes.standardise": "recipes.standardise(np.random.default_rng(0).normal(size=(9, 3)))",
    "report.decisions.cost": _FIGURES
    + "report.decisions.cost('a.png', (scores, labels), 0.5, np.array([[0.0, 1.0], [9.0, 0.0]]), 0.05)",
    "report.decisions.histogram": _FIGURES + "report.decisions.histogram('a.png', scores, 0.5, labels)",
    "report.decisions.precision_recall": _FIGURES
    + "report.decisions.precision_recall('a.png', scores, labels, 0.5, 0.05)",
    "report.decisions.roc": _FIGURES + "report.decisions.roc('a.png', scores, labels, 0.5)",
    "report.pictures.contributions": _FIGURES + "report.pictures.contributions('a.png', images[:, 0, :, 0], kinds)",
    "report.pictures.displayable": _FIGURES + "report.pictures.displayable(images)",
    "report.pictures.reconstructions": _FIGURES
    + "report.pictures.reconstructions('a.png', images, images, images[..., 0], kinds)",
    "report.traversals.tiled": _FIGURES + "report.traversals.tiled(images[None])",
    "runs.read_config": "runs.start('made', {'command': 'train'}, overwrite=True)\nruns.read_config('made')",
    "runs.read_run": "runs.start('made', {'command': 'train'}, overwrite=True)\nruns.read_run('made')",
    "runs.start": "runs.start('made', {'command': 'train'}, overwrite=True)",
    "runs.write_arrays": "runs.write_arrays('a.npz', x=np.ones(3))",
    "runs.write_csv": "runs.write_csv('a.csv', ['a'], [['1']])",
    "runs.write_json": "runs.write_json('a.json', {'a': 1})",
    "scoring.confidence.unit_length": "scoring.confidence.unit_length(lambda params, state, batch: batch.x)",
    "scoring.conformal.p_value_table": "scoring.conformal.p_value_table(9)",
    "scoring.summary": """
from jaxae.types import CostTable
threshold = scoring.thresholds.conformal(0.2)
verdict = threshold.apply(threshold.fit(np.linspace(0, 1, 20)), np.linspace(0, 1, 20))
scoring.summary(np.arange(20) % 2, verdict, CostTable.binary(10.0, 1.0), 0.05)
""",
}

# the functions of a contract that users call with their own arrays
USED = {
    "Threshold": ("fit", "apply"),
    "Detector": ("fit", "apply"),
    "LoadedDetector": ("apply",),
}


def recorded(path: str, function: Callable) -> list[Call]:
    """The first call that the function's example makes of it, and of what its result offers to users."""
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(function) or "")
    sources = [example.source for example in examples] or _statements(CALLS.get(path.removeprefix("jaxae."), ""))
    calls: dict[str, Call] = {}
    frame_name = f"<hostile {path}>"

    def wrapped(target: Callable, name: str) -> Callable:
        def call(*args, **kwargs):
            if sys._getframe(1).f_code.co_filename != frame_name:
                return target(*args, **kwargs)
            try:
                bound = inspect.signature(target).bind(*args, **kwargs)
                calls.setdefault(name, Call(name, target, dict(bound.arguments)))
            except (TypeError, ValueError):
                pass
            return offered(target(*args, **kwargs), name)

        call.__wrapped__ = target
        return call

    def offered(value: Any, name: str) -> Any:
        fields = USED.get(type(value).__name__, ())
        new = {field: wrapped(getattr(value, field), f"{name}().{field}") for field in fields}
        return value._replace(**new) if new else value

    room, _, short = path.rpartition(".")
    places = [(importlib.import_module(function.__module__), short)]
    owner = _resolved(room)
    places.append((owner, short))
    saved = [(place, name, getattr(place, name)) for place, name in places if getattr(place, name, None) is function]
    try:
        for place, name, _ in saved:
            setattr(place, name, wrapped(function, path))
        namespace: dict[str, Any] = {"__name__": "__hostile__"}
        if not examples:
            exec("import jax, jax.numpy as jnp, numpy as np\nfrom jaxae import *", namespace)
        for source in sources:
            exec(compile(source, frame_name, "single"), namespace)
    except Exception:
        pass  # examples of errors, and those that need files of their own
    finally:
        for place, name, value in saved:
            setattr(place, name, value)
    return list(calls.values())


def _statements(source: str) -> list[str]:
    tree = ast.parse(source)
    return [ast.unparse(node) + "\n" for node in tree.body]


def arguments_of(call: Call) -> dict[str, Any]:
    """All arguments of a call that can be replaced, by name, with the value that works: given ones and defaults."""
    values: dict[str, Any] = {}
    for name, parameter in inspect.signature(call.function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            values.update({})
        elif name in call.arguments:
            values[name] = call.arguments[name]
        elif parameter.default is not parameter.empty:
            values[name] = parameter.default
    return values


# ------------------------------------------------------------------------------------------------------ hostile values


def hostile_values(base: Any) -> dict[str, Any]:
    """Values that a caller might pass by mistake in place of one that works, by name."""
    import jax

    values: dict[str, Any] = {
        "None": None,
        "text": "nope",
        "no_text": "",
        "empty_dict": {},
        "complex": 1j,
        "bytes": b"x",
    }
    if _is_key(base):
        return values | {"seed": 0, "keys": jax.random.split(base, 3), "floats": np.ones(2, np.float32)}
    if isinstance(base, np.ndarray | jax.Array) and np.ndim(base) > 0:
        return values | _hostile_arrays(np.asarray(base))
    if isinstance(base, bool | np.bool_):
        return values | {"two": 2, "nan": float("nan"), "array": np.ones(2)}
    if isinstance(base, int | float | np.generic | np.ndarray | jax.Array):
        return values | _hostile_numbers()
    if isinstance(base, str | pathlib.Path):
        return values | {
            "long": "a" * 10_000,
            "nul": "a\0b",
            "unicode": "ünïcode/\u202e",
            "number": 3,
            "list": ["a"],
            "true": True,
            "nan": float("nan"),
            "folder": "/",
        }
    if isinstance(base, tuple | list) and not hasattr(base, "_fields"):
        return values | _hostile_sequences(base)
    if isinstance(base, dict):
        return values | {"list": [], "other_keys": {"nope": 1}, "of_none": dict.fromkeys(base), "number": 3}
    if callable(base) and not hasattr(base, "_fields"):
        return values | {"number": 3, "list": []}
    if hasattr(base, "_fields"):
        from jaxae.types import Gaussian, Prior, Threshold

        # an Autoencoder is made by one function alone, and scores are given such as have only what they read
        stands_alone = type(base).__name__ not in ("Autoencoder", "Likelihood")
        some = {f"without_{field}": base._replace(**{field: None}) for field in base._fields if stands_alone}
        return (
            values
            | some
            | {
                "number": 3,
                "array": np.ones(3, np.float32),
                "plain_tuple": tuple(base),
                "other_tuple": Gaussian(np.zeros(2), np.zeros(2)),
                "other_part": Threshold(len, len) if isinstance(base, Prior) else Prior(len, len, len),
                "function": lambda *a, **k: base,
                "class": type(base),
            }
        )
    return values | _hostile_numbers()


def _is_key(value: Any) -> bool:
    import jax

    return isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)


def _hostile_numbers() -> dict[str, Any]:
    return {
        "zero": 0,
        "negative": -1,
        "half": 0.5,
        "fraction": 2.5,
        "huge": 10**30,
        "int64": np.int64(2**62),
        "tiny": 1e-320,
        "large": 1e300,
        "nan": float("nan"),
        "infinite": float("inf"),
        "minus_infinite": -np.float32(np.inf),
        "numpy_nan": np.float64("nan"),
        "numpy_negative": np.asarray(-3),
        "true": True,
        "list": [1],
        "array": np.array([1.0, 2.0]),
        "none_list": [None],
        "function": len,
        "digits": "1",
    }


def _hostile_arrays(x: np.ndarray) -> dict[str, Any]:
    values: dict[str, Any] = {
        "more_axes": x[None],
        "fewer_axes": x[0],
        "no_rows": x[:0],
        "no_axes": x.ravel()[0] if x.size else np.float32(0),
        "one_row": x[:1],
        "a_row_more": np.concatenate([x, x[:1]]),
        "strings": x.astype(str),
        "objects": x.astype(object),
        "nones": np.full(x.shape, None),
        "complexes": x.astype(np.complex64),
        "dates": np.zeros(x.shape, "datetime64[s]"),
        "masked": np.ma.masked_array(x, np.zeros(x.shape, bool) | (np.arange(x.size).reshape(x.shape) == 0)),
        "structured": np.zeros(x.shape, [("a", "f4"), ("b", "i4")]),
        "list": x.tolist(),
        "ragged": [[1.0], [1.0, 2.0]],
        "number": 3.5,
        "set": {1.0, 2.0},
        "generator": (value for value in (1, 2)),
        "bool": x.astype(bool),
        "float64": x.astype(np.float64),
        "half": x.astype(np.float16),
        "negative": -np.abs(x).astype(np.float32) - 1,
        "bytes_array": x.astype("S8"),
        "wide_ints": np.full(x.shape, 2**62),
        "huge": np.full(x.shape, 1e300),
        "nan": np.full(x.shape, np.nan, np.float32),
        "infinite": np.full(x.shape, np.inf, np.float32),
    }
    if x.size:
        for name, value in {"one_nan": np.nan, "one_infinite": np.inf, "one_huge": 1e300}.items():
            values[name] = x.astype(np.float64)
            values[name].flat[0] = value
    if x.ndim > 1:
        values |= {"flat": x.ravel(), "transposed": x.T, "no_columns": x[..., :0], "fewer_columns": x[..., :-1]}
    return values


def _hostile_sequences(x: Any) -> dict[str, Any]:
    return {
        "empty": (),
        "zero": (0,),
        "negative": (-1,) * max(len(x), 1),
        "fractions": (2.5,) * max(len(x), 1),
        "nan": (float("nan"),) * max(len(x), 1),
        "nones": (None,) * max(len(x), 1),
        "texts": ("a",) * max(len(x), 1),
        "nested": (tuple(x),),
        "one_more": (*x, *x[:1]),
        "huge": (10**12,) * max(len(x), 1),
        "number": 3,
        "fraction": 2.5,
        "function": len,
        "generator": (value for value in x),
        "set": {1, 2},
        "true": True,
    }


# -------------------------------------------------------------------------------------------------------- the families


# of the inputs that are tried; a function takes some milliseconds, a command or a damaged file up to a second
SHARES = {"functions": 0.74, "commands": 0.2, "files": 0.06}


def drawn(everything: dict[str, list], count: int, rng: Any) -> list:
    """`count` of the cases by the families' shares; what a family lacks goes to the others."""
    chosen: list = []
    left = dict(sorted(everything.items(), key=lambda entry: len(entry[1])))
    while left:
        family = next(iter(left))
        share = round((count - len(chosen)) * SHARES[family] / sum(SHARES[name] for name in left))
        cases = left.pop(family)
        chosen += cases if len(cases) <= share else rng.sample(cases, share)
    return chosen


class Functions:
    """Public functions, each with one argument replaced."""

    patience = 20.0

    def __init__(self) -> None:
        self.functions: dict[str, Callable] = {}
        self.cached: tuple[str, list[Call]] = ("", [])

    def prepare(self, home: pathlib.Path) -> None:
        """Nothing to prepare."""

    def units(self, home: pathlib.Path) -> list[str]:
        """The paths of the functions."""
        return list(public_functions())

    def calls(self, unit: str) -> list[Call]:
        """The calls of a function's example that work when they are made again."""
        self.functions = self.functions or public_functions()
        if self.cached[0] != unit:
            working = []
            for call in recorded(unit, self.functions[unit]):
                try:
                    call.run()
                except Exception:
                    continue
                working.append(call)
            self.cached = unit, working
        return self.cached[1]

    def release(self) -> None:
        """Drop compiled programs: there are thousands in a run."""
        import jax

        jax.clear_caches()

    def plan(self, unit: str, home: pathlib.Path) -> list[str]:
        """`path argument value` of each case."""
        return [
            f"{call.path} {argument} {name}"
            for call in self.calls(unit)
            for argument, base in arguments_of(call).items()
            for name in hostile_values(base)
        ]

    def run(self, unit: str, case: str, home: pathlib.Path) -> str:
        """What one call answers."""
        path, argument, name = case.split(" ")
        (call,) = (call for call in self.calls(unit) if call.path == path)
        value = hostile_values(arguments_of(call)[argument])[name]
        try:
            result = call.run(argument, value)
        except Exception as error:
            return judged(error, path)
        return f"accepted: {repr(result)[:80]}"


def judged(error: Exception, path: str = "") -> str:
    """The answer "refused" for one clear line, and for anything else what is wrong with it."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    message = str(error).strip()
    shown = " | ".join(message[:200].splitlines())
    if frame is not None and frame.tb_frame.f_code.co_filename.startswith("<hostile"):
        return f"accepted: what the example defines itself raised {type(error).__name__}"
    if isinstance(error, AssertionError) and path.startswith("jaxae.testing."):
        return f"refused: {shown}"  # what a check says of a part
    if not isinstance(error, ValueError | OSError):
        return f"{type(error).__name__}: {shown}"
    if not message or "\n" in message:
        return f"no single line: {type(error).__name__}: {shown}"
    if len(message) > LONGEST:
        return f"a message of {len(message)} characters: {shown}"
    return f"refused: {shown}"


# ------------------------------------------------------------------------------------------------------------ commands

# texts that a shell may hand over where another was meant
TEXTS = {
    "empty": "",
    "space": " ",
    "zero": "0",
    "minus_one": "-1",
    "half": "0.5",
    "beyond_one": "1.5",
    "subnormal": "1e-320",
    "large": "1e300",
    "overflow": "1e999",
    "nan": "nan",
    "infinite": "-inf",
    "beyond_int64": "99999999999999999999",
    "digits": "9" * 400,
    "hexadecimal": "0x10",
    "underscored": "1_000",
    "fullwidth": "\uff11\uff12",
    "true": "true",
    "null": "null",
    "array": "[1, 2]",
    "object": '{"a": 1}',
    "nested": "[" * 5000,
    "listed": "a,b",
    "commas": ",,",
    "colon": ":",
    "costs_nan": "nan:1",
    "costs_negative": "-5:1",
    "costs_zero": "0:0",
    "three": "1:2:3",
    "assigned": "a=b",
    "assigned_nan": "latent_size=NaN",
    "rule_text": "recall=x",
    "rule_beyond": "recall=7",
    "long": "a" * 5000,
    "unicode": "\u00fcn\u00efc\u00f6de\u202e\n",
    "surrogate": "\udcff",
    "parent": "..",
    "root": "/",
    "device": "/dev/null",
    "endless": "/dev/zero",
    "missing": "missing/deeper/x.npz",
    "importable": "os:system",
    "no_attribute": "jaxae:nope",
    "flag": "--help",
    "noise.npz": "NOISE.npz",
    "noise.csv": "NOISE.csv",
    "noise.parquet": "NOISE.parquet",
    "text.npz": "TEXT.npz",
    "folder": "FOLDER",
    "fifo": "FIFO",
    "dangling": "DANGLING",
    "tfds": "tfds:nope/nope",
}


class Commands:
    """The commands of the command line, each with one option or argument replaced."""

    patience = 100.0

    def release(self) -> None:
        """Nothing is kept."""

    # how each command is run with good values; {home} holds what `prepare` makes
    GOOD: ClassVar[dict[str, list[str]]] = {
        "detect": ["--data", "{home}/table.npz", "--epochs", "1", "--out", "made"],
        "open-set": ["--data", "{home}/classes.npz", "--known", "0,1", "--epochs", "1", "--out", "made"],
        "train": ["--data", "{home}/table.npz", "--epochs", "1", "--out", "made"],
        "calibrate": ["detect", "--out", "made"],
        "score": ["--detector", "detect/detector", "--data", "{home}/table.npz", "--out", "made.csv"],
        "sample": ["train", "--out", "made.csv"],
        "train-prior": ["train", "--epochs", "1", "--overwrite"],
        "report": ["detect"],
        "info": ["detect"],
    }
    RUNS = ("detect", "train")

    def prepare(self, home: pathlib.Path) -> None:
        """Small data sets, hostile files, and a run of `detect` and of `train`."""
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(160, 4)).astype(np.float32), np.arange(160) % 4 == 0
        x[y] += 4
        np.savez(home / "table.npz", x=x, y=y.astype(int))
        np.savez(home / "classes.npz", x=np.concatenate([x, x + 9]), y=np.repeat(np.arange(4), 80))
        hostile = home / "hostile"
        hostile.mkdir()
        for name in ("NOISE.npz", "NOISE.csv", "NOISE.parquet"):
            (hostile / name).write_bytes(rng.bytes(2000))
        (hostile / "TEXT.npz").write_text("a,b\n1,2\n")
        (hostile / "FOLDER").mkdir()
        (hostile / "DANGLING").symlink_to("nowhere")
        os.mkfifo(hostile / "FIFO")
        runs = home / "runs"
        runs.mkdir()
        for name in self.RUNS:
            code = self.in_child(["jaxae", *self.command(name, home)], runs)[0]
            (runs / "made").rename(runs / name)
            if code:
                raise RuntimeError(f"{name} ended with {code}")

    def command(self, name: str, home: pathlib.Path) -> list[str]:
        """The command with good values."""
        return [name, *(part.format(home=home) for part in self.GOOD[name])]

    def units(self, home: pathlib.Path) -> list[str]:
        """`command option` for each option and argument, and `command --set keyword` for each model's keywords."""
        from jaxae.cli import main

        names = []
        for command, options in self.GOOD.items():
            for parameter in main.commands[command].params:
                names.append(f"{command} {max(parameter.opts, key=len)}")
            if "--set" in {opt for p in main.commands[command].params for opt in p.opts} and options:
                names += [f"{command} --set {key}" for key in self.keywords(command)]
        return names

    def keywords(self, command: str) -> list[str]:
        """`model/keyword` for the models that the command takes by name."""
        from jaxae.presets import PRESETS
        from jaxae.presets.parts import Networks, Parts

        if command == "train-prior":
            return ["mixture/num_components", "flow/num_layers"]
        common_ones = {*Parts.__annotations__, *Networks.__annotations__, "shape"}
        models = list(PRESETS) if command == "train" else ["denoising_ae", "vae"]
        own = [
            f"{model}/{key}"
            for model in models
            for key, parameter in inspect.signature(PRESETS[model]).parameters.items()
            if key not in common_ones and parameter.kind is not parameter.VAR_KEYWORD
        ]
        return [*own, *(f"{models[0]}/{key}" for key in sorted(common_ones - {"shape"}))]

    def plan(self, unit: str, home: pathlib.Path) -> list[str]:
        """A case for each hostile text."""
        from jaxae.cli import main

        command, option, *_ = unit.split(" ")
        flags = [p for p in main.commands[command].params if option in p.opts and getattr(p, "is_flag", False)]
        return ["given"] if flags else list(TEXTS)

    def run(self, unit: str, case: str, home: pathlib.Path) -> str:
        """Run the command in a folder of its own, and say how it ended and what it left."""
        import shutil
        import tempfile

        place = pathlib.Path(tempfile.mkdtemp(dir=home))
        try:
            shutil.copytree(home / "runs", place, dirs_exist_ok=True)
            shutil.copytree(home / "hostile", place, dirs_exist_ok=True, symlinks=True, ignore=_fifos)
            os.mkfifo(place / "FIFO")
            arguments = self.arguments(unit, case, home)
            before = contents(place)
            code, said, seconds = self.in_child(["jaxae", *arguments], place, limit=60)
            return judged_command(code, said, seconds, before, contents(place))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def arguments(self, unit: str, case: str, home: pathlib.Path) -> list[str]:
        """The command line of a case."""
        command, option, *keyword = unit.split(" ")
        words = self.command(command, home)
        text = TEXTS.get(case, "")
        if case == "given":
            return [*words, option]
        if keyword:
            model, key = keyword[0].split("/")
            named = ["--prior", model] if command == "train-prior" else ["--model", model]
            return [*words, *named, "--set", f"{key}={text}"]
        if not option.startswith("-"):
            words[1] = text
            return words
        if option in words:
            words[words.index(option) + 1] = text
            return words
        return [*words, f"{option}={text}" if option.startswith("--") else f"{option}{text}"]

    def in_child(self, words: list[str], place: pathlib.Path, limit: float = 300) -> tuple[int, str, float]:
        """Exit code (negative: signal; 1000: stopped at the limit), standard error, seconds; by a fork of this one."""
        import signal
        import time

        import jaxae.jobs
        import jaxae.report  # noqa: F401  what every command imports is there before the fork
        from jaxae.cli import main

        log = place.parent / f"{place.name}.log"
        started = time.monotonic()
        child = os.fork()
        if not child:
            try:
                os.chdir(place)
                for stream, name in ((1, os.devnull), (2, log)):
                    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                main(words[1:], prog_name="jaxae")
            except SystemExit as error:
                sys.stderr.flush()
                os._exit(error.code if isinstance(error.code, int) else 1)
            except BaseException:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
            os._exit(1)
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            seconds = time.monotonic() - started
            if done:
                break
            if seconds > limit:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return 1000, log.read_text(errors="replace"), seconds
            time.sleep(0.02)
        said = log.read_text(errors="replace")
        log.unlink()
        return os.waitstatus_to_exitcode(status), said, seconds


class Files(Commands):
    """The files that jaxae reads back, each damaged in every way, under each command that reads them."""

    GOOD: ClassVar[dict[str, list[str]]] = {
        **{name: Commands.GOOD[name] for name in ("calibrate", "sample", "train-prior", "report", "info")},
        "score": ["--detector", "detect", "--data", "{home}/table.npz", "--part", "test", "--out", "made.csv"],
        "detect": ["--data", "{home}/table.npz", "--epochs", "1", "--out", "detect", "--resume"],
        "train": ["--data", "{home}/table.npz", "--epochs", "1", "--out", "train", "--resume"],
    }

    def prepare(self, home: pathlib.Path) -> None:
        """The runs of the other family."""
        if not (home / "runs").is_dir():
            Commands().prepare(home)

    def units(self, home: pathlib.Path) -> list[str]:
        """`command run/file` for each file of the run that the command reads."""
        names = []
        for command in self.GOOD:
            run = "train" if command in ("train", "sample", "train-prior") else "detect"
            for path in sorted((home / "runs" / run).rglob("*")):
                kept = path.suffix in (".json", ".jsonl", ".npz", ".csv", ".bin")
                if path.is_file() and kept and "checkpoints" not in path.parts:
                    names.append(f"{command} {path.relative_to(home / 'runs')}")
        return names

    def plan(self, unit: str, home: pathlib.Path) -> list[str]:
        """The ways to damage a file."""
        path = home / "runs" / unit.split(" ", 1)[1]
        ways = ["removed", "empty", "truncated", "noise", "text", "nested", "a_list", "folder"]
        if path.suffix == ".json":
            ways += [f"{'/'.join(key)}={name}" for key in _keys(json.loads(path.read_text())) for name in _OTHERS]
        if path.suffix == ".npz":
            with np.load(path) as file:
                ways += [f"{key}={name}" for key in file.files for name in _OTHER_ARRAYS]
        return ways

    def run(self, unit: str, case: str, home: pathlib.Path) -> str:
        """Damage the file in a copy of the runs, and run the command."""
        import shutil
        import tempfile

        command, file = unit.split(" ", 1)
        place = pathlib.Path(tempfile.mkdtemp(dir=home))
        try:
            shutil.copytree(home / "runs", place, dirs_exist_ok=True)
            damage(place / file, case)
            before = contents(place)
            code, said, seconds = self.in_child(["jaxae", *self.command(command, home)], place, limit=60)
            return judged_command(code, said, seconds, before, contents(place))
        finally:
            shutil.rmtree(place, ignore_errors=True)


_OTHERS: dict[str, Any] = {
    "gone": None,
    "null": None,
    "text": "nope",
    "number": -1,
    "fraction": 2.5,
    "list": [],
    "numbers": [1, 2, 3],
    "object": {},
    "true": True,
    "nan": float("nan"),
    "huge": 10**30,
}
_OTHER_ARRAYS = ("gone", "texts", "no_rows", "no_axes", "more_axes", "nan", "complex", "negative", "half")


def _keys(value: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys of an object, two levels deep."""
    if not isinstance(value, dict) or len(above) > 1:
        return []
    return [key for name, part in value.items() for key in ((*above, name), *_keys(part, (*above, name)))]


def damage(path: pathlib.Path, way: str) -> None:
    """Damage one file in a named way."""
    content = path.read_bytes()
    whole: dict[str, bytes] = {
        "empty": b"",
        "truncated": content[: len(content) // 2],
        "noise": np.random.default_rng(1).bytes(500),
        "text": b"a,b\n1,2\n",
        "nested": b"[" * 100_000,
        "a_list": b"[1, 2]",
    }
    if way in whole:
        path.write_bytes(whole[way])
        return
    if way in ("removed", "folder"):
        path.unlink()
        if way == "folder":
            path.mkdir()
        return
    key, _, name = way.rpartition("=")
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = dict(file)
        x = arrays.pop(key)
        others = {
            "texts": np.full(x.shape, "a"),
            "no_rows": x[:0] if x.ndim else x.reshape(1)[:0],
            "no_axes": x.ravel()[0] if x.size else np.zeros(()),
            "more_axes": x[None],
            "nan": np.full(x.shape, np.nan),
            "complex": np.zeros(x.shape, complex),
            "negative": np.full(x.shape, -1),
            "half": x[: len(x) // 2] if x.ndim else x,
        }
        np.savez(path, **(arrays if name == "gone" else {**arrays, key: others[name]}))
        return
    value = json.loads(content)
    *above, last = key.split("/")
    owner = value
    for part in above:
        owner = owner[part]
    if name == "gone":
        del owner[last]
    else:
        owner[last] = _OTHERS[name]
    path.write_text(json.dumps(value))


def _fifos(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "FIFO"]


def contents(place: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below a place, with its size and time of change."""
    found = {}
    for path in sorted(place.rglob("*")):
        facts = path.lstat()
        found[str(path.relative_to(place))] = (0, 0) if path.is_dir() else (facts.st_size, facts.st_mtime_ns)
    return found


def judged_command(code: int, said: str, seconds: float, before: dict, after: dict) -> str:
    """What a command's end is worth: "accepted", "refused", or what is wrong with it."""
    lines = [line for line in said.strip().splitlines() if line.strip()]
    errors = [line for line in lines if not line.startswith("note: ")]
    last = errors[-1][:200] if errors else ""
    if code == 1000:
        return f"hung for {seconds:.0f} s: {last}"
    if code not in (0, 2):
        return f"exit code {code}: {last}"
    if "Traceback" in said:
        return f"a traceback: {last}"
    if code == 0:
        return f"accepted: {' '.join(lines)[:160]}"
    if len(errors) != 1:
        return f"{len(errors)} lines of error: {' | '.join(errors)[:200]}"
    if len(errors[0]) > LONGEST:
        return f"a message of {len(errors[0])} characters: {last}"
    if not errors[0].startswith("jaxae: "):
        return f"no line of ours: {last}"
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        return f"refused, but changed {', '.join(changed)[:100]}: {last}"
    if seconds > 10:
        return f"refused only after {seconds:.0f} s: {last}"
    return f"refused: {last}"


FAMILIES: dict[str, Any] = {"functions": Functions(), "commands": Commands(), "files": Files()}


def serve(family: str, home: pathlib.Path) -> None:
    """Plan and run the units that arrive on standard input, in a folder of its own."""
    import tempfile
    import warnings

    out = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp(dir=home))
    member = FAMILIES[family]
    for line in sys.stdin:
        request = json.loads(line)
        if "cases" not in request:
            print(json.dumps({"plan": member.plan(request["unit"], home)}), file=out)
            member.release()
        for case in request.get("cases", ()):
            print(json.dumps({"begin": case, "patience": member.patience}), file=out)
            print(json.dumps({"case": case, "answer": member.run(request["unit"], case, home)}), file=out)
        member.release()
        print(json.dumps({"done": True}), file=out)


if __name__ == "__main__":
    serve(sys.argv[1], pathlib.Path(sys.argv[2]))
