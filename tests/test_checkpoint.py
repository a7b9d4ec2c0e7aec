"""Checkpoints: the same bits back, the best and the last kept, and clear words when something is wrong."""

import errno
import functools
import gc
import logging
import shutil
import subprocess
import sys
from collections import namedtuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import checkpoint, presets
from jaxae.checkpoint import checkpoints
from jaxae.train import init_state


@functools.cache
def initial(latent_size, name, plain):
    options = {"latent_size": latent_size} if name == "ae" else {"num_codes": 8, "num_tokens": 2, "code_size": 3}
    _, objective = presets.PRESETS[name]((5,), **options)
    optimizer = optax.sgd(0.1) if plain else optax.adam(optax.linear_schedule(1e-3, 0.0, 10))
    return init_state(objective, optimizer, jax.random.key(0), jnp.ones((4, 5)))


def state_of(latent_size=2, step=0, name="ae", plain=False):
    return initial(latent_size, name, plain)._replace(step=jnp.int32(step), rng=jax.random.key(step))


def saved(folder, losses, name="ae"):
    """A folder with one checkpoint after another; the last state comes back."""
    kept = checkpoints(folder)
    for step, loss in losses.items():
        kept.save(state_of(step=step, name=name), loss)
    kept.close()
    return state_of(step=max(losses), name=name)


def steps(folder):
    return sorted(int(path.name) for path in folder.iterdir())


def test_another_opening_restores_the_same_bits_types_and_key(tmp_path):
    state = saved(tmp_path, {7: 0.5}, name="vq_vae")
    kept = checkpoints(tmp_path)
    for template in (state_of(name="vq_vae"), jax.eval_shape(lambda: state)):
        found = kept.restore(template)
        assert jax.tree.structure(found) == jax.tree.structure(state)
        assert found.rng.dtype == state.rng.dtype
        chex.assert_trees_all_equal(*(s._replace(rng=jax.random.key_data(s.rng)) for s in (found, state)))
        chex.assert_trees_all_equal_shapes_and_dtypes(found, state)
    kept.close()


def test_best_and_last_are_kept(tmp_path):
    last = saved(tmp_path, {0: None, 10: 5.0, 20: 3.0, 30: 4.0, 40: float("nan")})
    assert steps(tmp_path) == [20, 40]
    kept = checkpoints(tmp_path)
    best, loss = kept.best(last)
    assert (int(best.step), loss, kept.latest()) == (20, 3.0, 40)
    kept.close()


def test_without_validation_the_last_is_kept_and_there_is_no_best(tmp_path):
    last = saved(tmp_path, {10: None, 20: None})
    assert steps(tmp_path) == [20]
    kept = checkpoints(tmp_path)
    assert kept.best(last) is None
    assert int(kept.restore(last).step) == 20
    kept.close()


def test_a_state_that_spans_eight_devices_comes_back_on_the_templates_device(tmp_path):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("rows",))
    state = state_of(step=3)
    kept = checkpoints(tmp_path)
    kept.save(jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())), None)
    found = kept.restore(state)
    kept.close()
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(found)} == {1}
    chex.assert_trees_all_equal(found.params, state.params)


def complaint(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_foreign_checkpoints_name_what_differs(tmp_path):
    saved(tmp_path, {5: None})
    kept = checkpoints(tmp_path)
    text = complaint(lambda: kept.restore(state_of(latent_size=3)))
    assert str(tmp_path / "5") in text
    assert "another model" in text
    assert "Dense_0.kernel is float32[2, 64] there, float32[3, 64] here" in text
    text = complaint(lambda: kept.restore(state_of(plain=True)))
    assert "opt_state.0.count is int32[] there, nothing here" in text
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16) if leaf.dtype == jnp.float32 else leaf, state_of())
    assert "bfloat16" in complaint(lambda: kept.restore(half))
    kept.close()


def test_a_checkpoint_without_a_checksum_is_read(tmp_path, monkeypatch):
    """As several hosts write it: none of them holds all of the numbers."""
    monkeypatch.setattr(checkpoint, "_checksum", lambda state: None)
    last = saved(tmp_path, {5: None})
    monkeypatch.undo()
    kept = checkpoints(tmp_path)
    chex.assert_trees_all_equal(kept.restore(last).params, last.params)
    kept.close()


def test_what_is_not_there_is_said(tmp_path):
    kept = checkpoints(tmp_path / "new")
    assert kept.latest() is None
    assert "holds no checkpoint" in complaint(lambda: kept.restore(state_of()))
    kept.save(state_of(step=5), None)
    kept.wait()
    assert "no checkpoint of step 6, only [5]" in complaint(lambda: kept.restore(state_of(), 6))
    kept.close()


def truncate(folder):
    for path in folder.rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[:10])


def empty(folder):
    shutil.rmtree(folder)
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "holiday.txt").write_text("not a checkpoint")


def garble(folder):
    (folder / "default" / "_METADATA").write_text("{")


def flip_a_bit(folder):
    """In the numbers themselves, which the storage format does not protect."""
    path = max((p for p in folder.rglob("*") if p.parent.name == "d"), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, empty, garble, flip_a_bit])
def test_damaged_checkpoints_are_one_line(tmp_path, damage, capfd):
    saved(tmp_path, {5: None})
    damage(tmp_path / "5")
    kept = checkpoints(tmp_path)
    text = complaint(lambda: kept.restore(state_of()))
    kept.close()
    assert f"{tmp_path / '5'} is damaged or foreign" in text
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("in_the_middle", [False, True])
def test_a_full_disk_leaves_the_checkpoint_before_it(small_disk, monkeypatch, in_the_middle):
    noise = jax.random.normal(jax.random.key(0), (150_000,))  # 600 kB that do not compress
    state = state_of()
    state = state._replace(params={**state.params, "noise": noise})
    ballast = small_disk / "ballast"
    folder = small_disk / "checkpoints"
    kept = checkpoints(folder)
    kept.save(state, 1.0)
    kept.wait()
    ballast.write_bytes(bytes(1_000_000))
    if in_the_middle:  # what is free when the write starts is taken by somebody else
        monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(1 << 40))

    def save():
        kept.save(state._replace(step=jnp.int32(9)), 0.5)
        kept.wait()

    with pytest.raises(OSError, match=r"no (room|space left)") as caught:
        save()
    assert caught.value.errno == errno.ENOSPC
    assert "\n" not in str(caught.value)
    assert steps(folder) == [0]  # nothing half-written holds space
    chex.assert_trees_all_equal(kept.restore(state).params, state.params)
    ballast.unlink()
    save()
    assert kept.latest() == 9
    kept.close()


def test_what_a_killed_run_left_is_removed_by_the_next_save_and_by_no_reader(tmp_path):
    last = saved(tmp_path, {5: None})
    left = tmp_path / "6.orbax-checkpoint-tmp"
    left.mkdir()
    kept = checkpoints(tmp_path)
    assert int(kept.restore(last).step) == 5
    assert left.exists()
    kept.save(state_of(step=6), None)
    kept.close()
    assert steps(tmp_path) == [6]


def test_saving_says_nothing_and_leaves_logging_as_it_was(tmp_path, caplog, capfd):
    logger = logging.getLogger("absl")
    level, filters, hook = logger.level, list(logger.filters), sys.unraisablehook
    with caplog.at_level(logging.INFO):
        last = saved(tmp_path, {5: None})
        kept = checkpoints(tmp_path)
        kept.restore(last)
        kept.close()
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert (logger.level, logger.filters) == (level, filters)
    assert sys.unraisablehook is hook


def test_every_file_of_a_checkpoint_may_be_damaged(tmp_path, capfd):
    whole = checkpoints(tmp_path / "whole")
    for step, loss in enumerate((0.25, 0.5)):
        whole.save(state_of(step=step), loss)
    whole.close()
    state = state_of()
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert len(files) > 6
    said = []
    for path in files:
        # one of each kind is enough for the stores of arrays, of which there are many
        contents = [b"", path.read_bytes()[: path.stat().st_size // 2], b"[]", b"7", b"[" * 100_000]
        contents += [b'{"validation_loss": NaN}', b'{"validation_loss": "low"}']
        for content in contents if path.suffix == "" and "ocdbt" not in str(path) else contents[:1]:
            work = tmp_path / "work"
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(tmp_path / "whole", work)
            (work / path.relative_to(tmp_path / "whole")).write_bytes(content)
            try:
                opened = checkpoints(work)
                try:
                    opened.best(state)
                    opened.restore(state)
                finally:
                    opened.close()
            except ValueError as error:
                said.append(str(error))
    gc.collect()
    assert len(said) > 20
    assert all("\n" not in line and str(tmp_path / "work") in line for line in said)
    assert "Traceback" not in capfd.readouterr().err
