"""Protocols: splits that are made harder on purpose, to test a claim."""

from collections.abc import Sequence

import numpy as np

from jaxae.data.splits import HELD_OUT, Part, Splits, joined
from jaxae.numerics.arguments import check_arguments

POLLUTABLE = ("train", *(name for name in HELD_OUT if name != "dev"))


def pollute(splits: Splits, fraction: float, seed: int = 0, parts: Sequence[str] = ("train",)) -> Splits:
    """Move anomalies from dev into parts that should be clean, as in data without labels.

    The anomalies are those of the data's train part: the test part and `certify` are not touched. A moved row keeps its
    label and class, which training does not read, so that its score can be examined afterwards.

    Args:
      splits: parts from `splits.split`.
      fraction: share of anomalies in each polluted part afterwards, in [0, 1).
      seed: seed of the choice of anomalies and of their positions.
      parts: names of the parts to pollute, of "train", "validation" and "calibration"; in a deployment without any
        labels all three are polluted.

    Returns:
      `Splits` with the polluted parts and dev without the moved rows; the other parts are the same.

    Raises:
      ValueError: the fraction is outside [0, 1), a part cannot be polluted, or dev holds too few anomalies.

    Example:
      >>> from jaxae.data import load, protocols, splits
      >>> clean = splits.split(load("fashion-sample"), normal="Trouser")
      >>> polluted = protocols.pollute(clean, 0.1)
      >>> len(clean.train.x), len(polluted.train.x), int(polluted.train.labels.sum())
      (600, 667, 67)
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the polluted fraction must lie in [0, 1), got {fraction}")
    if odd := sorted(set(parts) - set(POLLUTABLE)):
        raise ValueError(f"no part {', '.join(odd)} to pollute; there are {', '.join(POLLUTABLE)}")
    rng = np.random.default_rng([seed, 0xB0117])
    # m anomalies among n + m rows are a fraction f: m = n f / (1 - f)
    wanted = {name: round(fraction / (1 - fraction) * len(getattr(splits, name).x)) for name in POLLUTABLE}
    wanted = {name: count for name, count in wanted.items() if name in parts}
    anomalies = rng.permutation(np.flatnonzero(splits.dev.labels == 1))
    if len(anomalies) < sum(wanted.values()):
        listed = ", ".join(f"{count} for {name}" for name, count in wanted.items())
        raise ValueError(
            f"polluting by {fraction:g} takes {sum(wanted.values())} anomalies ({listed}); dev has {len(anomalies)}"
        )
    made, used = {}, 0
    for name, count in wanted.items():
        moved = anomalies[used : used + count]
        made[name] = _joined(getattr(splits, name), splits.dev, moved, rng)
        used += count
    kept = np.setdiff1d(np.arange(len(splits.dev.x)), anomalies[:used])
    return splits._replace(dev=splits.dev.taken(kept), **made)


def _joined(part: Part, other: Part, rows: np.ndarray, rng: np.random.Generator) -> Part:
    whole = joined(part, other.taken(rows))
    return whole.taken(rng.permutation(len(whole.x)))


check_arguments(__name__)
