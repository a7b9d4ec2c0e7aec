"""The values that travel between parts: batches, codes, outputs, states, verdicts, costs."""

from typing import Annotated, Any, NamedTuple

from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

TREE = "a tree of arrays"
"""The mark by which a check knows an annotation `PyTree` from one that takes anything."""

PyTree = Annotated[Any, TREE]


class Batch(NamedTuple):
    """Rows for training, evaluation and scoring; `jaxae.numerics.as_batch(array)` makes one.

    Attributes:
      x: `[B, ...]`, input of the encoder.
      target: `[B, ...]`, data that the likelihood scores; None: `x` itself.
      mask: array shaped like the target, 1 where an element counts; None counts all elements.
      condition: `[B, ...]` labels or positions, which encoder, prior and decoder read.
      weight: `[B]`, weight of each row, 0 where a row only pads; None weighs all rows 1.
    """

    x: PyTree
    target: PyTree | None = None
    mask: Array | None = None
    condition: PyTree | None = None
    weight: Array | None = None


class Code(NamedTuple):
    """The output of a bottleneck.

    Attributes:
      latent: `[B, ..., D]`, input of the decoder.
      penalty: `[B]`, term that training adds to the negative log-likelihood: KL in nats (with free bits), commitment,
        or zeros.
      rate: `[B]` nats, `log q(z|x) - log p(z)` at this latent; None without a probability model.
      symbols: `[B, ...]` int32, indices of a discrete code; None for continuous codes.
      posterior: distribution of the latent, e.g. `Gaussian(mean, log_variance)`; None without one.
      terms: `{name: [B]}`, weighted terms whose sum is the penalty, for the metrics; None for a single term.
    """

    latent: PyTree
    penalty: Array
    rate: Array | None = None
    symbols: PyTree | None = None
    posterior: PyTree | None = None
    terms: dict | None = None


class Gaussian(NamedTuple):
    """A diagonal normal distribution.

    Attributes:
      mean: `[B, ..., D]`, mean of each element.
      log_variance: `[B, ..., D]`, log of the variance of each element.
    """

    mean: Array
    log_variance: Array


class Output(NamedTuple):
    """The output of one pass of an autoencoder.

    Attributes:
      code: `Code` of the bottleneck.
      prediction: `[B, ...]`, the decoder's raw output; `likelihood.mean(prediction)` is the reconstruction.
    """

    code: Code
    prediction: Array


class TrainState(NamedTuple):
    """Everything a train step needs.

    Attributes:
      step: int32 scalar, the number of steps taken.
      params: dict of parameters, "model" among them.
      state: dict of non-trained state (codebook statistics), "model" among them.
      opt_state: the optimizer's state.
      rng: a typed key that never advances: a step uses `fold_in(rng, step)`.
    """

    step: Array
    params: dict
    state: dict
    opt_state: PyTree
    rng: Array


class Verdict(NamedTuple):
    """A decision on each example; `is_anomaly = score >= threshold`, everywhere.

    Attributes:
      score: `[B]` float32, higher is more anomalous.
      threshold: `[B]` float32, the fitted λ for each example.
      p_value: `[B]` float32, `(1 + #{calibration scores >= score}) / (1 + n)`.
      is_anomaly: `[B]` bool, the decision.
      action: `[B]` int32, column of the cost table; None without a cost table.
      map: `[B, ...]` float32, score map; None without a map.
      prediction: `[B]` int32, class that an open-set classifier gives before λ is asked; None without classes.
    """

    score: Array
    threshold: Array
    p_value: Array
    is_anomaly: Array
    action: Array | None = None
    map: Array | None = None
    prediction: Array | None = None


class FittedDetector(NamedTuple):
    """What a detector learned: the arrays that it is applied with and saved with.

    Attributes:
      scorer: what the scorer's `fit` returned; the model's arrays are in it.
      threshold: what the threshold's `fit` returned.
      classifier: an open set's "params" and "state", where the scorer does not hold them already; else None.
    """

    scorer: PyTree
    threshold: PyTree
    classifier: PyTree | None = None


def _concrete_costs(*costs: Any) -> list[float] | None:
    """The costs that are not traced; None where one of them is no number from 0 to the largest of float32."""
    import numpy as np

    concrete = [cost for cost in costs if not isinstance(cost, Tracer)]
    try:
        numbers = np.asarray(concrete)
    except (TypeError, ValueError, OverflowError):  # such as a list beside a number
        return None
    if concrete and (numbers.ndim != 1 or numbers.dtype.kind not in "biuf"):
        return None
    fit = ((numbers >= 0) & (numbers <= np.finfo(np.float32).max)).all()
    return numbers.astype(np.float64).tolist() if fit else None


class CostTable(NamedTuple):
    """Costs of each action under each truth, in the deployment's unit.

    Only differences within a row affect the decision: a cost that all actions share under a truth may be left out.

    Attributes:
      costs: `[truths, actions]` float, not negative. Truths are normal and anomaly, or classes 0..K-1 and unknown;
        actions are accept and flag, optionally reject (hand to a human), or classes 0..K-1 and "unknown" (see
        `scoring.cost_table`).
    """

    costs: Array

    @classmethod
    def binary(cls, miss: ArrayLike, false_alarm: ArrayLike) -> "CostTable":
        """A cost table of two truths and two actions; correct decisions cost nothing.

        Args:
          miss: cost of accepting an anomaly, in the deployment's unit.
          false_alarm: cost of flagging a normal example, in the same unit.

        Raises:
          ValueError: a cost is negative or not finite, or both are zero.

        Example:
          >>> from jaxae.types import CostTable
          >>> CostTable.binary(miss=10.0, false_alarm=1.0).costs.tolist()
          [[0.0, 1.0], [10.0, 0.0]]
        """
        import jax.numpy as jnp

        pair = _concrete_costs(miss, false_alarm)
        if pair is None or (len(pair) == 2 and not any(pair)):
            raise ValueError(
                f"costs must be finite, not negative and not both 0; got miss {miss!s:.60}, false alarm "
                f"{false_alarm!s:.60}"
            )
        return cls(jnp.array([[0.0, false_alarm], [miss, 0.0]], jnp.float32))

    @classmethod
    def with_reject(
        cls, miss: ArrayLike, false_alarm: ArrayLike, reject: ArrayLike | tuple[ArrayLike, ArrayLike]
    ) -> "CostTable":
        """A cost table of two truths and three actions: accept, flag, reject (hand to a human, who decides correctly).

        Args:
          miss: cost of accepting an anomaly, in the deployment's unit.
          false_alarm: cost of flagging a normal example, in the same unit.
          reject: cost of a human decision; a pair (normal, anomaly) where it depends on the truth.

        Raises:
          ValueError: a cost is negative or not finite, or miss and false alarm are both zero.

        Example:
          >>> from jaxae.types import CostTable
          >>> CostTable.with_reject(miss=10.0, false_alarm=1.0, reject=0.5).costs.tolist()
          [[0.0, 1.0, 0.5], [10.0, 0.0, 0.5]]
        """
        import jax.numpy as jnp

        normal, anomaly = reject if isinstance(reject, tuple) and len(reject) == 2 else (reject, reject)
        if _concrete_costs(normal, anomaly) is None:
            raise ValueError(f"costs must be finite and not negative; got reject {reject!s:.60}")
        columns = jnp.array([[normal], [anomaly]], jnp.float32)
        return cls(jnp.append(cls.binary(miss, false_alarm).costs, columns, axis=1))
