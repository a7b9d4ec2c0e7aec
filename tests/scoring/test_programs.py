"""Programs from somebody else: read against a list, compared with their card, and refused before they are compiled."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.export
import jax.extend.mlir.dialects.stablehlo as stablehlo
import jax.extend.mlir.ir as ir
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import mlir

from jaxae import bottlenecks, downstream, likelihoods, networks, presets, scoring, transforms
from jaxae.bottlenecks import BOTTLENECKS
from jaxae.files import programs
from jaxae.likelihoods import LIKELIHOODS
from jaxae.model import autoencoder
from jaxae.presets import CONDITIONAL, PRESETS
from jaxae.scoring import confidence, thresholds
from jaxae.scoring.detector import saving
from jaxae.scoring.detector.loading import CARD, PROGRAM, card_digest
from jaxae.scoring.scores import SCORERS
from jaxae.scoring.scores.reconstruction import KINDS
from jaxae.scoring.thresholds import THRESHOLDS
from jaxae.transforms import TRANSFORMS
from jaxae.types import Batch, Scorer

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "detectors"
KEY = jax.random.key
ROWS = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
IMAGES = np.random.default_rng(0).uniform(size=(12, 16, 16, 3)).astype(np.float32)
CLASSES = 3


# ---- the list is what is written ------------------------------------------------------------------------------


def exported(detect, params, state, batch, calibration=None, labels=None):
    """The serialized program of a detector, from shapes alone."""
    rest = calibration or batch
    labels = jnp.arange(len(batch.x)) % 2 if labels is None else labels
    fitted = jax.eval_shape(lambda p, s, b, c: detect.fit(p, s, b, c, c, labels), params, state, batch, rest)
    leaves, structure = jax.tree.flatten(fitted)
    return saving._export(detect, structure, leaves, rest, programs.PLATFORMS)[0]


def of_model(model, scorer, x, with_map=False, members=None, labels=None):
    def init(key):
        return model.init(key, jnp.asarray(x), labels) if labels is not None else model.init(key, jnp.asarray(x))

    keys = KEY(0) if members is None else jax.random.split(KEY(0), members)
    params, state = jax.eval_shape(init if members is None else jax.vmap(init), keys)
    detect = scoring.detector(scorer, thresholds.conformal(0.1), with_map=with_map)
    return exported(detect, params, state, Batch(jnp.asarray(x), condition=labels))


def of_classifier(make, x):
    model, _ = downstream.classifier(downstream.feature_encoder(x.shape[1:]), networks.mlp(CLASSES), CLASSES)
    logits, features = confidence.logits_of(model), scoring.latent.encoded(model)
    params, state = jax.eval_shape(lambda key: model.init(key, jnp.asarray(x)), KEY(0))
    detect = scoring.open_set(logits, make(model, logits, features), thresholds.conformal(0.1))
    number = np.arange(len(x))
    return exported(
        detect,
        params,
        state,
        Batch(jnp.asarray(x), target=(number % CLASSES)[:, None]),
        Batch(jnp.asarray(x)),
        number % (CLASSES + 1),
    )


def everything():
    """A program of every scorer, rule, bottleneck, likelihood, transform, preset and confidence that there is."""
    encoder = networks.mlp(6, 4)
    coded = autoencoder(encoder, bottlenecks.bernoulli(4), networks.mlp(6, 5), likelihoods.gaussian())
    for name, make in SCORERS.items():
        scorer = make(coded, encoder)
        yield of_model(coded, scorer, ROWS, scorer.map is not None, 3 if name == "ensemble" else None)
    images, _ = presets.ae(IMAGES.shape[1:])
    for kind in KINDS:
        scorer = scoring.reconstruction(images, kind)
        yield of_model(images, scorer, IMAGES, scorer.map is not None)
    norm = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum(-1))
    many = np.random.default_rng(1).normal(size=(2000, 2)).astype(np.float32)
    for make in THRESHOLDS.values():
        detect = scoring.detector(norm, make())
        fitted = detect.fit({}, {}, None, many, many, np.arange(len(many)) % 2)  # rules look at the values
        leaves, structure = jax.tree.flatten(fitted)
        yield saving._export(detect, structure, leaves, many, programs.PLATFORMS)[0]
    for make in BOTTLENECKS.values():
        bottleneck = make()
        # where a bottleneck gives a grid, the decoder reads it whole
        for decoder in (networks.mlp(6, 5), networks.mlp(output_shape=(5,), flatten=True)):
            model = autoencoder(networks.mlp(6, 4), bottleneck, decoder, likelihoods.gaussian())
            try:
                yield of_model(model, scoring.reconstruction(model), ROWS)
                break
            except ValueError:
                continue
        else:
            raise AssertionError("no decoder fits")
    for make in LIKELIHOODS.values():
        likelihood = make()
        outputs = networks.mlp(6, 5 * likelihood.num_params)
        model = autoencoder(networks.mlp(6, 4), bottlenecks.gaussian(), outputs, likelihood)
        yield of_model(model, scoring.bound(model, num_samples=2), ROWS)
    for name in sorted(TRANSFORMS.keys() - {"oriented_gradients"}):
        yield of_model(images, scoring.prepared(scoring.reconstruction(images), TRANSFORMS[name]()), IMAGES)
    length = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: (batch.x**2).sum((1, 2, 3)))
    edges = scoring.prepared(length, transforms.oriented_gradients())
    yield exported(scoring.detector(edges, thresholds.conformal(0.1)), {}, {}, Batch(jnp.asarray(IMAGES)))
    for name, preset in PRESETS.items():
        model, _ = preset(IMAGES.shape[1:])
        labels = jnp.arange(len(IMAGES)) % 10 if name in CONDITIONAL else None
        yield of_model(model, scoring.reconstruction(model), IMAGES, labels=labels)
    for name in ("hyperspherical_vae", "flow_vae", "vq_vae"):
        model, _ = PRESETS[name](ROWS.shape[1:])
        yield of_model(model, scoring.bound(model, num_samples=2), ROWS)
    for make in confidence.CONFIDENCES.values():
        yield of_classifier(lambda model, logits, features, make=make: make(logits, features, CLASSES, 4), IMAGES)
    yield of_classifier(lambda model, logits, features: confidence.react(model, CLASSES), ROWS)
    yield of_classifier(lambda model, logits, features: confidence.ash(model, CLASSES), ROWS)
    yield of_classifier(lambda model, logits, features: confidence.odin(logits), ROWS)
    yield of_classifier(
        lambda model, logits, features: confidence.knn(confidence.four_turns(confidence.unit_length(features)), 3),
        IMAGES,
    )


def operations_of(content):
    program = jax.export.deserialize(bytearray(content))
    with mlir.make_ir_context() as context:
        module = stablehlo.deserialize_portable_artifact(context, program.mlir_module_serialized)
        for _, operation in programs._operations(module):
            target = operation.attributes["call_target_name"] if operation.name.endswith("custom_call") else None
            yield operation.name, None if target is None else str(target).strip('"')


def test_the_list_is_what_the_library_writes_and_no_more():
    written, targets = set(), set()
    for content in everything():
        for name, target in operations_of(content):
            written.add(name)
            targets.add(target)
    assert written == programs.WRITTEN
    assert targets - {None} == {"shape_assertion"}
    assert not programs.WRITTEN & programs.ALSO_HARMLESS


def test_every_other_operation_is_one_that_only_computes():
    classes = [getattr(stablehlo, name) for name in dir(stablehlo)]
    known = {made.OPERATION_NAME for made in classes if hasattr(made, "OPERATION_NAME")}
    assert {"stablehlo.add", "stablehlo.infeed"} <= known
    listed = programs.WRITTEN | programs.ALSO_HARMLESS
    assert {name for name in listed if name.startswith("stablehlo.")} <= known
    reaching_out = {
        "infeed",
        "outfeed",
        "send",
        "recv",
        "all_reduce",
        "all_gather",
        "partition_id",
        "replica_id",
        "rng",
    }
    assert not {f"stablehlo.{name}" for name in reaching_out} & listed


# ---- what others may have made --------------------------------------------------------------------------------


def copied(tmp_path, kind="rows", version=2):
    shutil.copytree(FIXTURES / f"version-{version}" / kind, tmp_path / "d")
    return tmp_path / "d"


def sign(folder, content=None, edit=None):
    """Write a program, and a card that vouches for it."""
    card = json.loads((folder / CARD).read_text("utf-8"))
    if content is not None:
        (folder / PROGRAM).write_bytes(content)
        card["detector"]["sha256"][PROGRAM] = hashlib.sha256(content).hexdigest()
    if edit is not None:
        edit(card)
    if CARD in card["detector"]["sha256"]:
        card["detector"]["sha256"][CARD] = card_digest(card)
    (folder / CARD).write_text(json.dumps(card), "utf-8")


def forge(folder, change_text=None, **fields):
    """Another program in place of a detector's, with a card that vouches for it."""
    program = jax.export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    if change_text is not None:
        text = program.mlir_module()
        changed = change_text(text)
        assert changed != text
        with mlir.make_ir_context():
            version = stablehlo.get_current_version()
            artifact = stablehlo.serialize_portable_artifact(ir.Module.parse(changed), version)
        fields["mlir_module_serialized"] = bytes(artifact)
    sign(folder, bytes(dataclasses.replace(program, **fields).serialize()))


def inserted(*lines):
    """Lines at the beginning of the main function."""

    def change(text):
        begin = text.index("\n", text.index("@main(")) + 1
        return text[:begin] + "\n".join(lines) + "\n" + text[begin:]

    return change


def refusal(folder):
    with pytest.raises(ValueError) as error:
        scoring.load_detector(folder)
    message = str(error.value)
    assert "\n" not in message
    assert str(folder) in message
    assert len(message) < 900
    return message


CALLBACK = (
    "%forged = stablehlo.custom_call @xla_ffi_python_cpu_callback(%arg1) {api_version = 4 : i32, has_side_effect = "
    "true, backend_config = {index = 123456789 : ui64}} : (tensor<2xf32>) -> tensor<2xf32>"
)
OVERFLOW = (
    "%large = stablehlo.constant dense<1.0> : tensor<2000x2000xf32>",
    "%forged:3 = stablehlo.custom_call @lapack_ssyevd_ffi(%large) {api_version = 4 : i32, has_side_effect = true, "
    "backend_config = {mode = 86 : ui8, uplo = 76 : ui8}} : (tensor<2000x2000xf32>) -> (tensor<2x2xf32>, "
    "tensor<2xf32>, tensor<i32>)",
)


@pytest.mark.parametrize("lines", [(CALLBACK,), OVERFLOW], ids=["callback", "overflow"])
def test_a_forged_custom_call_is_refused_and_would_have_ended_the_process(tmp_path, lines):
    folder = copied(tmp_path)
    forge(folder, inserted(*lines))
    target = lines[-1].partition("@")[2].partition("(")[0]
    assert f"the custom call '{target}', which no detector may hold; it is not run" in refusal(folder)
    # jax itself compiles and runs it
    code = (
        "import sys, jax, jax.export, jax.numpy as jnp, numpy as np\n"
        "program = jax.export.deserialize(bytearray(open(sys.argv[1] + '/program.bin', 'rb').read()))\n"
        "stored = np.load(sys.argv[1] + '/arrays.npz')\n"
        "arrays = [stored[f'arr_{i}'] for i in range(len(stored.files))]\n"
        "program.call(arrays, [jnp.ones((3, 2))])[0].block_until_ready()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, timeout=300, check=False)
    assert ended.returncode < 0, ended.stderr[-2000:]


TOKEN = "%token = stablehlo.create_token : !stablehlo.token"
OPERATIONS = {
    "stablehlo.infeed": (
        TOKEN,
        '%got:2 = "stablehlo.infeed"(%token) {infeed_config = "", layout = [[0]]} : (!stablehlo.token) -> '
        "(tensor<2xf32>, !stablehlo.token)",
    ),
    "stablehlo.outfeed": (
        TOKEN,
        '%sent = "stablehlo.outfeed"(%arg1, %token) {outfeed_config = ""} : (tensor<2xf32>, !stablehlo.token) -> '
        "!stablehlo.token",
    ),
    "stablehlo.replica_id": ("%id = stablehlo.replica_id : tensor<ui32>",),
    "stablehlo.partition_id": ("%id = stablehlo.partition_id : tensor<ui32>",),
    "stablehlo.rng": (
        "%low = stablehlo.constant dense<0.0> : tensor<f32>",
        "%size = stablehlo.constant dense<2> : tensor<1xi64>",
        "%drawn = stablehlo.rng %low, %low, %size, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) "
        "-> tensor<2xf32>",
    ),
    "stablehlo.all_gather": (
        '%all = "stablehlo.all_gather"(%arg1) {all_gather_dim = 0 : i64, replica_groups = dense<0> : tensor<1x1xi64>} '
        ": (tensor<2xf32>) -> tensor<2xf32>",
    ),
    # in a region of an operation that is allowed
    "stablehlo.replica_id in a branch": (
        "%branch = stablehlo.constant dense<0> : tensor<i32>",
        '%chosen = "stablehlo.case"(%branch) ({',
        "  %id = stablehlo.replica_id : tensor<ui32>",
        "  stablehlo.return %id : tensor<ui32>",
        "}) : (tensor<i32>) -> tensor<ui32>",
    ),
}


@pytest.fixture
def _here(monkeypatch):
    """Read in this process, for bytes that a compiler wrote: another process takes its time to start."""
    monkeypatch.setattr(programs, "_require_readable", lambda content: None)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_that_reach_out_are_refused_by_name(tmp_path, name):
    folder = copied(tmp_path)
    forge(folder, inserted(*OPERATIONS[name]))
    assert "which no detector may hold; it is not run" in refusal(folder)
    assert "program.bin: its program holds the operation 'stablehlo." in refusal(folder)


def recursive(text):
    end = text.rindex("}")
    function = (
        "func.func private @again(%x: tensor<i32>) -> tensor<i32> {\n"
        "  %y = func.call @again(%x) : (tensor<i32>) -> tensor<i32>\n  return %y : tensor<i32>\n}\n"
    )
    called = inserted(
        "%zero = stablehlo.constant dense<0> : tensor<i32>",
        "%never = func.call @again(%zero) : (tensor<i32>) -> tensor<i32>",
    )
    return called(text[:end] + function + text[end:])


def top_k(k, result):
    return inserted(
        f"%top:2 = stablehlo.custom_call @mhlo.topk(%arg2) {{mhlo.attributes = {{k = {k} : i64}}, "
        f"mhlo.version = 1 : i64}} : (tensor<9xf32>) -> (tensor<{result}xf32>, tensor<{result}xi32>)"
    )


TEXTS = {
    "a function that calls itself": recursive,
    "mhlo.num_replicas = 2": lambda text: text.replace("mhlo.num_replicas = 1", "mhlo.num_replicas = 2"),
    "the attribute 'mhlo.sharding'": inserted(
        '%z = stablehlo.negate %arg1 {mhlo.sharding = "{replicated}"} : tensor<2xf32>'
    ),
    "the attribute 'tf.aliasing_output' of a function's argument": lambda text: text.replace(
        "%arg1: tensor<2xf32>", "%arg1: tensor<2xf32> {tf.aliasing_output = 0 : i32}", 1
    ),
    "the attribute 'backend_config' at stablehlo.custom_call": lambda text: text.replace(
        "api_version = 2 : i32,", 'api_version = 2 : i32, backend_config = "x",', 1
    ),
    "of other sizes than its k": top_k(3, 30),
    "of other sizes than its k ": top_k(30, 30),
}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("name", TEXTS)
def test_attributes_calls_and_sizes_are_looked_at(tmp_path, name):
    folder = copied(tmp_path)
    forge(folder, TEXTS[name])
    assert name.strip() in refusal(folder)


@pytest.mark.usefixtures("_here")
def test_the_k_largest_as_earlier_versions_of_jax_write_them_are_read(tmp_path):
    folder = copied(tmp_path)
    forge(folder, top_k(3, 3))
    np.testing.assert_array_equal(scoring.load_detector(folder)(np.ones((2, 2), np.float32)).score, [2, 2])


check = jax.export.DisabledSafetyCheck
FIELDS = {
    "disabled safety checks": {"disabled_safety_checks": (check.platform(),)},
    "disabled safety checks ": {"disabled_safety_checks": (check.custom_call("any"),)},
    "for 2 devices": {"nr_devices": 2},
    "no platform of a detector": {"platforms": ("cpu", "abacus", "tpu")},
    "promises the platforms": {"platforms": ("cpu", "tpu", "cuda")},
    "called by convention 99": {"calling_convention_version": 99},
    "called by convention 1": {"calling_convention_version": 1},
    "keeps arguments that it does not have": {"module_kept_var_idx": (0, 1, 2, 3, 4, 5)},
    "keeps arguments that it does not have ": {"module_kept_var_idx": (4, 3, 2, 1, 0)},
    "and says that it is": {"module_kept_var_idx": (0, 1, 2, 3)},
}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("name", FIELDS)
def test_what_is_written_around_the_module_is_looked_at(tmp_path, name):
    folder = copied(tmp_path)
    forge(folder, **FIELDS[name])
    assert name.strip() in refusal(folder)


@pytest.mark.usefixtures("_here")
def test_a_program_of_other_shapes_than_its_module_or_its_card_is_refused(tmp_path):
    folder = copied(tmp_path)
    program = jax.export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    for field in ("in_avals", "out_avals"):
        avals = getattr(program, field)
        wider = avals[0].update(shape=(*avals[0].shape, 7))
        forge(folder, **{field: (wider, *avals[1:])})
        assert "and says that it is" in refusal(folder)
    sign(folder, bytes(program.serialize()))
    assert scoring.load_detector(folder)(np.ones((2, 2), np.float32)).score.shape == (2,)
    for key, value, said in (
        ("inputs", [{"name": "x", "shape": [3], "dtype": "float32"}], r"its card promises x float32\[b, 3\]"),
        ("inputs", [{"name": "x", "shape": [2], "dtype": "uint8"}], r"its card promises x uint8\[b, 2\]"),
        ("outputs", ["score", "threshold", "p_value", "is_anomaly", "map"], "and 5 outputs; its program has others"),
        ("platforms", ["cpu"], "its card promises the platforms"),
    ):
        folder = copied(tmp_path / key / str(value)[-9:-6])
        sign(folder, edit=lambda card, key=key, value=value: card["detector"].update({key: value}))
        with pytest.raises(ValueError, match=said):
            scoring.load_detector(folder)


@pytest.mark.usefixtures("_here")
def test_a_program_that_brings_its_derivative_is_refused(tmp_path):
    folder = copied(tmp_path)
    (size,) = jax.export.symbolic_shape("b")
    arrays = [jax.ShapeDtypeStruct((2,), jnp.float32)]
    rows = [jax.ShapeDtypeStruct((size, 2), jnp.float32)]
    made = jax.export.export(jax.jit(lambda arrays, rows: [rows[0] @ arrays[0]]))(arrays, rows)
    sign(folder, bytes(made.serialize(vjp_order=1)))
    assert "brings a derivative" in refusal(folder)


def test_bytes_that_are_no_program_are_refused_whatever_they_do_to_the_reader(tmp_path):
    folder = copied(tmp_path)
    whole = (folder / PROGRAM).read_bytes()
    ends_the_reader, never_ends = bytearray(whole), bytearray(whole)
    for content, changes in ((ends_the_reader, {5705: 179, 6072: 13}), (never_ends, {1684: 110, 3041: 48, 5345: 134})):
        for place, value in changes.items():
            content[place] = value
    rng = np.random.default_rng(0)
    for content in (ends_the_reader, never_ends, b"", whole[:1000], whole[:-900], rng.bytes(4000)):
        sign(folder, bytes(content))
        assert "program" in refusal(folder)


def test_programs_of_ones_own_parts_are_saved_or_refused_when_they_are_saved(tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)

    def saved(score):
        detect = scoring.detector(Scorer(lambda p, s, r: {}, lambda f, rng, b: score(b.x)), thresholds.conformal(0.2))
        scoring.save_detector(tmp_path / "d", detect, detect.fit({}, {}, None, x), x[:1])
        return scoring.load_detector(tmp_path / "d")

    for score in (
        lambda x: jnp.abs(jnp.fft.rfft(x)).sum(-1),
        lambda x: jax.scipy.special.erf(x).sum(-1) + jax.scipy.special.erfinv(jnp.tanh(x)).sum(-1),
        lambda x: jax.lax.top_k(x, 2)[0].sum(-1) + jnp.arctan2(x[:, 0], x[:, 1]) + jnp.cbrt(x[:, 0]),
        lambda x: jax.nn.sigmoid(x).sum(-1) + jax.lax.population_count(x.astype(jnp.int32)).sum(-1),
    ):
        loaded = saved(score)
        np.testing.assert_allclose(loaded(x).score, score(x), rtol=1e-5)
    shutil.rmtree(tmp_path / "d")
    message = "the model cannot be saved: its program holds the custom call .*; a scorer decomposes matrices in `fit`"
    with pytest.raises(ValueError, match=message):
        saved(lambda x: jnp.linalg.eigvalsh(x[:, :, None] * x[:, None, :]).sum(-1))
    called_back = jax.ShapeDtypeStruct((1,), jnp.float32)
    with pytest.raises(ValueError, match=r"the model cannot be exported: .*python_callback"):
        saved(lambda x: jax.pure_callback(lambda x: x.sum(-1), called_back, x, vmap_method="sequential"))
    assert list(tmp_path.iterdir()) == []


# ---- the card -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_detectors_of_earlier_versions_are_read(version):
    rows = scoring.load_detector(FIXTURES / f"version-{version}" / "rows")
    verdict = rows(np.array([[1, 2], [3, 4.5]], np.float32))
    np.testing.assert_array_equal(verdict.score, np.float32([3, 7.5]))
    np.testing.assert_allclose(verdict.p_value, [0.1, 0.1])
    assert verdict.is_anomaly.tolist() == [True, True]
    classes = scoring.load_detector(FIXTURES / f"version-{version}" / "open_set")
    verdict = classes(np.array([[6, 0], [0, 9], [1, 2]], np.float32))
    assert verdict.action.tolist() == [0, 1, 2]
    assert (None if verdict.prediction is None else verdict.prediction.tolist()) == (
        None if version == 1 else [0, 1, 1]
    )


def saved_rows(folder):
    norm = Scorer(lambda p, s, r: {}, lambda f, rng, b: (b.x**2).sum(-1))
    detect = scoring.detector(norm, thresholds.conformal(0.25))
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    card = {"unit": "mm", "π": [1, 2.5, None, True, {"a": 1e-300}]}
    scoring.save_detector(folder, detect, detect.fit({}, {}, None, x), x[:1], card, limits=(-9.0, 9.0))
    return folder


def test_whatever_is_changed_in_a_card_is_found(tmp_path):
    folder = saved_rows(tmp_path / "d")
    text = (folder / CARD).read_text("utf-8")
    assert scoring.load_detector(folder).card["unit"] == "mm"
    # the layout says nothing
    (folder / CARD).write_text(json.dumps(json.loads(text), sort_keys=True), "utf-8")
    scoring.load_detector(folder)
    for before, after in (('"mm"', '"cm"'), ("2.5", "2.4"), ("-9.0", "-8.0"), ("true", "false"), ("1e-300", "2e-300")):
        assert before in text
        (folder / CARD).write_text(text.replace(before, after), "utf-8")
        assert "card.json is not what its own checksum says" in refusal(folder)
    (folder / CARD).write_text(text.replace('"unit": "mm",', ""), "utf-8")
    assert "card.json is not what its own checksum says" in refusal(folder)


WRONG = [None, True, -1, 0, 1.5, 10**30, "", "x", [], [[]], {}, {"a": 1}, "\ud800"]


def paths_of(value, path=()):
    """The path to every key and element of a card."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from paths_of(part, (*path, key))


def put(value, path, new):
    for key in path[:-1]:
        value = value[key]
    if new is KeyError:
        del value[path[-1]]
    else:
        value[path[-1]] = new


@pytest.mark.parametrize("version", [1, 3])
def test_every_fact_of_a_card_is_of_its_kind_or_is_named(tmp_path, version):
    folder = saved_rows(tmp_path / "d") if version == 3 else copied(tmp_path, version=1)
    before = json.loads((folder / CARD).read_text("utf-8"))
    refused = 0
    for path in paths_of(before["detector"]):
        for new in (*WRONG, KeyError):
            card = json.loads(json.dumps(before))
            put(card["detector"], path, new)
            if json.dumps(card) == json.dumps(before):
                continue
            if version == 3 and path[0] != "sha256":
                card["detector"]["sha256"][CARD] = card_digest(card)
            (folder / CARD).write_text(json.dumps(card), "utf-8")
            try:
                scoring.load_detector(folder)
            except ValueError as error:
                refused += 1
                message = str(error)
                assert "\n" not in message
                assert str(folder) in message
                assert len(message) < 900
                assert str(path[0]) in message or "program" in message or "checksum" in message, (path, new, message)
            else:  # a note, or limits as they may be
                assert path[0] in ("jax", "limits"), (path, new)
    assert refused > 200
    (folder / CARD).write_text(json.dumps({**before, "detector": {**before["detector"], "extra": 1}}), "utf-8")
    assert "'extra', which is no key of it" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"detector": ' * 5000,
        b'{"detector": NaN}',
        b'{"a": 1, "a": 2}',
        b"[]",
        b"7",
    ],
    ids=["empty", "binary", "lists", "objects", "NaN", "twice", "list", "number"],
)
def test_a_card_that_is_no_json_is_one_line(tmp_path, content):
    folder = copied(tmp_path)
    (folder / CARD).write_bytes(content)
    assert "card.json" in refusal(folder)


def test_arrays_of_other_kinds_than_the_card_says_are_named(tmp_path):
    folder = copied(tmp_path)
    with np.load(folder / "arrays.npz") as stored:
        arrays = dict(stored)
    for name, array in (
        ("arr_0", arrays["arr_0"].astype(np.float64)),
        ("arr_1", arrays["arr_1"][:5]),
        ("arr_9", np.ones(1)),
    ):
        np.savez(folder / "arrays.npz", **{**arrays, name: array})
        digest = hashlib.sha256((folder / "arrays.npz").read_bytes()).hexdigest()
        sign(folder, edit=lambda card, digest=digest: card["detector"]["sha256"].update({"arrays.npz": digest}))
        refusal(folder)
