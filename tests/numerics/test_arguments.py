"""Public functions refuse arguments of another kind: what each annotation takes, and that every room checks."""

import gc
import importlib
import inspect
import typing
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from jax import Array
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float, Int

import jaxae
from jaxae import bottlenecks, networks, presets, scoring
from jaxae.files.messages import shown
from jaxae.numerics.arguments import with_checked_arguments
from jaxae.numerics.kinds import words
from jaxae.types import Bottleneck, Gaussian, Network, PyTree, Schedule


def taking(kind):
    def function(value):
        return value

    function.__annotations__ = {"value": kind}
    return with_checked_arguments(function)


KEY = jax.random.key(0)
GOOD: list[tuple[Any, list[Any]]] = [
    (int, [3, np.int64(3), np.asarray(3), jnp.asarray(3)]),
    (float, [0.5, 3, np.float32(0.5), np.asarray(0.5), jnp.asarray(0.5)]),
    (bool, [True, np.bool_(False)]),
    (str, ["a", ""]),
    (int | None, [None, 3]),
    (
        ArrayLike,
        [1, 0.5, np.ones(2), jnp.ones((2, 3)), np.ones(2, bool), np.ones(2, "f2"), jnp.ones(2, "bfloat16")],
    ),
    (ArrayLike | Schedule, [0.5, lambda step: step]),
    (DTypeLike, ["float32", jnp.bfloat16, np.dtype("f4"), float]),
    (tuple[int, ...], [(), (1, 2), [1, 2], np.array([1, 2])]),
    (Sequence[str], [["a"], ()]),
    (tuple[float, float], [(1, 2.0)]),
    (Callable, [len, jax.jit(len)]),
    (Bottleneck, [bottlenecks.identity()]),
    (Network | None, [None, networks.mlp(3)]),
    (Literal["a", "b"], ["a"]),
    (PyTree, [np.ones(2), {"w": jnp.ones(2), "n": 3}, jax.ShapeDtypeStruct((2,), "f4"), KEY]),
    (PyTree | None, [None, {}]),
    (np.ndarray, [np.ones(2), [1, 2]]),
    (npt.ArrayLike, [np.ones(2), np.array(["a"]), [1, 2]]),
    (Float[Array, "N D"], [np.ones((2, 3)), jnp.ones((2, 3)), np.ones((2, 3), int)]),
    (Float[Array, "B *rest"], [np.ones(2), np.ones((2, 3, 4))]),
    (Int[Array, " N"], [np.array([1, 2]), np.array([1.0, 2.0]), np.array([True])]),
]
BAD: list[tuple[Any, list[Any], str]] = [
    (int, [3.0, True, "3", None, [3], np.ones(2), float("nan"), 2**70], "a whole number"),
    (float, [True, "0.5", None, 1j, [0.5], np.ones(2)], "a number"),
    (bool, [1, 0.0, "yes", None], "True or False"),
    (str, [3, None, b"a", ["a"]], "a text"),
    (int | None, ["a", 0.5], "a whole number or None"),
    (
        ArrayLike,
        [None, "a", {}, {1}, len, 1j, np.ones(2, complex), np.array(["a"]), [[1], [1, 2]], [None]],
        "(an array|real numbers)",
    ),
    (
        ArrayLike,
        [np.zeros(2, "datetime64[s]"), np.ma.masked_array([1.0], [True]), Gaussian(1, 2)],
        "(an array|real numbers|masked)",
    ),
    (ArrayLike | Schedule, ["a", None], "an array of numbers"),
    (DTypeLike, ["nope", 3], "a dtype"),
    (tuple[int, ...], [3, "ab", (1.5,), (None,), {1}], "a tuple of whole numbers"),
    (Sequence[str], ["ab", [1]], "a tuple of texts"),
    (tuple[float, float], [(1,), (1, 2, 3), ("a", "b")], "a tuple of 2"),
    (Callable, [3, None, bottlenecks.identity()], "a function"),
    (Bottleneck, [None, networks.mlp(3), Bottleneck, bottlenecks.identity, ()], "a Bottleneck"),
    (Bottleneck, [bottlenecks.identity()._replace(apply=None)], "a Bottleneck whose apply is not None"),
    (Network | None, [3, bottlenecks.identity()], "a Network"),
    (PyTree, ["a", {"w": "a"}, [1j], len, np.array(["a"])], "(an array of|real) numbers"),
    (np.ndarray, [3.0, np.array(["a"]), None, np.zeros(2, "f4,i4")], "(an array (of numbers|with rows)|real numbers)"),
    (npt.ArrayLike, [3.0, None, "ab", np.zeros(2, "f4,i4"), [[1], [1, 2]]], "an array"),
    (Literal["a", "b"], ["c", None], "'a' or 'b'"),
    (Float[Array, "N D"], [np.ones(2), np.ones((2, 3, 4)), 0.5, None, "a"], "an array of numbers"),
    (Float[Array, "B *rest"], [1.0, np.ones(())], "an array of numbers"),
    (Int[Array, " N"], [np.array([0.5]), np.array([np.nan]), np.array([2**40]), np.ones((2, 2))], "whole numbers"),
]


@pytest.mark.parametrize(("kind", "values"), GOOD, ids=[str(kind) for kind, _ in GOOD])
def test_what_fits_passes_as_it_is(kind, values):
    for value in values:
        given = taking(kind)(value)
        assert given is value or np.array_equal(np.asarray(given), np.asarray(value))


@pytest.mark.parametrize(("kind", "values", "wanted"), BAD, ids=[f"{kind} {wanted}" for kind, _, wanted in BAD])
def test_another_kind_is_refused_in_one_line(kind, values, wanted):
    for value in values:
        with pytest.raises(ValueError, match=f"^function: value(: the mask| must be ).*{wanted}.*") as caught:
            taking(kind)(value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250


def test_lists_and_columns_of_objects_become_arrays_of_numbers():
    for value in ([1.0, 2.0], np.array([1.0, 2.0], object)):
        given = taking(ArrayLike)(value)
        assert type(given) is np.ndarray
        assert given.dtype == np.float64


def test_axes_of_one_name_have_one_size():
    def pair(a: Float[Array, "N D"], b: Float[Array, "N D"]):
        return a, b

    checked = with_checked_arguments(pair)
    checked(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="b must be an array of numbers \\[N, D\\] with N = 2 as before; got float64"):
        checked(np.ones((2, 3)), np.ones((3, 3)))


def test_a_number_with_a_default_takes_one_finite_number():
    def option(weight: ArrayLike = 1.0, limit: ArrayLike = float("inf")):
        return weight, limit

    checked = with_checked_arguments(option)
    assert checked(limit=float("inf"))[1] == float("inf")
    assert checked(jnp.asarray(2.0))[0] == 2.0
    assert jax.vmap(lambda w: checked(w)[0])(jnp.arange(3.0)).tolist() == [0, 1, 2]
    for bad in ([1.0], np.ones(2), True, float("nan"), np.float32("inf")):
        with pytest.raises(ValueError, match=r"weight must be (one|a finite) number"):
            checked(bad)


def test_keys_are_single_keys():
    def draw(rng: Array | None):
        return rng

    checked = with_checked_arguments(draw)
    assert checked(None) is None
    assert checked(KEY) is KEY
    checked(jax.random.PRNGKey(0))
    for bad in (0, jax.random.split(KEY), np.ones(2, np.float32), "seed"):
        with pytest.raises(ValueError, match="rng must be a single key"):
            checked(bad)


def test_keywords_of_a_typed_dict_are_checked_and_unknown_ones_left_to_python():
    class More(TypedDict, total=False):
        width: int

    def build(**more: Unpack[More]):
        return more

    checked = with_checked_arguments(build)
    assert checked(width=3) == {"width": 3}
    with pytest.raises(ValueError, match="build: width must be a whole number; got 'a'"):
        checked(width="a")
    with pytest.raises(TypeError, match="latnt_size"):
        presets.vae((5,), latnt_size=3)


def test_traced_values_pass():
    @jax.jit
    def traced(x):
        return taking(ArrayLike)(x), taking(Float[Array, " N"])(x), taking(float)(x[0])

    assert traced(jnp.ones(2))[0].shape == (2,)


def test_the_same_function_stays_the_same():
    assert with_checked_arguments(len_of) is with_checked_arguments(len_of)
    assert scoring.summary is scoring.costs.summary


def test_a_rule_that_nobody_holds_any_more_is_gone():
    rule = scoring.thresholds.recall(0.9)
    held = weakref.ref(rule.fit)
    del rule
    gc.collect()
    assert held() is None


def len_of(x: ArrayLike):
    return len(np.asarray(x))


def test_every_public_function_with_annotations_checks_its_arguments():
    unchecked = []
    for room in set(jaxae.__all__) - {"settings", "types"}:
        module = importlib.import_module(f"jaxae.{room}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isfunction(value) and not hasattr(value, "_checks_arguments"):
                unchecked.append(f"{room}.{name}")
    assert unchecked == []


def test_every_annotation_of_a_public_function_has_words():
    for room in set(jaxae.__all__) - {"settings", "types"}:
        module = importlib.import_module(f"jaxae.{room}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isfunction(value):
                for hint in typing.get_type_hints(inspect.unwrap(value)).values():
                    assert words(hint)


def test_long_values_are_shown_short():
    assert len(shown("a" * 10_000)) == 60
    assert shown(list(range(1000))) == "[0, 1, 2, 3, ...]"
    assert shown(Gaussian(np.zeros(9), None)) == "a Gaussian"
    assert shown(np.zeros((1000, 1000))) == "float64[1000, 1000]"
