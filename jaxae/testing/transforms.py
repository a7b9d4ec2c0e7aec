"""The contract of a transform."""

import jax
import jax.numpy as jnp

from jaxae.testing.properties import Compiled, differ, keys, require, require_equal, require_finite, require_rows
from jaxae.types import Batch, Transform


def check_transform(transform: Transform, batch: Batch | None = None) -> None:
    """Refuse a transform that breaks its contract.

    - the rows stay, and their weights; floats stay float32 and finite;
    - without a key it is deterministic; it compiles in one trace;
    - where it sets a target of its own, a corruption, that is the clean `x`; the corrupted one differs from it and from
      key to key, and without a key nothing is corrupted.

    Args:
      transform: what is checked.
      batch: what it changes; None: images `[4, 9, 7, 1]` with values in 0..1, and weights.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae import transforms
      >>> from jaxae.testing import check_transform
      >>> check_transform(transforms.gaussian_noise(0.3))
    """
    first, second, third = keys(3)
    if batch is None:
        batch = Batch(jax.random.uniform(first, (4, 9, 7, 1)), weight=jnp.arange(4.0))
    rows = jax.tree.leaves(batch.x)[0].shape[0]

    def everything(key, batch):
        return transform(key, batch), transform(None, batch), transform(None, batch)

    run = Compiled(everything, "transform")
    (out, plain, twice), (other, _, _) = run(second, batch), run(third, batch)
    require_rows(out.x, rows, "x")
    for leaf in jax.tree.leaves(out.x):
        require(leaf.dtype == jnp.float32, f"x: float32 is needed, got {leaf.dtype}")
    require_finite(out.x, "x")
    require_equal(out.weight, batch.weight, "weights must stay, but weight")
    require_equal(plain, twice, "without a key a transform must be deterministic, but batch")
    if out.target is not None and batch.target is None:
        require_equal(out.target, batch.x, "a corruption's target must be the clean x, but target")
        require(differ(out.x, batch.x), "a transform with a target of its own must change x")
        require(differ(out.x, other.x), "a corruption ignores its seed: two keys corrupt alike")
        require_equal(plain.x, batch.x, "without a key nothing may be corrupted, but x")
    run.require_pure(second, batch)
