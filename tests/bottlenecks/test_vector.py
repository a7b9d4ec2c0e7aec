"""Vector quantizers and their combinators: expected numbers by hand or from NumPy, SciPy and scikit-learn."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.cluster import KMeans

from jaxae import bottlenecks, networks
from jaxae.bottlenecks import (
    fsq,
    gaussian,
    grouped,
    hierarchical,
    multi_scale,
    nearest,
    nested,
    projected,
    random_projection,
    residual,
    sim_vq,
    vector_quantizer,
)
from jaxae.bottlenecks.estimators import directional, gumbel, rotation
from jaxae.bottlenecks.restarts import restarts
from jaxae.bottlenecks.seeding import kmeans

KEY = jax.random.key


def normal(seed, *shape):
    return jax.random.normal(KEY(seed), shape)


def started(layer, h, steps=1):
    params, state = jax.jit(layer.init)(KEY(1), h)
    for i in range(steps):
        _, state = jax.jit(layer.apply)(params, state, KEY(10 + i), h)
    return params, state


def looked_up(layer, params, state, symbols):
    assert layer.lookup is not None
    return layer.lookup(params, state, symbols)


# ---- the lookup -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(1, 2), (7, 5), (300, 40)])
def test_nearest_codes_are_those_of_scipy_whatever_the_chunks(n, k, monkeypatch):
    tokens, codes = normal(0, n, 3), normal(1, k, 3)
    ranks = np.argsort(cdist(tokens, codes), 1, kind="stable")
    for rows in (1, 1000):
        monkeypatch.setattr(nearest, "CHUNK_BYTES", 4 * 8 * k * rows)
        monkeypatch.setattr(nearest, "CHUNK_ROWS", rows)
        np.testing.assert_array_equal(nearest.nearest_code(tokens, codes), ranks[:, 0])
        np.testing.assert_array_equal(nearest.nearest_codes(tokens, codes, 2), ranks[:, :2])


def test_a_large_book_stays_within_the_memory_cap():
    tokens, codes = jax.ShapeDtypeStruct((4096, 8), jnp.float32), jax.ShapeDtypeStruct((262_144, 8), jnp.float32)
    memory = jax.jit(nearest.nearest_code).lower(tokens, codes).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 3 * nearest.MOST_BYTES  # the whole matrix would be 4 GB


def test_drawn_codes_have_the_probabilities_of_the_softmax():
    codes = normal(1, 4, 2)
    token = jnp.array([[0.3, -0.2]])
    wanted = softmax(-(cdist(token, codes) ** 2) / 0.7)[0]
    tokens = jnp.broadcast_to(token, (20_000, 2))
    drawn = nearest.drawn_code(KEY(0), tokens, codes, 0.7)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, wanted, atol=0.015)
    ids, latent = gumbel(KEY(0), tokens, codes, 0.7)
    np.testing.assert_allclose(
        np.bincount(ids, minlength=4) / 20_000, softmax(-(cdist(token, codes) ** 2))[0], atol=0.015
    )
    np.testing.assert_array_equal(latent, codes[ids])


# ---- how a book learns ----------------------------------------------------------------------------------------


def test_moving_averages_are_those_of_the_paper():
    layer = vector_quantizer(5, decay=0.8, smoothing=0.1, restart_below=0.0, seeding="random")
    h = normal(0, 6, 4, 2)
    params, state = layer.init(KEY(1), h)
    book = np.array(state["codebook"], np.float64)
    counts, sums = np.full(5, 24 / 5), book * 24 / 5
    _, state = layer.apply(params, state, KEY(2), h)  # a random book begins with the mean count
    for i in range(3):
        tokens = np.array(normal(5 + i, 24, 2))
        ids = cdist(tokens, np.array(state["codebook"])).argmin(1)
        counts = 0.8 * counts + 0.2 * np.bincount(ids, minlength=5)
        sums = 0.8 * sums + 0.2 * np.stack([tokens[ids == k].sum(0) for k in range(5)])
        smoothed = (counts + 0.1) / (counts.sum() + 5 * 0.1) * counts.sum()
        code, state = layer.apply(params, state, KEY(i), jnp.asarray(tokens).reshape(6, 4, 2))
        np.testing.assert_array_equal(code.symbols.reshape(-1), ids)
        np.testing.assert_allclose(state["codebook"], sums / smoothed[:, None], rtol=1e-4)


def test_terms_by_hand_and_their_sum_is_the_penalty():
    layer = vector_quantizer(6, learn="gradient", commitment=0.5, orthogonality=2.0, diversity=3.0)
    h = normal(0, 3, 4, 2)
    params, state = started(layer, h)
    code, _ = layer.apply(params, state, None, h)
    codes = np.array(params["codebook"] + state["shift"], np.float64)
    tokens = np.array(h, np.float64).reshape(-1, 2)
    distance = ((tokens - codes[np.ravel(code.symbols)]) ** 2).sum(1).reshape(3, 4).sum(1)
    units = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    q = softmax(-(cdist(tokens, codes) ** 2), 1)
    mean = q.mean(0)
    wanted = {
        "commitment": 0.5 * distance,
        "codebook": distance,
        "orthogonality": np.full(3, 2 * ((units @ units.T - np.eye(6)) ** 2).sum() / 36),
        "diversity": np.full(3, 3 * (-(q * np.log(q)).sum(1).mean() + (mean * np.log(mean)).sum())),
    }
    assert set(code.terms) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(code.terms[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(code.penalty, sum(wanted.values()), rtol=1e-4)


def test_diversity_is_the_same_in_chunks(monkeypatch):
    layer = vector_quantizer(6, diversity=1.0)
    h = normal(0, 5, 5, 2)
    params, state = started(layer, h)
    whole = jax.grad(lambda h: layer.apply(params, state, None, h)[0].penalty.sum())(h)
    monkeypatch.setattr(nearest, "CHUNK_BYTES", 4 * 6 * 4)
    monkeypatch.setattr(nearest, "CHUNK_ROWS", 4)
    parts = jax.grad(lambda h: layer.apply(params, state, None, h)[0].penalty.sum())(h)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-6)


def test_kmeans_finds_what_scikit_learn_finds():
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10]], np.float32)
    tokens = (centres[:, None] + 0.5 * np.array(normal(0, 4, 30, 2))).reshape(-1, 2)
    wanted = KMeans(4, n_init="auto", random_state=0).fit(tokens).cluster_centers_
    found, counts = jax.jit(kmeans, static_argnums=3)(KEY(0), jnp.asarray(tokens), jnp.ones(120), 4)
    order, other = np.lexsort(np.round(found).T), np.lexsort(np.round(wanted).T)
    np.testing.assert_allclose(np.array(found)[order], wanted[other], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(counts, np.full(4, 30.0))
    # fewer distinct tokens than codes; padding is no token
    few, sizes = kmeans(KEY(0), jnp.array([[1.0], [1.0], [2.0], [9.0]]), jnp.array([1.0, 1.0, 1.0, 0.0]), 4)
    assert sorted({*few[:, 0].tolist()}) == [1.0, 2.0]
    assert float(sizes.sum()) == 3


def test_restarts_draw_no_token_twice_and_no_padding():
    tokens, weight = jnp.arange(10.0)[:, None], jnp.array([1.0] * 6 + [0.0] * 4)
    fresh, moved = restarts(KEY(0), jnp.ones(8, bool), tokens, weight)
    assert moved.tolist() == [True] * 6 + [False] * 2
    assert sorted(fresh[:6, 0].tolist()) == [0, 1, 2, 3, 4, 5]
    firsts = {float(restarts(KEY(i), jnp.ones(8, bool), tokens, weight)[0][0, 0]) for i in range(40)}
    assert firsts == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("learn", ["ema", "gradient"])
@pytest.mark.parametrize("seeding", ["data", "kmeans"])
def test_a_book_of_more_codes_than_tokens_fills_up_and_lives(learn, seeding):
    layer = vector_quantizer(32, learn=learn, seeding=seeding)
    data = 100 + normal(0, 400, 1, 2)  # far from where codes begin
    params, state = layer.init(KEY(1), data)
    apply = jax.jit(layer.apply)
    for i in range(60):
        _, state = apply(params, state, KEY(i), jax.random.choice(KEY(1000 + i), data, (20,)))
    code, _ = apply(params, state, None, data)
    assert len(np.unique(code.symbols)) >= 31
    _, state = apply(params, state, KEY(0), data[:1])  # a batch of one


def test_padding_teaches_nothing():
    layer = vector_quantizer(4)
    h = normal(0, 3, 5, 2)
    mask = jnp.array([[1, 1, 1, 0, 0]] * 3)
    params, state = layer.init(KEY(1), h)
    _, a = layer.apply(params, state, KEY(2), h, {"mask": mask})
    _, b = layer.apply(params, state, KEY(2), h.at[:, 3:].set(jnp.nan), {"mask": mask})
    _, c = layer.apply(params, state, KEY(2), h.at[:, 3:].set(jnp.nan))  # NaN alone is left out as well
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        np.testing.assert_array_equal(a[name], c[name])
    assert float(a["counts"].sum()) > 0


def test_frozen_books_stay():
    layer = vector_quantizer(4, learn="frozen")
    h = normal(0, 8, 2)
    params, state = layer.init(KEY(1), h)
    _, new = layer.apply(params, state, KEY(2), h)
    np.testing.assert_array_equal(state["codebook"], new["codebook"])


# ---- gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (vector_quantizer(8), (1, 2, 4)),
        (vector_quantizer(8, learn="gradient"), (1, 2, 4)),
        (sim_vq(8), (1, 2, 4)),
        (residual(vector_quantizer(8), 3), (1, 2, 4)),
        (residual(fsq((5, 5, 5, 5)), 2, scale=0.25), (1, 2, 4)),
        (grouped(vector_quantizer(8), 2), (1, 2, 4)),
        (grouped(residual(vector_quantizer(8), 2), 2, shared=True), (1, 2, 4)),
        (multi_scale(vector_quantizer(8), (1, 2)), (1, 2, 2, 2)),
    ],
)
def test_straight_through_is_the_identity(layer, shape):
    h = normal(0, *shape)
    params, state = started(layer, h)
    jacobian = jax.jit(jax.jacobian(lambda h: layer.apply(params, state, None, h)[0].latent.ravel()))(h)
    np.testing.assert_array_equal(jacobian.reshape(h.size, h.size), np.eye(h.size))


def test_rotation_takes_each_token_to_its_code():
    tokens, codes = normal(0, 5, 3), normal(1, 5, 3)
    np.testing.assert_array_equal(rotation(codes, tokens), codes)
    slope = jax.jit(jax.jacobian(lambda e, c: rotation(c[None], e[None])[0]))
    for token, code in zip(tokens, codes, strict=True):
        jacobian = slope(token, code)
        np.testing.assert_allclose(jacobian @ token, code, rtol=1e-4, atol=1e-5)
        scale = (jnp.linalg.norm(code) / jnp.linalg.norm(token)) ** 2
        np.testing.assert_allclose(jacobian.T @ jacobian, scale * np.eye(3), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(jnp.linalg.det(jacobian), scale**1.5, rtol=1e-3)
    for token, code in ((jnp.zeros(3), codes[0]), (tokens[0], jnp.zeros(3)), (tokens[0], -tokens[0])):
        np.testing.assert_allclose(slope(token, code), np.eye(3), atol=1e-6)


@pytest.mark.parametrize("key", [None, KEY(3)])
def test_directional_gradient_goes_to_the_length_of_the_step(key):
    """`d (c - e)' / |c - e|` to the code, the identity less that to the token; with a key d is noisy."""
    tokens, codes = normal(0, 5, 3), normal(1, 5, 3)
    np.testing.assert_array_equal(directional(codes, tokens, key, 0.1), codes)
    noise = 0.0 if key is None else np.sqrt(0.1) * jax.random.normal(key, codes.shape)
    step = np.asarray(codes - tokens)
    direction = np.asarray(step + noise) / np.linalg.norm(step + noise, axis=1, keepdims=True)
    to_codes, to_tokens = jax.jacobian(lambda c, e: directional(c, e, key, 0.1), (0, 1))(codes, tokens)
    for i in range(5):
        by_hand = np.outer(direction[i], step[i] / np.linalg.norm(step[i]))
        np.testing.assert_allclose(to_codes[i, :, i], by_hand, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(to_tokens[i, :, i], np.eye(3) - by_hand, rtol=1e-4, atol=1e-5)
    still = jax.jacobian(lambda e: directional(tokens[:1], e)[0])(tokens[:1])[:, 0]
    np.testing.assert_array_equal(still, np.eye(3))


def test_gumbel_gradient_is_that_of_the_relaxed_draw():
    tokens, codes = normal(0, 3, 2), normal(1, 4, 2)
    noise = jax.vmap(lambda key: jax.random.gumbel(key, (4,)))(jax.random.split(KEY(7), 3))

    def relaxed(tokens, codes):
        logits = noise - ((tokens[:, None] - codes[None]) ** 2).sum(-1)
        return (jnp.matmul(jax.nn.softmax(logits / 0.5), codes) ** 2).sum()

    def ours(tokens, codes):
        latent = gumbel(KEY(7), tokens, codes, 0.5)[1]
        soft = latent - jax.lax.stop_gradient(latent)
        return (2 * jax.lax.stop_gradient(value) * soft).sum()

    logits = noise - ((tokens[:, None] - codes[None]) ** 2).sum(-1)
    value = jnp.matmul(jax.nn.softmax(logits / 0.5), codes)
    for a, b in zip(jax.grad(ours, (0, 1))(tokens, codes), jax.grad(relaxed, (0, 1))(tokens, codes), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


# ---- combinators ----------------------------------------------------------------------------------------------


def test_each_residual_level_codes_what_is_left():
    layer = residual(vector_quantizer(8, commitment=0.25), 3)
    h = normal(0, 10, 2)
    params, state = started(layer, h)
    code, _ = layer.apply(params, state, None, h)
    left, total, penalty = np.array(h), 0, 0
    for level in range(3):
        book = np.array(state["codebook"][level])
        ids = cdist(left, book).argmin(1)
        np.testing.assert_array_equal(code.symbols[:, level], ids)
        penalty = penalty + 0.25 * ((left - book[ids]) ** 2).sum(1)
        left, total = left - book[ids], total + book[ids]
    np.testing.assert_allclose(code.latent, total, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(code.penalty, penalty, rtol=1e-4)
    np.testing.assert_allclose(code.rate, 3 * np.log(8), rtol=1e-6)
    # fewer levels: set the others to -2
    short = looked_up(layer, params, state, code.symbols.at[:, 1:].set(-2))
    np.testing.assert_array_equal(short, state["codebook"][0][code.symbols[:, 0]])


def test_quantize_dropout_keeps_the_first_levels():
    layer = residual(vector_quantizer(8), 4, least=2)
    h = normal(0, 200, 3, 2)
    params, state = started(layer, h)
    code, _ = layer.apply(params, state, KEY(5), h)
    dropped = np.array(code.symbols) == -2
    assert (np.diff(dropped.astype(int), axis=-1) >= 0).all()
    assert set((~dropped).sum(-1).ravel()) == {2, 3, 4}
    assert (dropped == dropped[:, :1]).all()  # an example's tokens alike
    np.testing.assert_array_equal(looked_up(layer, params, state, code.symbols), code.latent)
    np.testing.assert_allclose(code.rate, (~dropped).sum((1, 2)) * np.log(8), rtol=1e-6)
    assert (np.array(layer.apply(params, state, None, h)[0].symbols) >= 0).all()


def test_groups_are_the_base_on_slices():
    base = vector_quantizer(8)
    h = normal(0, 10, 4)
    for shared in (False, True):
        layer = grouped(base, 2, shared=shared)
        params, state = started(layer, h)
        code, _ = layer.apply(params, state, None, h)
        for i in range(2):
            own = (params, state) if shared else jax.tree.map(lambda a, i=i: a[i], (params, state))
            part, _ = base.apply(*own, None, h[:, 2 * i : 2 * i + 2])
            np.testing.assert_array_equal(code.latent[:, 2 * i : 2 * i + 2], part.latent)
            np.testing.assert_array_equal(code.symbols[:, i], part.symbols)
        np.testing.assert_allclose(code.rate, 2 * np.log(8), rtol=1e-6)


def test_the_finest_scale_alone_is_the_base():
    h = normal(0, 4, 3, 3, 2)
    base = vector_quantizer(8)
    params, state = started(base, h)
    layer = multi_scale(base, (3,))
    np.testing.assert_allclose(
        layer.apply(params, state, None, h)[0].latent, base.apply(params, state, None, h)[0].latent, rtol=1e-5
    )
    own = multi_scale(base, (1, 3), shared=False)
    params, state = own.init(KEY(0), h)
    assert len(params) == len(state) == 2


def test_local_reads_what_top_said():
    top = nested(networks.mlp(2), vector_quantizer(4), networks.mlp(3))
    layer = hierarchical(top, vector_quantizer(8))
    h = normal(0, 20, 5)
    params, state = started(layer, h)
    code, _ = layer.apply(params, state, None, h)
    above, _ = top.apply(params[0], state[0], None, h)
    below, _ = vector_quantizer(8).apply(params[1], state[1], None, jnp.concatenate([h, above.latent], -1))
    np.testing.assert_array_equal(code.symbols[1], below.symbols)
    np.testing.assert_allclose(code.penalty, above.penalty + below.penalty, rtol=1e-5)


def test_random_projection_standardises_and_never_learns():
    layer = random_projection(16, width=4)
    h = normal(0, 50, 6)
    params, state = layer.init(KEY(0), h)
    code, new = layer.apply(params, state, KEY(1), h)
    moved, _ = layer.apply(params, state, KEY(1), 3 * h + 2)
    np.testing.assert_array_equal(code.symbols, moved.symbols)
    assert not jax.tree.leaves(params)
    jax.tree.map(np.testing.assert_array_equal, state, new)
    np.testing.assert_allclose(jnp.linalg.norm(code.latent, axis=-1), 1, rtol=1e-5)


def test_sim_vq_moves_every_code_in_one_step():
    layer = sim_vq(64)
    h = normal(0, 4, 3)
    params, state = layer.init(KEY(0), h)
    gradient = jax.grad(lambda p: layer.apply(p, state, None, h)[0].penalty.sum())(params)
    moved = {"transform": params["transform"] - 0.1 * gradient["transform"]}
    every = jnp.arange(64)
    before, after = looked_up(layer, params, state, every), looked_up(layer, moved, state, every)
    assert float(jnp.abs(before - after).sum(-1).min()) > 0


@pytest.mark.parametrize("name", ["vector_quantizer", "residual", "grouped_residual"])
def test_exported_lookup_gives_the_latent_bit_for_bit(name):
    layer = bottlenecks.BOTTLENECKS[name]()
    h = normal(0, 6, 3, 4)
    params, state = started(layer, h)
    rows = jax.export.symbolic_shape("b")[0]
    shape = jax.ShapeDtypeStruct((rows, 3, 4), jnp.float32)
    encode = jax.export.export(jax.jit(lambda h: layer.apply(params, state, None, h)[0][:4:3]))(shape)
    code = jax.export.deserialize(encode.serialize()).call(h)
    symbols = jax.eval_shape(lambda h: layer.apply(params, state, None, h)[0].symbols, h)
    like = jax.ShapeDtypeStruct((rows, *symbols.shape[1:]), jnp.int32)
    found = jax.export.export(jax.jit(lambda s: looked_up(layer, params, state, s)))(like)
    np.testing.assert_array_equal(jax.export.deserialize(found.serialize()).call(code[1]), code[0])


# ---- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vector_quantizer(1), "num_codes must be at least 2, got 1"),
        (lambda: sim_vq(0), "num_codes must be at least 2, got 0"),
        (lambda: random_projection(4, width=0), "width must be at least 1, got 0"),
        (lambda: vector_quantizer(4, decay=1.0), r"decay must be in \[0, 1\), got 1"),
        (lambda: vector_quantizer(4, commitment=-1.0), "commitment must be a finite number >= 0, got -1"),
        (lambda: vector_quantizer(4, learn="magic"), "learn must be one of ema, gradient, frozen; got 'magic'"),
        (lambda: vector_quantizer(4, orthogonality=1.0), 'orthogonality=1.0 moves no code with learn="ema"'),
        (lambda: vector_quantizer(4, estimator="gumbel"), "needs a temperature above 0"),
        (lambda: sim_vq(4, estimator="gumbel"), "estimator must be one of straight_through, rotation"),
        (lambda: residual(gaussian(), 2), "needs a discrete base"),
        (lambda: residual(vector_quantizer(4), 0), "depth must be at least 1, got 0"),
        (lambda: residual(vector_quantizer(4), 2, least=3), r"least must be in \[1, depth = 2\], got 3"),
        (lambda: residual(vector_quantizer(4), 2, scale=0.3), "scale must be a power of 2"),
        (lambda: grouped(vector_quantizer(4), 0), "n must be at least 1, got 0"),
        (lambda: grouped(vector_quantizer(4), 3).init(KEY(0), jnp.ones((2, 4))), "3 groups do not divide a width of 4"),
        (lambda: projected(vector_quantizer(4), 0), "width must be at least 1, got 0"),
        (lambda: multi_scale(vector_quantizer(4), (2, 1)), "sizes must rise"),
        (lambda: multi_scale(vector_quantizer(4), (1, 2)).init(KEY(0), jnp.ones((2, 4))), "h must be a map"),
        (lambda: nearest.nearest_codes(jnp.ones((2, 1)), jnp.ones((3, 1)), 4), r"count must be in \[1, 3\], got 4"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_symbols_and_conditions():
    layer = residual(vector_quantizer(4), 2, least=1)
    h = normal(0, 3, 2)
    params, state = layer.init(KEY(0), h)
    with pytest.raises(ValueError, match="last axis of 2 levels"):
        looked_up(layer, params, state, jnp.zeros((3, 1), jnp.int32))
    with pytest.raises(ValueError, match=r"symbols must be in \[0, 4\)"):
        looked_up(layer, params, state, jnp.full((3, 2), 4))
    with pytest.raises(ValueError, match="condition must be a mapping"):
        layer.apply(params, state, KEY(0), h, jnp.ones(3))
