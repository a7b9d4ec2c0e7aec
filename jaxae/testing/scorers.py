"""The contract of a scorer."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae.testing.properties import (
    Compiled,
    differ,
    keys,
    require,
    require_equal,
    require_finite,
    require_shape,
)
from jaxae.types import Batch, PyTree, Scorer


def check_scorer(
    scorer: Scorer,
    params: PyTree,
    state: PyTree,
    reference: Batch,
    *,
    needs_key: bool = False,
    anomalies: Array | None = None,
) -> None:
    """Refuse a scorer that breaks its contract.

    - `fit` gives a tree of arrays;
    - `apply` gives finite scores `[B]`, in one trace, that are not all equal;
    - without a key a row's score does not depend on its batch; with one the same key gives the same scores, and rows
      scored one by one under `vmap`, as a detector does it, give finite ones;
    - the map, where there is one, has a row for each example;
    - anomalies score higher, on average, than the reference.

    Args:
      scorer: what is checked.
      params: the model's.
      state: the model's.
      reference: normal rows, at least 8.
      needs_key: whether the score is drawn, so that a call without a key is refused.
      anomalies: rows like the reference's `x` that should score higher; None: not checked.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets, scoring
      >>> from jaxae.testing import check_scorer
      >>> from jaxae.types import Batch
      >>> model, _ = presets.ae((5,), latent_size=2)
      >>> x = jax.random.normal(jax.random.key(0), (16, 5))
      >>> check_scorer(scoring.reconstruction(model), *model.init(jax.random.key(1), x), Batch(x), anomalies=9 * x)
    """
    first, second = keys(2)
    rows = jax.tree.leaves(reference.x)[0].shape[0]
    fitted = scorer.fit(params, state, reference)
    for path, leaf in jax.tree.leaves_with_path(fitted):
        where = jax.tree_util.keystr(path)
        is_array = isinstance(leaf, jax.Array | np.ndarray)
        require(is_array, f"fitted{where}: an array is needed, got {type(leaf).__name__}")

    shape = jax.eval_shape(lambda f, b: scorer.apply(f, first if needs_key else None, b), fitted, reference)
    require_shape(shape, (rows,), "scores")

    def everything(fitted, key, batch):
        rng = key if needs_key else None

        def row(example):
            return scorer.apply(fitted, rng, jax.tree.map(lambda leaf: leaf[None], example))[0]

        found = {"scores": scorer.apply(fitted, rng, batch), "keyed": scorer.apply(fitted, key, batch)}
        found["rows"] = jax.vmap(row)(batch)
        if scorer.map is not None:
            found["map"] = scorer.map(fitted, rng, batch)
        return found

    run = Compiled(everything, "apply")
    found, again, other = run(fitted, first, reference), run(fitted, first, reference), run(fitted, second, reference)
    for name in ("scores", "keyed", "rows"):
        require_finite(found[name], "scores")
    require_equal(again, found, "the same key must give the same scores, but they")
    require(np.ptp(np.asarray(found["scores"])) > 0, f"all {rows} scores are equal, so they decide nothing")
    if needs_key:
        require(differ(found["scores"], other["scores"]), "a drawn score ignores its key")
    else:
        require_equal(other["scores"], found["scores"], "without a key a scorer must be deterministic, but scores")
        require_equal(found["rows"], found["scores"], "a row must not depend on its batch, but score", 1e-4, 1e-5)
    if scorer.map is not None:
        require(found["map"].shape[:1] == (rows,), f"map: {rows} rows are needed, got shape {found['map'].shape}")
        require_finite(found["map"], "map")
    if anomalies is not None:
        far = run(fitted, first, reference._replace(x=jnp.asarray(anomalies)))["scores"].mean()
        near = found["scores"].mean()
        require(far > near, f"higher is more anomalous: anomalies score {far:.4g} on average, the reference {near:.4g}")
    run.require_pure(fitted, first, reference)
