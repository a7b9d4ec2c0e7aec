"""Networks with batch statistics and dropout: they train every way, and score deterministically."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxae import bottlenecks, likelihoods, networks, objectives, parallel, presets, scoring, testing, train
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.train import ensemble
from jaxae.types import Batch, Network, StatefulNetwork

KEY = jax.random.key
OPTIMIZER = optax.adam(1e-2)
ROWS = jax.random.normal(KEY(0), (32, 5)) + 2.0


class Linen(nn.Module):
    size: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(8)(x))
        return nn.Dense(self.size)(nn.Dropout(0.3, deterministic=not train)(nn.relu(x)))


class Nnx(nnx.Module):
    def __init__(self, inputs, size, rngs):
        self.layers = nnx.List([nnx.Linear(inputs, 8, rngs=rngs), nnx.Linear(8, size, rngs=rngs)])
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)

    def __call__(self, x):
        return self.layers[1](self.dropout(nnx.relu(self.norm(self.layers[0](x)))))


class Equinox(eqx.Module):
    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, inputs, size, key):
        one, two = jax.random.split(key)
        self.first, self.last = eqx.nn.Linear(inputs, 8, key=one), eqx.nn.Linear(8, size, key=two)
        self.norm = eqx.nn.BatchNorm(8, axis_name="batch", momentum=0.9, mode="batch")
        self.dropout = eqx.nn.Dropout(0.3)

    def __call__(self, x, state, *, key=None):
        x, state = self.norm(self.first(x), state)
        return self.last(self.dropout(jax.nn.relu(x), key=key)), state


MAKERS = {
    "linen": lambda inputs, size: networks.from_linen(Linen(size)),
    "nnx": lambda inputs, size: networks.from_nnx(lambda rngs: Nnx(inputs, size, rngs)),
    "equinox": lambda inputs, size: networks.from_equinox(
        lambda key: eqx.nn.make_with_state(Equinox)(inputs, size, key=key)
    ),
}
makers = pytest.mark.parametrize("name", sorted(MAKERS))


def model_of(name, bottleneck=None):
    make, width = MAKERS[name], 6 if bottleneck is None else 3
    return autoencoder(make(5, width), bottleneck or bottlenecks.gaussian(), make(3, 5), likelihoods.gaussian())


def trained(objective, num_steps=12):
    state = jax.jit(lambda key: train.init_state(objective, OPTIMIZER, key, ROWS))(KEY(1))
    step = train.build_step(objective, OPTIMIZER)
    return state, train.fit(step, state, shuffled(32, 16), num_steps, data=ROWS, chunk=6).state


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@makers
def test_the_contract_of_a_network_holds(name):
    network = MAKERS[name](6, 3)
    assert isinstance(network, StatefulNetwork)
    testing.check_network(network)


@makers
def test_training_moves_the_statistics_and_scores_do_not_depend_on_the_batch(name):
    model = model_of(name)
    first, last = trained(objectives.elbo(model))
    moved = [np.abs(a - b).max() for a, b in zip(leaves(first.state), leaves(last.state), strict=True)]
    assert min(moved) > 0
    params, state = last.params["model"], last.state["model"]
    scorer = scoring.reconstruction(model)
    score = jax.jit(lambda x: scorer.apply(scorer.fit(params, state, None), None, Batch(x)))
    whole = score(ROWS)
    for few in (ROWS[:7], 100 * ROWS, ROWS[:1]):
        rows = jnp.concatenate([ROWS[3:4], few])
        np.testing.assert_allclose(score(rows)[0], whole[3], rtol=1e-5)


@makers
def test_evaluation_with_a_key_draws_latents_alone(name):
    model = model_of(name, bottlenecks.identity())  # nothing but dropout is drawn
    _, last = trained(objectives.elbo(model), 6)
    params, state = last.params["model"], last.state["model"]
    plain = jax.jit(lambda s: model.apply(params, s, None, ROWS))
    keyed = jax.jit(lambda s, key: model.apply(params, s, key, ROWS))
    evaluated = networks.evaluated(state)
    output, same = keyed(evaluated, KEY(3))
    np.testing.assert_allclose(output.prediction, plain(state)[0].prediction, rtol=1e-5, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, same, evaluated)
    one, two = (keyed(state, KEY(seed))[0].prediction for seed in (3, 4))
    assert float(jnp.abs(one - two).max()) > 0.01  # dropout is on in training
    evaluate = train.evaluator(objectives.elbo(model), ROWS, final_step=6, batch_size=8)
    wanted = float(
        jax.jit(lambda s: objectives.elbo(model).apply({"model": params}, {"model": s}, None, Batch(ROWS), 0)[0])(
            state
        ).mean()
    )
    np.testing.assert_allclose(evaluate(last)["loss"], wanted, rtol=1e-5)


@makers
def test_an_ensemble_trains_in_one_vmap_as_its_members_alone(name):
    # a bias before a normalisation has no gradient but rounding, which Adam would blow up
    objective, optimizer = objectives.elbo(model_of(name)), optax.sgd(1e-3)
    states = ensemble.init_states(objective, optimizer, KEY(1), ROWS, 2)
    alone = ensemble.member(states, 1)
    many, one = jax.jit(ensemble.build_step(objective, optimizer)), jax.jit(train.build_step(objective, optimizer))
    for _ in range(2):
        (states, _), (alone, _) = many(states, ROWS), one(alone, ROWS)
    for a, b in zip(leaves(ensemble.member(states, 1).state), leaves(alone.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_multi_sample_bound_keeps_the_statistics_of_one_pass():
    model = model_of("linen")
    bound, single = objectives.iwae(model, 3), objectives.elbo(model)
    params, state = jax.jit(bound.init)(KEY(1), Batch(ROWS))
    key = jax.random.split(KEY(2), (1, 3))[0, 0]
    _, (_, many, _) = jax.jit(bound.apply)(params, state, KEY(2), Batch(ROWS), 0)
    _, (_, one, _) = jax.jit(single.apply)(params, state, key, Batch(ROWS), 0)
    for a, b in zip(leaves(many), leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_saved_detector_carries_the_statistics(tmp_path):
    model = model_of("linen")
    _, last = trained(objectives.elbo(model), 6)
    for scorer in (scoring.reconstruction(model), scoring.bound(model, num_samples=2)):
        detector = scoring.detector(scorer, scoring.thresholds.conformal(0.1))
        fitted = detector.fit(last.params["model"], last.state["model"], None, ROWS)
        path = tmp_path / str(id(scorer))
        scoring.save_detector(path, detector, fitted, ROWS[:1], platforms=("cpu",))
        wanted = jax.jit(detector.apply)(fitted, ROWS)
        np.testing.assert_allclose(scoring.load_detector(path).apply(ROWS).score, wanted.score, rtol=1e-5)
        few = jax.jit(detector.apply)(fitted, ROWS[:3])
        np.testing.assert_allclose(few.score, wanted.score[:3], rtol=1e-5)


def test_hierarchies_and_combinators_take_networks_with_state():
    inner = bottlenecks.nested(MAKERS["linen"](6, 4), bottlenecks.fsq((3, 3, 3, 3)), MAKERS["linen"](4, 6))
    layer = bottlenecks.hierarchical(inner, bottlenecks.identity())
    h = jax.random.normal(KEY(0), (6, 6))
    params, state = layer.init(KEY(1), h)
    _, new = layer.apply(params, state, KEY(2), h)
    assert max(np.abs(a - b).max() for a, b in zip(leaves(state), leaves(new), strict=True)) > 0
    one = networks.evaluated(state)
    code, same = jax.jit(layer.apply)(params, one, KEY(2), h)
    jax.tree.map(np.testing.assert_array_equal, same, one)
    np.testing.assert_allclose(code.latent, layer.apply(params, state, None, h)[0].latent, rtol=1e-5, atol=1e-6)
    labels = jax.nn.one_hot(jnp.arange(5), 5)
    for network in (networks.conditional(MAKERS["linen"](5, 3)), networks.shared_scale(MAKERS["linen"](5, 3))):
        testing.check_network(network, ROWS[:5], labels)


@pytest.mark.parametrize("name", ["vae", "vq_vae", "conditional_vae", "ae"])
def test_presets_take_encoders_and_decoders_with_state(name):
    widths = {"vae": 8, "vq_vae": 32, "conditional_vae": 16, "ae": 4}
    options = {"num_tokens": 2, "code_size": 16, "num_codes": 8} if name == "vq_vae" else {"latent_size": 4}
    parts = {"encoder": MAKERS["linen"](5, widths[name]), "decoder": MAKERS["linen"](4, 5)}
    _, objective = presets.PRESETS[name]((5,), **options, **parts)
    condition = jnp.arange(32) % 10 if name == "conditional_vae" else None
    batch = Batch(ROWS, condition=condition)
    params, state = jax.jit(objective.init)(KEY(1), batch)
    _, (_, new, _) = jax.jit(objective.apply)(params, state, KEY(2), batch, 0)
    for side in ("encoder", "decoder"):
        before, after = (leaves(s["model"]["networks"][side]) for s in (state, new))
        assert max(np.abs(a - b).max() for a, b in zip(before, after, strict=True)) > 0


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(3)(x))


class Normalising(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


def run(network, x=None):
    x = jnp.ones((2, 5)) if x is None else x
    return network.apply(network.init(KEY(0), x), x)


NORM = MAKERS["linen"](5, 6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: run(networks.from_linen(Dropping())), "networks.from_linen trains it"),
        (lambda: run(networks.from_linen(Normalising())), "batch_stats"),
        (lambda: model_of("linen").decode({}, jnp.ones((2, 3))), "decode needs the model's"),
        (lambda: bottlenecks.vamp(NORM), "vamp takes a network without state"),
        (lambda: bottlenecks.gaussian(flow=NORM), "the flow takes a network without state"),
        (lambda: presets.vamp_vae((5,), encoder=NORM), "vamp_vae takes"),
        (lambda: presets.factor_vae((5,), critic=NORM), "the critic takes"),
        (lambda: networks.local_autoregressive(NORM, likelihoods.bernoulli(), 3), "local_autoregressive takes"),
        (lambda: networks.from_equinox(lambda key: 3), "got int"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, words):
    with pytest.raises(ValueError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_pairs_and_mapped_steps_refuse_networks_with_state():
    model = model_of("linen")
    objective = objectives.ada_gvae(model)
    pairs = Batch(jnp.stack([ROWS, ROWS], 1))
    params, state = objective.init(KEY(0), pairs)
    with pytest.raises(ValueError, match="would never train"):
        objective.apply(params, state, KEY(1), pairs, 0)
    objective = objectives.elbo(model)
    state = train.init_state(objective, OPTIMIZER, KEY(0), ROWS)
    with pytest.raises(ValueError, match=r"parallel\.jit_step, whose batch is one"):
        parallel.pmap_step(train.build_step(objective, OPTIMIZER, "i"))(state, ROWS)
    one = jax.jit(train.build_step(objective, OPTIMIZER))(state, ROWS)[0]
    eight = parallel.jit_step(train.build_step(objective, OPTIMIZER), parallel.make_mesh())(state, ROWS)[0]
    for a, b in zip(leaves(one.state), leaves(eight.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_frozen_functions_have_nothing_that_trains():
    matrix = jax.random.normal(KEY(0), (5, 3))
    network = networks.frozen(lambda x: x @ matrix)
    assert network.init(KEY(1), ROWS) == ()
    np.testing.assert_allclose(network.apply((), ROWS), ROWS @ matrix, rtol=1e-5)
    told = networks.frozen(lambda x, condition: x + condition)
    np.testing.assert_array_equal(told.apply((), ROWS, ROWS), 2 * ROWS)
    _, last = trained(
        objectives.elbo(autoencoder(network, bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())), 6
    )
    assert last.params["model"]["encoder"] == ()


def test_modules_without_state_are_plain_networks():
    linear = eqx.nn.Linear(6, 3, key=KEY(0))
    for module in (linear, lambda key: eqx.nn.MLP(6, 3, 4, 1, key=key)):
        network = networks.from_equinox(module)
        assert isinstance(network, Network)
        if module is not linear:
            testing.check_network(network)
    params = networks.from_equinox(linear).init(KEY(5), jnp.ones((2, 6)))
    np.testing.assert_array_equal(params[".weight"], linear.weight)
    assert isinstance(networks.from_linen(nn.Dense(3)), Network)
