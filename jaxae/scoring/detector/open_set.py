"""Open-set classification: the class of an example, or "unknown" where the classifier is not confident enough."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from jaxae.numerics import as_batch, real_array, require_count, require_within
from jaxae.numerics.arguments import with_checked_arguments
from jaxae.scoring.checks import is_traced, require_open_unit
from jaxae.scoring.confidence.logits import Logits
from jaxae.scoring.detector.compose import detector, rows_of
from jaxae.scoring.metrics.curves import operating_points
from jaxae.scoring.scores.combinators import prepared
from jaxae.scoring.thresholds.rule import rule
from jaxae.transforms import Transform
from jaxae.types import Batch, CostTable, Detector, FittedDetector, PyTree, Scorer, Threshold, Verdict


def open_set(
    logits: Logits,
    scorer: Scorer,
    threshold: Threshold | CostTable,
    *,
    unknown_rate: ArrayLike = 0.05,
    transform: Transform | None = None,
    seed: int = 0,
    chunk: int = 1024,
) -> Detector:
    """`f(x) = argmax_k l_k(x)` if the confidence is above λ, else "unknown", which is class K.

    The verdict's `action` is f(x), 0..K; `is_anomaly = score >= threshold` says "unknown", where a confidence c is
    score -c. With a cost table, λ is where deciding costs least on dev: `P` times the mean cost of unknown examples
    and `1 - P` times that of known ones, wrong classes included.

    Args:
      logits: `(params, state, batch) -> [B, K]`, such as `confidence.logits_of(model)`.
      scorer: any `Scorer`, such as `confidence.max_logit(logits)`; what it reads need not be the logits.
      threshold: a rule, for which "anomaly" is unknown and "normal" is known; or a table of costs `[K + 1, K + 1]`,
        truth by action, the last of each unknown.
      unknown_rate: P, the deployment's share of unknown examples, in (0, 1); read with a cost table alone.
      transform: in front of both logits and scorer, such as `transforms.scale_uint8()`.
      seed: as `detector`.
      chunk: as `detector`.

    Returns:
      A `Detector`. Its `fit` takes a labelled reference (`target` `[N, 1]`) where the scorer wants one, calibration
      rows of known classes, and dev rows with labels `[m]` in 0..K, K standing for unknown.

    Raises:
      ValueError: in `fit`, labels outside 0..K, a table of another shape, or as the scorer's and the rule's; the rate
        is outside (0, 1).

    Source: Scheirer et al. 2013, "Toward Open Set Recognition"; Chow 1970, "On optimum recognition error and reject
    tradeoff", for the costs.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.scoring import confidence
      >>> from jaxae.scoring.detector.open_set import open_set
      >>> logits = lambda params, state, batch: batch.x
      >>> decide = open_set(logits, confidence.max_logit(logits), scoring.thresholds.conformal(0.25))
      >>> fitted = decide.fit({}, {}, None, calibration=jnp.array([[5.0, 0.0], [0.0, 6.0], [7.0, 0.0]]))
      >>> decide.apply(fitted, jnp.array([[6.0, 0.0], [0.0, 9.0], [1.0, 2.0]])).action.tolist()
      [0, 1, 2]
    """
    require_open_unit("unknown_rate", unknown_rate)
    inner = detector(
        scorer if transform is None else prepared(scorer, transform),
        least_cost if isinstance(threshold, CostTable) else threshold,
        seed,
        chunk=chunk,
    )

    def predict(arrays: dict, rows: Batch) -> Array:
        ready = rows if transform is None else transform(None, rows)
        return logits(arrays["params"], arrays["state"], ready)

    def of_row(arrays: dict, example: Batch) -> Array:
        return predict(arrays, jax.tree.map(lambda leaf: leaf[None], example))[0]

    def fit(
        params: PyTree,
        state: PyTree,
        reference: Batch | ArrayLike | None,
        calibration: Batch | ArrayLike,
        dev: Batch | ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> FittedDetector:
        arrays = {"params": params, "state": state}
        if dev is not None and labels is not None:
            dev = as_batch(np.asarray(real_array("dev", dev)) if isinstance(dev, list) else dev)
            rows_of("dev", dev)
            num_classes = jax.eval_shape(predict, arrays, dev).shape[-1]
            _require_classes(labels, num_classes)
            truth = jnp.asarray(labels, jnp.int32)
            labels = (truth == num_classes).astype(jnp.int32)
            if isinstance(threshold, CostTable):
                if jnp.shape(threshold.costs) != (num_classes + 1,) * 2:
                    raise ValueError(
                        f"{num_classes} classes and unknown need costs {(num_classes + 1,) * 2}, truth by action; "
                        f"got {jnp.shape(threshold.costs)}"
                    )
                each = jax.jit(lambda a, r: jax.lax.map(lambda x: of_row(a, x), r, batch_size=chunk))
                prediction = each(arrays, dev._replace(weight=None)).argmax(-1)
                labels, weight = savings(threshold, truth, prediction, unknown_rate, dev.weight)
                dev = dev._replace(weight=weight)
        fitted = inner.fit(params, state, reference, calibration, dev, labels)
        return fitted._replace(classifier=classifier_arrays(fitted.scorer, arrays))

    def apply(fitted: FittedDetector, batch: Batch | ArrayLike) -> Verdict:
        verdict = inner.apply(fitted._replace(classifier=None), batch)
        arrays = fitted.scorer if fitted.classifier is None else fitted.classifier
        values = jax.vmap(lambda example: of_row(arrays, example))(rows_of("x", batch))
        prediction = values.argmax(-1).astype(jnp.int32)
        action = jnp.where(verdict.is_anomaly, values.shape[-1], prediction)
        return verdict._replace(action=action.astype(jnp.int32), prediction=prediction)

    return Detector(with_checked_arguments(fit), with_checked_arguments(apply))


def classifier_arrays(scorer_arrays: PyTree, arrays: dict) -> dict | None:
    """The classifier's "params" and "state" that a fitted open set keeps: None where the scorer's arrays hold them."""
    held = isinstance(scorer_arrays, dict) and arrays.keys() <= scorer_arrays.keys()
    return None if held else arrays


def savings(
    table: CostTable, truth: ArrayLike, prediction: ArrayLike, unknown_rate: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """Labels and weights of dev rows for `least_cost`: what the answer "unknown" saves against the row's class.

    A row on which "unknown" is the cheaper answer counts as an anomaly, the others as normal, each with the weight of
    what is saved or lost, at the deployment's share of unknown examples.

    Args:
      table: costs `[K + 1, K + 1]`, truth by action, the last of each unknown.
      truth: `[m]` whole numbers 0..K, K for unknown.
      prediction: `[m]` whole numbers 0..K-1, the classes that would be given.
      unknown_rate: share of unknown examples in deployment, in (0, 1).
      weight: `[m]`, not negative; None: all 1.

    Returns:
      Labels `[m]` int32, weights `[m]` float32.

    Raises:
      ValueError: no known or no unknown row has weight.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.detector.open_set import cost_table, savings
      >>> labels, weight = savings(cost_table(2), jnp.array([0, 1, 2]), jnp.array([0, 0, 1]), 0.5)
      >>> labels.tolist(), weight.tolist()
      ([0, 0, 1], [0.25, 0.0, 5.0])
    """
    truth, prediction, costs = (
        jnp.asarray(truth, jnp.int32),
        jnp.asarray(prediction, jnp.int32),
        jnp.asarray(table.costs),
    )
    size = costs.shape[0]
    unknown = truth == size - 1
    mass = jnp.ones(truth.shape) if weight is None else jnp.asarray(weight)
    saved = _at_rate(unknown, mass, unknown_rate) * (costs[truth, prediction] - costs[truth, -1])
    return (saved > 0).astype(jnp.int32), jnp.abs(saved)


def cost_table(
    num_classes: int, unknown_taken: ArrayLike = 10.0, known_refused: ArrayLike = 1.0, wrong_class: ArrayLike = 1.0
) -> CostTable:
    """Costs `[K + 1, K + 1]`, truth by action, the last of each unknown; right answers are free.

    Args:
      num_classes: K.
      unknown_taken: cost of an unknown example that gets a class.
      known_refused: cost of a known example that is called unknown.
      wrong_class: cost of a known example that gets the wrong class.

    Raises:
      ValueError: a cost is negative or not finite, or all are 0.

    Example:
      >>> from jaxae.scoring.detector.open_set import cost_table
      >>> cost_table(2, 10.0, 1.0, 5.0).costs.tolist()
      [[0.0, 5.0, 1.0], [5.0, 0.0, 1.0], [10.0, 10.0, 0.0]]
    """
    given = {"unknown_taken": unknown_taken, "known_refused": known_refused, "wrong_class": wrong_class}
    for name, cost in given.items():
        require_within(name, cost, "[0, inf)")
    if not is_traced(*given.values()) and not any(given.values()):
        raise ValueError(f"costs must not all be 0; got {tuple(given.values())}")
    size = require_count("num_classes", num_classes) + 1
    costs = jnp.full((size, size), wrong_class, jnp.float32).at[:, -1].set(known_refused).at[-1].set(unknown_taken)
    return CostTable(costs * (1 - jnp.eye(size)))


def _at_rate(unknown: Bool[Array, " m"], weight: Array, rate: ArrayLike) -> Float[Array, " m"]:
    """Weights under which the unknown rows make up `rate`, and all sum to 1."""
    share = jnp.where(unknown, weight, 0).sum(), jnp.where(unknown, 0, weight).sum()
    if not is_traced(*share) and not min(map(float, share)) > 0:
        raise ValueError("λ by cost needs known and unknown rows with weight in dev (label K stands for unknown)")
    return weight * jnp.where(unknown, rate / share[0], (1 - rate) / share[1])


def _most_saved(calibration, dev, labels, weight):
    if dev is None or labels is None:
        raise ValueError("λ by cost needs dev rows with labels: 0..K-1, and K for unknown")
    points = operating_points(labels, dev, weight)
    return points.threshold[jnp.argmax(points.true_positives - points.false_positives)]


least_cost = rule(_most_saved, reads="dev")
"""λ where most is saved, of dev scores with the labels and weights of `savings`."""


def _require_classes(labels: ArrayLike, num_classes: int) -> None:
    if is_traced(labels):
        return
    found = np.asarray(real_array("dev labels", labels))
    whole = found.ndim == 1 and found.dtype.kind in "iu" and found.size > 0
    if not whole or found.min() < 0 or found.max() > num_classes:
        span = f", {found.min()}..{found.max()}" if whole else ""
        raise ValueError(
            f"dev labels must be [m] whole numbers 0..{num_classes}, {num_classes} for unknown; got shape "
            f"{found.shape} {found.dtype}{span}"
        )
