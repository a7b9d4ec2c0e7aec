"""Latent scores against scikit-learn: neighbours, Mahalanobis distance, shrinkage."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.covariance import OAS, EmpiricalCovariance, LedoitWolf
from sklearn.neighbors import NearestNeighbors

from jaxae import bottlenecks, likelihoods, networks, scoring
from jaxae.model import autoencoder
from jaxae.numerics import neighbours
from jaxae.numerics.neighbours import nearest_rows
from jaxae.scoring.scores import latent
from jaxae.scoring.scores.covariance import shrunk_covariance, whitening
from jaxae.types import Batch

RNG = np.random.default_rng(0)
BANK = np.float32(RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6)) + 5)
QUERIES = np.float32(RNG.normal(size=(40, 6)) * 3 + 5)


def found(k=4, weight=None):
    return nearest_rows(jnp.asarray(QUERIES), jnp.asarray(BANK), k, weight)


@pytest.mark.parametrize("chunk_bytes", [4 * 300 * 7, 2**22])
def test_neighbours_are_scikit_learns(chunk_bytes, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", chunk_bytes)
    distances, index = NearestNeighbors(n_neighbors=4).fit(BANK).kneighbors(QUERIES)
    got = found()
    np.testing.assert_allclose(got[0], distances, rtol=1e-5)
    np.testing.assert_array_equal(got[1], index)
    rows = jax.jit(jax.vmap(lambda q: nearest_rows(q[None], jnp.asarray(BANK), 4)))(QUERIES)
    np.testing.assert_allclose(rows[0][:, 0], distances, rtol=1e-5)


def test_a_row_is_at_no_distance_from_itself_and_weight_0_takes_it_away():
    bank = jnp.asarray(BANK) + 1000  # far from the origin, where |b|^2 - 2 q.b keeps few digits
    distance, index = nearest_rows(bank[:5], bank, 1)
    assert distance.tolist() == [[0.0]] * 5
    assert index[:, 0].tolist() == [0, 1, 2, 3, 4]
    weight = jnp.ones(300).at[:100].set(0)
    expected, _ = NearestNeighbors(n_neighbors=4).fit(BANK[100:]).kneighbors(QUERIES)
    got = found(weight=weight)
    np.testing.assert_allclose(got[0], expected, rtol=1e-5)
    assert int(got[1].min()) >= 100
    alone = nearest_rows(jnp.zeros((1, 6)), jnp.asarray(BANK), 2, jnp.zeros(300).at[7].set(1))
    assert alone[1][0, 0] == 7
    assert alone[0][0, 1] == jnp.inf


def test_row_by_row_scoring_keeps_the_chunks():
    bank = jnp.zeros((20_000, 3))
    program = jax.jit(jax.vmap(lambda q: nearest_rows(q[None], bank, 2)[0])).lower(jnp.zeros((2000, 3)))
    memory = program.compile().memory_analysis()
    assert memory.temp_size_in_bytes < 10 * neighbours.CHUNK_BYTES < 4 * 2000 * 20_000


def test_an_ensembles_banks_are_its_members_own():
    banks = jnp.stack([jnp.asarray(BANK), jnp.asarray(BANK) + 1])
    rows = jax.jit(jax.vmap(lambda q: jax.vmap(lambda bank: nearest_rows(q[None], bank, 2)[0][0])(banks)))(QUERIES)
    for member in range(2):
        np.testing.assert_allclose(rows[:, member], nearest_rows(jnp.asarray(QUERIES), banks[member], 2)[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("shrinkage", "estimator"), [("ledoit_wolf", LedoitWolf()), ("oas", OAS()), (0.0, EmpiricalCovariance())]
)
def test_mahalanobis_is_scikit_learns(shrinkage, estimator):
    for rows in (BANK, BANK[:9]):
        if len(rows) < 20 and shrinkage == 0.0:
            continue  # nearly singular: no second implementation agrees in float32
        estimator.fit(rows.astype(np.float64))
        scorer = latent.mahalanobis(latent.inputs, shrinkage)
        fitted = scorer.fit((), (), Batch(rows))
        np.testing.assert_allclose(
            scorer.apply(fitted, None, Batch(QUERIES)), estimator.mahalanobis(QUERIES.astype(np.float64)), rtol=2e-3
        )
        mean, covariance, amount = shrunk_covariance(jnp.asarray(rows), shrinkage)
        np.testing.assert_allclose(mean, estimator.location_, rtol=1e-5)
        np.testing.assert_allclose(covariance, estimator.covariance_, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(amount, getattr(estimator, "shrinkage_", 0.0), rtol=1e-3)


def test_weights_leave_rows_out():
    weight = jnp.ones(300).at[::3].set(0)
    spoilt = jnp.where(weight[:, None] > 0, jnp.asarray(BANK), jnp.nan)
    kept = BANK[np.asarray(weight) > 0]
    for name in ("ledoit_wolf", "oas"):
        chex.assert_trees_all_close(
            *(jax.jit(shrunk_covariance, static_argnums=1)(*given) for given in ((spoilt, name, weight), (kept, name))),
            rtol=1e-4,
        )


def test_degenerate_features_give_finite_scores():
    flat = np.zeros((10, 4), np.float32)
    flat[:, 0] = np.arange(10)
    for rows in (flat, np.ones((10, 4), np.float32)):
        for shrinkage in ("ledoit_wolf", "oas", 0.0):
            scorer = latent.mahalanobis(latent.inputs, shrinkage)
            got = jax.jit(lambda rows, s=scorer: s.apply(s.fit((), (), Batch(rows)), None, Batch(rows)))(rows)
            assert bool(jnp.isfinite(got).all())
    assert bool(jnp.isfinite(whitening(jnp.zeros((3, 3)))).all())


def test_encoded_features_are_the_models_latents():
    layer = bottlenecks.vector_quantizer(4)
    model = autoencoder(networks.identity, layer, networks.identity, likelihoods.gaussian())
    tokens = jnp.asarray(QUERIES).reshape(40, 3, 2)
    params, state = jax.jit(model.init)(jax.random.key(0), tokens)
    features = latent.encoded(model)
    got = features(params, state, Batch(tokens))
    np.testing.assert_array_equal(got, model.encode(params, state, tokens).latent.reshape(40, 6))
    # chunks of the reference: the same rows as in one piece
    latent_rows, weight = latent.reference_features(features, params, state, Batch(tokens))
    np.testing.assert_allclose(latent_rows, got, rtol=1e-6)
    assert weight.shape == (40,)


def test_knn_in_latent_space_through_the_detector(monkeypatch):
    monkeypatch.setattr(latent, "CHUNK", 64)  # 300 rows: the last chunk is padded
    model = autoencoder(networks.mlp(3), bottlenecks.identity(), networks.mlp(6), likelihoods.gaussian())
    params, state = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 6)))
    bank = np.asarray(model.encode(params, state, jnp.asarray(BANK)).latent)
    queries = np.asarray(model.encode(params, state, jnp.asarray(QUERIES)).latent)
    distances, _ = NearestNeighbors(n_neighbors=3).fit(bank).kneighbors(queries)
    for reduce, expected in (("kth", distances[:, 2]), ("mean", distances.mean(1))):
        scorer = latent.knn(latent.encoded(model), 3, reduce)
        detect = scoring.detector(scorer, scoring.thresholds.quantile(0.9))
        fitted = detect.fit(params, state, jnp.asarray(BANK), jnp.asarray(QUERIES))
        np.testing.assert_allclose(jax.jit(detect.apply)(fitted, QUERIES).score, expected, rtol=1e-4)
        np.testing.assert_allclose(fitted.scorer["bank"], bank, rtol=1e-5, atol=1e-6)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        latent.knn(latent.inputs, 0)
    with pytest.raises(ValueError, match="unknown shrinkage 'lw'; there are ledoit_wolf, oas"):
        latent.mahalanobis(latent.inputs, "lw")
    with pytest.raises(ValueError, match="give fit a reference"):
        latent.knn(latent.inputs).fit((), (), None)
    weight = jnp.array([1, 1, 1, 1, 0, 0.0])
    with pytest.raises(ValueError, match="at least 5 reference rows; got 4 that count, of 6"):
        latent.knn(latent.inputs, 5).fit((), (), Batch(jnp.zeros((6, 2)), weight=weight))
    with pytest.raises(ValueError, match=r"one row an example, \[B, D\]; got \(3, 2, 2\)"):
        latent.knn(lambda params, state, batch: batch.x, 1).fit((), (), Batch(jnp.zeros((3, 2, 2))))
    with pytest.raises(ValueError, match="queries are 6 wide, the bank 5"):
        nearest_rows(jnp.zeros((1, 6)), jnp.zeros((9, 5)))
    with pytest.raises(ValueError, match="between 1 and the number of rows of the bank, 9; got 10"):
        nearest_rows(jnp.zeros((1, 5)), jnp.zeros((9, 5)), 10)
