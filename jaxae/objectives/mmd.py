"""Maximum mean discrepancy between the latents and the prior: InfoVAE and the Wasserstein autoencoder."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import as_number, of_whole_batch, weight_of
from jaxae.objectives.posterior import rows_of
from jaxae.types import Batch, Output, Penalty

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def rbf(scales: Sequence[ArrayLike] = (1.0,)) -> Callable:
    """The kernel `sum_s exp(-d^2 / (2 D s))`: `2 D` is the mean squared distance of two standard normal draws.

    Args:
      scales: bandwidths s relative to that distance, each above 0.

    Returns:
      `(squared_distances, D) -> kernel values` of the same shape, for `mmd`.

    Raises:
      ValueError: no scale, or one that is not positive.

    Source: Gretton et al. 2012, "A Kernel Two-Sample Test".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import rbf
      >>> round(float(rbf()(jnp.float32(4.0), 2)), 4)
      0.3679
    """
    _check_scales("rbf", scales)
    # bandwidth 2 D s: distances grow with the dimension, so scales mean the same for every D
    return lambda squared, size: sum(jnp.exp(-squared / (2 * size * s)) for s in scales)


def inverse_multiquadratic(scales: Sequence[ArrayLike] = SCALES) -> Callable:
    """The kernel `sum_s C_s / (C_s + d^2)` with `C_s = 2 D s`: heavy tails give gradients to distant latents.

    Args:
      scales: bandwidths s, each above 0.

    Returns:
      `(squared_distances, D) -> kernel values` of the same shape, for `mmd`.

    Raises:
      ValueError: no scale, or one that is not positive.

    Source: Tolstikhin et al. 2018, "Wasserstein Auto-Encoders", section 4; the sum over scales is that of their code.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import inverse_multiquadratic
      >>> float(inverse_multiquadratic([1.0])(jnp.float32(4.0), 2))
      0.5
    """
    _check_scales("inverse_multiquadratic", scales)
    return lambda squared, size: sum(2 * size * s / (2 * size * s + squared) for s in scales)


def mmd(reference: Penalty, kernel: Callable | None = None) -> Penalty:
    """A penalty: the unbiased squared maximum mean discrepancy between the latents and a reference.

    `mean_{i != j} k(z_i, z_j) + mean_{i != j} k(r_i, r_j) - 2 mean_ij k(z_i, r_j)`, which may be negative.

    - InfoVAE: `penalized(elbo(model, beta=1 - alpha), "mmd", mmd(prior_draws(model)), alpha + lambda - 1)`.
    - Wasserstein autoencoder: a model with `bottlenecks.identity(prior)`, and `penalized(elbo(model), ...)`.

    Args:
      reference: function `(params, state, rng, batch, output) -> [B, D]`, such as `prior_draws(model)`.
      kernel: function `(squared_distances, D) -> kernel values`; None: `inverse_multiquadratic()` with seven scales.

    Returns:
      `(params, state, rng, batch, output) -> scalar` for `penalized`.

    Source: Gretton et al. 2012, equation 3; Zhao, Song and Ermon 2019, "InfoVAE"; Tolstikhin et al. 2018, algorithm 2.

    Example:
      >>> from jaxae import objectives, presets
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> penalty = objectives.mmd(objectives.prior_draws(model), objectives.rbf([0.5, 1.0, 2.0]))
      >>> objective = objectives.penalized(objectives.elbo(model, beta=0.5), "mmd", penalty, weight=100.0)
    """
    if not callable(reference):
        raise ValueError(f"mmd: the reference is a function such as prior_draws(model), got {reference!r}")
    kernel = inverse_multiquadratic() if kernel is None else kernel

    def penalty(params, state, rng, batch: Batch, output: Output) -> Array:
        latent = rows_of(output.code.latent).astype(jnp.float32)
        reference_rows = reference(params, state, rng, batch, output)
        weight = weight_of(batch, output.code.penalty)
        pairs = weight[:, None] * weight[None]
        # a pair of a row with itself has kernel value k(0) and would bias the two within-set means
        distinct_pairs = pairs * (1 - jnp.eye(weight.size))

        def mean(a, b, weights):
            # differences, not the expanded square, which would lose digits between near rows
            values = kernel(((a[:, None] - b[None]) ** 2).sum(-1), latent.shape[1])
            return jnp.where(weights > 0, values * weights, 0).sum() / jnp.maximum(weights.sum(), 1e-12)

        return (
            mean(latent, latent, distinct_pairs)
            + mean(reference_rows, reference_rows, distinct_pairs)
            - 2 * mean(latent, reference_rows, pairs)
        )

    return of_whole_batch(penalty)


def _check_scales(name, scales):
    if not isinstance(scales, Sequence | np.ndarray | Array) or isinstance(scales, str) or np.ndim(scales) == 0:
        raise ValueError(f"{name} needs a list of scales above 0, got {scales!r}")
    if not len(scales) or not all(number > 0 for s in scales if (number := as_number(s)) is not None):
        raise ValueError(f"{name} needs scales above 0, got {tuple(scales)}")
