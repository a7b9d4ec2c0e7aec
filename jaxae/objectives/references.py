"""What latents are compared with: draws of the prior, or latents whose dimensions were shuffled between rows."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import weight_of
from jaxae.objectives.posterior import rows_of
from jaxae.types import Autoencoder, Batch, Output


def prior_draws(model: Autoencoder):
    """A reference for `mmd` and `adversarial`: as many draws of the model's own prior as there are rows.

    Args:
      model: an `Autoencoder` with `sample`; a deterministic one has it by `bottlenecks.identity(prior)`.

    Returns:
      `(params, state, rng, batch, output) -> [B, D]`; without a key the draws are the same at every call.

    Raises:
      ValueError: the model has no prior to draw from.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets
      >>> from jaxae.objectives import prior_draws
      >>> from jaxae.types import Batch
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> params, state = model.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> prior_draws(model)(params, state, None, Batch(jnp.ones((3, 5))), None).shape
      (3, 2)
    """
    draw = model.sample
    if draw is None:
        raise ValueError("prior_draws needs a model with a prior: bottlenecks.identity(priors.standard_normal()), say")

    def reference(params, state, rng, batch: Batch, output: Output | None) -> Array:
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch.x)
        return rows_of(draw(params, state, jax.random.key(0) if rng is None else rng, like, batch.condition))

    return reference


def permuted(params, state, rng: Array | None, batch: Batch, output: Output) -> Array:
    """A reference for `adversarial`: each dimension of the latents shuffled over the rows that count, by itself.

    Its rows come from the product of the aggregate posterior's marginals. Rows that only pad are left as they are.

    Returns:
      `[B, D]`; without a key the shuffle is the same at every call.

    Source: Kim and Mnih 2018, "Disentangling by Factorising", algorithm 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.objectives import permuted
      >>> from jaxae.types import Batch, Code, Output
      >>> z = jnp.arange(8.0).reshape(4, 2)
      >>> shuffled = permuted({}, {}, jax.random.key(0), Batch(z), Output(Code(z, jnp.zeros(4)), z))
      >>> bool((jnp.sort(shuffled, 0) == z).all())
      True
    """
    latent = rows_of(output.code.latent)
    pads = weight_of(batch, output.code.penalty) == 0
    drawn = jax.random.uniform(jax.random.key(0) if rng is None else rng, latent.shape)
    # both put the rows that count first: in a random order, and in their own
    order = jnp.argsort(jnp.where(pads[:, None], 2.0 + jnp.arange(len(pads))[:, None], drawn), axis=0)
    places = jnp.argsort(pads, stable=True)
    return jnp.zeros_like(latent).at[places].set(jnp.take_along_axis(latent, order, 0))
