"""Parts that are frozen stay to the bit: no gradient, no decay, no moving averages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, train, transforms
from jaxae.model import autoencoder
from jaxae.types import Batch

ROWS = jax.random.normal(jax.random.key(0), (16, 5))
OPTIMIZER = optax.adamw(1e-2, weight_decay=0.1)


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))


def objective_of(layer=None, encoder=None):
    layer = bottlenecks.vector_quantizer(6, learn="gradient") if layer is None else layer
    encoder = networks.mlp(8, 4) if encoder is None else encoder
    return objectives.elbo(autoencoder(encoder, layer, networks.mlp(8, 5), likelihoods.gaussian()))


def moves(objective, num_steps=5):
    """How far each part of the model moves, of its parameters and its state: `{name: (parameters, state)}`."""
    first = train.init_state(objective, OPTIMIZER, jax.random.key(1), ROWS)
    step, last = jax.jit(train.build_step(objective, OPTIMIZER)), first
    for _ in range(num_steps):
        last, _ = step(last, ROWS)

    def far(a, b):
        gaps = [float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
        return max(gaps, default=0.0)

    before, after = first.params["model"], last.params["model"]
    return {name: far(before[name], after[name]) for name in before}, far(first.state, last.state)


@pytest.mark.parametrize("part", ["encoder", "bottleneck", "decoder"])
def test_nothing_of_a_frozen_part_moves_under_weight_decay(part):
    params, state = moves(objectives.partial(objective_of(), part))
    assert params[part] == 0
    assert all(distance > 1e-3 for name, distance in params.items() if name != part)
    assert (state == 0) == (part == "bottleneck")


def test_a_frozen_part_stays_inside_of_combinators():
    frozen = objectives.partial(objective_of(), "encoder")
    wrapped = objectives.prepared(frozen, transforms.gaussian_noise(0.1))
    wrapped = objectives.penalized(wrapped, "norm", objectives.latent_norm, 0.1)
    wrapped = objectives.trimmed(wrapped, 0.1)
    assert moves(wrapped)[0]["encoder"] == 0
    both = objectives.combined([frozen, objectives.partial(objective_of(), "encoder", "decoder")], [1.0, 1.0])
    assert both.frozen == ("encoder",)
    params, _ = moves(both)
    assert params["encoder"] == 0
    assert params["decoder"] > 1e-3
    nested = objectives.partial(frozen, "decoder")
    assert sorted(nested.frozen) == ["decoder", "encoder"]


def test_batch_statistics_of_a_frozen_encoder_stay():
    encoder = networks.from_linen(Normalised())
    assert moves(objective_of(encoder=encoder))[1] > 1e-3
    params, state = moves(objectives.partial(objective_of(bottlenecks.identity(), encoder), "encoder"))
    assert (params["encoder"], state) == (0, 0)
    assert params["decoder"] > 1e-3


def test_a_trained_book_behind_a_frozen_encoder_stays_where_it_is_asked_to():
    ema = bottlenecks.vector_quantizer(6)
    assert moves(objectives.partial(objective_of(ema), "encoder"))[1] > 0.1
    assert moves(objectives.partial(objective_of(ema), "encoder", "bottleneck"))[1] == 0
    assert moves(objectives.partial(objective_of(bottlenecks.frozen(ema)), "encoder"))[1] == 0
    params, state = moves(objective_of(bottlenecks.frozen(ema)))
    assert state == 0
    assert params["encoder"] > 1e-3


def test_a_frozen_bottleneck_takes_trained_arrays_and_gives_their_codes():
    layer, h = bottlenecks.vector_quantizer(6, learn="gradient"), jax.random.normal(jax.random.key(0), (8, 4))
    params, state = layer.init(jax.random.key(1), h)
    _, state = layer.apply(params, state, jax.random.key(2), h)
    still = bottlenecks.frozen(layer)
    code, new = still.apply(params, state, jax.random.key(3), h)
    jax.tree.map(np.testing.assert_array_equal, new, state)
    np.testing.assert_array_equal(code.latent, layer.apply(params, state, jax.random.key(3), h)[0].latent)

    def charge(params, h):
        return still.apply(params, state, jax.random.key(3), h)[0].penalty.sum()

    book, to_h = jax.grad(charge, (0, 1))(params, h)
    assert float(jnp.abs(book["codebook"]).max()) == 0
    assert float(jnp.abs(to_h).max()) > 0


def test_an_unknown_part_is_refused():
    objective = objectives.partial(objective_of(), "head")
    params, state = objective.init(jax.random.key(0), Batch(ROWS))
    with pytest.raises(ValueError, match=r"no part \['head'\]"):
        objective.apply(params, state, None, Batch(ROWS), 0)
