"""Scores of different kinds made comparable on held-out normals, and averaged."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae.files.messages import shown
from jaxae.scoring.scores.held_out import divided, in_chunks, row_weights
from jaxae.types import Batch, PyTree, Scorer

# share of held-out normals that make the tail; their mean excess is its unit
TAIL = 0.1
# shape of the generalised Pareto tail: 0 is exponential; 0.5 keeps one very high member from deciding alone
SHAPE = 0.5


def fused(*scorers: Scorer, held_out: int | None = None, by: str = "rank") -> Scorer:
    """The mean of several scores, each first expressed relative to its distribution on held-out normals.

    - "rank": `-log p`, p the share of held-out normals that score as high. Beyond the 90 % quantile u the p-value
      goes on as a generalised Pareto tail of shape 0.5, so that no score saturates:
      `-log p(s) = -log p(u) + 2 log(1 + (s - u) / (2 m))`, m the mean excess of the normals above u.
    - "z": `(s - median) / (1.4826 median |s - median|)`.
    - "log": "z" of log s, for scores above 0: the ratio to a usual score counts.

    Below u, "rank" does not change under increasing maps of a member's score; the tail does not change under changes
    of scale. Members are fitted to the reference without its held-out rows.

    Args:
      *scorers: members to fuse, at least one.
      held_out: number of held-out rows, the last of the reference, to which no parameter was fitted; None: a fifth.
      by: common scale of the scores, "rank", "z" or "log".

    Raises:
      ValueError: no scorer, or an unknown `by`; in `fit`, as `held_out.divided` and the members.

    Source: the tail: Pickands 1975, "Statistical Inference Using Extreme Order Statistics"; the mean of -log p: Fisher
    1932.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import fused
      >>> from jaxae.types import Batch, Scorer
      >>> first = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: batch.x[:, 0])
      >>> second = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: 1000 * batch.x[:, 1])
      >>> scorer = fused(first, second, held_out=99)
      >>> fitted = scorer.fit({}, {}, Batch(jnp.stack([jnp.arange(100.0), jnp.arange(100.0)], -1)))
      >>> [round(s, 2) for s in scorer.apply(fitted, None, Batch(jnp.array([[51.0, 51.0], [51.0, 500.0]]))).tolist()]
      [0.69, 5.34]
    """
    if not scorers or by not in ("rank", "z", "log"):
        raise ValueError(
            f'fused needs at least one scorer and by "rank", "z" or "log"; got {len(scorers)} and {shown(by)}'
        )

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
        fitting_rows, rows = divided(reference, held_out)
        members = [scorer.fit(params, state, fitting_rows) for scorer in scorers]
        # a fixed key: held-out scores of random members do not change from fit to fit
        key = jax.random.key(0)

        def member_scores(batch: Batch) -> list[Array]:
            return [scorer.apply(fitted, key, batch) for scorer, fitted in zip(scorers, members, strict=True)]

        scores = unit(jnp.stack(in_chunks(member_scores, rows)))
        weight = row_weights(rows)
        return {"members": members, "usual": jax.vmap(lambda s: describe(s, weight))(scores)}

    describe, compare = (_fit_rank, _rank) if by == "rank" else (_fit_z, _z)
    unit = _log if by == "log" else lambda scores: scores

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        scores = [scorer.apply(member, rng, batch) for scorer, member in zip(scorers, fitted["members"], strict=True)]
        return jax.vmap(compare)(fitted["usual"], unit(jnp.stack(scores))).mean(0)

    return Scorer(fit, apply)


def _fit_rank(scores: Float[Array, " n"], weight: Float[Array, " n"]) -> dict:
    order = jnp.argsort(scores)
    # p = (1 + weight at or above the score) / (1 + weight); the 1 is the new example itself, so that p is never 0
    scores, weight = scores[order], weight[order]
    above = jnp.cumsum(weight[::-1])[::-1]
    nats = jnp.log1p(weight.sum()) - jnp.log1p(jnp.append(above, 0.0))
    # u is the first normal with at most a share TAIL at or above it, or the highest one where there are few
    high = (weight > 0) & (above <= jnp.maximum(TAIL * weight.sum(), above.min(initial=jnp.inf, where=weight > 0)))
    start = jnp.argmax(high)
    threshold = scores[start]
    beyond = jnp.where(scores > threshold, weight, 0)
    excess = (beyond * (scores - threshold)).sum() / jnp.maximum(beyond.sum(), 1)
    # where no normal lies above u, the unit is the standard deviation of all normals
    spread = jnp.sqrt((weight * (scores - (weight * scores).sum() / weight.sum()) ** 2).sum() / weight.sum())
    # a unit that is not 0, whatever the scale of the scores
    least = jnp.finfo(jnp.float32).eps * jnp.maximum(jnp.abs(threshold), 1e-6)
    unit = jnp.maximum(jnp.where(excess > 0, excess, spread), least)
    return {"sorted": scores, "nats": nats, "threshold": threshold, "at_threshold": nats[start], "unit": unit}


def _rank(usual: dict, scores: Float[Array, " B"]) -> Float[Array, " B"]:
    rank = jnp.searchsorted(usual["sorted"], scores, side="left")
    beyond = jnp.maximum(scores - usual["threshold"], 0) / usual["unit"]
    # -log of a generalised Pareto tail: log(1 + shape * excess / unit) / shape
    tail = usual["at_threshold"] + jnp.log1p(SHAPE * beyond) / SHAPE
    return jnp.where(scores >= usual["threshold"], tail, jnp.minimum(usual["nats"][rank], usual["at_threshold"]))


def _fit_z(scores: Float[Array, " n"], weight: Float[Array, " n"]) -> dict:
    middle = _median(scores, weight)
    # 1.4826 times the median absolute deviation is the standard deviation of a normal distribution
    spread = 1.4826 * _median(jnp.abs(scores - middle), weight)
    return {"middle": middle, "spread": jnp.maximum(spread, jnp.finfo(jnp.float32).tiny)}


def _z(usual: dict, scores: Float[Array, " B"]) -> Float[Array, " B"]:
    return (scores - usual["middle"]) / usual["spread"]


def _log(scores: Array) -> Array:
    return jnp.log(jnp.maximum(scores, jnp.finfo(jnp.float32).tiny))


def _median(values: Array, weight: Array) -> Array:
    return jnp.nanmedian(jnp.where(weight > 0, values, jnp.nan))
