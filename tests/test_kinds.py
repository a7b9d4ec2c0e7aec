"""Arguments of another kind, range or shape: a right result, or a ValueError in one line, at every public constructor.

The rooms' tables run in a process of its own: the annotations' check, which the tests have, would answer first.
"""

import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = """
import inspect
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import bottlenecks, likelihoods, networks, objectives, presets, priors
from jaxae.bottlenecks import diagnostics

warnings.simplefilter("ignore")
WRONG = [0, -1, 2.5, float("nan"), float("inf"), 10**20, None, "x", True, np.float32(5), np.int64(-3), np.asarray(0.5),
         [1], (), {}, np.zeros(0), np.array(["a"]), 1j]
model, objective = presets.vae((5,), latent_size=2)
quantizer = bottlenecks.vector_quantizer(4)
REQUIRED = dict(
    num_codes=4, bits=3, variables=2, classes=3, bottleneck=quantizer, depth=2, n=2, levels=(3, 3), k=2, sizes=(1, 2),
    encoder=networks.mlp(4), top=quantizer, local=quantizer, width=2, objective=objective, name="a",
    penalty=objectives.latent_norm, weight=1.0, critic=networks.mlp(1), reference=objectives.permuted, model=model,
    objectives=[objective], weights=[1.0], transform=lambda rng, batch: batch, gamma=1.0, num_samples=2, fraction=0.1,
    anomalies=np.ones((2, 5), np.float32), prior=priors.standard_normal(), num_classes=3, network=networks.mlp(4),
    num_components=2, mean=np.zeros(2, np.float32), scale=np.ones(2, np.float32),
)
# functions of arrays and of a batch are tested where they stand
OTHERS = {"exact_expectation", "warn_of_grey", "negative_log_likelihood", "log_weights", "squared_jacobian",
          "absolute_sum", "latent_norm", "decoder_norm", "latent_rows", "permuted", "targets", "fit_mixture",
          "fit_unigram", "identity_of"}
count, failures = 0, []


def attempt(label, call):
    global count
    count += 1
    try:
        call()
    except ValueError as error:
        if "\\n" in str(error) or len(str(error)) > 400:
            failures.append(f"{label}: {error}")
    except Exception as error:
        failures.append(f"{label}: {type(error).__name__}: {str(error)[:100]}")


def constructors(room):
    for name in room.__all__:
        make = getattr(room, name)
        if not name.islower() or not callable(make) or name in OTHERS:
            continue
        parameters = inspect.signature(make).parameters.values()
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        given = {p.name: REQUIRED[p.name] for p in named if p.default is p.empty}
        for parameter in named:
            for value in WRONG:
                attempt(f"{name}({parameter.name}={value!r})", lambda: make(**{**given, parameter.name: value}))


def inputs():
    wrong = [np.zeros((0, 4), np.float32), np.float32(1), np.ones(4), np.ones((2, 7)), np.ones((2, 0)),
             np.ones((2, 4), complex), np.array([["a"] * 4]), [[1.0] * 4], None]
    symbols = [np.ones((2, 4)), np.full((2, 4), -1), np.full((2, 4), 99), np.full((2, 4), 2**33), np.array(["a"]), None,
               [1], 0, np.ones((2, 4), bool)]
    masks = [np.ones(3), [[1, 0]], "x", np.ones(2, complex)]
    for name in ("identity", "top_k", "gaussian", "power_spherical", "vector_quantizer", "fsq", "bsq", "bernoulli",
                 "categorical", "latent_quantizer", "random_projection", "projected", "residual", "grouped", "nested"):
        layer, h = bottlenecks.BOTTLENECKS[name](), jnp.ones((2, 4))
        params, state = layer.init(jax.random.key(0), h)
        for value in wrong:
            shown = f"{type(value).__name__}{np.shape(value)}"
            attempt(f"{name}.init({shown})", lambda: layer.init(jax.random.key(0), value))
            attempt(f"{name}.apply({shown})", lambda: layer.apply(params, state, jax.random.key(0), value))
        for mask in masks:
            attempt(f"{name}.apply(mask={mask!r})", lambda: layer.apply(params, state, None, h, {"mask": mask}))
        for value in symbols if layer.lookup else ():
            attempt(f"{name}.lookup({value!r})", lambda: layer.lookup(params, state, value))
    for value in [*symbols, "x", 1j, np.zeros((0, 3)), np.zeros(0)]:
        for function in (diagnostics.usage, diagnostics.perplexity, diagnostics.dead_codes):
            attempt(f"{function.__name__}({value!r})", lambda: function(value))
        attempt(f"code_counts({value!r})", lambda: diagnostics.code_counts(value, 4))
        attempt(f"bits_per_example({value!r})", lambda: diagnostics.bits_per_example(np.ones((2, 3), int), value))


{"inputs": inputs}.get(sys.argv[1], lambda: constructors(globals()[sys.argv[1]]))()
print(*failures, sep="\\n")
print(count, "tried,", len(failures), "failed")
"""


@pytest.mark.parametrize("part", ["bottlenecks", "likelihoods", "objectives", "priors", "inputs"])
def test_wrong_kinds_end_in_one_line(part):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, part], env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    last = (done.stdout.strip().splitlines() or [done.stderr])[-1]
    assert last.endswith("tried, 0 failed"), done.stdout + done.stderr
    assert int(last.split()[0]) > 50
