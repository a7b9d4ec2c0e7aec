"""Samples and references for `adversarial` and `mmd`: latents, draws of the prior, shuffled latents, data."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import counted_target, of_whole_batch, weight_of
from jaxae.objectives.posterior import rows_of
from jaxae.types import Autoencoder, Batch, Output, Penalty


def latent_rows(params, state, rng: Array | None, batch: Batch, output: Output) -> Array:
    """The samples of an encoder: the latents, flattened to rows.

    Returns:
      `[B, D]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import latent_rows
      >>> from jaxae.types import Batch, Code, Output
      >>> z = jnp.ones((3, 2, 4))
      >>> latent_rows({}, {}, None, Batch(z), Output(Code(z, jnp.zeros(3)), z)).shape
      (3, 8)
    """
    return rows_of(output.code.latent)


def targets(params, state, rng: Array | None, batch: Batch, output: Output) -> Array:
    """A reference for decoded draws: the data, as the likelihood reads them, and 0 where the mask hides them.

    Returns:
      `[B, ...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import targets
      >>> from jaxae.types import Batch, Code, Output
      >>> z, target = jnp.zeros((2, 3)), jnp.ones((2, 3))
      >>> targets({}, {}, None, Batch(z, target=target), Output(Code(z, jnp.zeros(2)), z)).tolist()
      [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    return counted_target(batch)


def decoded_draws(model: Autoencoder) -> Penalty:
    """The samples of a decoder as a generator: likelihood means decoded from draws of the prior.

    The encoder is not involved, so the critic's term trains the decoder (and the prior) alone.

    Args:
      model: an `Autoencoder` with `sample`.

    Returns:
      `(params, state, rng, batch, output) -> [B, ...]`; without a key the draws are the same at every call.

    Raises:
      ValueError: the model has no prior to draw from.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets
      >>> from jaxae.objectives import decoded_draws
      >>> from jaxae.types import Batch
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> params, state = model.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> decoded_draws(model)(params, state, None, Batch(jnp.ones((3, 5))), None).shape
      (3, 5)
    """
    draw = _drawing(model, "decoded_draws")

    def samples(params, state, rng, batch: Batch, output: Output | None) -> Array:
        return model.likelihood.mean(model.decode(params, draw(params, state, rng, batch), batch.condition, state))

    return samples


def prior_draws(model: Autoencoder) -> Penalty:
    """A reference for `mmd` and `adversarial`: a draw of the model's prior for each row.

    Args:
      model: an `Autoencoder` with `sample`; a deterministic model has one with `bottlenecks.identity(prior)`.

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
    draw = _drawing(model, "prior_draws")
    return lambda params, state, rng, batch, output: rows_of(draw(params, state, rng, batch))


def _drawing(model, asked):
    """Function that draws a latent from the model's prior for each row of a batch."""
    sample = model.sample
    if sample is None:
        raise ValueError(f"{asked} needs a model with a prior: bottlenecks.identity(priors.standard_normal()), say")

    def draw(params, state, rng, batch: Batch):
        example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch.x)
        return sample(params, state, jax.random.key(0) if rng is None else rng, example, batch.condition)

    return draw


@of_whole_batch
def permuted(params, state, rng: Array | None, batch: Batch, output: Output) -> Array:
    """A reference for `adversarial`: each dimension of the latents shuffled separately over the rows that count.

    Its rows are draws from the product of the aggregate posterior's marginals. Rows that only pad are not moved.

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
    is_padding = weight_of(batch, output.code.penalty) == 0
    # different noise in each dimension: independent permutations break the dependence between dimensions
    noise = jax.random.uniform(jax.random.key(0) if rng is None else rng, latent.shape)
    # both orders put the rows that count first: `order` in a random order, `positions` in their given order
    order = jnp.argsort(jnp.where(is_padding[:, None], 2.0 + jnp.arange(len(is_padding))[:, None], noise), axis=0)
    positions = jnp.argsort(is_padding, stable=True)
    return jnp.zeros_like(latent).at[positions].set(jnp.take_along_axis(latent, order, 0))
