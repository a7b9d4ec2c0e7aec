"""What a mask or a weight of 0 hides reaches no loss, no metric and no gradient, whatever it holds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, train
from jaxae.likelihoods import LIKELIHOODS
from jaxae.model import autoencoder
from jaxae.numerics import counted_target, without_padding_rows
from jaxae.objectives import OBJECTIVES
from jaxae.types import Batch

KEY = jax.random.key
OPTIMIZER = optax.sgd(1e-3)
# likelihoods of levels and of 0 and 1 take whole targets
X = (np.random.default_rng(0).random((6, 5)) > 0.5).astype(np.float32)
HIDDEN = np.random.default_rng(1).random((6, 5)) > 0.6
OVER_ANY_LIKELIHOOD = {
    "elbo": objectives.elbo,
    "iwae": lambda model: objectives.iwae(model, 2),
    "ada_gvae": objectives.ada_gvae,
    "trimmed": lambda model: objectives.trimmed(objectives.elbo(model), 0.3),
    "outlier_exposure": lambda model: objectives.outlier_exposure(objectives.elbo(model), 0.3),
    "decomposition": lambda model: objectives.decomposition(objectives.elbo(model), 0.3),
    "against_targets": lambda model: objectives.adversarial(
        objectives.elbo(model),
        "apart",
        networks.mlp(3, 1),
        objectives.targets,
        1.0,
        seen=objectives.decoded_draws(model),
    ),
}


def one_step(objective, batch):
    state = train.init_state(objective, OPTIMIZER, KEY(0), jax.tree.map(jnp.nan_to_num, batch))
    state, metrics = jax.jit(train.build_step(objective, OPTIMIZER))(state, batch)
    return state.params, state.state, metrics


def require_same(found, wanted):
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        assert np.isfinite(b).all(), path
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=str(path))


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
@pytest.mark.parametrize("name", sorted(OVER_ANY_LIKELIHOOD))
@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_a_masked_element_reaches_nothing(name, likelihood, fill):
    chosen = LIKELIHOODS[likelihood]()
    model = autoencoder(networks.mlp(4), bottlenecks.gaussian(), networks.mlp(5 * chosen.num_params), chosen)
    objective = OVER_ANY_LIKELIHOOD[name](model)
    x, hidden = (X, HIDDEN) if name != "ada_gvae" else (X.reshape(3, 2, 5), HIDDEN.reshape(3, 2, 5))

    def of(fill):
        return one_step(objective, Batch(x, target=np.where(hidden, fill, x), mask=1.0 - hidden))

    require_same(of(np.float32(fill)), of(np.float32(0)))


def rows_of(name, fill):
    """Six rows (or pairs) of which the last two weigh nothing and hold `fill`."""
    x = np.random.default_rng(0).normal(size=(6, 2, 5) if name == "ada_gvae" else (6, 5)).astype(np.float32)
    x[4:] = fill
    return Batch(x, weight=np.array([1, 2, 1, 1, 0, 0], np.float32))


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_a_row_of_weight_zero_reaches_nothing(name):
    """Replaced by 0, so that the figures are those of rows of zeros: of whole batches too, which read all rows."""
    objective = OBJECTIVES[name]()
    found, wanted = (one_step(objective, rows_of(name, fill)) for fill in (np.nan, 0.0))
    require_same(found, wanted)
    state = train.init_state(objective, OPTIMIZER, KEY(0), rows_of(name, 0.0))
    figures = [train.evaluator(objective, rows_of(name, fill), 1, batch_size=3)(state) for fill in (np.inf, 0.0)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)
    assert np.isfinite(list(figures[0].values())).all()


def test_a_row_of_weight_zero_may_have_an_infinite_loss():
    """A categorical likelihood gives NaN outside of its classes, though the row is finite."""
    chosen = likelihoods.categorical(3)
    model = autoencoder(networks.mlp(2), bottlenecks.identity(), networks.mlp(15), chosen)
    batch = Batch(X, target=np.where(np.arange(6)[:, None] > 3, 7, X.astype(int)), weight=(np.arange(6) < 4) * 1.0)
    *_, metrics = one_step(objectives.elbo(model), batch)
    assert all(np.isfinite(value) for value in metrics.values())


def test_what_is_replaced_and_what_stays():
    batch = Batch(
        jnp.array([[1.0, jnp.nan], [jnp.inf, 2.0]]),
        target=jnp.array([[1, 2], [3, 4]]),
        condition={"a": jnp.array([jnp.nan, jnp.nan])},
        weight=jnp.array([1.0, 0.0]),
    )
    new = without_padding_rows(batch)
    np.testing.assert_array_equal(new.x, [[1, np.nan], [0, 2]])
    np.testing.assert_array_equal(new.condition["a"], [np.nan, 0])
    assert new.target is batch.target or (new.target == batch.target).all()
    # a mask of one column stands for all of a row
    masked = counted_target(Batch(batch.x, mask=jnp.array([[0], [1]])))
    np.testing.assert_array_equal(masked, [[0, 0], [np.inf, 2]])
    assert counted_target(Batch(jnp.array([[3]]), mask=jnp.array([[0]]))).dtype == jnp.int32
