"""Features, labels and options that probes, distances between sets and cleaning cannot use: refused in one line."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import cleaning, downstream, generation
from jaxae.types import Gaussian

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = np.arange(40) % 2
PROBE = downstream.linear_probe(X, Y, X, Y, path=(1.0,), max_steps=2)
MEAN, LOG_VARIANCE = X[:, :2], np.zeros((40, 2), np.float32)

# name -> call, its arrays of features, its arrays of labels, its weights
CALLS = {
    "fit_logistic": (
        lambda x=X, y=Y, w=None: downstream.fit_logistic(x, y, 2, weight=w, max_steps=2),
        {"x": X},
        {"y": Y},
        {"w": np.ones(40)},
    ),
    "predict_logits": (lambda x=X: downstream.predict_logits(PROBE.model, x), {"x": X}, {}, {}),
    "linear_probe": (
        lambda x=X, y=Y, dev=X, dev_y=Y: downstream.linear_probe(x, y, dev, dev_y, path=(1.0,), max_steps=2),
        {"x": X, "dev": X},
        {"y": Y, "dev_y": Y},
        {},
    ),
    "probe_classes": (lambda x=X: downstream.probe_classes(PROBE, x), {"x": X}, {}, {}),
    "knn_classes": (
        lambda x=X, bank=X, y=Y: downstream.knn_classes(x, bank, y, k=3),
        {"x": X, "bank": X},
        {"y": Y},
        {},
    ),
    "frechet_distance": (lambda a=X, b=X: generation.frechet_distance(a, b), {"a": X, "b": X}, {}, {}),
    "precision_recall": (lambda a=X, b=X: generation.precision_recall(a, b), {"a": X, "b": X}, {}, {}),
    "compare": (lambda a=X, b=X: generation.compare(a, b), {"a": X, "b": X}, {}, {}),
    "kept_by_neighbours": (lambda x=X: cleaning.kept_by_neighbours(x, 0.1, k=2), {"x": X}, {}, {}),
    "kl_per_dimension": (
        lambda w=None: generation.kl_per_dimension(Gaussian(jnp.asarray(MEAN), jnp.asarray(LOG_VARIANCE)), w),
        {},
        {},
        {"w": np.ones(40)},
    ),
    "active_units": (
        lambda w=None: generation.active_units(Gaussian(jnp.asarray(MEAN), jnp.asarray(LOG_VARIANCE)), weight=w),
        {},
        {},
        {"w": np.ones(40)},
    ),
}
OTHER_KINDS = {
    "text": lambda a: a.astype(str),
    "complex numbers": lambda a: a + 1j,
    "dates": lambda a: np.full(a.shape, "2026-01-01", "M8[D]"),
    "Python objects": lambda a: np.full(a.shape, None, object),
    "masked array": lambda a: np.ma.array(a, mask=np.asarray(a) > 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_other_kinds_and_shapes_are_refused_in_one_line(name):
    call, features, labels, weights = CALLS[name]
    call()
    hostile = [
        (argument, make(values), kind)
        for group in (features, labels, weights)
        for argument, values in group.items()
        for kind, make in OTHER_KINDS.items()
    ]
    for argument, values in features.items():
        shapes = r"\[N, D\]|one N|one width|reads 3 features"
        hostile += [
            (argument, values[:0], shapes),
            (argument, values[:, 0], shapes),
            (argument, values[..., None], shapes),
        ]
        hostile += [(argument, np.where(values > 0, bad, values), "finite") for bad in (np.nan, np.inf)]
    for argument, values in labels.items():
        hostile += [
            (argument, values[:-1], "one for each of the 40 rows|one N"),
            (argument, values - 1, r"must be 0\.\."),
        ]
        hostile.append((argument, values + 0.5, "must be whole numbers; got 0.5"))
    for argument, values in weights.items():
        hostile += [(argument, values[:-1], r"one for each of the 40 rows; got shape \(39,\)")]
        hostile += [(argument, bad * values, "finite, not negative and not all 0") for bad in (np.nan, np.inf, -1, 0)]
    for argument, values, message in hostile:
        with pytest.raises(ValueError, match=message) as error:
            call(**{argument: values})
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 250


def test_labels_of_any_dtype_that_are_whole_fit_alike():
    plain = downstream.fit_logistic(X, Y, 2, max_steps=3).kernel
    for labels in (Y > 0, Y.astype(np.float64), Y.astype(object), Y.astype(np.uint8), jnp.asarray(Y)):
        np.testing.assert_array_equal(downstream.fit_logistic(X, labels, 2, max_steps=3).kernel, plain)
        assert (downstream.knn_classes(X, X, labels, k=1) == Y).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: downstream.fit_logistic(X, Y, 2, l2=-1.0), "l2 must be at least 0 and finite; got -1.0"),
        (lambda: downstream.fit_logistic(X, Y, 2, max_steps=0), "max_steps must be at least 1; got 0"),
        (lambda: downstream.linear_probe(X, Y, X, Y, path=(0.1, np.nan)), "must fall, from strong to weak"),
        (lambda: downstream.linear_probe(X, Y, X[:, :2], Y), r"one width; got \(40, 3\), \(40, 2\)"),
        (lambda: downstream.linear_probe(X, Y, X, Y, num_classes=1), "num_classes must be at least 2; got 1"),
        (lambda: downstream.knn_classes(X, X, Y, k=0), "k must be at least 1; got 0"),
        (lambda: downstream.knn_classes(X, X, Y, temperature=0.0), "temperature must be above 0 and finite"),
        (lambda: downstream.label_curve((X, Y), (X, Y), (X, Y), draws=0), "draws must be at least 1; got 0"),
        (lambda: downstream.label_curve((X, Y), (X, Y), (X, Y), (np.nan,)), r"fractions must lie in \(0, 1\]; got nan"),
        (lambda: downstream.principal_components(X, 4), "1 to 3 components; got 4"),
        (lambda: downstream.extract(lambda x: x, X, batch_size=0), "batch_size must be at least 1; got 0"),
        (lambda: downstream.pixels(X.astype(str)), "x must be real numbers; got text"),
        (lambda: downstream.turned(0), "num_classes must be at least 1; got 0"),
        (lambda: downstream.spliced(3, share=np.nan), "share must be a finite number; got nan"),
        (lambda: generation.precision_recall(X, X, k=0), "k must be at least 1; got 0"),
        (lambda: generation.normal_frechet(np.zeros(2), np.full((2, 2), np.nan), np.zeros(2), np.eye(2)), "finite"),
        (lambda: generation.as_bytes(np.array([0.5, np.nan])), "1 of 2 values are NaN"),
        (lambda: generation.bits_per_dimension(np.array(["1"]), 4), "nats must be real numbers; got text"),
        (lambda: generation.discretized_normal(X, X, np.zeros_like(X)), "scale must be above 0 everywhere"),
        (lambda: cleaning.kept_by_neighbours(X, np.nan), r"contamination must lie in \[0, 1\); got nan"),
        (lambda: cleaning.kept_by_neighbours(X, 0.1, k=0), "k must be at least 1; got 0"),
        (lambda: cleaning.refined(X, lambda rows: lambda other: other, 0.1), "a number for each of 20 rows"),
        (lambda: cleaning.refined(X, lambda rows: lambda other: other[:, 0] * np.nan, 0.1), "20 NaN"),
    ],
)
def test_options_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_cleaning_ranks_in_the_precision_of_the_model():
    # scores that float32 would merge: the ten rows that score highest are the last
    x = np.arange(100.0)[:, None]
    kept, _ = cleaning.refined(x, lambda rows: lambda other: 1e9 + other[:, 0] / 1e3, 0.1, rounds=1)
    dropped = np.flatnonzero(~kept)
    assert len(dropped) == 10
    assert (dropped > 75).all()
