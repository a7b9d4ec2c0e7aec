"""Arrays of any kind, shape and option in the scores of disentanglement: one line, or the right number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import disentanglement as dis

RNG = np.random.default_rng(0)
FACTORS = np.stack([np.arange(60) % 2, np.arange(60) // 2 % 2], 1)
CODES = (FACTORS @ np.array([[1.0, 0.2, 0.0], [0.1, 1.0, 0.0]]) + 0.1 * RNG.normal(size=(60, 3))).astype(np.float32)

SCORES = {
    "mig": dis.mig,
    "mig_sup": dis.mig_sup,
    "modularity": dis.modularity,
    "mutual_information": dis.mutual_information,
    "irs": dis.irs,
    "sap": lambda codes, factors: dis.sap(codes, factors, codes, factors, steps=2),
    "dci": lambda codes, factors: dis.dci(codes, factors, codes, factors, num_trees=2, depth=1, num_bins=4),
    "explicitness": lambda codes, factors: dis.explicitness(codes, factors, codes, factors),
    "from_arrays": lambda codes, factors: dis.from_arrays(codes, factors).sample(jax.random.key(0), 60),
}
NUMBERS = {
    "bool": lambda a: a > 0,
    "floating": lambda a: a.astype(np.float64),
    "unsigned": lambda a: a.astype(np.uint8),
    "objects": lambda a: a.astype(object),
    "jax": jnp.asarray,
}
OTHER_KINDS = {
    "text": lambda a: a.astype(str),
    "complex numbers": lambda a: a + 1j,
    "dates": lambda a: np.full(a.shape, "2026-01-01", "M8[D]"),
    "time spans": lambda a: np.full(a.shape, 1, "m8[D]"),
    "Python objects": lambda a: np.full(a.shape, None, object),
    "masked array": lambda a: np.ma.array(a, mask=a > 0),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", SCORES)
def test_whole_factors_of_any_dtype_score_alike(name, kind):
    values = SCORES[name](CODES, NUMBERS[kind](FACTORS))
    jax.tree.map(np.testing.assert_array_equal, values, SCORES[name](CODES, FACTORS))


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("name", SCORES)
def test_other_kinds_are_refused_by_kind(name, kind):
    for argument, rows in (
        ("factors", (CODES, OTHER_KINDS[kind](FACTORS))),
        ("codes", (OTHER_KINDS[kind](CODES), FACTORS)),
    ):
        with pytest.raises(ValueError, match=rf"^(\w+: )?{argument}.*{kind}") as error:
            SCORES[name](*rows)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (CODES[:0], FACTORS[:0], "with one N are needed"),
        (CODES, FACTORS[:, 0], "needs two; got shape|with one N are needed"),
        (CODES, FACTORS[:-1], "with one N are needed"),
        (CODES, np.where(FACTORS > 0, np.inf, 0), "factor 0 must be 0..K - 1; found 0..inf"),
        (CODES, np.where(FACTORS > 0, np.nan, 0), "factor 0 is continuous"),
        (CODES, FACTORS * 2.0**40, "factor 0 must be 0..K - 1; found 0..1.0995"),
        (CODES.astype(np.float64) + 1e9, FACTORS, "dimension 0 of codes: 60 values .* one number in float32"),
        (CODES.astype(np.float64) * 1e39, FACTORS, "dimension 0 of codes: float32 holds numbers up to"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_one_line(name, codes, factors, message):
    with pytest.raises(ValueError, match=message) as error:
        SCORES[name](codes, factors)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_a_test_part_may_lack_a_value_but_not_hold_an_unknown_one():
    one_value = np.zeros_like(FACTORS)
    assert 0 <= dis.sap(CODES, FACTORS, CODES, one_value, steps=2) <= 1
    with pytest.raises(ValueError, match=r"factor 0 must be 0\.\.2 - 1; found 0\.\.2"):
        dis.sap(CODES, FACTORS, CODES, 2 * FACTORS, steps=2)
    with pytest.raises(ValueError, match=r"train and test differ: codes \(60, 3\) and \(60, 2\)"):
        dis.dci(CODES, FACTORS, CODES[:, :2], FACTORS)


@pytest.mark.parametrize("name", ["mig", "mig_sup", "modularity", "mutual_information"])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(59), r"one for each of the 60 rows; got shape \(59,\)"),
        (np.full(60, np.nan), "finite, not negative and not all 0"),
        (-np.ones(60), "finite, not negative and not all 0"),
        (np.zeros(60), "finite, not negative and not all 0"),
        (np.ones(60).astype(str), "weights? must be real numbers; got text"),
    ],
)
def test_weights_are_checked(name, weight, message):
    with pytest.raises(ValueError, match=message):
        SCORES[name](CODES, FACTORS, weight=weight)


def test_weights_of_any_size_weigh_alike():
    heavy = np.full(60, 1e30)
    np.testing.assert_allclose(dis.mig(CODES, FACTORS, weight=heavy), dis.mig(CODES, FACTORS), rtol=1e-5)
    # rows of weight that share one value of factor 0 tell nothing about it
    single = (FACTORS[:, 0] == 1).astype(np.float32)
    assert 0 <= dis.mig(CODES, FACTORS, weight=single) <= 1
    assert 0 <= dis.mig_sup(CODES, FACTORS, weight=single) <= 1


@pytest.mark.parametrize("name", ["mig", "mig_sup", "modularity", "irs", "sap", "explicitness"])
def test_scores_stay_within_0_and_1(name):
    ideal = FACTORS.astype(np.float32)
    assert 0 <= SCORES[name](np.c_[ideal, ideal[:, 0]], FACTORS) <= 1
    assert 0 <= SCORES[name](np.c_[ideal, 0 * ideal[:, 0]], FACTORS) <= 1


def _source():
    return dis.from_generator(lambda factors: jnp.asarray(factors, jnp.float32), (2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dis.mig(CODES, FACTORS, num_bins=1), "num_bins must be at least 2; got 1"),
        (lambda: dis.mig(CODES, FACTORS, factor_sizes=(2,)), "2 factors need as many sizes"),
        (lambda: dis.mig(CODES, FACTORS, factor_sizes=(2, 1)), "factor 1 is constant"),
        (lambda: dis.irs(CODES, FACTORS, quantile=1.5), r"quantile must lie in \[0, 1\]; got 1.5"),
        (lambda: dis.sap(CODES, FACTORS, CODES, FACTORS, penalty=0.0), "penalty must be above 0 and finite"),
        (lambda: dis.sap(CODES[:, 0], FACTORS, continuous=True), "with one N of 2 or more"),
        (lambda: dis.udr(np.stack([CODES, CODES]), np.ones((2, 2))), r"kl must be \[M, D\] = \(2, 3\)"),
        (lambda: dis.udr(np.stack([CODES, CODES]), steps=0), "steps must be at least 1; got 0"),
        (lambda: dis.repeated(np.array([0.5, np.nan])), "values: 1 values are NaN"),
        (lambda: dis.repeated(np.ones(3), 1.5), "confidence must lie strictly between"),
        (lambda: dis.from_table(np.ones((5, 2)), (2, 3)), r"6 combinations, which need a table \[6, D\]"),
        (lambda: dis.from_generator(lambda f: f, (2, 0)), "size of factor 1 must be at least 1; got 0"),
        (lambda: dis.code_table(lambda f: f, (2, 3), batch_size=0), "batch_size must be at least 1; got 0"),
        (lambda: dis.beta_vae_score(_source(), jax.random.key(0), num_train=0), "num_train must be at least 1"),
        (lambda: dis.factor_vae_score(_source(), jax.random.key(0), num_variance=1), "num_variance must be at least 2"),
        (lambda: dis.evaluate(_source(), jax.random.key(0), scores=("mig",), repetitions=1), "repetitions must be"),
        (
            lambda: dis.boosted_trees(CODES, FACTORS[:, 0] * 2, 2, CODES, FACTORS[:, 0]),
            r"classes must be 0\.\.1; got 0\.\.2",
        ),
        (lambda: dis.boosted_trees(CODES, FACTORS[:9, 0], 2, CODES, FACTORS[:, 0]), r"one for each of the 60 rows"),
    ],
)
def test_options_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
