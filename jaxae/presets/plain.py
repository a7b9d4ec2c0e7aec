"""Autoencoders without a posterior: plain, denoising, sparse, contractive, regularised, Wasserstein, adversarial."""

from typing import Unpack

from jax.typing import ArrayLike

from jaxae import bottlenecks, networks, objectives, priors, transforms
from jaxae.networks import AnyNetwork
from jaxae.objectives.elbo import Weight
from jaxae.presets.parts import Parts, plain, scaled
from jaxae.transforms import Transform
from jaxae.types import Autoencoder, Bottleneck, Objective, Prior


def ae(
    shape: tuple[int, ...], *, bottleneck: Bottleneck | None = None, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """A plain autoencoder: the squared error of a reconstruction from a narrow latent.

    Args:
      shape: shape of one example, without the batch: `(28, 28, 1)` for an image, `(21,)` for a row of a data table.
      bottleneck: layer between encoder and decoder, whose penalty is added; it reads `[B, latent_size]`. None: the
        latent passes unchanged.
      **parts: shared keywords, see `Parts`.

    Returns:
      `(Autoencoder, Objective)`.

    Raises:
      ValueError: a shape or size that is not a positive whole number.

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.ae((28, 28, 1), latent_size=16)
    """
    model = plain(shape, bottlenecks.identity() if bottleneck is None else bottleneck, **parts)
    return model, scaled(objectives.elbo(model), parts)


def denoising_ae(
    shape: tuple[int, ...],
    *,
    corruption: Transform | None = None,
    bottleneck: Bottleneck | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """An autoencoder that reconstructs the uncorrupted example from a corrupted one.

    Args:
      shape: shape of one example, without the batch.
      corruption: transform of the encoder's input in training; None: `transforms.gaussian_noise(0.3)`, in the unit of
        the scaled data.
      bottleneck: layer between encoder and decoder, as for `ae`.
      **parts: shared keywords, see `Parts`; the transform comes before the corruption.

    Source: Vincent et al. 2010, "Stacked Denoising Autoencoders".

    Example:
      >>> from jaxae import presets, transforms
      >>> model, objective = presets.denoising_ae((28, 28, 1), corruption=transforms.salt_and_pepper(0.2))
    """
    model = plain(shape, bottlenecks.identity() if bottleneck is None else bottleneck, **parts)
    corrupted = objectives.prepared(objectives.elbo(model), corruption or transforms.gaussian_noise(0.3))
    return model, scaled(corrupted, parts)


def sparse_ae(
    shape: tuple[int, ...],
    *,
    sparsity: str = "l1",
    weight: Weight = 0.1,
    target: ArrayLike = 0.05,
    k: int = 8,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """An autoencoder with few active latents per example.

    Args:
      shape: shape of one example, without the batch.
      sparsity: form of the sparsity: "l1" penalises the sum of the latents' absolute values, "kl" the divergence of
        each latent's mean activation from `target`; without a penalty, "top_k" keeps the k latents of largest
        magnitude, negative ones too, and "top_k_positive" the k largest positive ones.
      weight: weight of the penalty, a number or a schedule `step -> number`.
      target: target of the mean activation, in (0, 1); for "kl".
      k: number of latents kept; for "top_k" and "top_k_positive". `train.latent_monitor` reports latents that are never
        on.
      **parts: shared keywords, see `Parts`.

    Raises:
      ValueError: an unknown sparsity.

    Source: Ng 2011, "Sparse autoencoder"; Makhzani and Frey 2014, "k-Sparse Autoencoders"; Gao et al. 2024, "Scaling
    and evaluating sparse autoencoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.sparse_ae((28, 28, 1), latent_size=256, weight=0.5)
    """
    penalties = {"l1": objectives.absolute_sum, "kl": objectives.activation_kl(target)}
    penalties |= {"top_k": None, "top_k_positive": None}
    if sparsity not in penalties:
        raise ValueError(f"sparse_ae: the sparsity is one of {', '.join(penalties)}, not {sparsity!r}")
    penalty = penalties[sparsity]

    def kept():
        return bottlenecks.top_k(k, positive=sparsity == "top_k_positive")

    model = plain(shape, bottlenecks.identity() if penalty else kept(), **parts)
    objective = objectives.elbo(model)
    if penalty:
        objective = objectives.penalized(objective, "sparsity", penalty, weight)
    return model, scaled(objective, parts)


def contractive_ae(
    shape: tuple[int, ...], *, weight: Weight = 0.01, num_probes: int | None = 1, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """An autoencoder with a penalty on the sensitivity of the latent to the input.

    Args:
      shape: shape of one example, without the batch.
      weight: weight of the encoder's squared Jacobian norm, a number or a schedule `step -> number`.
      num_probes: number of probes of the norm's estimate; None: exact, with `latent_size` backward passes a step.
      **parts: shared keywords, see `Parts`.

    Source: Rifai et al. 2011, "Contractive Auto-Encoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.contractive_ae((21,), latent_size=4, num_probes=None)
    """
    model = plain(shape, bottlenecks.identity(), **parts)
    penalty = objectives.contractive(model, num_probes)
    return model, scaled(objectives.penalized(objectives.elbo(model), "jacobian", penalty, weight), parts)


def rae(
    shape: tuple[int, ...],
    *,
    regulariser: str = "gradient",
    beta: Weight = 1e-2,
    weight: Weight | None = None,
    num_probes: int | None = 1,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A regularised autoencoder: small latents and a smooth decoder, sampled by a mixture fitted to its latents.

    Args:
      shape: shape of one example, without the batch.
      regulariser: penalty on the decoder: "gradient" is its squared Jacobian norm, "l2" the squares of its parameters.
      beta: weight of half the latent's squared norm.
      weight: weight of the regulariser; None: 1e-3 for "gradient", 1e-5 for "l2".
      num_probes: number of probes of the Jacobian norm's estimate; None: exact.
      **parts: shared keywords, see `Parts`.

    Raises:
      ValueError: an unknown regulariser.

    Source: Ghosh et al. 2020, "From Variational to Deterministic Autoencoders".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets, priors
      >>> model, objective = presets.rae((5,), latent_size=2)
      >>> params, state = model.init(jax.random.key(0), jnp.ones((9, 5)))
      >>> latents = model.encode(params, state, jax.random.normal(jax.random.key(1), (9, 5))).latent
      >>> prior = priors.fit_mixture(latents, 2, jax.random.key(2), covariance="full")
      >>> drawn = priors.full_mixture(2).sample(prior, jax.random.key(3), latents)
      >>> model.decode(params, drawn).shape
      (9, 5)
    """
    if regulariser not in ("gradient", "l2"):
        raise ValueError(f"rae: the regulariser is gradient or l2, not {regulariser!r}")
    model = plain(shape, bottlenecks.identity(), **parts)
    objective = objectives.penalized(objectives.elbo(model), "latent_norm", objectives.latent_norm, beta)
    if regulariser == "gradient":
        penalty, default = objectives.decoder_gradient(model, num_probes), 1e-3
    else:
        penalty, default = objectives.decoder_norm, 1e-5
    weight = default if weight is None else weight
    return model, scaled(objectives.penalized(objective, "decoder", penalty, weight), parts)


def wae(
    shape: tuple[int, ...], *, weight: Weight = 10.0, prior: Prior | None = None, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """A Wasserstein autoencoder: a penalty on the discrepancy between the latents of a batch and draws of the prior.

    Args:
      shape: shape of one example, without the batch.
      weight: weight of the maximum mean discrepancy, a number or a schedule `step -> number`.
      prior: prior without parameters; None: the standard normal.
      **parts: shared keywords, see `Parts`.

    Source: Tolstikhin et al. 2018, "Wasserstein Auto-Encoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.wae((28, 28, 1), latent_size=8)
    """
    model = plain(shape, bottlenecks.identity(prior or priors.standard_normal()), **parts)
    penalty = objectives.mmd(objectives.prior_draws(model))
    return model, scaled(objectives.penalized(objectives.elbo(model), "mmd", penalty, weight), parts)


def adversarial_ae(
    shape: tuple[int, ...],
    *,
    weight: Weight = 1.0,
    prior: Prior | None = None,
    critic: AnyNetwork | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """An adversarial autoencoder: a critic separates latents from draws of the prior, and the encoder misleads it.

    Args:
      shape: shape of one example, without the batch.
      weight: weight of the encoder's term, a number or a schedule `step -> number`.
      prior: prior without parameters; None: the standard normal.
      critic: network `[B, D] -> [B, 1]`; None: an MLP with two layers of 256.
      **parts: shared keywords, see `Parts`.

    Source: Makhzani et al. 2015, "Adversarial Autoencoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.adversarial_ae((28, 28, 1), latent_size=8)
    """
    model = plain(shape, bottlenecks.identity(prior or priors.standard_normal()), **parts)
    critic = critic or networks.mlp(256, 256, 1)
    reference = objectives.prior_draws(model)
    objective = objectives.adversarial(objectives.elbo(model), "divergence", critic, reference, weight)
    return model, scaled(objective, parts)
