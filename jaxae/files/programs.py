"""What a saved program may hold: it is read and compared with a list before anything of it is compiled.

StableHLO can call functions of the machine it runs on by their name and address (custom calls, callbacks), and move
data to and from other devices. A program from somebody else may therefore hold only operations that compute, of the
list below. The list bounds what a program can do, not how long it takes nor how much memory.

The reader of the compiled form is in C++ and made for what a compiler wrote: damaged bytes can end the process or never
come to an end. A program that this process has not written itself is therefore read by another process first.
"""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.export
import jax.extend.mlir.dialects.stablehlo as stablehlo
import numpy as np
from jax.interpreters import mlir

from jaxae.files.messages import first_line, shown

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What the scores, rules, models and open sets of this library are exported to; a test compares.
WRITTEN = _words(
    """
    builtin.module func.call func.func func.return

    stablehlo.abs stablehlo.add stablehlo.and stablehlo.bitcast_convert stablehlo.broadcast_in_dim stablehlo.case
    stablehlo.ceil stablehlo.clamp stablehlo.compare stablehlo.composite stablehlo.concatenate stablehlo.constant
    stablehlo.convert stablehlo.convolution stablehlo.cosine stablehlo.custom_call stablehlo.divide
    stablehlo.dot_general stablehlo.dynamic_broadcast_in_dim stablehlo.dynamic_gather stablehlo.dynamic_iota
    stablehlo.dynamic_pad stablehlo.dynamic_reshape stablehlo.dynamic_slice stablehlo.dynamic_update_slice
    stablehlo.exponential stablehlo.exponential_minus_one stablehlo.floor stablehlo.gather
    stablehlo.get_dimension_size stablehlo.iota stablehlo.is_finite stablehlo.log stablehlo.log_plus_one
    stablehlo.maximum stablehlo.minimum stablehlo.multiply stablehlo.negate stablehlo.not stablehlo.or stablehlo.pad
    stablehlo.power stablehlo.real_dynamic_slice stablehlo.reduce stablehlo.reduce_window stablehlo.remainder
    stablehlo.reshape stablehlo.return stablehlo.reverse stablehlo.round_nearest_even stablehlo.rsqrt
    stablehlo.scatter stablehlo.select stablehlo.shift_left stablehlo.shift_right_logical stablehlo.sign
    stablehlo.sine stablehlo.slice stablehlo.sort stablehlo.sqrt stablehlo.subtract stablehlo.tanh
    stablehlo.transpose stablehlo.while stablehlo.xor
    """
)
# The other operations of StableHLO that only compute, which models of others are exported to. Left out, besides what
# reaches out (infeed, outfeed, send, recv, collectives, replica and partition numbers, tokens): random numbers
# without a key, sizes set at run time, tuples and quantised types.
ALSO_HARMLESS = _words(
    """
    stablehlo.atan2 stablehlo.batch_norm_inference stablehlo.cbrt stablehlo.cholesky stablehlo.complex
    stablehlo.count_leading_zeros stablehlo.dynamic_conv stablehlo.fft stablehlo.imag stablehlo.if stablehlo.logistic
    stablehlo.map stablehlo.optimization_barrier stablehlo.popcnt stablehlo.real
    stablehlo.reduce_precision stablehlo.rng_bit_generator stablehlo.round_nearest_afz stablehlo.select_and_scatter
    stablehlo.shift_right_arithmetic stablehlo.tan stablehlo.triangular_solve
    """
)
# Neither calls a function of that name. jax checks the number of rows by the first; the second is how jax before 0.10
# writes the k largest of a row, for which newer versions have a composite.
CUSTOM_CALLS = frozenset({"shape_assertion", "mhlo.topk"})
# an operation of CHLO with the operations that it stands for, which are in the list or the program is refused
COMPOSITES = "chlo."
# of all operations of both lists
ATTRIBUTES = _words(
    """
    algorithm arg_attrs base_dilations batch_group_count broadcast_dimensions call_target_name callee
    comparison_direction compare_type composite_attributes decomposition dimension dimension_numbers dimensions
    dot_dimension_numbers edge_padding_high edge_padding_low epsilon exponent_bits feature_group_count
    feature_index fft_length fft_type function_type indices_are_sorted interior_padding iota_dimension is_stable
    left_side lhs_dilation limit_indices lower mantissa_bits name padding permutation precision_config res_attrs
    result_accuracy rhs_dilation rng_algorithm scatter_dimension_numbers slice_sizes start_indices strides
    sym_name sym_visibility transpose_a unique_indices unit_diagonal value version window_dilations
    window_dimensions window_reversal window_strides

    jax.global_constant jax.result_info jax.uses_shape_polymorphism
    """
)
_ONE = ("mhlo.num_partitions", "mhlo.num_replicas")
_OF_CUSTOM_CALLS = frozenset(
    {"api_version", "call_target_name", "error_message", "has_side_effect", "mhlo.attributes", "mhlo.version"}
)
# outputs of a program, each with its dtype and its axes after the rows
_OUTPUTS: dict[str, tuple[str, bool]] = {
    "score": ("f", False),
    "threshold": ("f", False),
    "p_value": ("f", False),
    "is_anomaly": ("b", False),
    "action": ("i", False),
    "map": ("f", True),
    "prediction": ("i", False),
}
OUTPUTS = tuple(_OUTPUTS)


# seconds that the other process may take for reading, and with its imports
READING, WITH_IMPORTS = 8, 120
_REFUSED = 3
_READER = "from jaxae.files import programs; programs._read_for_another_process()"
_trusted: set[str] = set()
"""SHA-256 of programs that this process has written, or has let another process read."""


def read_program(content: bytes) -> jax.export.Exported:
    """A program that was serialized by jax, if it holds nothing but what is allowed; nothing of it is compiled.

    Raises:
      ValueError: in one line: the operation that is not allowed, or that these bytes are no program of this version
        of jax.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest not in _trusted:
        _require_readable(content)
        _trusted.add(digest)
    return _read(content)


def written(exported: jax.export.Exported) -> bytes:
    """The bytes of a program that this process has exported.

    Raises:
      ValueError: as `require_permitted`.
    """
    require_permitted(exported)
    content = bytes(exported.serialize())
    _trusted.add(hashlib.sha256(content).hexdigest())
    return content


def _require_readable(content: bytes) -> None:
    """Let another process read the program first."""
    if not sys.executable:
        return
    # the module search path of this process, which may have been changed since it started
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _READER],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=WITH_IMPORTS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"it is no program: reading it did not end in {WITH_IMPORTS} seconds") from None
    if done.returncode == _REFUSED:
        raise ValueError(done.stdout.decode("utf-8", "replace"))
    if done.returncode < 0:
        raise ValueError(f"it is no program: reading it was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        raise ValueError(f"it could not be read by a process of its own (exit code {done.returncode})")


def _read_for_another_process() -> None:
    content = sys.stdin.buffer.read()
    if hasattr(signal, "alarm"):
        signal.alarm(READING)
    try:
        _read(content)
    except ValueError as error:
        sys.stdout.write(str(error))
        sys.stdout.flush()
        os._exit(_REFUSED)
    # nothing that the reader may have left behind is to run at the end
    os._exit(0)


def _read(content: bytes) -> jax.export.Exported:
    try:
        return _deserialized(content)
    except ValueError as error:
        raise ValueError(first_line(error, 600)) from error
    except Exception as error:  # jax, its serialization and MLIR raise many kinds
        raise ValueError(f"it is no program that jax {jax.__version__} can read: {first_line(error)}") from error


def _deserialized(content: bytes) -> jax.export.Exported:
    exported = jax.export.deserialize(bytearray(content))
    if exported.has_vjp():
        raise ValueError("its program brings a derivative, which no detector does; it is not run")
    require_permitted(exported)
    return exported


def require_permitted(exported: jax.export.Exported) -> None:
    """Look at every operation of a program, in all its functions and regions.

    Raises:
      ValueError: an operation, custom call, attribute, effect or convention that is not allowed.
    """
    facts = {
        "effects": exported.ordered_effects or exported.unordered_effects,
        "disabled safety checks": exported.disabled_safety_checks,
        "shardings": any(s is not None for s in (*exported.in_shardings_hlo, *exported.out_shardings_hlo)),
    }
    for name, held in facts.items():
        if held:
            raise ValueError(f"its program has {name}, which no detector has; it is not run")
    if exported.nr_devices != 1:
        raise ValueError(f"its program is for {exported.nr_devices} devices, not for 1; it is not run")
    if unknown := set(exported.platforms) - set(PLATFORMS):
        raise ValueError(f"its program is for {shown(sorted(unknown))}, no platform of a detector; it is not run")
    versions = (
        jax.export.minimum_supported_calling_convention_version,
        (jax.export.maximum_supported_calling_convention_version),
    )
    if not versions[0] <= exported.calling_convention_version <= versions[1]:
        raise ValueError(
            f"its program is called by convention {exported.calling_convention_version}; jax {jax.__version__} knows "
            f"{versions[0]} to {versions[1]}"
        )
    with mlir.make_ir_context() as context:
        module = stablehlo.deserialize_portable_artifact(context, exported.mlir_module_serialized)
        calls: dict[str, set[str]] = {}
        for function, operation in _operations(module):
            _require_operation(operation)
            for name in ("callee", "decomposition"):
                if name in operation.attributes:
                    calls.setdefault(function, set()).add(str(operation.attributes[name]).lstrip("@").strip('"'))
        _require_no_recursion(calls)
        _require_signature(exported, module)


def require_promised(
    exported: jax.export.Exported,
    arrays: Sequence[Any],
    inputs: Sequence[tuple[str, tuple[int, ...], str]],
    outputs: Sequence[str],
    platforms: Sequence[str],
) -> None:
    """Compare a program with what its card says of it.

    Args:
      exported: the program.
      arrays: its fitted arrays.
      inputs: name, shape without rows and dtype of each input.
      outputs: names of the outputs.
      platforms: where it can run.

    Raises:
      ValueError: it takes or gives something else.
    """
    if tuple(platforms) != tuple(exported.platforms):
        raise ValueError(f"its card promises the platforms {list(platforms)}, its program has {exported.platforms}")
    tree = jax.tree.structure((([0] * len(arrays), [0] * len(inputs)), {}))
    if exported.in_tree != tree or exported.out_tree != jax.tree.structure([0] * len(outputs)):
        raise ValueError(
            f"its card promises {len(arrays)} arrays, {len(inputs)} inputs and {len(outputs)} outputs; its program has "
            "others"
        )
    expected = [(f"array {i}", tuple(array.shape), str(array.dtype)) for i, array in enumerate(arrays)]
    size = None
    if exported.in_avals[len(arrays) :]:
        size = exported.in_avals[len(arrays)].shape[:1]
    expected += [(name, (*(size or ()), *shape), dtype) for name, shape, dtype in inputs]
    if not size or not jax.export.is_symbolic_dim(size[0]) or str(size[0]) != "b":
        raise ValueError("its program is not one for any number of rows")
    for (name, shape, dtype), aval in zip(expected, exported.in_avals, strict=True):
        if (tuple(aval.shape), str(aval.dtype)) != (shape, dtype):
            raise ValueError(
                f"its card promises {name} {dtype}{list(shape)}; its program takes {aval.dtype}{list(aval.shape)}"
            )
    for name, aval in zip(outputs, exported.out_avals, strict=True):
        kind, has_axes = _OUTPUTS[name]
        is_kind = kind == ("i" if aval.dtype == np.int32 else "f" if aval.dtype == np.float32 else aval.dtype.kind)
        if not is_kind or tuple(aval.shape[:1]) != size or (len(aval.shape) > 1 and not has_axes):
            raise ValueError(f"its program gives {aval.dtype}{list(aval.shape)} as {name}")


def _operations(module: Any) -> Iterator[tuple[str, Any]]:
    """Every operation with the name of the function that holds it; without recursion, however deep it is nested."""
    todo = [("", module.operation)]
    while todo:
        function, operation = todo.pop()
        yield function, operation
        if operation.name == "func.func":
            function = str(operation.attributes["sym_name"]).strip('"')
        for region in operation.regions:
            for block in region.blocks:
                todo.extend((function, inner.operation) for inner in block.operations)


def _require_operation(operation: Any) -> None:
    name, attributes = operation.name, operation.attributes
    if name not in WRITTEN | ALSO_HARMLESS:
        raise ValueError(f"its program holds the operation {shown(name)}, which no detector may hold; it is not run")
    if name == "stablehlo.custom_call":
        target = str(attributes["call_target_name"]).strip('"')
        if target not in CUSTOM_CALLS:
            raise ValueError(
                f"its program holds the custom call {shown(target)}, which no detector may hold; it is not run"
            )
        if target == "mhlo.topk":
            _require_top_k(operation)
    if name == "stablehlo.composite" and not str(attributes["name"]).strip('"').startswith(COMPOSITES):
        raise ValueError(f"its program holds the composite {shown(str(attributes['name']))}; it is not run")
    allowed = _OF_CUSTOM_CALLS if name == "stablehlo.custom_call" else ATTRIBUTES
    for attribute in _names(attributes):
        if name == "builtin.module" and attribute in _ONE:
            if str(attributes[attribute]).split(" ")[0] != "1":
                raise ValueError(f"its program says {attribute} = {attributes[attribute]}, not 1; it is not run")
        elif attribute not in allowed:
            raise ValueError(
                f"its program holds the attribute {shown(attribute)} at {name}, which no detector may hold; it is not "
                "run"
            )
    if name == "func.func":
        for which in ("arg_attrs", "res_attrs"):
            for held in attributes[which] if which in attributes else ():  # noqa: SIM401
                for attribute in _names(held):
                    if attribute not in ATTRIBUTES:
                        raise ValueError(
                            f"its program holds the attribute {shown(attribute)} of a function's argument or result, "
                            "which no detector may hold; it is not run"
                        )


def _require_top_k(operation: Any) -> None:
    """The compiler takes the sizes of this call's results as they are given."""
    try:
        k = int(operation.attributes["mhlo.attributes"]["k"].value)
        (row,), results = (list(operand.type.shape) for operand in operation.operands), list(operation.results)
        fits = len(results) == 2 and all([*row[:-1], k] == list(result.type.shape) for result in results)
        fits = fits and 0 < k <= row[-1]
    except (KeyError, ValueError, TypeError, AttributeError, IndexError):
        fits = False
    if not fits:
        raise ValueError("its program holds a custom call 'mhlo.topk' of other sizes than its k; it is not run")


def _names(attributes: Any) -> list[str]:
    # a mapping in some versions of jaxlib, a sequence of named attributes in others
    return [entry if isinstance(entry, str) else entry.name for entry in attributes]


def _require_no_recursion(calls: dict[str, set[str]]) -> None:
    """Calls go one way: the compiler expands them, and would not come to an end."""
    left = {function: set(callees) for function, callees in calls.items()}
    while left:
        leaves = [function for function, callees in left.items() if not callees & left.keys()]
        if not leaves:
            raise ValueError(f"its program holds a function that calls itself, {shown(min(left))}; it is not run")
        for function in leaves:
            del left[function]


def _require_signature(exported: jax.export.Exported, module: Any) -> None:
    """The module's main function takes and gives what the program around it says."""
    kept = exported.module_kept_var_idx
    if list(kept) != sorted({*kept} & {*range(len(exported.in_avals))}):
        raise ValueError("its program keeps arguments that it does not have; it is not run")
    takes = [exported.in_avals[index] for index in kept]
    platform = ["tensor<i32>"] if len(exported.platforms) > 1 else []
    expected = f"({', '.join(platform + [_type(aval) for aval in takes])}) -> "
    gives = ", ".join(_type(aval) for aval in exported.out_avals)
    expected += gives if len(exported.out_avals) == 1 else f"({gives})"
    mains = [
        operation.attributes["function_type"]
        for operation in (inner.operation for inner in module.body.operations)
        if operation.name == "func.func" and str(operation.attributes["sym_name"]) == '"main"'
    ]
    found = str(mains[0]) if len(mains) == 1 else f"{len(mains)} functions main"
    if found != f"{expected}" and found != f"type({expected})":
        raise ValueError(
            f"its program is {shown(found, 200)} and says that it is {shown(expected, 200)}; it is not run"
        )


def _type(aval: Any) -> str:
    sizes = ["?" if jax.export.is_symbolic_dim(size) else str(size) for size in aval.shape]
    return f"tensor<{'x'.join([*sizes, str(mlir.dtype_to_ir_type(np.dtype(aval.dtype)))])}>"
