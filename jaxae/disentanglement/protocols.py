"""Published protocols by name, and all scores at once, each with an interval."""

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae.disentanglement.beta_vae import beta_vae_score
from jaxae.disentanglement.dci import dci
from jaxae.disentanglement.explicitness import explicitness
from jaxae.disentanglement.factor_vae import factor_vae_score
from jaxae.disentanglement.irs import irs
from jaxae.disentanglement.mig import mig, mig_sup
from jaxae.disentanglement.modularity import modularity
from jaxae.disentanglement.sap import sap
from jaxae.disentanglement.sources import Source
from jaxae.scoring.checks import require_open_unit
from jaxae.scoring.metrics.bootstrap import Interval


class Protocol(NamedTuple):
    """How many rows each score draws, and how it bins them; the defaults are those of Locatello et al. 2019.

    Attributes:
      num_train: rows, groups or points of the train part; also the rows of scores that have one part.
      num_test: likewise of the test part.
      num_bins: of each code dimension, for mutual information.
      group_size: rows of a group (FactorVAE), pairs of a point (beta-VAE).
      num_variance: rows of the variance over all data (FactorVAE).
      least_deviation: below it a dimension is idle (FactorVAE).
      num_trees: rounds of boosting (DCI).
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
and a fifth of the trees, to follow a training run with; nothing published."""


def _grouped(score):
    def apply(source, rng, protocol):
        known = {k: v for k, v in protocol._asdict().items() if k in inspect.signature(score).parameters}
        return score(source, rng, **known)

    return apply


def _of_rows(score, **given):
    def apply(source, rng, protocol):
        codes, factors = source.sample(rng, protocol.num_train)
        return score(codes, factors, factor_sizes=source.factor_sizes, **given)

    def binned(source, rng, protocol):
        codes, factors = source.sample(rng, protocol.num_train)
        return score(codes, factors, factor_sizes=source.factor_sizes, num_bins=protocol.num_bins)

    return binned if "num_bins" in inspect.signature(score).parameters else apply


def _of_parts(score):
    def apply(source, rng, protocol):
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
    """Scores by a protocol, repeated with other draws: the mean, and where one more repetition would fall.

    The interval is `mean ± t s sqrt(1 + 1 / S)`, with s the deviation of S repetitions: it speaks of draws alone. Of
    another training run speak other models' scores.

    Args:
      source: see `sources`.
      rng: a key.
      protocol: a name of `PROTOCOLS`, or a `Protocol`.
      scores: names of `SCORES`.
      repetitions: S, at least 2.
      confidence: in (0, 1).
      together: repetitions at a time, in one vmap; memory grows with it.

    Returns:
      Name to `Interval(value, low, high)`; DCI gives its figures as "dci_disentanglement" and so on.

    Raises:
      ValueError: an unknown protocol or score, fewer than 2 repetitions; more rows than a source of arrays has.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import evaluate, from_generator
      >>> source = from_generator(lambda factors: factors.astype(jnp.float32), (3, 6, 40))
      >>> found = evaluate(source, jax.random.key(0), "quick", scores=("mig", "factor_vae"), repetitions=3)
      >>> sorted(found), bool(found["mig"].low <= found["mig"].value <= found["mig"].high)
      (['factor_vae', 'mig'], True)
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise ValueError(f"no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
        protocol = PROTOCOLS[protocol]
    if unknown := sorted(set(scores) - set(SCORES)):
        raise ValueError(f"no score {unknown[0]!r}; there are {', '.join(SCORES)}")
    found = {}
    for name in scores:
        keys = jax.random.split(jax.random.fold_in(rng, list(SCORES).index(name)), repetitions)
        values = jax.lax.map(lambda key, name=name: SCORES[name](source, key, protocol), keys, batch_size=together)
        for part, each in values.items() if isinstance(values, dict) else [("", values)]:
            found[f"{name}_{part}" if part else name] = repeated(each, confidence)
    return found


def repeated(values: Float[Array, " S"], confidence: float = 0.95) -> Interval:
    """The mean of S repetitions and the interval of one more: `mean ± t s sqrt(1 + 1 / S)`.

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
    count = len(values)
    if count < 2:
        raise ValueError(f"an interval needs at least 2 repetitions; got {count}")
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * (1 + 1 / count) ** 0.5 * jnp.std(values, ddof=1)
    return Interval(values.mean(), values.mean() - half, values.mean() + half)
