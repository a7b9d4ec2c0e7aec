"""Scorers made of scorers; each passes `map` through."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.files.messages import shown
from jaxae.numerics import require_count, split_keys
from jaxae.types import Batch, PyTree, Scorer


def prepared(base: Scorer, transform: Callable) -> Scorer:
    """A scorer of transformed batches: scaling from uint8, a corruption, a mask.

    With the transform of the objective, scoring reads what training read. The map belongs to the same random draw.

    Args:
      base: scorer of transformed batches.
      transform: transform `(rng, Batch) -> Batch`, with `rng` None where the scorer gets no key. `fit` transforms the
        reference with a fixed key.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.types import Batch, Scorer
      >>> base = Scorer(lambda params, state, reference: {}, lambda fitted, rng, batch: batch.x.sum(-1))
      >>> scorer = scoring.prepared(base, lambda rng, batch: Batch(batch.x / 255))
      >>> scorer.apply({}, None, Batch(jnp.array([[255.0, 510.0]]))).tolist()
      [3.0]
    """

    def through(function: Callable) -> Callable:
        def call(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
            transform_rng, score_rng = split_keys(rng, 2)
            return function(fitted, score_rng, transform(transform_rng, batch))

        return call

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> PyTree:
        # a fixed key, so that the same reference gives the same fit
        prepared_reference = None if reference is None else transform(jax.random.key(0), reference)
        return base.fit(params, state, prepared_reference)

    return Scorer(fit, through(base.apply), None if base.map is None else through(base.map))


def averaged(base: Scorer, num: int) -> Scorer:
    """The mean of `num` scores with different keys: many corruptions, masks or samples, in one vmap.

    Args:
      base: a random scorer, such as `prepared(reconstruction(model), corruption)`.
      num: number of draws; memory grows with it.

    Raises:
      ValueError: `num` is below 1; in `apply`, there is no key to draw with.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.types import Batch, Scorer
      >>> noise = lambda fitted, rng, batch: jax.random.normal(rng, batch.x.shape[:1])
      >>> scorer = scoring.averaged(Scorer(lambda params, state, reference: {}, noise), 1000)
      >>> bool(abs(scorer.apply({}, jax.random.key(0), Batch(jnp.zeros((1, 2))))[0]) < 0.1)
      True
    """
    num = require_count("num", num)

    def through(function: Callable) -> Callable:
        def call(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
            if rng is None:
                raise ValueError("averaged scores draw: give them a key instead of None")
            return jax.vmap(lambda key: function(fitted, key, batch))(jax.random.split(rng, num)).mean(0)

        return call

    return Scorer(base.fit, through(base.apply), None if base.map is None else through(base.map))


def ensemble(base: Scorer, reduce: str = "mean") -> Scorer:
    """The score of K models, whose params and state have a leading axis of members (`train.ensemble` makes them).

    Members tend to disagree on examples that none has learned, which their standard deviation measures. The map is
    reduced in the same way. All members get the same key, so the same corruption.

    Args:
      base: the scorer of one model.
      reduce: reduction over the members' scores: "mean", "median", "min", "max" or "spread", the standard deviation.

    Raises:
      ValueError: an unknown `reduce`; in `apply`, the spread of a single member, which is 0.

    Source: Lakshminarayanan, Pritzel and Blundell 2017, "Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.types import Batch, Scorer
      >>> base = Scorer(lambda params, state, reference: params, lambda fitted, rng, batch: fitted * batch.x[:, 0])
      >>> scorer = scoring.ensemble(base)
      >>> fitted = scorer.fit(jnp.array([1.0, 3.0]), {}, None)
      >>> scorer.apply(fitted, None, Batch(jnp.array([[2.0]]))).tolist()
      [4.0]
      >>> scoring.ensemble(base, "spread").apply(fitted, None, Batch(jnp.array([[2.0]]))).tolist()
      [2.0]
    """
    reductions = {"mean": jnp.mean, "median": jnp.median, "min": jnp.min, "max": jnp.max, "spread": jnp.std}
    if not isinstance(reduce, str) or reduce not in reductions:
        raise ValueError(f"unknown reduction of an ensemble {shown(reduce)}; there are {', '.join(reductions)}")
    reduced = reductions[reduce]

    def through(function: Callable) -> Callable:
        def call(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
            if reduce == "spread" and {leaf.shape[0] for leaf in jax.tree.leaves(fitted)} == {1}:
                raise ValueError("the spread of a single member is 0 for every example; give at least 2 members")
            # the key is not mapped: every member scores the same corruption
            return reduced(jax.vmap(lambda member: function(member, rng, batch))(fitted), axis=0)

        return call

    def fit(params: PyTree, state: PyTree, reference: Batch | None = None) -> PyTree:
        # members differ in params and state and share the reference
        return jax.vmap(base.fit, (0, 0, None))(params, state, reference)

    return Scorer(fit, through(base.apply), None if base.map is None else through(base.map))
