"""Objectives for contaminated training data, or for data with a few labelled anomalies.

All of them read only losses, so they wrap any objective: `trimmed(prepared(elbo(model), corruption), 0.1)`.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

from jaxae.numerics import (
    as_number,
    at_step,
    gathered,
    on_all_rows,
    over_replicas,
    replica_axis,
    split_keys,
    weight_of,
)
from jaxae.objectives.elbo import Weight
from jaxae.types import Batch, Objective


def trimmed(objective: Objective, fraction: Weight) -> Objective:
    """Leave out the largest losses of each batch, whose rows are taken for anomalies.

    The other losses are scaled so that the mean of the batch is the mean of the kept rows. Validation trims too. Under
    a mapped step the batch is that of all replicas.

    Args:
      objective: any objective.
      fraction: share of the rows left out, in [0, 1), or a schedule `step -> share`; choose it somewhat above the
        expected contamination.

    Returns:
      An `Objective` with the metric "trimmed": 1 where a row was left out.

    Raises:
      ValueError: the fraction is outside [0, 1), or the metric's name is taken.

    Source: Rousseeuw 1984, "Least Median of Squares Regression" (least trimmed squares).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import objectives, presets
      >>> from jaxae.numerics import as_batch
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> robust = objectives.trimmed(objective, 0.25)
      >>> batch = as_batch(jnp.array([[0.0] * 5, [0.1] * 5, [0.2] * 5, [9.0] * 5]))
      >>> params, state = robust.init(jax.random.key(0), batch)
      >>> loss, (_, _, metrics) = robust.apply(params, state, None, batch, 0)
      >>> metrics["trimmed"].tolist()
      [0.0, 0.0, 0.0, 1.0]
    """
    _require_share("fraction", fraction)

    def apply(params, state, rng, batch, step):
        loss, (output, new_state, metrics) = objective.apply(params, state, rng, batch, step)
        worst = _worst(loss, batch, at_step(fraction, step))
        weight = weight_of(batch, loss)
        total, kept_weight = over_replicas((weight.sum(), (weight * ~worst).sum()), replica_axis())
        # the caller divides by the whole weight: scaled, the mean is over the kept rows
        scale = total / jnp.maximum(kept_weight, jnp.finfo(loss.dtype).tiny)
        metrics = _with(metrics, "trimmed", worst.astype(loss.dtype))
        return jnp.where(worst, 0.0, loss * scale), (output, new_state, metrics)

    return Objective(objective.init, apply, objective.frozen)


def outlier_exposure(objective: Objective, fraction: Weight, soft: bool = False) -> Objective:
    """Latent outlier exposure: rows with the largest losses are taken for anomalies, and their losses are increased.

    In each batch the share `fraction` of the largest losses gets `away(loss)` instead of the loss, or, with `soft`,
    the mean of the two. With e a row's loss above the least of the batch and m the median of all e,
    `away = m^2 / max(e, m / 10)`: it falls with e, with slope -1 at e = m and a smaller one beyond, independent of
    the objective's unit and constants.

    Args:
      objective: any objective.
      fraction: share of the rows that are taken for anomalies, in [0, 1), or a schedule `step -> share`.
      soft: whether such rows get the mean of the loss and `away(loss)`, as they may be normal or anomalous.

    Returns:
      An `Objective` with the metric "exposed": 1 where a row was taken for an anomaly.

    Raises:
      ValueError: the fraction is outside [0, 1), or the metric's name is taken.

    Source: Qiu et al. 2022, "Latent Outlier Exposure for Anomaly Detection with Contaminated Data", equations 3 to 6;
    the inverse error as an anomaly's loss: their appendix, and Ruff et al. 2020. The scaling by the median is not from
    the paper.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import objectives, presets
      >>> from jaxae.numerics import as_batch
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> robust = objectives.outlier_exposure(objective, 0.25, soft=True)
      >>> batch = as_batch(jnp.array([[0.0] * 5, [0.1] * 5, [0.2] * 5, [9.0] * 5]))
      >>> params, state = robust.init(jax.random.key(0), batch)
      >>> robust.apply(params, state, None, batch, 0)[1][2]["exposed"].tolist()
      [0.0, 0.0, 0.0, 1.0]
    """
    _require_share("fraction", fraction)

    def apply(params, state, rng, batch, step):
        loss, (output, new_state, metrics) = objective.apply(params, state, rng, batch, step)
        worst = _worst(loss, batch, at_step(fraction, step))
        # constants of the batch scale the opposing loss, so that it has the objective's unit
        opposed = _opposed(loss, *_floor_and_median(loss, batch))
        metrics = _with(metrics, "exposed", worst.astype(loss.dtype))
        return jnp.where(worst, (loss + opposed) / 2 if soft else opposed, loss), (output, new_state, metrics)

    return Objective(objective.init, apply, objective.frozen)


def decomposition(objective: Objective, fraction: Weight) -> Objective:
    """Robust decomposition, X = L + S with few rows in S: the largest losses count by their square root.

    Where the loss is a squared error `e = |x - x_hat|^2`, the least of `|x - s - x_hat|^2 + 2 l |s|` over s, the
    example's part in S, is `e` for `e <= l^2` and `2 l sqrt(e) - l^2` beyond: the L2,1 norm, which keeps most rows of
    S empty, with S solved for. Each batch sets l so that the share `fraction` of its rows is in S: l^2 is the largest
    loss of the other rows. Losses are measured from the least of the batch, which removes a likelihood's constants.

    Args:
      objective: any objective.
      fraction: share of the rows that are in S, in [0, 1), or a schedule `step -> share`.

    Returns:
      An `Objective` with the metric "decomposed": 1 where a row is in S.

    Raises:
      ValueError: the fraction is outside [0, 1), or the metric's name is taken.

    Source: Zhou and Paffenroth 2017, "Anomaly Detection with Robust Deep Autoencoders", section 4.2, where the encoder
    reads X - S; here it reads X, and S is solved for in every step instead of every few epochs.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import objectives, presets
      >>> from jaxae.numerics import as_batch
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> robust = objectives.decomposition(objective, 0.25)
      >>> batch = as_batch(jnp.array([[0.0] * 5, [0.1] * 5, [0.2] * 5, [9.0] * 5]))
      >>> params, state = robust.init(jax.random.key(0), batch)
      >>> robust.apply(params, state, None, batch, 0)[1][2]["decomposed"].tolist()
      [0.0, 0.0, 0.0, 1.0]
    """
    _require_share("fraction", fraction)

    def apply(params, state, rng, batch, step):
        loss, (output, new_state, metrics) = objective.apply(params, state, rng, batch, step)
        worst = _worst(loss, batch, at_step(fraction, step))
        floor, _ = _floor_and_median(loss, batch)
        is_kept = (weight_of(batch, loss) > 0) & ~worst
        largest = on_all_rows(lambda _, errors: errors.max(), jnp.where(is_kept, stop_gradient(loss) - floor, 0))
        limit = jnp.maximum(largest, jnp.finfo(loss.dtype).eps)
        # rows outside of S take the limit here, so that their unused root has no NaN gradient
        # min over s of the squared error plus 2 l |s|: 2 l sqrt(e) - l^2 beyond e = l^2
        error = jnp.maximum(jnp.where(worst, loss - floor, limit), limit)
        metrics = _with(metrics, "decomposed", worst.astype(loss.dtype))
        return jnp.where(worst, floor + 2 * jnp.sqrt(limit * error) - limit, loss), (output, new_state, metrics)

    return Objective(objective.init, apply, objective.frozen)


def supervised(objective: Objective, anomalies: Array, weight: Weight = 1.0, num: int = 16) -> Objective:
    """Labelled anomalies in training: every step increases the losses of some of them.

    Adds `weight * mean(away(loss of an anomaly))`, `away` as in `outlier_exposure` with the least loss and the median
    of the batch's normals. Validation reads the first `num` anomalies.

    Args:
      objective: any objective.
      anomalies: `[A, ...]`, labelled anomalies in the form of the data (uint8 for pixels); constants of the program.
      weight: weight of the added term, a number or a schedule `step -> number`.
      num: number of anomalies drawn in each step, with replacement.

    Returns:
      An `Objective` with the metric "anomalies", the added term without its weight.

    Raises:
      ValueError: there are no anomalies, `num` is below 1, or the metric's name is taken.

    Source: Ruff et al. 2020, "Deep Semi-Supervised Anomaly Detection", equation 7, with the loss instead of the
    distance to a centre.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import objectives, presets
      >>> from jaxae.numerics import as_batch
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> objective = objectives.supervised(objective, jnp.ones((3, 5)))
      >>> batch = as_batch(jnp.zeros((4, 5)))
      >>> params, state = objective.init(jax.random.key(0), batch)
      >>> objective.apply(params, state, jax.random.key(1), batch, 0)[1][2]["anomalies"].shape
      (4,)
    """
    if not hasattr(anomalies, "shape") or len(anomalies.shape) < 2:
        raise ValueError(f"supervised: anomalies are an array of rows [N, ...], got a {type(anomalies).__name__}")
    if len(anomalies) == 0 or num < 1:
        raise ValueError(f"supervised needs labelled anomalies, and draws at least 1; got {len(anomalies)}, num {num}")
    anomalies = jnp.asarray(anomalies)

    def apply(params, state, rng, batch, step):
        objective_rng, draw_rng, anomaly_rng = split_keys(rng, 3)
        if draw_rng is not None:  # the same anomalies on every replica
            draw_rng, anomaly_rng = (gathered(replica_axis(), key)[0] for key in (draw_rng, anomaly_rng))
        loss, (output, new_state, metrics) = objective.apply(params, state, objective_rng, batch, step)
        first_rows = jnp.arange(num) % len(anomalies)
        rows = first_rows if draw_rng is None else jax.random.randint(draw_rng, (num,), 0, len(anomalies))
        # the same parameters and state: anomalies update no statistics
        anomaly_losses, _ = objective.apply(params, state, anomaly_rng, Batch(anomalies[rows]), step)
        term = jnp.broadcast_to(_opposed(anomaly_losses, *_floor_and_median(loss, batch)).mean(), loss.shape)
        return loss + at_step(weight, step) * term, (output, new_state, _with(metrics, "anomalies", term))

    return Objective(objective.init, apply, objective.frozen)


def _require_share(name: str, value: Weight) -> None:
    if (number := as_number(value)) is not None and not 0 <= number < 1:
        raise ValueError(f"{name} must lie in [0, 1); got {value}")


def _with(metrics: dict, name: str, value: Array) -> dict:
    if name in metrics:
        raise ValueError(f"the metric {name!r} is taken ({sorted(metrics)} are): this objective is wrapped twice")
    return {**metrics, name: value}


def _worst(loss: Array, batch: Batch, fraction) -> Array:
    """`[B]` bool: the `floor(fraction * rows)` largest losses; rows that only pad are never among them."""

    def worst(_, loss, counts):
        # rows that only pad rank last, whatever their loss
        order = jnp.argsort(-jnp.where(counts, loss, -jnp.inf))
        rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
        # 0.29 * 100 is below 29 in float32
        return rank < jnp.floor(fraction * counts.sum() + 1e-4)

    return on_all_rows(worst, stop_gradient(loss), weight_of(batch, loss) > 0)


def _floor_and_median(loss: Array, batch: Batch) -> tuple[Array, Array]:
    """The least loss, and the median of the losses above it; no gradient flows."""
    _, loss, counts = gathered(replica_axis(), None, stop_gradient(loss), weight_of(batch, loss) > 0)
    # differences to the least loss do not depend on constants of the likelihood
    floor = jnp.where(counts, loss, jnp.inf).min()
    median = jnp.nanmedian(jnp.where(counts, loss - floor, jnp.nan))
    return floor, jnp.maximum(median, jnp.finfo(loss.dtype).eps)


def _opposed(loss: Array, floor: Array, median: Array) -> Array:
    return median**2 / jnp.maximum(loss - floor, median / 10)
