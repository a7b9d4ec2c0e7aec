"""Saved detectors: the same bits as the compiled function, no code, and nothing half written."""

import json
import os
import resource
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import presets, scoring, transforms
from jaxae.numerics import as_batch
from jaxae.scoring import thresholds
from jaxae.scoring.scores.reconstruction import KINDS
from jaxae.types import Batch, CostTable, Scorer, Verdict

SHAPE = (8, 7, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (60, *SHAPE)).astype(np.uint8)
LABELS = np.arange(20) % 2
EVERYWHERE = ("cpu", "cuda", "tpu")


def preset(name):
    """A preset at its first step: the model, its parameters and its state."""
    model, objective = presets.PRESETS[name](SHAPE)
    params, state = jax.jit(objective.init)(jax.random.key(0), as_batch(jnp.asarray(IMAGES[:8])))
    return model, params["model"], state["model"]


MODEL, PARAMS, STATE = preset("ae")


def scaled(base):
    return scoring.prepared(base, transforms.scale_uint8())


def noisy(model):
    base = scoring.prepared(scoring.reconstruction(model), transforms.gaussian_noise(0.2))
    return scoring.averaged(scaled(base), 3)


SCORERS = {
    **{kind: (lambda model, kind=kind: scaled(scoring.reconstruction(model, kind))) for kind in KINDS},
    "averaged": noisy,
    "ensemble": lambda model: scoring.ensemble(scaled(scoring.reconstruction(model))),
}
RULES = {
    "quantile": thresholds.quantile(0.9),
    "false_alarm_rate": thresholds.false_alarm_rate(0.1),
    "conformal": thresholds.conformal(0.1),
    "recall": thresholds.recall(0.9),
    "best_f1": thresholds.best_f1(0.1),
    "expected_cost": thresholds.expected_cost(CostTable.binary(10, 1)),
}


def fitted_detector(name="l2", rule="conformal", **options):
    detect = scoring.detector(SCORERS[name](MODEL), RULES[rule], **options)
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), PARAMS) if name == "ensemble" else PARAMS
    return detect, detect.fit(params, STATE, None, IMAGES[:30], IMAGES[30:50], LABELS)


def same_bits(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


# every scorer with a rule, and every rule with a scorer
PAIRS = [*zip(SCORERS, list(RULES) + ["conformal"] * len(SCORERS), strict=False)]


@pytest.mark.parametrize(("name", "rule"), PAIRS)
def test_loaded_equals_compiled_to_the_bit(tmp_path, name, rule):
    detect, fitted = fitted_detector(name, rule, with_map=name == "l1")
    scoring.save_detector(tmp_path / "d", detect, fitted, IMAGES[:1], {"score": name}, EVERYWHERE)
    loaded = scoring.load_detector(tmp_path / "d")
    run = jax.jit(detect.apply)
    for batch_size in (1, 7, 16) if name == "l2" else (16,):
        verdict = scoring.score_batches(loaded.apply, IMAGES[:32], batch_size)
        assert isinstance(verdict, Verdict)
        same_bits(verdict, scoring.score_batches(partial(run, fitted), IMAGES[:32], batch_size))
    assert (verdict.map is not None) == (name == "l1")
    assert (verdict.action is not None) == (rule == "expected_cost")
    # the arrays are arguments of the program, not part of it
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "d").iterdir()}
    assert sorted(sizes) == ["arrays.npz", "card.json", "program.bin"]
    arrays = sum(leaf.nbytes for leaf in jax.tree.leaves(fitted))
    assert arrays <= sizes["arrays.npz"] <= arrays + 10_000
    assert sizes["program.bin"] < 60_000
    program = jax.export.deserialize(bytearray((tmp_path / "d" / "program.bin").read_bytes()))
    assert program.platforms == EVERYWHERE
    assert 'dense<"0x' not in program.mlir_module()


@pytest.mark.parametrize("name", ["denoising_ae", "flow_vae", "vae", "vq_vae"])
def test_every_preset_is_scored_and_saved_for_every_platform(tmp_path, name):
    model, params, state = preset(name)
    detect = scoring.detector(scaled(scoring.reconstruction(model)), thresholds.conformal(0.1))
    fitted = detect.fit(params, state, None, IMAGES[:30])
    scoring.save_detector(tmp_path / "d", detect, fitted, IMAGES[:1], platforms=("cpu", "cuda", "tpu", "rocm"))
    loaded = scoring.load_detector(tmp_path / "d")
    same_bits(loaded(IMAGES[:16]), jax.jit(detect.apply)(fitted, IMAGES[:16]))


def test_a_new_process_gives_the_same_bits(tmp_path):
    detect, fitted = fitted_detector()
    scoring.save_detector(tmp_path / "d", detect, fitted, IMAGES[:1])
    np.save(tmp_path / "x.npy", IMAGES[:16])
    code = (
        "import sys, numpy as np, jax; jax.config.update('jax_num_cpu_devices', 8)\n"
        "from jaxae.scoring import load_detector\n"
        "loaded = load_detector(sys.argv[1] + '/d')\n"
        "np.save(sys.argv[1] + '/score.npy', loaded(np.load(sys.argv[1] + '/x.npy')).score)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=300)
    np.testing.assert_array_equal(np.load(tmp_path / "score.npy"), jax.jit(detect.apply)(fitted, IMAGES[:16]).score)


def tiny(columns=2):
    norm = Scorer(lambda params, state, reference: params, lambda fitted, rng, batch: (batch.x * fitted[None]).sum(-1))
    detect = scoring.detector(norm, thresholds.conformal(0.2))
    calibration = np.random.default_rng(3).normal(size=(9, columns)).astype(np.float32)
    return detect, detect.fit(jnp.ones(columns), (), None, calibration), calibration


def save_tiny(path, **options):
    detect, fitted, x = tiny()
    scoring.save_detector(path, detect, fitted, x, options.pop("card", {"unit": "mm"}), ("cpu",))
    return x


def test_card_and_example_come_back(tmp_path):
    x = save_tiny(tmp_path / "deep" / "er", card={"unit": "mm", "costs": [10, 1], "λ": None})
    loaded = scoring.load_detector(tmp_path / "deep" / "er")
    apply, card = loaded.apply, loaded.card
    assert {key: card[key] for key in card if key != "detector"} == {"unit": "mm", "costs": [10, 1], "λ": None}
    assert card["detector"]["platforms"] == ["cpu"]
    assert loaded.example == {"x": jax.ShapeDtypeStruct((2,), jnp.float32)}
    same_bits(apply(x), loaded(x))
    assert json.loads((tmp_path / "deep" / "er" / "card.json").read_text(encoding="utf-8")) == card


def test_batches_with_conditions_are_checked_by_name(tmp_path):
    add = Scorer(lambda params, state, reference: (), lambda f, rng, b: b.x.sum(-1) + b.condition["a"])
    detect = scoring.detector(add, thresholds.conformal(0.2))
    batch = Batch(np.ones((9, 2), np.float32), condition={"a": np.arange(9.0, dtype=np.float32)})
    scoring.save_detector(tmp_path / "d", detect, detect.fit((), (), None, batch), batch, platforms=("cpu",))
    loaded = scoring.load_detector(tmp_path / "d")
    assert loaded(batch._replace(weight=np.ones(9))).score.tolist() == (batch.condition["a"] + 2).tolist()
    with pytest.raises(
        ValueError, match=r"expects x float32\[B, 2\], condition\['a'\] float32\[B\]; got x float32\[B, 2\]$"
    ):
        loaded(batch.x)
    with pytest.raises(ValueError, match="expects one number of rows, at least 1; got 8, 9 rows"):
        loaded(batch._replace(x=batch.x[1:]))


def test_wrong_input_is_one_line_with_expected_and_got(tmp_path):
    x = save_tiny(tmp_path / "d")
    loaded = scoring.load_detector(tmp_path / "d")
    for wrong, got in (
        (np.ones((4, 3), np.float32), r"x float32\[B, 3\]"),
        (np.ones((4, 2)), r"x float64\[B, 2\]"),
        (np.ones((4, 2), np.uint8), r"x uint8\[B, 2\]"),
        (np.ones(2, np.float32), r"x float32\[B\]"),
        (np.float32(1), "x without rows"),
        ([[1.0, 2.0]], "x"),
    ):
        with pytest.raises(ValueError, match=rf"this detector expects x float32\[B, 2\]; got {got}") as error:
            loaded(wrong)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"got 0 rows"):
        loaded(x[:0])


def test_saving_replaces_a_detector_and_nothing_else(tmp_path):
    save_tiny(tmp_path, card={"turn": 1})  # an empty folder is taken
    save_tiny(tmp_path, card={"turn": 2})
    assert scoring.load_detector(tmp_path).card["turn"] == 2
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious.txt").write_text("here")
    for path in (foreign, foreign / "precious.txt"):
        with pytest.raises(ValueError, match="exists and is no detector; it is left as it is"):
            save_tiny(path)
    assert [entry.name for entry in foreign.iterdir()] == ["precious.txt"]


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    detect, fitted = fitted_detector()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (1_000, 40_000):  # in the middle of the program, and of the arrays
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match=r"^the detector was not saved to .*/d: .*; nothing is left there$"):
                scoring.save_detector(tmp_path / "d", detect, fitted, IMAGES[:1], platforms=("cpu",))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(tmp_path.iterdir()) == []
    # an old detector survives a failed replacement
    x = save_tiny(tmp_path / "d")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match="was not saved"):
            save_tiny(tmp_path / "d")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert scoring.load_detector(tmp_path / "d")(x).score.shape == (9,)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path):
    detect, fitted, x = tiny()
    for card, message in (
        ({"loss": float("nan")}, "the card must hold what JSON can"),
        ({"array": np.ones(2)}, "the card must hold what JSON can"),
        ({"detector": 1}, 'the card\'s key "detector" is taken'),
    ):
        with pytest.raises(ValueError, match=message):
            scoring.save_detector(tmp_path / "d", detect, fitted, x, card)
    with pytest.raises(ValueError, match="random keys, which are not saved"):
        scoring.save_detector(tmp_path / "d", detect, {"key": jax.random.key(0)}, x)
    picky = detect._replace(apply=lambda f, batch: detect.apply(f, batch if batch.x.shape[0] < 9 else 2 * batch.x))
    with pytest.raises(ValueError, match="cannot be exported for any number of rows: Symbolic dimension comparison"):
        scoring.save_detector(tmp_path / "d", picky, fitted, x)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["program.bin", "arrays.npz", "card.json"])
def test_damaged_files_are_one_line(tmp_path, name):
    save_tiny(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]
    for content in (whole[:middle], flipped, b"", b"[1, 2]", None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged|no saved detector") as error:
            scoring.load_detector(tmp_path)
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)


def test_foreign_folders_are_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"there is no detector at .*: no such folder"):
        scoring.load_detector(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is no saved detector: it has no card\.json"):
        scoring.load_detector(tmp_path)
    (tmp_path / "card.json").write_text('{"detector": {"format": "else", "sha256": {}}}')
    with pytest.raises(ValueError, match=r"is no saved detector: card\.json says format 'else'"):
        scoring.load_detector(tmp_path)
    with pytest.raises(ValueError, match=r"there is no detector at .*: not a folder"):
        scoring.load_detector(tmp_path / "card.json")
    save_tiny(tmp_path / "d")
    card = json.loads((tmp_path / "d" / "card.json").read_text())
    card["detector"]["version"] = 4
    (tmp_path / "d" / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="is a detector of version 4; this library reads versions 1, 2 and 3"):
        scoring.load_detector(tmp_path / "d")


def test_arrays_of_every_dtype_come_back(tmp_path):
    values = {
        "bfloat16": jnp.array([1.5, -2], jnp.bfloat16),
        "int8": jnp.array([-3], jnp.int8),
        "bool": jnp.array(True),
        "empty": jnp.zeros((0, 3)),
        "number": 2.0,
    }
    total = Scorer(
        lambda params, state, reference: values,
        lambda f, rng, b: (
            b.x.sum(-1) + f["bfloat16"].sum() + f["int8"].sum() + f["bool"] + f["empty"].sum() + f["number"]
        ),
    )
    detect = scoring.detector(total, thresholds.conformal(0.2))
    x = np.arange(18, dtype=np.float32).reshape(9, 2)
    scoring.save_detector(tmp_path / "d", detect, detect.fit((), (), None, x), x, platforms=("cpu",))
    np.testing.assert_array_equal(scoring.load_detector(tmp_path / "d")(x).score, x.sum(-1) - 0.5 - 3 + 1 + 2)


def test_a_saved_folder_is_readable_by_others(tmp_path):
    save_tiny(tmp_path / "d")
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o777 & ~_umask()
    assert np.load(tmp_path / "d" / "arrays.npz", allow_pickle=False).files


def _umask():
    current = os.umask(0)
    os.umask(current)
    return current


def test_values_beyond_the_limits_are_refused(tmp_path):
    model, params, state = preset("ae")
    detect = scoring.detector(scoring.reconstruction(model), thresholds.conformal(0.1))
    images = (IMAGES / 255).astype(np.float32)
    fitted = detect.fit(params, state, None, images)
    scoring.save_detector(tmp_path / "d", detect, fitted, images[:1], platforms=("cpu",), limits=(0.0, 1.0))
    loaded = scoring.load_detector(tmp_path / "d")
    assert loaded.apply(images[:3]).score.shape == (3,)
    message = r"trained on values in \[0, 1\]; got \[0, 255\]: pixels as bytes\? divide by 255"
    wrong = np.zeros((3, *SHAPE), np.float32)
    wrong[0, 0, 0] = 255
    with pytest.raises(ValueError, match=message):
        loaded.apply(wrong)
    with pytest.raises(ValueError, match=r"got \[-1, 0\]$"):
        loaded.apply(wrong / -255)
    with pytest.raises(ValueError, match="in this order"):
        scoring.save_detector(tmp_path / "d", detect, fitted, images[:1], limits=(1.0, 0.0))


def test_another_threshold_on_a_saved_detector_saves_again_with_the_same_scores(tmp_path):
    detect, fitted = fitted_detector("l2", "conformal", with_map=True)
    scoring.save_detector(tmp_path / "first", detect, fitted, IMAGES[:1], platforms=("cpu", "cuda"))
    first = scoring.load_detector(tmp_path / "first")
    again = scoring.rethresholded(first, RULES["recall"])
    arrays = again.fit(None, None, None, IMAGES[:30], IMAGES[30:50], LABELS)
    scoring.save_detector(tmp_path / "second", again, arrays, IMAGES[:1], platforms=("cpu", "cuda"))
    second = scoring.load_detector(tmp_path / "second")
    rows = IMAGES[50:]
    old, new = first.apply(rows), second.apply(rows)
    np.testing.assert_array_equal(old.score, new.score)
    np.testing.assert_array_equal(old.map, new.map)
    caught = (second.apply(IMAGES[30:50]).score >= new.threshold[0])[LABELS == 1]
    assert caught.mean() >= 0.9
    assert new.threshold[0] != old.threshold[0]
