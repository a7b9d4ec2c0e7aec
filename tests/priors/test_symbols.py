"""Priors over symbols: proper distributions, samples that follow them, one compiled scan, errors in one line."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxae import networks, objectives, train
from jaxae.data.batches import shuffled
from jaxae.priors import SYMBOL_PRIORS, autoregressive, fit_unigram, masked, uniform, unigram
from jaxae.priors.masked import remaining
from jaxae.priors.symbols import narrowed
from jaxae.types import Batch

KEY = jax.random.key
TINY = {"width": 8, "depth": 1, "heads": 2}
DEEP = {**TINY, "depth": 2}
LEARNED = ("autoregressive", "masked")
names = pytest.mark.parametrize("name", sorted(SYMBOL_PRIORS))


def every(num_codes, length):
    return jnp.array(list(itertools.product(range(num_codes), repeat=length)), jnp.int32)


def scattered(init, *arguments, scale=0.5):
    """Parameters unlike those at the start, where all symbols are alike; drawn on the host, which compiles nothing."""
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda key: init(key, *arguments), KEY(0))
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), jnp.float32), shapes)


def made(name, num_codes, symbols, **more):
    prior = SYMBOL_PRIORS[name](num_codes, **(TINY if name in LEARNED else {}), **more)
    return prior, scattered(prior.init, symbols)


@names
def test_probabilities_of_all_sequences_sum_to_one(name):
    symbols = every(3, 4).reshape(-1, 2, 2)  # of any shape
    prior, params = made(name, 3, symbols)
    log_prob = jax.jit(chex.assert_max_traces(prior.log_prob, n=1))(params, symbols)
    assert log_prob.shape == (81,)
    np.testing.assert_allclose(jnp.exp(log_prob).sum(), 1.0, rtol=1e-5)
    assert (float(log_prob.std()) > 0.1) == (name != "uniform")


@pytest.mark.parametrize("name", ["autoregressive", "unigram", "uniform"])
def test_samples_are_as_frequent_as_they_are_probable(name):
    symbols = every(3, 3)
    prior, params = made(name, 3, symbols)
    count = 20_000
    drawn = np.asarray(jax.jit(lambda k: prior.sample(params, k, jax.ShapeDtypeStruct((count, 3), jnp.int32)))(KEY(1)))
    assert drawn.dtype == np.int32
    seen = np.bincount(drawn @ [9, 3, 1], minlength=27)
    expected = count * np.exp(np.asarray(jax.jit(prior.log_prob)(params, symbols), np.float64))
    # chi-square with 26 degrees of freedom: 54.05 is exceeded once in a thousand
    assert ((seen - expected) ** 2 / expected).sum() < 54.05


def test_masked_samples_follow_the_orders_in_which_they_are_drawn():
    symbols = every(3, 2)
    # the choice is random where its noise drowns what is sure: each of the two orders half of the time
    prior, params = made("masked", 3, symbols, num_steps=2, choice_temperature=1e6)
    apply = jax.jit(networks.transformer(4, 3, causal=False, **TINY).apply)
    forward = jax.jit(prior.log_prob)(params, symbols)

    def one(place, rows):
        return jax.nn.log_softmax(apply(params, rows))[jnp.arange(9), place, symbols[:, place]]

    backward = one(1, jnp.full((9, 2), 3)) + one(0, symbols.at[:, 0].set(3))
    expected = 20_000 * np.asarray((jnp.exp(forward) + jnp.exp(backward)) / 2)
    like = jax.ShapeDtypeStruct((20_000, 2), jnp.int32)
    drawn = np.asarray(jax.jit(lambda k: prior.sample(params, k, like))(KEY(1)))
    seen = np.bincount(drawn @ [3, 1], minlength=9)
    assert ((seen - expected) ** 2 / expected).sum() < 26.12  # 8 degrees of freedom, once in a thousand
    keys = jax.random.split(KEY(2), 4000)
    bound = jax.jit(jax.vmap(lambda k: prior.bound(params, k, symbols)))(keys)
    wanted = (forward + backward) / 2
    np.testing.assert_allclose(bound.mean(0), wanted, atol=6 * float(bound.std(0).max()) / 4000**0.5)


def test_drawing_from_the_cache_is_drawing_from_the_whole_prefix():
    prior = autoregressive(5, num_classes=2, top_k=3, temperature=0.8, **DEEP)
    symbols, label = jnp.zeros((6, 4), jnp.int32), jnp.array([0, 1] * 3)
    params = scattered(prior.init, symbols, label)
    sample = jax.jit(chex.assert_max_traces(prior.sample, n=1))
    whole = jax.jit(networks.transformer(6, 5, num_classes=2, **DEEP).apply)
    for seed in (1, 2):
        rows = np.zeros((6, 4), np.int32)
        for t, key in enumerate(jax.random.split(KEY(seed), 4)):
            before = jnp.pad(jnp.asarray(rows)[:, :-1], ((0, 0), (1, 0)), constant_values=5)
            logits = whole(params, before, label)[:, t]
            rows[:, t] = jax.random.categorical(key, narrowed(logits, 0.8, 3))
        np.testing.assert_array_equal(sample(params, KEY(seed), symbols, label), rows)


def test_a_step_gives_the_logits_of_the_whole_in_half_precision_too():
    for dtype, close in ((jnp.float32, 1e-5), (jnp.bfloat16, 0.1)):
        network = networks.transformer(4, 3, dtype=dtype, **DEEP)
        params = scattered(lambda rng, network=network: network.init(rng, 5), scale=0.3)
        symbols = jax.random.randint(KEY(1), (2, 5), 0, 4)
        whole, cache = jax.jit(network.apply)(params, symbols), network.start(params, 2)
        step = jax.jit(network.step)
        assert whole.dtype == jnp.float32
        for t in range(5):
            logits, cache = step(params, cache, symbols[:, t], t)
            np.testing.assert_allclose(logits, whole[:, t], rtol=close, atol=close)


def test_a_causal_transformer_reads_no_later_symbol():
    for causal in (True, False):
        network = networks.transformer(4, 3, causal=causal, **DEEP)
        params = scattered(lambda rng, network=network: network.init(rng, 5))
        symbols = jnp.array([[0, 1, 2, 3, 0]])
        apply = jax.jit(network.apply)
        change = apply(params, symbols) - apply(params, symbols.at[0, 3].set(1))
        assert (float(jnp.abs(change[:, :3]).max()) == 0) == causal
        assert float(jnp.abs(change[:, 3:]).max()) > 0


def test_narrowing_by_hand():
    p = jnp.array([[0.1, 0.4, 0.2, 0.3]])

    def kept(**how):
        return np.flatnonzero(np.isfinite(np.asarray(narrowed(jnp.log(p), **how))[0])).tolist()

    assert kept() == [0, 1, 2, 3]
    assert kept(top_k=1) == [1]
    assert kept(top_k=9) == [0, 1, 2, 3]
    assert kept(top_p=0.4) == [1]
    assert kept(top_p=0.41) == [1, 3]
    assert kept(top_p=0.71) == [1, 2, 3]
    # of the three that are left 0.4 / 0.9 is 0.44, the two first are 0.78
    assert kept(top_k=3, top_p=0.75) == [1, 3]
    assert kept(top_k=3, top_p=0.8) == [1, 2, 3]
    np.testing.assert_allclose(jax.nn.softmax(narrowed(jnp.log(p), 0.5)), p**2 / (p**2).sum(), rtol=1e-5)
    assert np.flatnonzero(np.isfinite(narrowed(jnp.zeros(4), top_k=2))).tolist() == [0, 1]  # the lowest of equals


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=9), st.floats(0.05, 1.0))
@settings(max_examples=25, deadline=None)
def test_the_nucleus_is_the_smallest_set_of_its_mass(logits, mass):
    logits = np.array(logits, np.float32)
    found = np.isfinite(np.asarray(narrowed(jnp.asarray(logits), top_p=mass)))
    p = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
    assert p[found].sum() >= mass - 1e-5
    assert p[found].sum() - p[found].min() < mass + 1e-5
    assert found.all() or p[found].min() >= p[~found].max() - 1e-6


def test_counts_are_the_maximum_of_the_likelihood():
    symbols = np.random.default_rng(0).integers(0, 4, (50, 2, 2))
    params = fit_unigram(symbols, 4, smoothing=1e-9)
    flat = symbols.reshape(50, 4)
    for t in range(4):
        np.testing.assert_allclose(np.exp(params["logits"][t]), np.bincount(flat[:, t], minlength=4) / 50, rtol=1e-5)
    gradient = jax.grad(lambda p: unigram(4).log_prob(p, jnp.asarray(symbols)).sum())(params)
    np.testing.assert_allclose(gradient["logits"], 0, atol=1e-4)


@pytest.mark.parametrize(
    ("length", "num_steps", "expected"),
    [(1, 8, [0]), (4, 1, [0]), (4, 9, [3, 2, 1, 0]), (8, 3, [6, 4, 0]), (100, 4, [92, 70, 38, 0])],
)
def test_the_cosine_schedule_by_hand(length, num_steps, expected):
    assert remaining(length, num_steps).tolist() == expected


def test_the_surest_symbols_stay_first():
    """Without noise in the choice the result of two steps is that of taking the surer half first."""
    prior, params = made("masked", 3, every(3, 2), num_steps=2, choice_temperature=0.0, top_k=1)
    apply = jax.jit(networks.transformer(4, 3, causal=False, **TINY).apply)
    log_p = jax.nn.log_softmax(apply(params, jnp.full((1, 2), 3)))[0]
    first = int(log_p.max(-1).argmax())
    rows = jnp.full((1, 2), 3).at[0, first].set(int(log_p[first].argmax()))
    rows = rows.at[0, 1 - first].set(int(apply(params, rows)[0, 1 - first].argmax()))
    np.testing.assert_array_equal(jax.jit(prior.sample)(params, KEY(4), rows), rows)


def test_fit_trains_a_prior_as_it_trains_a_model():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 64).astype(np.int32)
    first = rng.integers(0, 2, 64)
    # symbols 2 and 3 are given by the class and the first: one bit an example is all there is
    data = Batch(np.stack([first, (first + label) % 2, label], -1).astype(np.int32), condition=label)
    prior = masked(2, num_classes=2, **TINY)
    objective, optimizer = objectives.negative_log_prob(prior), optax.adam(1e-2)
    state = jax.jit(lambda rng: train.init_state(objective, optimizer, rng, data))(KEY(0))
    step = train.build_step(objective, optimizer)
    state = train.fit(step, state, shuffled(64, 32), 300, data=data, chunk=300, progress=False).state
    exact = -jax.jit(prior.log_prob)(state.params["model"], data.x, label).mean()
    assert float(exact) == pytest.approx(np.log(2), abs=0.1)
    like = jax.ShapeDtypeStruct((200, 3), jnp.int32)
    drawn = jax.jit(lambda p: prior.sample(p, KEY(1), like, jnp.ones(200, jnp.int32)))(state.params["model"])
    assert float((drawn[:, 1] == 1 - drawn[:, 0]).mean()) > 0.9
    assert float((drawn[:, 2] == 1).mean()) > 0.9


BAD = {
    "one code": (lambda: uniform(1), "at least 2, got 1"),
    "no temperature": (lambda: autoregressive(4, temperature=0.0), "above 0 and finite, got 0.0; top_k=1 is greedy"),
    "top_k": (lambda: unigram(4, top_k=0), "at least 1, got 0"),
    "top_p": (lambda: masked(4, top_p=1.5), r"\(0, 1\], got 1.5"),
    "steps": (lambda: masked(4, num_steps=0), "num_steps must be at least 1"),
    "heads": (lambda: autoregressive(4, width=10, heads=4), "width 10, depth 3, heads 4"),
    "smoothing": (lambda: fit_unigram(np.zeros((2, 2), int), 2, 0.0), "smoothing above 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_constructors_refuse(name):
    call, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        call()


@names
def test_symbols_that_are_none_are_refused_or_not_a_number(name):
    symbols = jnp.zeros((2, 3), jnp.int32)
    prior, params = made(name, 4, symbols)
    with pytest.raises(ValueError, match=r"\[0, 4\), got values from -1 to 4"):
        prior.log_prob(params, symbols.at[0].set(jnp.array([-1, 4, 0])))
    with pytest.raises(ValueError, match="integers"):
        prior.log_prob(params, symbols * 1.0)
    found = jax.jit(prior.log_prob)(params, symbols.at[0, 0].set(-1))
    assert np.isnan(found).tolist() == [True, False]


def test_a_transformer_says_what_it_lacks():
    prior = autoregressive(4, num_classes=3, **TINY)
    params = scattered(prior.init, jnp.zeros((2, 3), jnp.int32))
    with pytest.raises(ValueError, match=r"3 classes: give the condition"):
        prior.log_prob(params, jnp.zeros((2, 3), jnp.int32))
    with pytest.raises(ValueError, match=r"3 positions: symbols must be \[B, 3\], got \(2, 4\)"):
        prior.log_prob(params, jnp.zeros((2, 4), jnp.int32), jnp.zeros(2, jnp.int32))
