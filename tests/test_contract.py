"""A table of all members for each kind of part: every public constructor is in it, and every row keeps its contract."""

import inspect
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, presets, priors, testing, transforms
from jaxae.bottlenecks import BOTTLENECKS
from jaxae.likelihoods import LIKELIHOODS
from jaxae.model import autoencoder
from jaxae.objectives import OBJECTIVES
from jaxae.presets import CONDITIONAL, PRESETS
from jaxae.priors import PRIORS, SYMBOL_PRIORS
from jaxae.scoring import scores, thresholds
from jaxae.scoring.scores import SCORERS
from jaxae.scoring.thresholds import THRESHOLDS
from jaxae.transforms import TRANSFORMS
from jaxae.types import Batch, Bottleneck, Likelihood, Objective, Prior, Scorer, Threshold, Transform

KEY = jax.random.key
TINY = {"width": 8, "depth": 1, "heads": 2}


def rows(table):
    return pytest.mark.parametrize("name", sorted(table))


def constructors(room, kind, *inner):
    """Names of the functions that a room lists, and those of its named sub-rooms, which return this kind."""
    found = set()
    for prefix, module in [("", room), *((f"{name}.", getattr(room, name)) for name in inner)]:
        public = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
        for name in public:
            function = getattr(module, name)
            own = inspect.isfunction(function) and function.__module__.startswith(module.__name__)
            if own and typing.get_type_hints(function).get("return") is kind:
                found.add(prefix + name)
    return found


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (BOTTLENECKS, constructors(bottlenecks, Bottleneck)),
        (PRIORS | SYMBOL_PRIORS, constructors(priors, Prior)),
        (LIKELIHOODS, constructors(likelihoods, Likelihood)),
        (TRANSFORMS, constructors(transforms, Transform)),
        (OBJECTIVES, constructors(objectives, Objective)),
        (SCORERS, constructors(scores, Scorer, "latent", "explain")),
        (THRESHOLDS, constructors(thresholds, Threshold)),
    ],
    ids=lambda value: f"{len(value)}",
)
def test_a_table_names_every_constructor_of_its_room(table, names):
    assert names
    assert names <= set(table), sorted(names - set(table))


# lookups that end in products of floats: equal programs, compiled apart
ROUNDED = {"nested", "projected", "multi_scale", "hierarchical"}


@rows(BOTTLENECKS)
def test_bottleneck(name):
    testing.check_bottleneck(BOTTLENECKS[name](), exact=name not in ROUNDED)


@rows(PRIORS)
def test_prior(name):
    support = "circle" if name == "hypersphere" else "line"
    condition = jnp.ones((1, 3)) if name == "conditional_normal" else None
    testing.check_prior(PRIORS[name](), condition, support=support)


@rows(SYMBOL_PRIORS)
def test_prior_of_symbols(name):
    prior = SYMBOL_PRIORS[name](3, **(TINY if name in ("autoregressive", "masked") else {}))
    shapes = jax.eval_shape(lambda key: prior.init(key, jnp.zeros((1, 2), jnp.int32)), KEY(0))
    rng = np.random.default_rng(7)  # parameters unlike those at the start, where all symbols are alike
    params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), jnp.float32), shapes)
    # the masked one draws in an order of its own, of which its density is a mean
    testing.check_prior(prior, num_codes=3, params=params, follows=name != "masked")


@rows(LIKELIHOODS)
def test_likelihood(name):
    testing.check_likelihood(LIKELIHOODS[name]())


@rows(TRANSFORMS)
def test_transform(name):
    testing.check_transform(TRANSFORMS[name]())


@rows(OBJECTIVES)
def test_objective(name):
    pairs = Batch(jax.random.normal(KEY(0), (6, 2, 5))) if name == "ada_gvae" else None
    testing.check_objective(OBJECTIVES[name](), pairs, needs_key=name in ("iwae", "combined"))


@rows(PRESETS)
def test_preset(name):
    shape = (8, 8, 1) if name == "masked_ae" else (7,)
    labels = jnp.arange(8) % 10 if name in CONDITIONAL else None
    testing.check_preset(PRESETS[name], shape, labels)


@rows(SCORERS)
def test_scorer(name):
    encoder = networks.mlp(6, 4)
    model = autoencoder(encoder, bottlenecks.bernoulli(4), networks.mlp(6, 5), likelihoods.gaussian())
    x = jax.random.normal(KEY(0), (40, 5))
    init = jax.jit(jax.vmap(lambda key: model.init(key, x)))(jax.random.split(KEY(1), 3))
    params, state = init if name == "ensemble" else jax.tree.map(lambda leaf: leaf[0], init)
    # scores that are relative to what is usual for an input of that size do not rise with it
    size_matters = name not in ("relative", "complexity_normalised", "surprisal", "latent.knn", "latent.mahalanobis")
    testing.check_scorer(
        SCORERS[name](model, encoder),
        params,
        state,
        Batch(x),
        needs_key=name in ("bound", "averaged"),
        anomalies=20 * x if size_matters else None,
    )


@rows(THRESHOLDS)
def test_threshold(name):
    testing.check_threshold(THRESHOLDS[name]())


def test_model_refuses_a_decoder_of_the_wrong_width():
    likelihood = LIKELIHOODS["gaussian_learned"]()
    model = autoencoder(networks.mlp(2), BOTTLENECKS["identity"](), networks.mlp(5), likelihood)
    with pytest.raises(ValueError, match=r"2 parameter\(s\) per channel needs"):
        objectives.elbo(model).init(KEY(0), Batch(jnp.ones((3, 5))))


def test_presets_read_images_too():
    testing.check_preset(presets.vq_vae, (6, 5, 2), num_codes=16)
