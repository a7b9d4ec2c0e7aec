"""The keywords that all presets share, and the functions that presets are composed of."""

import inspect
import math
from collections.abc import Callable
from typing import TypedDict, Unpack, get_args

from jaxae import likelihoods, objectives, transforms
from jaxae.model import autoencoder
from jaxae.networks import AnyNetwork, around, default_decoder, default_encoder
from jaxae.transforms import Transform
from jaxae.types import Autoencoder, Bottleneck, Likelihood, Objective


class Networks(TypedDict, total=False):
    """The parts of a model, keywords of every preset.

    Attributes:
      encoder: network `x -> h`, as wide as the bottleneck's input: `latent_size` for an autoencoder, twice that for the
        mean and log-variance of a posterior; with state (batch norm, dropout) or without. None:
        `networks.default_encoder`.
      decoder: network `latent -> prediction`; None: `networks.default_decoder`.
      likelihood: likelihood that reads the prediction. None: normal, with scale 1 for autoencoders (half the squared
        error). For variational models the scale is 0.1 for images, about the error of a good reconstruction of pixels
        in 0..1, and 0.5 for standardised data tables. For binarised images pass `likelihoods.bernoulli()` and a
        `transform` that binarises.
      transform: transform in front of the objective; None: `transforms.scale_uint8`, which scales pixels 0..255 to 0..1
        and passes floating values through.
    """

    encoder: AnyNetwork | None
    decoder: AnyNetwork | None
    likelihood: Likelihood | None
    transform: Transform | None


class Parts(Networks, total=False):
    """`Networks`, and the keyword of presets whose latent is a single vector.

    Attributes:
      latent_size: width of the latent; 32 by default.
    """

    latent_size: int


def keywords(preset: Callable) -> list[str]:
    """The names of all keywords of a preset, its specific ones and those of `Parts`.

    Args:
      preset: a function of `presets`.

    Example:
      >>> from jaxae import presets
      >>> presets.keywords(presets.ae)
      ['bottleneck', 'decoder', 'encoder', 'latent_size', 'likelihood', 'transform']
    """
    parameters = inspect.signature(preset).parameters.values()
    shared = [kind for p in parameters if p.kind is p.VAR_KEYWORD for kind in get_args(p.annotation)]
    names = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    return sorted(names.union(*(kind.__optional_keys__ for kind in shared)))


def plain(shape: tuple[int, ...], bottleneck: Bottleneck, **parts: Unpack[Parts]) -> Autoencoder:
    """An autoencoder without a posterior: the encoder outputs the latent, the likelihood is normal with scale 1."""
    return composed(shape, bottleneck, 1, parts, likelihoods.gaussian())


def variational(shape: tuple[int, ...], bottleneck: Bottleneck, blocks: int = 2, **parts: Unpack[Parts]) -> Autoencoder:
    """An autoencoder with a posterior: the encoder has `blocks` outputs for each latent dimension."""
    return composed(shape, bottleneck, blocks, parts, likelihoods.gaussian(0.1 if len(shape) == 3 else 0.5))


def composed(
    shape: tuple[int, ...], bottleneck: Bottleneck, blocks: int, parts: Parts, likelihood: Likelihood
) -> Autoencoder:
    """The model of the given parts, with defaults for the others.

    Args:
      shape: shape of one example, without the batch.
      bottleneck: the bottleneck.
      blocks: number of encoder outputs for each latent dimension.
      parts: shared keywords, see `Parts`.
      likelihood: default likelihood.

    Raises:
      ValueError: a shape or size that is not a positive whole number.
      TypeError: a keyword that is no part.
    """
    require_known(parts, Parts.__optional_keys__)
    latent_size = parts.get("latent_size", 32)
    check(shape, latent_size=latent_size)
    likelihood = parts.get("likelihood") or likelihood
    return autoencoder(
        parts.get("encoder") or default_encoder(shape, blocks * latent_size),
        bottleneck,
        parts.get("decoder") or default_decoder(shape, likelihood.num_params),
        likelihood,
    )


def scaled(objective: Objective, parts: Parts | Networks) -> Objective:
    """The objective with the parts' transform in front."""
    return objectives.prepared(objective, parts.get("transform") or transforms.scale_uint8())


def require_known(parts: Parts | Networks, names: frozenset[str]) -> None:
    """Raise for keywords that are no parts, as Python does for an unexpected keyword.

    Raises:
      TypeError: a name outside `names`.
    """
    if unknown := sorted(set(parts) - names):
        raise TypeError(f"a preset got an unexpected keyword: {', '.join(unknown)}")


def check(shape: tuple[int, ...], **sizes: int) -> None:
    """Raise unless `shape` is the shape of an example and all sizes are positive whole numbers.

    Raises:
      ValueError: an empty shape, or a number that is not a positive whole number.
    """
    if not shape or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(f"a preset takes one example's shape, such as (28, 28, 1) or (21,); got {shape}")
    for name, value in sizes.items():
        if int(value) != value or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value}")


def joined(network: AnyNetwork) -> AnyNetwork:
    """The network on a latent whose axes after the first are flattened."""

    def flat(z, condition):
        shape = (z.shape[0], math.prod(z.shape[1:]))
        return (z.reshape(shape) if hasattr(z, "reshape") else type(z)(shape, z.dtype)), condition

    return around(network, flat)
