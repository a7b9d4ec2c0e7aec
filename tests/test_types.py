"""The contracts as a type checker sees them: a protocol for each function, and functions of every make that fit."""

import functools
import importlib.util
import pathlib
import typing

import jax
import jax.numpy as jnp
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, types
from jaxae.model import autoencoder
from jaxae.types import Batch, Network

PARTS = (
    types.Network,
    types.StatefulNetwork,
    types.Prior,
    types.Bottleneck,
    types.Estimator,
    types.Likelihood,
    types.Autoencoder,
    types.Objective,
    types.Scorer,
    types.Threshold,
    types.Detector,
)
NOT_FUNCTIONS = {"num_codes", "num_params", "binary", "likelihood", "frozen", "reads", "estimator", "name"}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_function_of_a_part_has_a_documented_protocol(part):
    for name, hint in typing.get_type_hints(part).items():
        protocols = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None)]
        if name in NOT_FUNCTIONS:
            continue
        assert all(getattr(kind, "_is_protocol", False) and kind.__doc__ for kind in protocols), name
        assert f"{name}:" in part.__doc__


def test_the_marker_for_type_checkers_is_in_the_package():
    package = pathlib.Path(importlib.util.find_spec("jaxae").origin).parent
    assert (package / "py.typed").is_file()


def double(scale, params, x, condition=None):
    return scale * x


@pytest.mark.parametrize(
    "apply",
    [
        lambda params, x, condition=None: 2 * x,
        functools.partial(double, 2),
        jax.jit(functools.partial(double, 2)),
        jax.checkpoint(functools.partial(double, 2)),
    ],
    ids=["lambda", "partial", "jitted", "checkpointed"],
)
def test_functions_of_every_make_are_parts(apply):
    assert isinstance(apply, types.NetworkApply)
    encoder = Network(lambda rng, x, condition=None: (), apply)
    model = autoencoder(encoder, bottlenecks.identity(), networks.identity, likelihoods.gaussian())
    objective = objectives.penalized(
        objectives.elbo(model), "size", jax.jit(lambda p, s, r, b, o: (o.code.latent**2).sum(-1)), 1.0
    )
    params, state = objective.init(jax.random.key(0), Batch(jnp.ones((3, 5))))
    metrics = objective.apply(params, state, None, Batch(jnp.ones((3, 5))), 0)[1][2]
    assert metrics["size"].tolist() == [20.0] * 3
