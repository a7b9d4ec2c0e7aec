"""Published protocols by name, and the evaluation of several scores, each with an interval."""

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.disentanglement.beta_vae import beta_vae_score
from jaxae.disentanglement.checks import as_codes
from jaxae.disentanglement.dci import dci
from jaxae.disentanglement.explicitness import explicitness
from jaxae.disentanglement.factor_vae import factor_vae_score
from jaxae.disentanglement.irs import irs
from jaxae.disentanglement.mig import mig, mig_sup
from jaxae.disentanglement.modularity import modularity
from jaxae.disentanglement.sap import sap
from jaxae.disentanglement.sources import Source
from jaxae.files.messages import shown
from jaxae.numerics import require_count
from jaxae.scoring.checks import require_open_unit
from jaxae.scoring.metrics.bootstrap import Interval


class Protocol(NamedTuple):
    """Numbers of rows and bins of each score; the defaults are those of Locatello et al. 2019.

    Attributes:
      num_train: number of rows, groups or points of the train part; of all rows for scores without a test part.
      num_test: number of rows, groups or points of the test part.
      num_bins: number of bins of each code dimension, for mutual information.
      group_size: number of rows of a group (FactorVAE), of pairs of a point (beta-VAE).
      num_variance: number of rows for the variance over all data (FactorVAE).
      least_deviation: standard deviation below which a dimension is idle (FactorVAE).
      num_trees: number of boosting rounds (DCI).
    """

    num_train: int = 10_000
    num_test: int = 5_000
    num_bins: int = 20
    group_size: int = 64
    num_variance: int = 10_000
    least_deviation: float = 0.05
    num_trees: int = 100


PROTOCOLS = {"locatello2019": Protocol(), "quick": Protocol(1_000, 500, num_variance=1_000, num_trees=20)}
"""`locatello2019`: the study's settings, as in the configurations of disentanglement_lib; `quick`: a tenth of the rows
and a fifth of the trees, to follow a training run with; its figures are not those of the literature."""


def _grouped(score):
    def apply(source, rng, protocol):
        # a score takes the fields of the protocol that its signature names
        settings = {k: v for k, v in protocol._asdict().items() if k in inspect.signature(score).parameters}
        return score(source, rng, **settings)

    return apply


def _of_rows(score, **options):
    def apply(source, rng, protocol):
        codes, factors = source.sample(rng, protocol.num_train)
        return score(codes, factors, factor_sizes=source.factor_sizes, **options)

    def binned(source, rng, protocol):
        codes, factors = source.sample(rng, protocol.num_train)
        return score(codes, factors, factor_sizes=source.factor_sizes, num_bins=protocol.num_bins)

    return binned if "num_bins" in inspect.signature(score).parameters else apply


def _of_parts(score):
    def apply(source, rng, protocol):
        # one draw for both parts: without replacement, train and test then share no row
        codes, factors = source.sample(rng, protocol.num_train + protocol.num_test)
        train, test = (
            (codes[rows], factors[rows]) for rows in (slice(protocol.num_train), slice(protocol.num_train, None))
        )
        return score(*train, *test, factor_sizes=source.factor_sizes)

    return apply


def _dci(source, rng, protocol):
    def figures(*parts, factor_sizes):
        return dci(*parts, factor_sizes=factor_sizes, num_trees=protocol.num_trees)._asdict()

    return {k: v for k, v in _of_parts(figures)(source, rng, protocol).items() if k != "importance"}


SCORES: dict[str, Callable] = {
    "beta_vae": _grouped(beta_vae_score),
    "factor_vae": _grouped(factor_vae_score),
    "mig": _of_rows(mig),
    "mig_sup": _of_rows(mig_sup),
    "sap": _of_parts(sap),
    "dci": _dci,
    "modularity": _of_rows(modularity),
    "explicitness": _of_parts(explicitness),
    "irs": _of_rows(irs),
}
"""Name to `(source, rng, protocol) ->` a scalar, or a dict of them. All trace under `jit` and `vmap`."""


def evaluate(
    source: Source,
    rng: Array,
    protocol: str | Protocol = "locatello2019",
    *,
    scores: Sequence[str] = ("beta_vae", "factor_vae", "mig", "sap", "dci", "modularity", "explicitness"),
    repetitions: int = 5,
    confidence: float = 0.95,
    together: int = 1,
) -> dict[str, Interval]:
    """Scores by a protocol, repeated with new draws: the mean, and a prediction interval for one more repetition.

    The interval is `mean ± t s sqrt(1 + 1 / S)`, s the standard deviation of S repetitions. It covers the chance of the
    draws alone, not that of another training run.

    Args:
      source: draws of codes and factors, see `sources`.
      rng: a key.
      protocol: name of a protocol in `PROTOCOLS`, or a `Protocol`.
      scores: names of scores in `SCORES`.
      repetitions: number of repetitions S, at least 2.
      confidence: confidence level of the interval, in (0, 1).
      together: number of repetitions in one vmap; memory grows with it.

    Returns:
      Name to `Interval(value, low, high)`; DCI gives its figures as "dci_disentanglement" and so on.

    Raises:
      ValueError: an unknown protocol or score, fewer than 2 repetitions; more rows than a source of arrays has.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import evaluate, from_generator
      >>> source = from_generator(lambda factors: factors.astype(jnp.float32), (3, 6, 40))
      >>> figures = evaluate(source, jax.random.key(0), "quick", scores=("mig", "factor_vae"), repetitions=3)
      >>> sorted(figures), bool(figures["mig"].low <= figures["mig"].value <= figures["mig"].high)
      (['factor_vae', 'mig'], True)
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise ValueError(f"no protocol {shown(protocol)}; there are {', '.join(PROTOCOLS)}")
        protocol = PROTOCOLS[protocol]
    if not isinstance(protocol, Protocol):
        raise ValueError(f"a protocol is a name ({', '.join(PROTOCOLS)}) or a Protocol; got {shown(protocol)}")
    if isinstance(scores, str) or not isinstance(scores, Sequence):
        raise ValueError(f"scores must be a sequence of names; got {shown(scores)}")
    for name in scores:
        if not isinstance(name, str) or name not in SCORES:
            raise ValueError(f"no score {shown(name)}; there are {', '.join(SCORES)}")
    repetitions, together = require_count("repetitions", repetitions, 2), require_count("together", together)
    require_open_unit("confidence", confidence)
    intervals = {}
    for name in scores:
        # keys depend on the score, not on which others are asked for
        keys = jax.random.split(jax.random.fold_in(rng, list(SCORES).index(name)), repetitions)
        values = jax.lax.map(lambda key, name=name: SCORES[name](source, key, protocol), keys, batch_size=together)
        for figure, draws in values.items() if isinstance(values, dict) else [("", values)]:
            intervals[f"{name}_{figure}" if figure else name] = repeated(draws, confidence)
    return intervals


def repeated(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of S repetitions and a prediction interval for one more: `mean ± t s sqrt(1 + 1 / S)`.

    Args:
      values: `[S]`, score of each repetition, S at least 2.
      confidence: confidence level of the interval, in (0, 1).

    Raises:
      ValueError: fewer than 2 values, a confidence outside (0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import repeated
      >>> [round(float(v), 3) for v in repeated(jnp.array([1.0, 2.0, 3.0]), 0.5)]
      [2.0, 1.057, 2.943]
    """
    from scipy.special import stdtrit

    require_open_unit("confidence", confidence)
    values = as_codes(values, "values")
    count = len(values) if values.ndim == 1 else 0
    if count < 2:
        raise ValueError(f"an interval needs at least 2 repetitions [S]; got shape {values.shape}")
    # t of S - 1 degrees of freedom; the variance of one more value about the mean is s^2 (1 + 1 / S)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * (1 + 1 / count) ** 0.5 * jnp.std(values, ddof=1)
    return Interval(values.mean(), values.mean() - half, values.mean() + half)
