"""One contract for every network, on images of awkward sizes; then what each is for."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from jaxae import likelihoods, networks
from jaxae.networks import pixelwise
from jaxae.networks.convolution import plain, products
from jaxae.networks.pixelwise import by_rows
from jaxae.types import Network

ROWS = 5


class Bilinear(nn.Module):
    """Reads its condition itself."""

    @nn.compact
    def __call__(self, x, condition):
        return nn.Dense(3)(x) * nn.Dense(3)(condition)


class Stack(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(6, 4, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 3, rngs=rngs)])

    def __call__(self, x):
        return self.layers[0](nnx.gelu(self.first(x)))


SMALL = {"channels": (4, 6)}
PIXELS = networks.local_autoregressive(networks.mlp(7, output_shape=(5, 4, 6)), likelihoods.gaussian(None), 6, window=2)
# name: (network, shape of one input, shape of one output, shape of one condition)
NETWORKS = {
    "mlp": (networks.mlp(7, 3), (6,), (3,), None),
    "mlp on tokens": (networks.mlp(7, 3), (4, 6), (4, 3), None),
    "mlp from image": (networks.mlp(7, 3, flatten=True), (3, 5, 2), (3,), None),
    "mlp to image": (networks.mlp(7, output_shape=(3, 5, 2)), (6,), (3, 5, 2), None),
    "mlp bfloat16": (networks.mlp(7, 3, dtype=jnp.bfloat16), (6,), (3,), None),
    "conditional mlp": (networks.conditional(networks.mlp(7, 3)), (6,), (3,), (4,)),
    "conditional conv": (networks.conditional(networks.conv_encoder((5, 4, 1), 3, **SMALL)), (5, 4, 1), (3,), (4,)),
    "linen": (networks.from_linen(nn.Dense(3)), (6,), (3,), None),
    "linen with condition": (networks.from_linen(Bilinear()), (6,), (3,), (4,)),
    "local autoregressive": (PIXELS.network, (3,), (5, 4, 4), (5, 4, 2)),
    "spatial broadcast": (networks.spatial_broadcast((5, 4, 2), 6, 5, num_params=2), (3,), (5, 4, 4), None),
    "nnx": (networks.from_nnx(Stack), (6,), (3,), None),
    "default table": (networks.default_encoder((21,), 3), (21,), (3,), None),
    "default table decoder": (networks.default_decoder((21,), 2), (3,), (42,), None),
    "default large decoder": (networks.default_decoder((70, 64, 3)), (3,), (70, 64, 3), None),
    "default large encoder": (networks.default_encoder((70, 64, 3), 4), (70, 64, 3), (4,), None),
    "default bfloat16": (networks.default_encoder((9, 8, 1), 4, dtype=jnp.bfloat16), (9, 8, 1), (4,), None),
    "conv spatial": (networks.conv_encoder((9, 6, 2), 3, spatial=True, **SMALL), (9, 6, 2), (3, 2, 3), None),
    "conv from map": (networks.conv_decoder((9, 6, 2), **SMALL), (3, 2, 3), (9, 6, 2), None),
    "conv bfloat16": (networks.conv_encoder((9, 6, 2), 3, dtype=jnp.bfloat16, **SMALL), (9, 6, 2), (3,), None),
}
for shape in ((28, 28, 1), (27, 20, 3), (1, 1, 1), (5, 13, 2), (8, 3, 4)):
    to = (*shape[:2], shape[2] * 2)
    NETWORKS[f"default encoder {shape}"] = (networks.default_encoder(shape, 3), shape, (3,), None)
    NETWORKS[f"default decoder {shape}"] = (networks.default_decoder(shape, 2), (3,), to, None)
for shape in ((7, 10, 3), (1, 1, 1), (5, 13, 2)):
    to = (*shape[:2], shape[2] * 2)
    NETWORKS[f"conv encoder {shape}"] = (networks.conv_encoder(shape, 3, **SMALL), shape, (3,), None)
    NETWORKS[f"conv decoder {shape}"] = (networks.conv_decoder(shape, 2, **SMALL), (3,), to, None)


def draw(name):
    network, shape, output, condition_shape = NETWORKS[name]
    generator = np.random.default_rng(1)
    x = jnp.asarray(generator.normal(size=(ROWS, *shape)), jnp.float32)
    condition = (
        None if condition_shape is None else jnp.asarray(generator.normal(size=(ROWS, *condition_shape)), jnp.float32)
    )
    return network, x, condition, output


@pytest.mark.parametrize("name", NETWORKS)
def test_contract(name):
    network, x, condition, output = draw(name)
    abstract = jax.eval_shape(lambda: (x, condition))
    shapes = jax.eval_shape(network.init, jax.random.key(0), *abstract)
    assert shapes == jax.eval_shape(network.init, jax.random.key(0), x, condition)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    ensemble = jax.eval_shape(jax.vmap(lambda key: network.init(key, *abstract)), keys)
    assert [p.shape for p in jax.tree.leaves(ensemble)] == [(2, *p.shape) for p in jax.tree.leaves(shapes)]
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(shapes))

    generator = np.random.default_rng(0)  # drawn here: compiling each init would be most of the test's time
    params = jax.tree.map(lambda p: generator.normal(0, 0.3, p.shape).astype(np.float32), shapes)
    cotangent = generator.normal(size=(ROWS, *output)).astype(np.float32)
    traces = 0

    @jax.jit
    def run(params, x, condition):
        nonlocal traces
        traces += 1
        y, pull = jax.vjp(lambda p: network.apply(p, x, condition), params)
        rows = jax.vmap(lambda x, c: network.apply(params, x[None], None if c is None else c[None])[0])(x, condition)
        return y, rows, pull(cotangent)[0]

    y, rows, gradients = run(params, x, condition)
    run(params, x + 1, condition)
    assert traces == 1
    assert y.shape == (ROWS, *output)
    assert y.dtype == jnp.float32
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(gradient).max() > 0, jax.tree_util.keystr(path)
    # bfloat16: XLA keeps more bits where it fuses, and fuses a row's program otherwise than a batch's
    scale = (5e-2 if "bfloat16" in name else 2e-5) * float(np.abs(y).max())
    np.testing.assert_allclose(y, rows, rtol=0, atol=scale)


@pytest.mark.parametrize("name", ["default encoder (5, 13, 2)", "conv decoder (1, 1, 1)", "nnx"])
def test_jit_equals_eager(name):
    network, x, condition, _ = draw(name)
    params = network.init(jax.random.key(0), x, condition)
    different = network.init(jax.random.key(1), x, condition)
    assert any((p != q).any() for p, q in zip(jax.tree.leaves(params), jax.tree.leaves(different), strict=True))
    compiled = jax.jit(network.apply)(params, x, condition)
    np.testing.assert_allclose(compiled, network.apply(params, x, condition), rtol=2e-5, atol=2e-5)


def test_identity_and_ignored_conditions():
    x = jnp.arange(6.0).reshape(2, 3)
    assert networks.identity.init(jax.random.key(0), x) == ()
    assert networks.identity.apply((), x) is x
    network = networks.mlp(3)
    params = network.init(jax.random.key(0), x)
    np.testing.assert_array_equal(network.apply(params, x), network.apply(params, x, jnp.ones((2, 9))))


def test_mlp_is_its_formula():
    x = jax.random.normal(jax.random.key(1), (4, 6))
    network = networks.mlp(5, 2, activation=jnp.tanh)
    params = network.init(jax.random.key(0), x)
    first, last = params["params"]["Dense_0"], params["params"]["Dense_1"]
    by_hand = np.tanh(x @ first["kernel"] + first["bias"][None]) @ last["kernel"] + last["bias"][None]
    np.testing.assert_allclose(network.apply(params, x), by_hand, rtol=1e-5, atol=1e-6)


def test_conditional_reads_its_condition_everywhere():
    x, labels = jnp.zeros((2, 3, 3, 1)), jnp.eye(2)
    seen = networks.conditional(networks.identity).apply((), x, labels)
    assert seen.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(seen[1, 2, 2], [0, 0, 1])


def test_nnx_module_keeps_its_own_parameters():
    module = Stack(nnx.Rngs(7))
    x = jnp.ones((2, 6))
    network = networks.from_nnx(module)
    params = network.init(jax.random.key(0), x)
    assert set(params["layers"]) == {"0"}
    np.testing.assert_allclose(network.apply(params, x), module(x), rtol=1e-6)
    doubled = jax.tree.map(lambda p: 2 * p, params)
    assert not jnp.allclose(network.apply(doubled, x), module(x))


def test_local_autoregressive_pixel_by_hand():
    """One feature, one hidden unit, a window of 1: left above, above, right above, left."""
    network = networks.local_autoregressive(networks.identity, likelihoods.bernoulli(), 1, window=1).network
    layers = [
        {"kernel": jnp.array([[2.0, 1.0, 10.0, 100.0, 1000.0]]), "bias": jnp.array([-1.0])},
        {"kernel": jnp.array([[0.5]]), "bias": jnp.array([0.25])},
    ]
    features, image = jnp.array([[0.5, -3.0], [4.0, 5.0]]), jnp.array([[1.0, 2.0], [3.0, 9.0]])
    seen = network.apply({"decoder": (), "layers": layers}, features[None, :, :, None], image[None, :, :, None])
    # the second pixel: relu(2 * -3 + 1000 * 1 - 1) = 993, so -3 + 993 / 2 + 1 / 4
    # the third: relu(8 + 10 * 1 + 100 * 2 - 1) = 217; the fourth: relu(10 + 1 + 20 + 3000 - 1) = 3030
    np.testing.assert_allclose(seen[0, :, :, 0], [[0.75, 493.75], [112.75, 1520.25]], rtol=1e-6)


def test_local_autoregressive_reads_what_came_before_within_the_window():
    _, latent, images, _ = draw("local autoregressive")
    params = PIXELS.network.init(jax.random.key(0), latent, images)
    params = jax.tree.map(lambda p: p + 0.1, params)
    jacobian = jax.jacobian(lambda image: PIXELS.network.apply(params, latent[:1], image[None])[0])(images[0])
    reads = np.abs(jacobian).max((2, 5)) > 0
    for i, j, k, m in np.ndindex(reads.shape):
        before = (k, m) < (i, j) and i - k <= 2 and abs(j - m) <= 2
        assert reads[i, j, k, m] == before, (i, j, k, m)


def test_local_autoregressive_draws_from_the_predictions_that_all_pixels_at_once_give():
    """Where a draw is the mean itself, the image is a fixed point of the whole pass."""
    certain = likelihoods.gaussian(None)._replace(sample=lambda rng, prediction: jnp.tanh(prediction[:, :2]))
    pixels = networks.local_autoregressive(networks.mlp(7, output_shape=(5, 4, 6)), certain, 6, window=2)
    _, latent, images, _ = draw("local autoregressive")
    params = jax.tree.map(lambda p: p + 0.1, pixels.network.init(jax.random.key(0), latent, images))
    drawn = pixels.sample(params, jax.random.key(1), latent)
    assert drawn.shape == images.shape
    expected = jnp.tanh(pixels.network.apply(params, latent, drawn)[..., :2])
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(drawn[:, 2:] - drawn[:, :1]).max() > 0.01


def test_spatial_broadcast_is_a_perceptron_of_latent_and_position():
    decoder, latent = networks.spatial_broadcast((3, 2, 1), 4), jnp.array([[0.5, -1.0], [2.0, 3.0]])
    params = decoder.init(jax.random.key(0), latent)
    y = decoder.apply(params, latent)
    (first, last), places = params, {0: -1.0, 1: 0.0, 2: 1.0}
    for b, i, j in np.ndindex(2, 3, 2):
        read = np.array([*latent[b], places[i], (-1.0, 1.0)[j]])
        by_hand = last["kernel"] @ np.maximum(first["kernel"] @ read + first["bias"], 0) + last["bias"]
        np.testing.assert_allclose(y[b, i, j], by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [4, 5])
def test_pixels_in_chunks_give_the_whole_and_its_gradients(rows, monkeypatch):
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(size=(rows, 3, 2)), jnp.float32)
    weight = jnp.asarray(generator.normal(size=(3,)), jnp.float32)

    def found():
        def loss(weight, x):
            by = by_rows(lambda w, rows: jnp.tanh(rows * w[None, :, None]), 6, weight, x)
            return (by**2 * jnp.arange(1.0, rows + 1)[:, None, None]).sum()

        return jax.value_and_grad(loss, (0, 1))(weight, x), "scan[" in str(jax.make_jaxpr(loss)(weight, x))

    whole, in_chunks = found()
    assert not in_chunks
    monkeypatch.setattr(pixelwise, "PIXELS", 12)
    chunks, in_chunks = found()
    assert in_chunks
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole, chunks)


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True)(x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: networks.mlp(), "at least one layer"),
        (lambda: networks.mlp(3, 0), "sizes of 1 or more"),
        (lambda: networks.from_linen(Normalised()).init(jax.random.key(0), jnp.ones((2, 3))), "batch_stats"),
        (lambda: networks.conv_encoder((28, 28), 4), r"\(28, 28\)"),
        (lambda: networks.conv_encoder((28, 28, 1), 4, stride=0), "stride 0"),
        (lambda: networks.conv_decoder((28, 28, 1), channels=()), r"channels \(\)"),
        (lambda: networks.default_encoder((28, 0, 1), 4), r"\(28, 0, 1\)"),
        (lambda: networks.default_decoder((), 4), r"\(\)"),
        (lambda: run(networks.conv_encoder((8, 8, 1), 4), (2, 9, 8, 1)), r"\(2, 9, 8, 1\)"),
        (lambda: run(networks.conv_decoder((8, 8, 1), **SMALL), (2, 3, 3, 1)), r"\[B, 2, 2, D\]"),
        (lambda: run(networks.default_encoder((8, 8, 1), 4), (2, 9, 8, 1)), r"\(2, 9, 8, 1\)"),
        (lambda: run(networks.conditional(networks.identity), (2, 3)), "needs a condition"),
        (
            lambda: networks.local_autoregressive(networks.mlp(2), likelihoods.bernoulli(), 3, window=0),
            "got .3,. and 0",
        ),
        (lambda: run(PIXELS.network, (2, 3)), "condition_on_input"),
        (lambda: networks.spatial_broadcast((5, 4), 6), r"\(5, 4\)"),
        (lambda: networks.spatial_broadcast((5, 4, 1), 0), r"sizes \(0,\)"),
        (lambda: run(networks.spatial_broadcast((5, 4, 1)), (2, 3, 4)), r"\(2, 3, 4\): join"),
        (lambda: PIXELS.network.init(jax.random.key(0), jnp.ones((2, 3)), jnp.ones((2, 5, 5, 2))), r"\(5, 5\)"),
        (lambda: PIXELS.network.init(jax.random.key(0), jnp.ones((2, 3)), jnp.ones((2, 5, 4, 4))), "at least 8"),
        (lambda: networks.conditional(networks.mlp(2)).apply({}, jnp.ones((2, 3)), jnp.ones(2)), "one-hot"),
    ],
)
def test_bad_input_is_one_clear_line(make, words):
    with pytest.raises(ValueError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def run(network, shape):
    return network.init(jax.random.key(0), jnp.ones(shape))


@settings(max_examples=6, deadline=None)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    rows=st.sampled_from([1, 3, 33]),
)
def test_both_forms_of_convolution_agree(kernel, stride, size, channels, rows):
    """Values and both gradients, of the convolution and of its adjoint."""
    keys = jax.random.split(jax.random.key(0), 3)
    weights = jax.random.normal(keys[0], (kernel, kernel, *channels))
    x = jax.random.normal(keys[1], (rows, *size, channels[0]))
    y = jax.random.normal(keys[2], (rows, -(-size[0] // stride), -(-size[1] // stride), channels[1]))

    def both(form):
        def convolve(x, w):
            return form.leave(form.convolve(form.enter(x), w, stride), rows)

        def transpose(y, w):
            return form.leave(form.transpose(form.enter(y), w, stride, size), rows)

        def values(x, y, w):
            out, pull = jax.vjp(convolve, x, w)
            back, push = jax.vjp(transpose, y, w)
            return out, pull(y), back, push(x)

        return jax.jit(values)(x, y, weights)

    for one, other in zip(jax.tree.leaves(both(plain)), jax.tree.leaves(both(products)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * (1 + float(jnp.abs(one).max())))


def pair() -> tuple[Network, Network]:
    return networks.conv_encoder((7, 6, 1), 3, channels=(4,)), networks.conv_decoder((7, 6, 1), channels=(4,))


def test_convolutions_train_in_a_scan_and_as_an_ensemble():
    encoder, decoder = pair()
    x = jax.random.normal(jax.random.key(1), (3, ROWS, 7, 6, 1))

    def init(key):
        return {"e": encoder.init(key, x[0]), "d": decoder.init(key, jnp.ones((1, 3)))}

    def step(params, x):
        def loss(p):
            return ((decoder.apply(p["d"], encoder.apply(p["e"], x)) - x) ** 2).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), value

    keys = jax.random.split(jax.random.key(0), 2)
    together, losses = jax.jit(jax.vmap(lambda p: jax.lax.scan(step, p, x)))(jax.vmap(init)(keys))
    alone = init(keys[1])
    for i in range(3):
        alone, value = jax.jit(step)(alone, x[i])
        np.testing.assert_allclose(losses[1, i], value, rtol=1e-4)
    jax.tree.map(lambda t, a: np.testing.assert_allclose(t[1], a, rtol=1e-3, atol=1e-4), together, alone)


def test_one_export_serves_every_platform():
    """Accelerators get convolutions, the CPU gets products, from one program with a symbolic batch."""
    encoder, decoder = pair()
    x = jnp.ones((ROWS, 7, 6, 1))
    params = {"e": encoder.init(jax.random.key(0), x), "d": decoder.init(jax.random.key(0), jnp.ones((1, 3)))}

    def reconstruct(params, x):
        return decoder.apply(params["d"], encoder.apply(params["e"], x))

    symbolic = jax.ShapeDtypeStruct((export.symbolic_shape("b")[0], 7, 6, 1), jnp.float32)
    program = export.export(jax.jit(reconstruct), platforms=("cpu", "cuda", "tpu"))(params, symbolic)
    np.testing.assert_allclose(program.call(params, x), reconstruct(params, x), rtol=1e-4, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda p, x: (reconstruct(p, x) ** 2).sum()))
    for platform, convolves in (("cpu", False), ("cuda", True), ("tpu", True)):
        module = export.export(gradient, platforms=(platform,))(params, x).mlir_module()
        assert ("stablehlo.convolution" in module) == convolves, platform


@pytest.mark.parametrize("shape", [(28, 28, 1), (160, 160, 3)])
def test_default_networks_stay_small(shape):
    encoder, decoder = networks.default_encoder(shape, 32), networks.default_decoder(shape)
    params = jax.eval_shape(
        lambda: (
            encoder.init(jax.random.key(0), jnp.ones((1, *shape))),
            decoder.init(jax.random.key(0), jnp.ones((1, 32))),
        )
    )
    assert sum(p.size for p in jax.tree.leaves(params)) < 6_000_000
