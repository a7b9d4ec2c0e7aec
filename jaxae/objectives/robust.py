"""Objectives for training data that is polluted by anomalies, or that comes with a few known ones.

All of them look at losses alone, so they wrap any objective: `trimmed(prepared(elbo(model), corruption), 0.1)`.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

from jaxae.numerics import as_number, at_step, gathered, on_all_rows, over_replicas, replica_axis, split_keys, weight_of
from jaxae.objectives.elbo import Weight
from jaxae.types import Batch, Objective


def trimmed(objective: Objective, fraction: Weight) -> Objective:
    """Leave out the largest losses of each batch: what fits worst is taken for pollution and teaches nothing.

    The others are scaled so that the batch's mean is that of what is kept. Validation trims likewise. Under a mapped
    step the batch is that of all replicas.

    Args:
      objective: any objective.
      fraction: share of the rows left out, in [0, 1), or a schedule `step -> share`; somewhat above the
        contamination that is expected.

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
        loss, (output, new, metrics) = objective.apply(params, state, rng, batch, step)
        worst = _worst(loss, batch, at_step(fraction, step))
        weight = weight_of(batch, loss)
        total, rest = over_replicas((weight.sum(), (weight * ~worst).sum()), replica_axis())
        kept = total / jnp.maximum(rest, jnp.finfo(loss.dtype).tiny)
        metrics = _with(metrics, "trimmed", worst.astype(loss.dtype))
        return jnp.where(worst, 0.0, loss * kept), (output, new, metrics)

    return Objective(objective.init, apply, objective.frozen)


def outlier_exposure(objective: Objective, fraction: Weight, soft: bool = False) -> Objective:
    """Latent outlier exposure: what fits worst is taken for anomalies, and pushed away.

    In each batch the share `fraction` of the largest losses gets `away(loss)` instead of the loss, or, with `soft`,
    the mean of the two. With e a row's loss above the least of the batch and m the median of all e,
    `away = m^2 / max(e, m / 10)`: falling in e, with slope -1 where e = m and weaker beyond, whatever the
    objective's unit and constants.

    Args:
      objective: any objective.
      fraction: share of the rows that are taken for anomalies, in [0, 1), or a schedule `step -> share`.
      soft: half the loss and half its opposite, for rows that may be either.

    Returns:
      An `Objective` with the metric "exposed": 1 where a row was taken for an anomaly.

    Raises:
      ValueError: the fraction is outside [0, 1), or the metric's name is taken.

    Source: Qiu et al. 2022, "Latent Outlier Exposure for Anomaly Detection with Contaminated Data", equations 3 to 6;
    the inverse error as an anomaly's loss: their appendix, and Ruff et al. 2020. The scaling by the median is ours.

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
        loss, (output, new, metrics) = objective.apply(params, state, rng, batch, step)
        worst = _worst(loss, batch, at_step(fraction, step))
        away = _away(loss, *_floor_and_median(loss, batch))
        metrics = _with(metrics, "exposed", worst.astype(loss.dtype))
        return jnp.where(worst, (loss + away) / 2 if soft else away, loss), (output, new, metrics)

    return Objective(objective.init, apply, objective.frozen)


def decomposition(objective: Objective, fraction: Weight) -> Objective:
    """Robust decomposition, X = L + S with few rows in S: the largest losses count by their root.

    Where the loss is a squared error `e = |x - x_hat|^2`, the least of `|x - s - x_hat|^2 + 2 l |s|` over s, the
    example's part in S, is `e` for `e <= l^2` and `2 l sqrt(e) - l^2` beyond: the sum of norms (L2,1) that keeps most
    rows of S empty, with S solved for. Each batch sets l so that the share `fraction` of its rows is in S: l^2 is the
    largest loss of the others. Losses count from the least of the batch, which takes off a likelihood's constants.

    Args:
      objective: any objective.
      fraction: share of the rows that may have a part in S, in [0, 1), or a schedule `step -> share`.

    Returns:
      An `Objective` with the metric "decomposed": 1 where a row has one.

    Raises:
      ValueError: the fraction is outside [0, 1), or the metric's name is taken.

    Source: Zhou and Paffenroth 2017, "Anomaly Detection with Robust Deep Autoencoders", section 4.2, where the encoder
    reads X - S; here it reads X, and S is solved for in every step in place of every few epochs.

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
        loss, (output, new, metrics) = objective.apply(params, state, rng, batch, step)
        worst = _worst(loss, batch, at_step(fraction, step))
        floor, _ = _floor_and_median(loss, batch)
        rest = (weight_of(batch, loss) > 0) & ~worst
        largest = on_all_rows(lambda _, errors: errors.max(), jnp.where(rest, stop_gradient(loss) - floor, 0))
        limit = jnp.maximum(largest, jnp.finfo(loss.dtype).eps)
        # the root of a row that is not in S has no part in the gradient, nor may it be NaN
        error = jnp.maximum(jnp.where(worst, loss - floor, limit), limit)
        metrics = _with(metrics, "decomposed", worst.astype(loss.dtype))
        return jnp.where(worst, floor + 2 * jnp.sqrt(limit * error) - limit, loss), (output, new, metrics)

    return Objective(objective.init, apply, objective.frozen)


def supervised(objective: Objective, anomalies: Array, weight: Weight = 1.0, num: int = 16) -> Objective:
    """A few labelled anomalies: in every step some of them are pushed away from what the model fits well.

    Adds `weight * mean(away(loss of an anomaly))`, `away` as in `outlier_exposure` with the floor and the median of
    the batch's normals. Validation reads the first `num` anomalies.

    Args:
      objective: any objective.
      anomalies: `[A, ...]` examples as the data has them (bytes for pixels); they become constants of the program.
      weight: of the added term, a number or a schedule.
      num: anomalies drawn for a step, with replacement where there are fewer.

    Returns:
      An `Objective` with the metric "anomalies", the added term without its weight.

    Raises:
      ValueError: there are no anomalies, `num` is below 1, or the metric's name is taken.

    Source: Ruff et al. 2020, "Deep Semi-Supervised Anomaly Detection", equation 7, with the loss in the place of the
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
    if len(anomalies) == 0 or num < 1:
        raise ValueError(f"supervised needs labelled anomalies, and draws at least 1; got {len(anomalies)}, num {num}")
    anomalies = jnp.asarray(anomalies)

    def apply(params, state, rng, batch, step):
        own, draw, inner = split_keys(rng, 3)
        if draw is not None:  # the same anomalies on every replica
            draw, inner = (gathered(replica_axis(), key)[0] for key in (draw, inner))
        loss, (output, new, metrics) = objective.apply(params, state, own, batch, step)
        first = jnp.arange(num) % len(anomalies)
        rows = first if draw is None else jax.random.randint(draw, (num,), 0, len(anomalies))
        known, _ = objective.apply(params, state, inner, Batch(anomalies[rows]), step)
        term = jnp.broadcast_to(_away(known, *_floor_and_median(loss, batch)).mean(), loss.shape)
        return loss + at_step(weight, step) * term, (output, new, _with(metrics, "anomalies", term))

    return Objective(objective.init, apply, objective.frozen)


def _require_share(name: str, value: Weight) -> None:
    if (number := as_number(value)) is not None and not 0 <= number < 1:
        raise ValueError(f"{name} must lie in [0, 1); got {value}")


def _with(metrics: dict, name: str, value: Array) -> dict:
    if name in metrics:
        raise ValueError(f"the metric {name!r} is taken ({sorted(metrics)} are): this objective is wrapped twice")
    return {**metrics, name: value}


def _worst(loss: Array, batch: Batch, fraction) -> Array:
    """`[B]` bool: the `floor(fraction * rows)` largest losses; rows that only pad are none."""

    def worst(_, loss, counts):
        order = jnp.argsort(-jnp.where(counts, loss, -jnp.inf))
        rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
        # float32 puts 0.29 * 100 below 29
        return rank < jnp.floor(fraction * counts.sum() + 1e-4)

    return on_all_rows(worst, stop_gradient(loss), weight_of(batch, loss) > 0)


def _floor_and_median(loss: Array, batch: Batch) -> tuple[Array, Array]:
    """The least loss, and the median of what the others are above it; constants to the gradient."""
    _, loss, counts = gathered(replica_axis(), None, stop_gradient(loss), weight_of(batch, loss) > 0)
    floor = jnp.where(counts, loss, jnp.inf).min()
    middle = jnp.nanmedian(jnp.where(counts, loss - floor, jnp.nan))
    return floor, jnp.maximum(middle, jnp.finfo(loss.dtype).eps)


def _away(loss: Array, floor: Array, middle: Array) -> Array:
    return middle**2 / jnp.maximum(loss - floor, middle / 10)
