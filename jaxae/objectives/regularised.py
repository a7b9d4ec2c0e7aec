"""Penalties of the regularised autoencoder (RAE): a smooth decoder instead of the noise of a VAE."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import sum_per_example
from jaxae.objectives.contractive import squared_jacobian
from jaxae.types import Autoencoder, Batch, Output, Penalty


def latent_norm(params, state, rng, batch: Batch, output: Output) -> Array:
    """A penalty: `||z||^2 / 2`, which bounds the latents so that a density can be fitted to them.

    Source: Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", equation 7.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import latent_norm
      >>> from jaxae.types import Batch, Code, Output
      >>> z = jnp.array([[3.0, 4.0]])
      >>> latent_norm({}, {}, None, Batch(z), Output(Code(z, jnp.zeros(1)), z)).tolist()
      [12.5]
    """
    return sum_per_example(output.code.latent**2) / 2


def decoder_norm(params, state, rng, batch: Batch, output: Output) -> Array:
    """A penalty: the sum of the squares of all the decoder's parameters (RAE-L2).

    Source: Ghosh et al. 2020, section 3.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import decoder_norm
      >>> from jaxae.types import Batch, Code, Output
      >>> z = jnp.zeros((1, 2))
      >>> float(decoder_norm({"decoder": {"w": jnp.ones((2, 3))}}, {}, None, Batch(z), Output(Code(z, z[:, 0]), z)))
      6.0
    """
    # one number for the whole batch: the caller broadcasts it to the rows
    if not isinstance(params, Mapping) or "decoder" not in params:
        raise ValueError("decoder_norm: params must be those of a model, a dict with the key decoder")
    return jnp.stack([(leaf.astype(jnp.float32) ** 2).sum() for leaf in jax.tree.leaves(params["decoder"])]).sum()


def decoder_gradient(model: Autoencoder, num_probes: int | None = None) -> Penalty:
    """A penalty: `||d prediction / dz||_F^2`, the squared Jacobian of the decoder at each latent (RAE-GP).

    Args:
      model: an `Autoencoder`.
      num_probes: number of random probes, see `squared_jacobian`; None: exact. Convolutional decoders need probes.

    Returns:
      `(params, state, rng, batch, output) -> [B]` for `penalized`.

    Source: Ghosh et al. 2020, equation 9.

    Example:
      >>> from jaxae import objectives, presets
      >>> model, _ = presets.ae((5,), latent_size=2)
      >>> objective = objectives.penalized(objectives.elbo(model), "latent_norm", objectives.latent_norm, 1e-2)
      >>> objective = objectives.penalized(objective, "decoder_gradient", objectives.decoder_gradient(model), 1e-3)
    """

    def penalty(params, state, rng, batch: Batch, output: Output) -> Array:
        def decode(latent):
            return model.decode(params, latent, batch.condition, state)

        return squared_jacobian(decode, output.code.latent, rng, num_probes)

    return penalty
