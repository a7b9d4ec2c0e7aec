"""Variational autoencoders by their bound: several samples inside the logarithm."""

from typing import Unpack

from jax.typing import ArrayLike

from jaxae import bottlenecks, objectives
from jaxae.numerics import as_number
from jaxae.presets.parts import Parts, scaled, variational
from jaxae.types import Autoencoder, Objective, Prior


def iwae(
    shape: tuple[int, ...], *, num_samples: int = 5, prior: Prior | None = None, **parts: Unpack[Parts]
) -> tuple[Autoencoder, Objective]:
    """An importance-weighted autoencoder.

    Args:
      shape: one example's, without the batch.
      num_samples: K, latents inside the logarithm.
      prior: `p(z)`; None: the standard normal.
      **parts: `Parts`.

    Source: Burda, Grosse and Salakhutdinov 2016, "Importance Weighted Autoencoders".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.iwae((28, 28, 1), num_samples=50)
    """
    return miwae(shape, num_samples=num_samples, num_averages=1, prior=prior, **parts)


def miwae(
    shape: tuple[int, ...],
    *,
    num_samples: int = 8,
    num_averages: int = 8,
    prior: Prior | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """The mean of M importance-weighted bounds of K samples each: less noise in the encoder's gradient.

    Args:
      shape: one example's, without the batch.
      num_samples: K.
      num_averages: M.
      prior: `p(z)`; None: the standard normal.
      **parts: `Parts`.

    Source: Rainforth et al. 2018, "Tighter Variational Bounds are Not Necessarily Better", equation 10.

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.miwae((28, 28, 1))
    """
    model = variational(shape, bottlenecks.gaussian(prior), **parts)
    return model, scaled(objectives.iwae(model, num_samples, num_averages), parts)


def piwae(
    shape: tuple[int, ...],
    *,
    num_samples: int = 8,
    num_averages: int = 8,
    prior: Prior | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """The encoder learns by M bounds of K samples, the decoder (and the prior) by one bound of all M K.

    Both read the same latents. The loss is the mean of the two bounds' negatives; "bound" is the looser one.

    Args:
      shape: one example's, without the batch.
      num_samples: K.
      num_averages: M.
      prior: `p(z)`; None: the standard normal.
      **parts: `Parts`.

    Source: Rainforth et al. 2018, section 4.

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.piwae((28, 28, 1), num_samples=4, num_averages=4)
    """
    model = variational(shape, bottlenecks.gaussian(prior), **parts)
    loose = objectives.partial(objectives.iwae(model, num_samples, num_averages), "decoder", "bottleneck")
    tight = objectives.partial(objectives.iwae(model, num_samples * num_averages), "encoder")
    return model, scaled(objectives.combined([loose, tight], [0.5, 0.5]), parts)


def ciwae(
    shape: tuple[int, ...],
    *,
    num_samples: int = 64,
    mixing: ArrayLike = 0.5,
    prior: Prior | None = None,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A convex combination of the ELBO and the importance-weighted bound of the same K latents.

    The metric "bound" is the ELBO's, the mean over the K.

    Args:
      shape: one example's, without the batch.
      num_samples: K.
      mixing: weight of the ELBO, in [0, 1].
      prior: `p(z)`; None: the standard normal.
      **parts: `Parts`.

    Raises:
      ValueError: the weight is outside [0, 1].

    Source: Rainforth et al. 2018, equation 11.

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.ciwae((28, 28, 1), num_samples=16, mixing=0.05)
    """
    if (number := as_number(mixing)) is not None and not 0 <= number <= 1:
        raise ValueError(f"ciwae: mixing, the ELBO's weight, must lie in [0, 1], got {mixing}")
    model = variational(shape, bottlenecks.gaussian(prior), **parts)
    both = [objectives.iwae(model, 1, num_samples), objectives.iwae(model, num_samples)]
    return model, scaled(objectives.combined(both, [mixing, 1 - mixing]), parts)
