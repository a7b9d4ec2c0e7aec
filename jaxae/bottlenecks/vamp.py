"""The VampPrior: a mixture of the posteriors of learned inputs."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.bottlenecks.gaussian import gaussian
from jaxae.networks.stateful import AnyNetwork, require_stateless
from jaxae.numerics import require_whole
from jaxae.priors import mixture
from jaxae.types import Bottleneck


def vamp(encoder: AnyNetwork, num_pseudo_inputs: int = 100, initial: Array | None = None) -> Bottleneck:
    """A gaussian bottleneck whose prior is `p(z) = mean_k q(z|u_k)`, the pseudo-inputs u_k learned with the model.

    The prior needs the encoder, so the encoder is part of the bottleneck: it reads x itself, and the encoder of the
    model is `networks.identity`. The encoder gets gradients from posterior and prior. The KL has no closed form; the
    penalty is the sampled `log q(z|x) - log p(z)`.

    Args:
      encoder: network `x -> [B, ..., 2 D]`; it must work without a condition, since pseudo-inputs have none.
      num_pseudo_inputs: number of pseudo-inputs K, at least 1.
      initial: `[K, *x.shape[1:]]`, initial pseudo-inputs, such as training examples, scaled as the encoder reads them;
        None: uniform noise in 0..1.

    Returns:
      A `Bottleneck`; its params are a dict with "encoder" and "pseudo_inputs".

    Raises:
      ValueError: num_pseudo_inputs below 1, or (from `init`) `initial` of another shape.

    Source: Tomczak and Welling 2018, "VAE with a VampPrior", equation 9.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, likelihoods, networks
      >>> from jaxae.model import autoencoder
      >>> layer = bottlenecks.vamp(networks.mlp(8, 4), num_pseudo_inputs=6)
      >>> model = autoencoder(networks.identity, layer, networks.mlp(8, 5), likelihoods.gaussian())
      >>> params, state = model.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> model.sample(params, state, jax.random.key(1), jnp.ones((7, 5))).shape
      (7, 2)
    """
    require_whole("vamp", num_pseudo_inputs=num_pseudo_inputs)
    if num_pseudo_inputs < 1:
        raise ValueError(f"vamp: num_pseudo_inputs must be at least 1, got {num_pseudo_inputs}")
    encoder = require_stateless("vamp", encoder)
    base = gaussian(mixture(num_pseudo_inputs))
    assert base.sample is not None
    draw = base.sample

    def init(rng, x, condition=None):
        encoder_rng, pseudo_rng = jax.random.split(rng)
        shape = (num_pseudo_inputs, *x.shape[1:])
        if initial is not None and initial.shape != shape:
            raise ValueError(f"vamp: the initial pseudo-inputs must be of shape {shape}, got {initial.shape}")
        start = jax.random.uniform(pseudo_rng, shape) if initial is None else initial.astype(jnp.float32)
        return {"encoder": encoder.init(encoder_rng, x, condition), "pseudo_inputs": start}, ()

    def with_prior(params):
        """Parameters of the gaussian bottleneck: the mixture of the encoder's posteriors of the pseudo-inputs."""
        # the prior's components are the encoder's posteriors, so its gradient reaches encoder and pseudo-inputs
        mean, raw = jnp.split(encoder.apply(params["encoder"], params["pseudo_inputs"]).astype(jnp.float32), 2, -1)
        # equal weights of the components; the mixture bounds the raw log-variance itself
        return {"prior": {"logits": jnp.zeros(mean.shape[0]), "mean": mean, "log_variance": raw}, "flow": ()}

    def apply(params, state, rng, x, condition=None):
        h = encoder.apply(params["encoder"], x, condition)
        return base.apply(with_prior(params), state, rng, h, condition)

    def sample(params, state, rng, x, condition=None):
        h = jax.eval_shape(encoder.apply, params["encoder"], x, condition)
        return draw(with_prior(params), state, rng, h, condition)

    return Bottleneck(init, apply, sample)
