"""Detectors: rows that know nothing of each other, and any number of rows through one program."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import likelihoods, scoring, transforms
from jaxae.scoring import thresholds
from jaxae.types import Autoencoder, Batch, Code, CostTable, Output, Scorer


def unused(*_):
    raise AssertionError("scores call apply alone")


def mlp_model(size, hidden=33):
    """A one-hidden-layer autoencoder and its parameters, written out."""
    a, b = jax.random.split(jax.random.key(0))
    params = (jax.random.normal(a, (size, hidden)) / size**0.5, jax.random.normal(b, (hidden, size)) / hidden**0.5)

    def apply(params, state, rng, x, condition=None):
        z = jnp.tanh(x.reshape(x.shape[0], -1) @ params[0])
        return Output(Code(z, z[:, 0]), (z @ params[1]).reshape(x.shape)), state

    return Autoencoder(unused, apply, unused, unused, None, None, likelihoods.gaussian(1.0)), params


SHAPE = (7, 5, 3)
MODEL, PARAMS = mlp_model(7 * 5 * 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (90, *SHAPE)).astype(np.uint8)


def scaled(base):
    return scoring.prepared(base, transforms.scale_uint8())


SCORERS = {kind: scaled(scoring.reconstruction(MODEL, kind)) for kind in ("l1", "l2", "top_fraction", "nll")}
NOISY = scoring.prepared(scoring.reconstruction(MODEL, "l2"), transforms.gaussian_noise(0.2))
SCORERS["averaged"] = scoring.averaged(scaled(NOISY), 3)


def build(scorer, **options):
    detect = scoring.detector(scorer, thresholds.conformal(0.1), **options)
    fitted = detect.fit(PARAMS, (), None, IMAGES[:40])
    return detect, fitted, jax.jit(partial(detect.apply, fitted))


@pytest.mark.parametrize("name", SCORERS)
def test_a_score_depends_on_nothing_but_its_row(name):
    _, _, run = build(SCORERS[name])
    rng = np.random.default_rng(1)
    scores = {}
    for batch_size in (16, 37):  # one of them no multiple of anything a kernel likes
        scores[batch_size] = scoring.score_batches(run, IMAGES, batch_size).score
        for _ in range(3):  # other companions, other places, a subset: the same bits
            order = rng.permutation(90)[: rng.integers(1, 91)]
            moved = scoring.score_batches(run, IMAGES[order], batch_size).score
            np.testing.assert_array_equal(moved, scores[batch_size][order])
    np.testing.assert_allclose(scores[16], scores[37], rtol=1e-6)
    assert len(np.unique(scores[16])) == 90
    # extreme companions leave no trace either
    batch = np.stack([IMAGES[0], *[np.full(SHAPE, 255, np.uint8)] * 15])
    assert run(batch).score[0] == scores[16][0]


def test_batches_of_one_row_and_of_all_agree_to_rounding():
    _, _, run = build(SCORERS["l2"])
    everything = run(IMAGES[:24]).score
    alone = scoring.score_batches(run, IMAGES[:24], batch_size=1).score
    np.testing.assert_allclose(alone, everything, rtol=1e-6)


def test_one_program_for_all_batches():
    traces = []

    @jax.jit
    def run(x):
        traces.append(x.shape)
        return {"sum": x.sum(-1), "twice": 2 * x}

    x = np.arange(26, dtype=np.float32).reshape(13, 2)
    for size in (4, 13, 20):
        out = scoring.score_batches(run, x, size)
        assert isinstance(out["sum"], np.ndarray)
        np.testing.assert_array_equal(out["sum"], x.sum(-1))
        np.testing.assert_array_equal(out["twice"], 2 * x)
    assert traces == [(4, 2), (13, 2), (20, 2)]


def test_score_batches_takes_trees_and_refuses_nonsense():
    batch = Batch(np.ones((5, 2), np.float32), condition={"a": np.arange(5)})
    out = scoring.score_batches(lambda b: b.x.sum(-1) + b.condition["a"], batch, 2)
    assert out.tolist() == [2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        scoring.score_batches(lambda b: b, batch, 0)
    for rows in (np.zeros((0, 2)), Batch(np.ones((5, 2)), np.ones((4, 2))), np.float32(3), ()):
        with pytest.raises(ValueError, match="one and the same number of rows, at least 1; got"):
            scoring.score_batches(lambda b: b, rows, 2)


def test_fit_in_chunks_reads_each_set_where_it_belongs():
    shift = Scorer(lambda params, state, reference: reference.x.mean(), lambda mean, rng, batch: batch.x[:, 0] - mean)
    rule = thresholds.expected_cost(CostTable.binary(10, 1), 0.5)
    calibration, dev, labels = np.arange(10.0), np.array([4.0, 6, 8]), np.array([0, 1, 1])

    def column(values):
        return np.float32(values)[:, None]

    arguments = ({}, (), column([1.0, 3.0]), column(calibration), column(dev), labels)
    for chunk in (1, 4, 100):
        detect = scoring.detector(shift, rule, chunk=chunk)
        fitted = detect.fit(*arguments)
        assert fitted.scorer == 2
        assert fitted.threshold["threshold"] == 6 - 2
        np.testing.assert_array_equal(fitted.threshold["calibration"], calibration - 2)
        verdict = detect.apply(fitted, column([5, 6.5]))
        assert verdict.is_anomaly.tolist() == [False, True]
        assert verdict.action.tolist() == [0, 1]
        np.testing.assert_allclose(verdict.p_value, [6 / 11, 4 / 11])
    jitted = jax.jit(detect.fit)(*arguments)
    assert jitted.threshold["threshold"] == 4
    # dev's weights reach the rule: the anomaly at 6 does not exist
    weighted = detect.fit(*arguments[:4], Batch(column(dev), weight=np.float32([1, 0, 1])), labels)
    assert weighted.threshold["threshold"] == 8 - 2


def test_weight_plays_no_role_in_scores():
    detect, fitted, run = build(SCORERS["l2"])
    weighted = jax.jit(detect.apply)(fitted, Batch(IMAGES[:4], weight=jnp.zeros(4)))
    np.testing.assert_array_equal(weighted.score, run(IMAGES[:4]).score)


def test_maps_travel_with_the_verdict():
    _, _, run = build(SCORERS["l1"], with_map=True)
    verdict = run(IMAGES[:6])
    assert verdict.map.shape == (6, *SHAPE)
    np.testing.assert_allclose(verdict.map.mean((1, 2, 3)), verdict.score, rtol=1e-5)
    assert build(SCORERS["l1"])[2](IMAGES[:6]).map is None
    with pytest.raises(ValueError, match="this scorer has no map"):
        scoring.detector(SCORERS["l1"]._replace(map=None), thresholds.conformal(0.1), with_map=True)


def test_seeds_choose_the_draws():
    one, two, again = (build(SCORERS["averaged"], seed=seed)[2](IMAGES[:4]).score for seed in (0, 1, 0))
    np.testing.assert_array_equal(one, again)
    assert (one != two).all()


def test_detectors_vmap_over_models():
    detect = scoring.detector(SCORERS["l2"], thresholds.quantile(0.9))
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
    fitted = jax.vmap(lambda params: detect.fit(params, (), None, IMAGES[:10]))(members)
    verdicts = jax.vmap(detect.apply, (0, None))(fitted, IMAGES[:5])
    assert verdicts.score.shape == (2, 5)
    alone = detect.apply(detect.fit(PARAMS, (), None, IMAGES[:10]), IMAGES[:5])
    np.testing.assert_allclose(verdicts.score[0], alone.score, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x.astype(str), "must be real numbers; got text"),
        (lambda x: np.ma.array(x, mask=x > 0), "the mask of a masked array would be lost"),
        (lambda x: np.full(x.shape, "2026-01-01", "M8[D]"), "must be real numbers; got dates"),
        (lambda x: np.full(x.shape, None, object), "must be real numbers; got Python objects"),
        (lambda x: x[:0], "must have one number of rows, at least 1; got"),
        (lambda x: np.float32(1), "must have one number of rows, at least 1; got"),
    ],
)
def test_examples_of_another_kind_are_refused_wherever_a_detector_reads_them(make, message):
    norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
    x = np.linspace(0, 1, 60, dtype=np.float32).reshape(30, 2)
    labels = np.arange(30) % 2
    detect = scoring.detector(norm, scoring.thresholds.youden())
    fitted = detect.fit({}, {}, None, x, x, labels)
    for call in (
        lambda: detect.fit({}, {}, None, make(x), x, labels),
        lambda: detect.fit({}, {}, None, x, make(x), labels),
        lambda: detect.apply(fitted, make(x)),
        lambda: scoring.row_scores(norm)({}, make(x)),
    ):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 200


def test_a_seed_or_chunk_that_is_no_whole_number_is_refused_before_anything_is_fitted():
    norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
    with pytest.raises(ValueError, match="chunk must be at least 1; got 0"):
        scoring.detector(norm, scoring.thresholds.youden(), chunk=0)
    with pytest.raises(ValueError, match="seed must be a whole number of at most 4294967295; got 1000000"):
        scoring.detector(norm, scoring.thresholds.youden(), seed=10**40)
