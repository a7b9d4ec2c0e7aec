"""The keywords that all presets share, and what presets are put together from."""

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
      encoder: `x -> h`, as wide as the bottleneck reads: `latent_size` for an autoencoder, twice that for a posterior's
        mean and log-variance; with state (batch norm, dropout) or without. None: `networks.default_encoder`.
      decoder: `latent -> prediction`; None: `networks.default_decoder`.
      likelihood: reads the prediction. None: normal; of scale 1 for autoencoders (half the squared error); for
        variational ones of scale 0.1 for images, about the error of a good reconstruction of pixels in 0..1, and 0.5
        for standardised tables. For binarised images pass `likelihoods.bernoulli()` and a `transform` that binarises.
      transform: in front of the objective; None: `transforms.scale_uint8`: pixels 0..255 are scaled to 0..1, floating
        values pass through.
    """

    encoder: AnyNetwork | None
    decoder: AnyNetwork | None
    likelihood: Likelihood | None
    transform: Transform | None


class Parts(Networks, total=False):
    """`Networks`, and the keyword of every preset whose latent is a row.

    Attributes:
      latent_size: width of the latent; 32 if it is not given.
    """

    latent_size: int


def keywords(preset: Callable) -> list[str]:
    """The names of all keywords that a preset takes, its own and those of `Parts`.

    Example:
      >>> from jaxae import presets
      >>> presets.keywords(presets.ae)
      ['decoder', 'encoder', 'latent_size', 'likelihood', 'transform']
    """
    own = inspect.signature(preset).parameters.values()
    shared = [kind for p in own if p.kind is p.VAR_KEYWORD for kind in get_args(p.annotation)]
    names = {p.name for p in own if p.kind is p.KEYWORD_ONLY}
    return sorted(names.union(*(kind.__optional_keys__ for kind in shared)))


def plain(shape: tuple[int, ...], bottleneck: Bottleneck, **parts: Unpack[Parts]) -> Autoencoder:
    """An autoencoder without a posterior: the encoder gives the latent, the likelihood is normal with scale 1."""
    return composed(shape, bottleneck, 1, parts, likelihoods.gaussian())


def variational(shape: tuple[int, ...], bottleneck: Bottleneck, blocks: int = 2, **parts: Unpack[Parts]) -> Autoencoder:
    """An autoencoder with a posterior: the encoder gives `blocks` numbers for each latent."""
    return composed(shape, bottleneck, blocks, parts, likelihoods.gaussian(0.1 if len(shape) == 3 else 0.5))


def composed(
    shape: tuple[int, ...], bottleneck: Bottleneck, blocks: int, parts: Parts, likelihood: Likelihood
) -> Autoencoder:
    """The model of the given parts; what is not given takes its default.

    Raises:
      ValueError: a shape or size that is no positive whole number.
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
    """The objective behind the parts' transform."""
    return objectives.prepared(objective, parts.get("transform") or transforms.scale_uint8())


def require_known(parts: Parts | Networks, names: frozenset[str]) -> None:
    """Refuse what is no part, as Python refuses an unexpected keyword.

    Raises:
      TypeError: as it says.
    """
    if unknown := sorted(set(parts) - names):
        raise TypeError(f"a preset got an unexpected keyword: {', '.join(unknown)}")


def check(shape: tuple[int, ...], **sizes: int) -> None:
    """Refuse what is no shape of an example, and sizes that are no positive whole numbers.

    Raises:
      ValueError: as it says.
    """
    if not shape or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(f"a preset takes one example's shape, such as (28, 28, 1) or (21,); got {shape}")
    for name, value in sizes.items():
        if int(value) != value or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value}")


def joined(network: AnyNetwork) -> AnyNetwork:
    """The network on a latent whose axes after the first are one row."""

    def flat(z, condition):
        shape = (z.shape[0], math.prod(z.shape[1:]))
        return (z.reshape(shape) if hasattr(z, "reshape") else type(z)(shape, z.dtype)), condition

    return around(network, flat)
