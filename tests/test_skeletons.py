"""The examples to start a part of one's own from: each keeps its contract, its docstring runs, its options matter."""

import doctest
import importlib.util
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

from jaxae import presets
from jaxae.types import Batch

DEVELOPER = pathlib.Path(__file__).parents[1] / "docs" / "developer"
SKELETONS = sorted((DEVELOPER / "skeletons").glob("*.py"))
KINDS = {"bottleneck", "likelihood", "objective", "preset", "prior", "rule", "score", "transform"}


def loaded(kind):
    spec = importlib.util.spec_from_file_location(f"skeleton_{kind}", DEVELOPER / "skeletons" / f"{kind}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_one_for_each_kind_of_part_and_the_page_shows_it():
    assert {path.stem for path in SKELETONS} == KINDS
    page = (DEVELOPER / "adding.md").read_text("utf-8")
    assert set(re.findall(r'^--8<-- "developer/skeletons/(\w+)\.py"$', page, re.MULTILINE)) == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_its_check_passes(kind):
    checks = [value for name, value in vars(loaded(kind)).items() if name.startswith("test_")]
    assert len(checks) == 1
    checks[0]()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_its_example_runs(kind):
    result = doctest.testmod(loaded(kind))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_three_lines_of_the_page_run():
    page = (DEVELOPER / "adding.md").read_text("utf-8")
    exec(re.search(r"^```python\n(from .*?)^```", page, re.MULTILINE | re.DOTALL)[1], {})


X = jnp.array([[0.3, -2.0, 1.0], [4.0, 0.1, -0.2]])


def tables(shape=(3,)):
    model, _ = presets.ae(shape, latent_size=2)
    return model, model.init(jax.random.key(0), X)


def scored(scorer, params, state):
    return scorer.apply(scorer.fit(params, state, Batch(jnp.concatenate([X, 2 * X, X**2]))), None, Batch(X))


def loss_of(objective):
    params, state = objective.init(jax.random.key(0), Batch(X))
    return objective.apply(params, state, None, Batch(X), 0)[0]


VALUES = {  # kind, option: what it changes, as a function of its value; and two values
    ("bottleneck", "commitment"): (lambda m, v: m.signs(v).apply({}, (), None, X)[0].penalty, 0.25, 0.5),
    ("likelihood", "degrees"): (lambda m, v: m.student_t(v).log_prob(X, 0 * X), 3.0, 9.0),
    ("likelihood", "scale"): (lambda m, v: m.student_t(scale=v).log_prob(X, 0 * X), 1.0, 2.0),
    ("prior", "scale"): (lambda m, v: m.laplace_prior(v).log_prob((), X), 1.0, 2.0),
    ("transform", "spread"): (lambda m, v: m.random_gain(v)(jax.random.key(0), Batch(X)).x, 0.1, 0.3),
    ("objective", "weight"): (lambda m, v: loss_of(m.cycle(tables()[0], v)), 0.1, 1.0),
    ("score", "coverage"): (lambda m, v: scored(m.latent_deviation(tables()[0], v), *tables()[1]), 0.5, 0.9),
    ("rule", "k"): (lambda m, v: m.standard_deviations(v).fit(jnp.arange(9.0))["threshold"], 2.0, 3.0),
    ("preset", "scale"): (lambda m, v: loss_of(m.laplace_ae((3,), scale=v)[1]), 0.2, 1.0),
}


@pytest.mark.parametrize(("kind", "option"), sorted(VALUES))
def test_its_options_matter_and_are_checked(kind, option):
    value_of, first, second = VALUES[kind, option]
    module = loaded(kind)
    assert bool((value_of(module, first) != value_of(module, second)).any())
    with pytest.raises(ValueError, match=option):
        value_of(module, -1.0)
