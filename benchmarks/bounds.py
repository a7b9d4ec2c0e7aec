"""The importance-weighted bound of a trained model on many images."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.scoring.scores.likelihood import bound
from jaxae.transforms import Transform
from jaxae.types import Batch


def log_likelihood(
    model, state, transform: Transform, images: np.ndarray, samples: int, batch_size: int = 100
) -> float:
    """`log 1/K sum_k p(x, z_k) / q(z_k|x)` in nats, mean over the images, each transformed (binarised) once."""
    scorer = bound(model, samples)
    fitted = scorer.fit(state.params["model"], state.state["model"])
    rows = images[: len(images) // batch_size * batch_size].reshape(-1, batch_size, *images.shape[1:])
    keys = jax.random.split(jax.random.key(0), (len(rows), 2))

    @jax.jit
    def total(fitted, rows, keys):
        def one(pair):
            x, key = pair
            return scorer.apply(fitted, key[1], transform(key[0], Batch(x))).sum()

        return jax.lax.map(one, (rows, keys)).sum()

    return -float(total(fitted, jnp.asarray(rows), keys)) / (rows.shape[0] * batch_size)
