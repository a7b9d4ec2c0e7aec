"""One step, run every way: eight devices give one device's losses."""

import functools
import os
import pathlib
import socket
import subprocess
import sys

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, parallel
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.presets import PRESETS
from jaxae.train import build_step, fit, init_state
from jaxae.types import Batch

SHAPE = (6, 5, 2)
SIZES = {"vq_vae": {"num_codes": 16, "num_tokens": 3, "code_size": 4}}
OPTIMIZER = optax.adam(1e-3)

presets = pytest.mark.parametrize("name", ["ae", "beta_tc_vae", "denoising_ae", "vae", "vq_vae"])


def pixels(i, num_rows=16):
    return np.random.default_rng(i).integers(0, 256, (num_rows, *SHAPE)).astype(np.uint8)


def weighted(i):
    # the rows of whole replicas may weigh nothing
    return Batch(pixels(i), weight=np.maximum(np.arange(16) - 5, 0).astype(np.float32))


def objective_of(name, axis_name=None):
    axis = {"axis_name": axis_name} if name == "vq_vae" else {}
    return PRESETS[name](SHAPE, **SIZES.get(name, {}), **axis)[1]


@functools.cache
def initial(name):
    return jax.jit(lambda rng: init_state(objective_of(name), OPTIMIZER, rng, pixels(0)))(jax.random.key(1))


@functools.cache
def plain(name):
    return build_step(objective_of(name), OPTIMIZER)


@functools.cache
def on_one(name):
    return run(jax.jit(plain(name)), initial(name), 20 if name == "vq_vae" else 5)


@functools.cache
def mapped(name):
    return parallel.pmap_step(build_step(objective_of(name, "i"), OPTIMIZER, axis_name="i"))


@functools.cache
def sharded(name):
    return parallel.jit_step(plain(name), parallel.make_mesh())


def run(step, state, num_steps, batch=pixels):
    found = []
    for i in range(num_steps):
        state, metrics = step(state, batch(i))
        found.append(jax.device_get(metrics))
    return state, {name: np.array([m[name] for m in found]) for name in found[0]}


def require_same(found, wanted):
    (state, terms), (wanted_state, wanted_terms) = found, wanted
    assert terms.keys() == wanted_terms.keys()
    for name in terms:
        # a difference of two sums of some tens of nats
        near = 1e-5 if name == "total_correlation" else 1e-6
        np.testing.assert_allclose(terms[name], wanted_terms[name], rtol=1e-5, atol=near, err_msg=name)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, wanted_state)
    chex.assert_trees_all_close(state.state, wanted_state.state, rtol=1e-4, atol=1e-5)


@presets
def test_jit_step_gives_the_losses_of_one_device(name):
    found = run(sharded(name), initial(name), 20 if name == "vq_vae" else 5)
    require_same(found, on_one(name))
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(found[0].params))


@pytest.mark.parametrize("name", ["ae", "vq_vae"])
def test_pmap_step_gives_the_losses_of_one_device(name):
    require_same(run(mapped(name), initial(name), 20 if name == "vq_vae" else 5), on_one(name))


def test_row_weights_count_across_devices():
    wanted = run(jax.jit(plain("ae")), initial("ae"), 3, weighted)
    require_same(run(sharded("ae"), initial("ae"), 3, weighted), wanted)
    require_same(run(mapped("ae"), initial("ae"), 3, weighted), wanted)


@pytest.mark.parametrize("name", ["denoising_ae", "vae"])
def test_pmap_step_agrees_in_distribution_where_a_preset_samples(name):
    """Loss after three steps over 64 keys: means within four standard errors, deviations within a factor of 1.5.

    All rows are equal, so replicas that drew the same noise would have 8 times the variance.
    """
    row = np.broadcast_to(pixels(0)[:1], (16, *SHAPE))
    one, eight = jax.jit(plain(name)), mapped(name)

    def over_keys(step):
        states = (initial(name)._replace(rng=jax.random.key(seed)) for seed in range(64))
        return np.array([run(step, state, 3, lambda i: row)[1]["loss"][-1] for state in states], np.float64)

    a, b = over_keys(one), over_keys(eight)
    assert not np.allclose(a, b, rtol=1e-6)
    assert abs(a.mean() - b.mean()) < 4 * np.sqrt((a.var() + b.var()) / 64)
    assert 1 / 1.5 < a.std() / b.std() < 1.5


def restarting(axis_name=None):
    """A book that forgets fast, so that codes are restarted again and again."""
    layer = bottlenecks.vector_quantizer(32, decay=0.6, restart_below=0.5, axis_name=axis_name)
    model = autoencoder(networks.mlp(8, 3), layer, networks.mlp(8, 5), likelihoods.gaussian())
    return objectives.elbo(model)


def test_restarted_codes_are_the_same_on_every_device_and_on_one():
    def rows(i):
        return np.random.default_rng(i).normal(size=(24, 5)).astype(np.float32)

    state = init_state(restarting(), OPTIMIZER, jax.random.key(2), rows(0))
    plain_step = build_step(restarting(), OPTIMIZER)
    one = run(jax.jit(plain_step), state, 20, rows)
    require_same(run(parallel.jit_step(plain_step, parallel.make_mesh()), state, 20, rows), one)
    eight = run(parallel.pmap_step(build_step(restarting("i"), OPTIMIZER, "i")), state, 20, rows)
    require_same(eight, one)
    # restarts did happen late: twice the bound times the mean is what a restarted code begins with
    assert int((one[0].state["model"]["counts"] == 2 * 0.5 * 24 / 32).sum()) > 0
    for leaf in jax.tree.leaves(eight[0].state):
        parts = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(parts) == 8
        for part in parts[1:]:
            np.testing.assert_array_equal(part, parts[0])


@pytest.mark.parametrize(
    "layer",
    [
        functools.partial(bottlenecks.lfq, 4, entropy=0.5, group_bits=2),
        functools.partial(bottlenecks.vector_quantizer, 6, learn="gradient", restart_below=0.0, diversity=3.0),
    ],
)
def test_entropy_of_the_batchs_mean_code_is_over_all_replicas(layer):
    def objective(axis_name=None):
        parts = networks.mlp(8, 4), layer(axis_name=axis_name), networks.mlp(8, 5), likelihoods.gaussian()
        return objectives.elbo(autoencoder(*parts))

    def rows(i):
        generator = np.random.default_rng(i)
        # replicas see rows of their own kind, so that a mean over one's own differs
        return (generator.normal(size=(24, 5)) + 3 * generator.normal(size=(8, 5)).repeat(3, 0)).astype(np.float32)

    state = init_state(objective(), OPTIMIZER, jax.random.key(2), rows(0))
    one = run(jax.jit(build_step(objective(), OPTIMIZER)), state, 10, rows)
    require_same(run(parallel.pmap_step(build_step(objective("i"), OPTIMIZER, "i")), state, 10, rows), one)


def test_fit_takes_a_sharded_step():
    data = pixels(3, 48)
    one, eight = (
        fit(step, initial("ae"), shuffled(48, 16), 6, data=data, chunk=3) for step in (plain("ae"), sharded("ae"))
    )
    for a, b in zip(one.history, eight.history, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(eight.state.params))


@pytest.mark.parametrize("make", [sharded, mapped])
def test_a_state_tied_to_one_device_as_restored_ones_are_is_taken(make):
    tied = jax.device_put(initial("ae"), jax.devices()[0])
    _, metrics = make("ae")(tied, pixels(0))
    np.testing.assert_allclose(metrics["loss"], on_one("ae")[1]["loss"][0], rtol=1e-5)


def test_steps_are_traced_once_and_leave_the_callers_state_usable():
    traced = chex.assert_max_traces(plain("ae"), n=1)
    step = parallel.jit_step(traced, parallel.make_mesh())
    state, _ = step(initial("ae"), pixels(0))
    step(state, pixels(1))
    step(initial("ae"), pixels(1))


@presets
def test_step_lowers_for_accelerators_on_a_machine_that_has_none(name):
    lowered = jax.export.export(jax.jit(plain(name)), platforms=["tpu", "cuda"])(initial(name), pixels(0))
    assert lowered.platforms == ("tpu", "cuda")


@pytest.mark.parametrize("make", [sharded, mapped])
@pytest.mark.parametrize(("num_rows", "near"), [(10, "8 or 16"), (3, "8 or 16"), (23, "16 or 24")])
def test_rows_that_cannot_be_split_are_refused_with_numbers(make, num_rows, near):
    with pytest.raises(ValueError, match=rf"{num_rows} rows cannot be split evenly over 8 devices: take {near} rows"):
        make("ae")(initial("ae"), pixels(0, num_rows))


def test_steps_of_the_other_kind_are_refused():
    with pytest.raises(ValueError, match="needs a step that knows its axis"):
        parallel.pmap_step(plain("ae"))
    with pytest.raises(ValueError, match="without axis_name, got 'i'"):
        parallel.jit_step(build_step(objective_of("ae"), OPTIMIZER, "i"), parallel.make_mesh())
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), initial("ae"))
    with pytest.raises(ValueError, match=r"plain state, not one stacked per device \(step \(8,\)\)"):
        mapped("ae")(stacked, pixels(0))


def test_mesh_without_devices_is_refused():
    with pytest.raises(ValueError, match="at least one device"):
        parallel.make_mesh([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("localhost:1", 2, None), "or none of them"), (("localhost:1", 2, 2), r"process_id must be in 0\.\.1, got 2")],
)
def test_multi_host_start_refuses_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ValueError, match=message):
        parallel.start_multi_host(*arguments)


TWO_PROCESSES = """
import sys
import jax
import numpy as np
import optax
jax.config.update("jax_num_cpu_devices", 2)
from jaxae import bottlenecks, likelihoods, networks, objectives, parallel
from jaxae.checkpoint import checkpoints
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.train import NonFiniteError, build_step, evaluator, fit, init_state, metrics_log

address, number, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
parallel.start_multi_host(address, 2, number)
layer = bottlenecks.vector_quantizer(4)
objective = objectives.elbo(autoencoder(networks.mlp(4), layer, networks.mlp(5), likelihoods.gaussian()))
optimizer = optax.sgd(0.01)
x = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
make = jax.jit(lambda rng: init_state(objective, optimizer, rng, x))
state = make(jax.random.key(0))
mesh = parallel.make_mesh()
step, alone = parallel.jit_step(build_step(objective, optimizer), mesh), build_step(objective, optimizer)
assert jax.process_count() == 2 and jax.device_count() == 4

# single steps
many, one, single_step = state, state, jax.jit(alone)
for batch in x.reshape(4, 8, 5)[:3]:
    many, metrics = step(many, batch)
    one, wanted = single_step(one, batch)
    np.testing.assert_allclose(float(metrics["loss"]), float(wanted["loss"]), rtol=1e-5)

# the loop: rows by number, host batches, and arrays that span the hosts
evaluate, rows = evaluator(objective, x, 6, batch_size=8), shuffled(32, 8)
by_one = fit(alone, state, rows, 6, data=x, chunk=3, validation=evaluate)
sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))

def spanning(batch):
    return jax.make_array_from_process_local_data(sharding, batch[4 * number : 4 * number + 4], batch.shape)

def require_same(found, history):
    for a, b in zip(history, found.history, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(b[name], a[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for a, b in zip(*(jax.tree.leaves((r.state.params, r.state.state)) for r in (by_one, found)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)

host = [x[rows[i]] for i in range(6)]
for batches, data in ((rows, x), (host, None), ([spanning(b) for b in host], None)):
    require_same(fit(step, state, batches, 6, data=data, chunk=3, validation=evaluate), by_one.history)

# checkpoints by both, the log by process 0 alone; resumed on two
kept, log = checkpoints(folder + "/kept"), metrics_log(folder + f"/log_{number}.jsonl")
fit(step, state, rows, 3, data=x, chunk=3, validation=evaluate, checkpoints=kept, log=log)
resumed = fit(step, kept.restore(state), rows, 6, data=x, chunk=3, validation=evaluate, checkpoints=kept, log=log)
require_same(resumed, by_one.history[1:])
kept.close()

# a loss that is not finite ends both, with the same words
try:
    fit(step, state, [np.full((8, 5), np.nan, np.float32)] * 2, 2)
except NonFiniteError as error:
    print("stopped:", str(error)[:30])
print("agreed", by_one.history[-1]["loss"])
jax.distributed.shutdown()
"""


def test_two_processes_train_as_one_device_does(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), address, str(i), str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    lines = [text.strip().splitlines()[-2:] for text in said]
    assert lines[0] == lines[1]
    assert lines[0][0] == "stopped: the loss is nan at step 0 (com"
    assert lines[0][1].startswith("agreed")
    assert [(tmp_path / f"log_{i}.jsonl").read_text().count("\n") for i in range(2)] == [2, 0]
    # what two processes saved, one restores
    objective = objectives.elbo(
        autoencoder(networks.mlp(4), bottlenecks.vector_quantizer(4), networks.mlp(5), likelihoods.gaussian())
    )
    kept = checkpoints(tmp_path / "kept")
    state = kept.restore(init_state(objective, optax.sgd(0.01), jax.random.key(1), np.ones((8, 5), np.float32)))
    kept.close()
    assert int(state.step) == 6


OBJECTIVES_OF_BATCHES = {
    "vector_quantizer": lambda: coded_by(bottlenecks.vector_quantizer(6, restart_below=0.5, decay=0.6)),
    "lfq": lambda: coded_by(bottlenecks.lfq(4, entropy=0.5)),
    "bsq": lambda: coded_by(bottlenecks.bsq(4, entropy=0.5)),
    "residual": lambda: coded_by(bottlenecks.residual(bottlenecks.vector_quantizer(6), 2)),
    "grouped": lambda: coded_by(bottlenecks.grouped(bottlenecks.vector_quantizer(6), 2)),
    "kmeans": lambda: coded_by(bottlenecks.vector_quantizer(6, seeding="kmeans", learn="gradient")),
    "diversity": lambda: coded_by(bottlenecks.vector_quantizer(6, learn="gradient", diversity=3.0)),
    "free_bits": lambda: quiet(lambda: bottlenecks.gaussian(free_bits=0.4)),
    "total_correlation": lambda: charged(objectives.total_correlation()),
    "stratified": lambda: charged(objectives.total_correlation(100, "stratified")),
    "dip": lambda: charged(objectives.dip("ii")),
    "mmd": lambda: charged(objectives.mmd(lambda p, s, r, b, o: b.x[:, :2])),
    "activation_kl": lambda: charged(objectives.activation_kl()),
    "permuted": lambda: objectives.adversarial(
        objectives.elbo(told()), "apart", networks.mlp(6, 1), objectives.permuted, 1.0
    ),
    "trimmed": lambda: objectives.trimmed(objectives.elbo(told()), 0.3),
    "outlier_exposure": lambda: objectives.outlier_exposure(objectives.elbo(told()), 0.3, soft=True),
    "decomposition": lambda: objectives.decomposition(objectives.elbo(told()), 0.3),
    "supervised": lambda: objectives.supervised(objectives.elbo(told()), jnp.ones((3, 5))),
}


def coded_by(layer):
    return objectives.elbo(autoencoder(networks.mlp(8, 4), layer, networks.mlp(8, 5), likelihoods.gaussian()))


def without_noise(layer):
    """A bottleneck that never draws, so that replicas' keys play no part; its posterior is as it was."""

    def apply(params, state, rng, h, condition=None):
        return layer.apply(params, state, None, h, condition)

    return layer._replace(apply=apply)


def told(layer=None):
    layer = without_noise(bottlenecks.gaussian() if layer is None else layer)
    return autoencoder(networks.mlp(8, 4), layer, networks.mlp(8, 5), likelihoods.gaussian())


def quiet(make):
    return objectives.elbo(told(make()))


def charged(penalty):
    return objectives.penalized(objectives.elbo(told()), "charge", penalty, 3.0)


def of_their_kind(i):
    generator = np.random.default_rng(i)
    # replicas see rows of their own kind, so that statistics of one's own rows differ
    return (generator.normal(size=(24, 5)) + 3 * generator.normal(size=(8, 5)).repeat(3, 0)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(OBJECTIVES_OF_BATCHES))
def test_what_reads_a_batch_as_a_whole_takes_the_axis_of_the_step(name):
    objective, optimizer = OBJECTIVES_OF_BATCHES[name](), optax.sgd(1e-3)
    state = jax.jit(lambda key: init_state(objective, optimizer, key, of_their_kind(0)))(jax.random.key(2))
    one = run(jax.jit(build_step(objective, optimizer)), state, 4, of_their_kind)
    eight = run(parallel.pmap_step(build_step(objective, optimizer, "i")), state, 4, of_their_kind)
    for term in one[1]:
        np.testing.assert_allclose(eight[1][term], one[1][term], rtol=1e-4, atol=1e-5, err_msg=term)
    for tree in ("params", "state"):
        chex.assert_trees_all_close(getattr(eight[0], tree), getattr(one[0], tree), rtol=1e-3, atol=1e-5)


def test_a_step_of_ones_own_binds_the_axis_that_pmap_step_is_told():
    objective = coded_by(bottlenecks.vector_quantizer(6))
    state = init_state(objective, optax.sgd(0.0), jax.random.key(2), of_their_kind(0))

    def own(state, batch):
        _, (_, new, _) = objective.apply(state.params, state.state, state.rng, batch, state.step)
        return state._replace(state=new), {}

    eight, _ = parallel.pmap_step(own, axis_name="mine")(state, of_their_kind(0))
    one, _ = jax.jit(own)(state, Batch(of_their_kind(0)))
    chex.assert_trees_all_close(eight.state, one.state, rtol=1e-4, atol=1e-5)
