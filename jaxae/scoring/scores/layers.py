"""Reconstruction error in the encoder's hidden layers, between the input and its reconstruction."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.scoring.scores.latent import Features, mahalanobis
from jaxae.scoring.scores.reconstruction import fit_model
from jaxae.types import Autoencoder, Batch, Network, PyTree, Scorer


def pathway(model: Autoencoder, encoder: Network, with_input: bool = True) -> Features:
    """The features `h_i(x) - h_i(x̂)`, side by side: all hidden layers i of the encoder, x̂ the reconstruction.

    Args:
      model: an autoencoder whose reconstruction has the shape of its input.
      encoder: encoder of the model, with `Network.hidden`, which networks of Flax Linen modules have. A preset's is
        `networks.default_encoder(shape, outputs)`. Where a non-linearity is not a module, its input is compared.
      with_input: whether `x - x̂` is the first difference.

    Returns:
      `(params, state, batch) -> [B, D]`.

    Raises:
      ValueError: the encoder has no `hidden`; (from the features) input and reconstruction differ in shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks, presets
      >>> from jaxae.scoring.scores.layers import pathway
      >>> from jaxae.types import Batch
      >>> encoder = networks.mlp(4, 2)
      >>> model, _ = presets.ae((5,), encoder=encoder)
      >>> params, state = model.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> pathway(model, encoder)(params, state, Batch(jnp.ones((3, 5)))).shape
      (3, 11)
    """
    hidden = encoder.hidden
    if hidden is None:
        raise ValueError("this encoder does not know its layers: take one of jaxae.networks, or give Network a hidden")

    def features(params: PyTree, state: PyTree, batch: Batch) -> Array:
        output, _ = model.apply(params, state, None, batch.x, batch.condition)
        x = jnp.asarray(batch.x, jnp.float32)
        reconstruction = model.likelihood.mean(output.prediction).astype(jnp.float32)
        if reconstruction.shape != x.shape:
            raise ValueError(f"the reconstruction's shape {reconstruction.shape} is not the input's {x.shape}")
        pairs = [[x, reconstruction]] if with_input else []
        # the reconstruction passes through the same encoder as the input did
        layers = [hidden(params["encoder"], side, batch.condition) for side in (x, reconstruction)]
        pairs += list(zip(*layers, strict=True))
        # each layer as one row per example, so that layers of any shape stand side by side
        differences = [(a - b).astype(jnp.float32).reshape(x.shape[0], -1) for a, b in pairs]
        return jnp.concatenate(differences, -1)

    return features


def simple_pathway(model: Autoencoder, encoder: Network, with_input: bool = True) -> Scorer:
    """Sum of squared differences along the encoder's layers: `sum_i |h_i(x) - h_i(x̂)|^2` (SAP).

    Args:
      model: an autoencoder whose reconstruction has the shape of its input.
      encoder: encoder of the model, see `pathway`.
      with_input: whether `x - x̂` counts as a layer.

    Raises:
      ValueError: as `pathway`.

    Source: Kim et al. 2020, "RaPP: Novelty Detection with Reconstruction along Projection Pathway", equation 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks, presets
      >>> from jaxae.scoring import simple_pathway
      >>> from jaxae.types import Batch
      >>> encoder = networks.mlp(4, 2)
      >>> model, _ = presets.ae((5,), encoder=encoder)
      >>> scorer = simple_pathway(model, encoder)
      >>> fitted = scorer.fit(*model.init(jax.random.key(0), jnp.ones((3, 5))))
      >>> scorer.apply(fitted, None, Batch(jnp.ones((3, 5)))).shape
      (3,)
    """
    features = pathway(model, encoder, with_input)

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return jnp.sum(features(fitted["params"], fitted["state"], batch) ** 2, -1)

    return Scorer(fit_model, apply)


def normalised_pathway(
    model: Autoencoder, encoder: Network, shrinkage: str | ArrayLike = "ledoit_wolf", with_input: bool = True
) -> Scorer:
    """Squared Mahalanobis distance of the differences along the encoder's layers from those of the reference (NAP).

    Args:
      model: an autoencoder whose reconstruction has the shape of its input.
      encoder: encoder of the model, see `pathway`.
      shrinkage: shrinkage of the covariance, as in `latent.mahalanobis`; 0 is the paper's score, up to the number of
        reference rows.
      with_input: whether `x - x̂` counts as a layer.

    Raises:
      ValueError: as `pathway` and `latent.mahalanobis`.

    Source: Kim et al. 2020, "RaPP: Novelty Detection with Reconstruction along Projection Pathway", equation 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks, presets
      >>> from jaxae.scoring import normalised_pathway
      >>> from jaxae.types import Batch
      >>> encoder = networks.mlp(4, 2)
      >>> model, _ = presets.ae((5,), encoder=encoder)
      >>> x = jax.random.normal(jax.random.key(1), (30, 5))
      >>> scorer = normalised_pathway(model, encoder)
      >>> fitted = scorer.fit(*model.init(jax.random.key(0), x), Batch(x))
      >>> scorer.apply(fitted, None, Batch(x)).shape
      (30,)
    """
    return mahalanobis(pathway(model, encoder, with_input), shrinkage)
