"""Variational autoencoders by their parts: prior, posterior, likelihood, condition, levels."""

from typing import Unpack

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxae import bottlenecks, likelihoods, networks, objectives
from jaxae.networks import AnyNetwork, conditional, default_decoder, default_encoder
from jaxae.networks.stateful import require_stateless
from jaxae.numerics import split_keys
from jaxae.objectives.elbo import Weight
from jaxae.presets.parts import Parts, check, scaled, variational
from jaxae.priors import conditional_normal
from jaxae.types import Autoencoder, Network, Objective, Prior, StatefulNetwork


def vae(
    shape: tuple[int, ...],
    *,
    beta: Weight = 1.0,
    capacity: Weight | None = None,
    prior: Prior | None = None,
    free_bits: ArrayLike = 0.0,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder; with `beta` a beta-VAE or, given a schedule, a KL warm-up.

    Args:
      shape: shape of one example, without the batch.
      beta: weight of the KL, a number or a schedule `step -> number`.
      capacity: target of the KL in nats, a number or a schedule (annealed capacity); None: 0.
      prior: prior `p(z)`; None: the standard normal.
      free_bits: nats of KL per latent dimension that are not penalised.
      **parts: shared keywords, see `Parts`.

    Source: Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; Higgins et al. 2017, "beta-VAE".

    Example:
      >>> from jaxae import likelihoods, presets, transforms
      >>> binary = transforms.chain(transforms.scale_uint8(), transforms.binarise())
      >>> model, objective = presets.vae((28, 28, 1), likelihood=likelihoods.bernoulli(), transform=binary)
    """
    model = variational(shape, bottlenecks.gaussian(prior, free_bits=free_bits), **parts)
    return model, scaled(objectives.elbo(model, beta, capacity), parts)


def sigma_vae(shape: tuple[int, ...], **parts: Unpack[Parts]) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder that learns the scale of its normal likelihood, a single number for all elements.

    Args:
      shape: shape of one example, without the batch.
      **parts: shared keywords, see `Parts`; the likelihood must be `likelihoods.gaussian(None)`, which is its default.

    Source: Rybkin, Daniilidis and Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.sigma_vae((28, 28, 1))
    """
    check(shape)
    decoder = networks.shared_scale(parts.get("decoder") or default_decoder(shape))
    keywords: Parts = {"likelihood": likelihoods.gaussian(None), **parts, "decoder": decoder}
    model = variational(shape, bottlenecks.gaussian(), **keywords)
    return model, scaled(objectives.elbo(model), parts)


def vamp_vae(
    shape: tuple[int, ...],
    *,
    num_pseudo_inputs: int = 100,
    initial: jax.Array | None = None,
    beta: Weight = 1.0,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder whose prior is the mixture of the posteriors of learned pseudo-inputs.

    Args:
      shape: shape of one example, without the batch.
      num_pseudo_inputs: number of components of the prior; each step encodes as many additional examples.
      initial: `[K, *shape]`, initial pseudo-inputs, see `bottlenecks.vamp`.
      beta: weight of the sampled KL, a number or a schedule `step -> number`.
      **parts: shared keywords, see `Parts`.

    Source: Tomczak and Welling 2018, "VAE with a VampPrior".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.vamp_vae((28, 28, 1), num_pseudo_inputs=50)
    """
    size = parts.get("latent_size", 32)
    check(shape, latent_size=size)
    encoder = require_stateless("vamp_vae", parts.get("encoder") or default_encoder(shape, 2 * size))
    layer = bottlenecks.vamp(encoder, num_pseudo_inputs, initial)
    keywords: Parts = {**parts, "encoder": networks.identity}
    model = variational(shape, layer, **keywords)
    return model, scaled(objectives.elbo(model, beta), parts)


def flow_vae(
    shape: tuple[int, ...],
    *,
    flow: Network | None = None,
    prior: Prior | None = None,
    beta: Weight = 1.0,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder whose posterior is a normal transformed by a flow.

    Args:
      shape: shape of one example, without the batch.
      flow: flow of the posterior, `networks.planar(...)` or `networks.inverse_autoregressive(...)`; None: two layers of
        the latter.
      prior: prior `p(z)`, e.g. `priors.coupling_flow()`; None: the standard normal.
      beta: weight of the sampled KL, a number or a schedule `step -> number`.
      **parts: shared keywords, see `Parts`; the encoder has three outputs for each latent dimension: mean, log-variance
        and context.

    Source: Rezende and Mohamed 2015; Kingma et al. 2016, "Improving Variational Inference with Inverse Autoregressive
    Flow".

    Example:
      >>> from jaxae import networks, presets
      >>> model, objective = presets.flow_vae((28, 28, 1), flow=networks.planar(8))
    """
    layer = bottlenecks.gaussian(prior, flow=flow or networks.inverse_autoregressive())
    model = variational(shape, layer, 3, **parts)
    return model, scaled(objectives.elbo(model, beta), parts)


def hierarchical_vae(
    shape: tuple[int, ...],
    *,
    top_size: int = 16,
    width: int = 128,
    beta: Weight = 1.0,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """Two levels of latents: the upper has a standard normal prior, the lower a prior conditioned on the upper.

    `q(z_2|x) q(z_1|x, z_2)` and `p(z_2) p(z_1|z_2) p(x|z_1, z_2)`, all between MLPs of one hidden layer.

    Args:
      shape: shape of one example, without the batch.
      top_size: width of the upper latent; `latent_size` is the width of the lower one.
      width: width of the layers between the levels, and of the features of the upper latent that the decoder reads.
      beta: weight of the KL of both levels, a number or a schedule `step -> number`.
      **parts: shared keywords, see `Parts`; the encoder has four features for each lower latent dimension.

    Source: Sønderby et al. 2016, "Ladder Variational Autoencoders"; Tomczak and Welling 2018, section 4.

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.hierarchical_vae((28, 28, 1), top_size=8)
    """
    size, mlp = parts.get("latent_size", 32), networks.mlp
    check(shape, latent_size=size, top_size=top_size, width=width)
    top = bottlenecks.nested(mlp(width, 2 * top_size), bottlenecks.gaussian(), mlp(width, width))
    lower = bottlenecks.gaussian(conditional_normal(mlp(width, 2 * size)))
    layer = bottlenecks.hierarchical(top, bottlenecks.nested(mlp(width, 2 * size), lower), conditional=True)
    model = variational(shape, layer, 4, **parts)
    return model, scaled(objectives.elbo(model, beta), parts)


def conditional_vae(
    shape: tuple[int, ...], *, num_classes: int = 10, beta: Weight = 1.0, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder of examples with labels: encoder, prior and decoder read the label.

    Args:
      shape: shape of one example, without the batch.
      num_classes: number of classes K; `Batch.condition` is `[B]` labels 0..K-1.
      beta: weight of the KL, a number or a schedule `step -> number`.
      **parts: shared keywords, see `Parts`; the one-hot label is appended to the encoder's output and to the latent.

    Raises:
      ValueError: num_classes below 1; (from the model) a batch without a condition.

    Source: Sohn, Lee and Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative
    Models".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets
      >>> from jaxae.types import Batch
      >>> model, objective = presets.conditional_vae((5,), num_classes=3, latent_size=2)
      >>> batch = Batch(jnp.ones((4, 5)), condition=jnp.array([0, 1, 2, 0]))
      >>> params, state = objective.init(jax.random.key(0), batch)
      >>> model.sample(params["model"], state["model"], jax.random.key(1), batch.x, batch.condition).shape
      (4, 2)
    """
    size = parts.get("latent_size", 32)
    check(shape, latent_size=size, num_classes=num_classes)
    features = parts.get("encoder") or default_encoder(shape, 4 * size)
    decoder = parts.get("decoder")
    if decoder is None:
        likelihood = parts.get("likelihood")
        decoder = default_decoder(shape, likelihood.num_params if likelihood else 1)
    head = conditional(networks.mlp(4 * size, 2 * size))
    keywords: Parts = {
        **parts,
        "encoder": _with_labels(_sequential(features, head), num_classes),
        "decoder": _with_labels(conditional(decoder), num_classes),
    }
    prior_network = Network(
        lambda rng, c, condition=None: networks.mlp(2 * size).init(rng, _one_hot(c, num_classes)),
        lambda params, c, condition=None: networks.mlp(2 * size).apply(params, _one_hot(c, num_classes)),
    )
    model = variational(shape, bottlenecks.gaussian(conditional_normal(prior_network)), **keywords)
    return model, scaled(objectives.elbo(model, beta), parts)


def _one_hot(labels, num_classes):
    if labels is None:
        raise ValueError(f"a conditional model needs labels: set Batch.condition, [B] below {num_classes}")
    if isinstance(labels, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((*labels.shape, num_classes), jnp.float32)
    return jax.nn.one_hot(labels, num_classes)


def _with_labels(network: AnyNetwork, num_classes: int) -> AnyNetwork:
    """A network whose condition is `[B]` labels."""
    return networks.around(network, lambda x, condition: (x, _one_hot(condition, num_classes)))


def _sequential(first: AnyNetwork, second: AnyNetwork) -> AnyNetwork:
    """`second(relu(first(x)))`; the condition reaches both."""

    head, features = networks.with_state(second), networks.with_state(first)

    def init(rng, x, condition=None):
        first_rng, second_rng = jax.random.split(rng)
        params, state = features.init(first_rng, x, condition)
        features_shape = jax.eval_shape(
            lambda p, s, x, c: features.apply(p, s, None, x, c)[0], params, state, x, condition
        )
        head_params, head_state = head.init(second_rng, features_shape, condition)
        return (params, head_params), (state, head_state)

    def apply(params, state, rng, x, condition=None):
        first_rng, second_rng = split_keys(rng, 2)
        y, features_state = features.apply(params[0], state[0], first_rng, x, condition)
        y, head_state = head.apply(params[1], state[1], second_rng, jax.nn.relu(y), condition)
        return y, (features_state, head_state)

    if any(isinstance(network, StatefulNetwork) for network in (first, second)):
        return StatefulNetwork(init, apply)
    return Network(
        lambda rng, x, condition=None: init(rng, x, condition)[0],
        lambda params, x, condition=None: apply(params, ((), ()), None, x, condition)[0],
    )


def hyperspherical_vae(
    shape: tuple[int, ...], *, beta: Weight = 1.0, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder whose latents are points of the unit sphere, with a uniform prior on it.

    Args:
      shape: shape of one example, without the batch.
      beta: weight of the KL, a number or a schedule `step -> number`.
      **parts: shared keywords, see `Parts`; the latent is a unit vector of `latent_size` numbers, at least 2; an
        encoder has one more output, see `bottlenecks.power_spherical`.

    Source: Davidson et al. 2018, "Hyperspherical Variational Auto-Encoders"; the posterior: De Cao and Aziz 2020, "The
    Power Spherical distribution".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.hyperspherical_vae((28, 28, 1), latent_size=10)
    """
    size = parts.get("latent_size", 32)
    check(shape, latent_size=size)
    if size < 2:
        raise ValueError(f"hyperspherical_vae: a sphere needs a latent_size of at least 2, got {size}")
    encoder = parts.get("encoder") or default_encoder(shape, size + 1)
    keywords: Parts = {**parts, "encoder": encoder}
    model = variational(shape, bottlenecks.power_spherical(), **keywords)
    return model, scaled(objectives.elbo(model, beta), parts)


def vae_gan(
    shape: tuple[int, ...],
    *,
    weight: Weight = 30.0,
    beta: Weight = 1.0,
    prior: Prior | None = None,
    critic: AnyNetwork | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A variational autoencoder whose decoder also misleads a critic, which separates decoded draws from data.

    The encoder learns by the ELBO alone. The reconstruction is scored by the likelihood, in pixels; the paper scores it
    in a layer of the critic. The critic reads the likelihood's means. It would recognise grey means among binarised
    pixels, so keep the likelihood normal.

    Args:
      shape: shape of one example, without the batch.
      weight: weight of the decoder's term, nats per example; a number or a schedule `step -> number`.
      beta: weight of the KL, a number or a schedule `step -> number`.
      prior: prior `p(z)`; None: the standard normal.
      critic: network `[B, *shape] -> [B, 1]`; None: the default encoder with one output.
      **parts: shared keywords, see `Parts`.

    Source: Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.vae_gan((28, 28, 1))
    """
    model = variational(shape, bottlenecks.gaussian(prior), **parts)
    critic = critic or default_encoder(shape, 1)
    objective = objectives.adversarial(
        objectives.elbo(model, beta),
        "misled",
        critic,
        objectives.targets,
        weight,
        seen=objectives.decoded_draws(model),
    )
    return model, scaled(objective, parts)
