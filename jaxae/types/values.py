"""The values that travel between parts: batches, codes, outputs, states, verdicts, costs."""

from typing import Any, NamedTuple

from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

PyTree = Any


class Batch(NamedTuple):
    """What training, evaluation and scoring consume; `jaxae.numerics.as_batch(array)` makes one.

    Attributes:
      x: `[B, ...]`, what the encoder reads.
      target: `[B, ...]`, what the likelihood scores; None stands for `x` itself.
      mask: like the target, 1 where an element counts; None counts all.
      condition: `[B, ...]` labels or positions; reaches encoder, prior and decoder.
      weight: `[B]`, 0 where a row only pads; None weighs all rows 1.
    """

    x: PyTree
    target: PyTree | None = None
    mask: Array | None = None
    condition: PyTree | None = None
    weight: Array | None = None


class Code(NamedTuple):
    """What passes through a bottleneck.

    Attributes:
      latent: `[B, ..., D]`, what the decoder reads.
      penalty: `[B]`, what training is charged: KL in nats (with free bits), commitment, or zeros.
      rate: `[B]` nats, `log q(z|x) - log p(z)` at this latent; None without a probability model.
      symbols: `[B, ...]` int32; None where the code is continuous.
      posterior: e.g. `Gaussian(mean, log_variance)`.
      terms: `{name: [B]}`, what the penalty is made of, each as it is charged (their sum is the penalty), for the
        metrics; None where it has one part alone.
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
      mean: `[B, ..., D]`.
      log_variance: `[B, ..., D]`.
    """

    mean: Array
    log_variance: Array


class Output(NamedTuple):
    """What one pass of an autoencoder gives.

    Attributes:
      code: the bottleneck's `Code`.
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
      threshold: `[B]` float32, the fitted λ, repeated.
      p_value: `[B]` float32, `(1 + #{calibration scores >= score}) / (1 + n)`.
      is_anomaly: `[B]` bool.
      action: `[B]` int32 column of the cost table, or None.
      map: `[B, ...]` float32 score map, or None.
    """

    score: Array
    threshold: Array
    p_value: Array
    is_anomaly: Array
    action: Array | None = None
    map: Array | None = None


class CostTable(NamedTuple):
    """What each action costs under each truth, in the deployment's unit.

    Only differences within a row matter for the decision: what a truth costs whatever is done may be left out.

    Attributes:
      costs: `[truths, actions]` float, not negative. Truths are normal and anomaly, or classes 0..K-1 and unknown;
        actions are accept and flag, then perhaps reject (hand to a human), or classes 0..K-1 and "unknown" (see
        `scoring.cost_table`).
    """

    costs: Array

    @classmethod
    def binary(cls, miss: ArrayLike, false_alarm: ArrayLike) -> "CostTable":
        """A table of two truths and two actions: correct decisions are free.

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
        import numpy as np

        if not isinstance(miss, Tracer) and not isinstance(false_alarm, Tracer):
            pair = np.array([miss, false_alarm], np.float64)
            if not np.isfinite(pair).all() or (pair < 0).any() or not pair.any():
                raise ValueError(
                    f"costs must be finite, not negative and not both 0; got miss {miss}, false alarm {false_alarm}"
                )
        return cls(jnp.array([[0.0, false_alarm], [miss, 0.0]], jnp.float32))

    @classmethod
    def with_reject(
        cls, miss: ArrayLike, false_alarm: ArrayLike, reject: ArrayLike | tuple[ArrayLike, ArrayLike]
    ) -> "CostTable":
        """A table of two truths and three actions: accept, flag, reject (hand to a human, who decides rightly).

        Args:
          miss: as for `binary`.
          false_alarm: as for `binary`.
          reject: what a human's look costs; a pair where it depends on the truth (normal, anomaly).

        Raises:
          ValueError: a cost is negative or not finite, or miss and false alarm are both zero.

        Example:
          >>> from jaxae.types import CostTable
          >>> CostTable.with_reject(miss=10.0, false_alarm=1.0, reject=0.5).costs.tolist()
          [[0.0, 1.0, 0.5], [10.0, 0.0, 0.5]]
        """
        import jax.numpy as jnp
        import numpy as np

        normal, anomaly = reject if isinstance(reject, tuple) else (reject, reject)
        given = np.array([value for value in (normal, anomaly) if not isinstance(value, Tracer)], np.float64)
        if not np.isfinite(given).all() or (given < 0).any():
            raise ValueError(f"costs must be finite and not negative; got reject {reject}")
        columns = jnp.array([[normal], [anomaly]], jnp.float32)
        return cls(jnp.append(cls.binary(miss, false_alarm).costs, columns, axis=1))
