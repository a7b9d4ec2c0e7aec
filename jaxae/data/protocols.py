"""Protocols: splits made harder on purpose, so that a claim can be tested."""

from collections.abc import Sequence

import numpy as np

from jaxae.data.splits import HELD_OUT, Part, Splits, joined

POLLUTABLE = ("train", *(name for name in HELD_OUT if name != "dev"))


def pollute(splits: Splits, fraction: float, seed: int = 0, parts: Sequence[str] = ("train",)) -> Splits:
    """Move anomalies from dev into parts that should be clean, as data without labels would hold them.

    The anomalies are those of the data's train part: the test part is not touched, and neither is `certify`. A moved
    row keeps its label and class, which training does not read, so that one can look at what became of it.

    Args:
      splits: from `splits.split`.
      fraction: the share of anomalies in each polluted part afterwards, in [0, 1).
      seed: decides which anomalies and their places.
      parts: of "train", "validation" and "calibration". A detector that nobody cleaned data for has all three polluted.

    Returns:
      `Splits` with the same parts but for the polluted ones and dev, which has lost those rows.

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
