"""An autoencoder of tables with outliers."""

from typing import Unpack

from jaxae import bottlenecks, likelihoods, objectives
from jaxae.presets import Parts
from jaxae.presets.parts import plain, scaled
from jaxae.testing import check_preset
from jaxae.types import Autoencoder, Objective


def laplace_ae(shape: tuple[int, ...], *, scale: float = 0.2, **parts: Unpack[Parts]) -> tuple[Autoencoder, Objective]:
    """An autoencoder charged by the absolute error, which large residuals cannot dominate.

    Args:
      shape: one example's, without the batch.
      scale: residual that costs one nat, above 0.
      **parts: `Parts`; a likelihood among them takes the place of this preset's.

    Returns:
      `(Autoencoder, Objective)`.

    Raises:
      ValueError: a shape or size that is no positive whole number, a scale that is not above 0.

    Example:
      >>> model, objective = laplace_ae((21,), latent_size=4)
    """
    likelihood = likelihoods.laplace(scale)
    model = plain(shape, bottlenecks.identity(), **{"likelihood": likelihood, **parts})
    return model, scaled(objectives.elbo(model), parts)


def test_laplace_ae_keeps_the_contract():
    check_preset(laplace_ae)
