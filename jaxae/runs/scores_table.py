"""`scores.csv`: what was decided on each row."""

import os
from collections.abc import Sequence

import numpy as np

from jaxae.runs.folder import write_csv
from jaxae.types import Verdict


def write_scores(
    path: str | os.PathLike,
    verdict: Verdict,
    labels: np.ndarray | None,
    sources: Sequence[str],
    classes: Sequence[str] | None = None,
    truth: Sequence[str] | None = None,
) -> None:
    """Write a verdict as a table, whole or not at all; floats read back to the same bits.

    The columns are `index,source,score,p_value,is_anomaly,label`, and of an open set also
    `decision,truth,confidence,lambda`: the class or "unknown", and the confidence and its λ, which are the score and
    its threshold with the other sign.

    Args:
      path: the `.csv`.
      verdict: of the rows.
      labels: `[N]` 1 anomaly, 0 normal, -1 not known; None: none is known. What is not known is left empty.
      sources: `[N]` what each row is called in its source: a file below the data folder, or a row number.
      classes: names of the actions, of an open set alone.
      truth: `[N]` names of the rows' classes; None: not known, and left empty.
    """
    number = len(verdict.score)
    columns = {
        "index": range(number),
        "source": list(sources),
        "score": _written(verdict.score),
        "p_value": _written(verdict.p_value),
        "is_anomaly": [int(a) for a in verdict.is_anomaly],
        "label": [""] * number if labels is None else ["" if y < 0 else int(y) for y in labels],
    }
    if classes is not None and verdict.action is not None:
        columns |= {
            "decision": [classes[int(a)] for a in verdict.action],
            "truth": [""] * number if truth is None else list(truth),
            "confidence": _written(-np.asarray(verdict.score)),
            "lambda": _written(-np.asarray(verdict.threshold)),
        }
    write_csv(path, list(columns), zip(*columns.values(), strict=True))


def _written(values):
    # repr of a float32 through float64 reads back to the same float32
    return [repr(float(value)) for value in values]
