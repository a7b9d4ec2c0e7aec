"""Use of a variational autoencoder's latents: nats of each dimension, and which dimensions are active."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import as_weights, first_nonfinite, is_traced, real_array, require_within, weighted_mean
from jaxae.priors import standard_normal
from jaxae.types import Gaussian


def kl_per_dimension(posterior: Gaussian, weight: ArrayLike | None = None) -> Array:
    """`mean_n KL(q(z_d|x_n) || N(0, 1))`, nats of each latent dimension; the sum is the rate of the code.

    Args:
      posterior: posterior of N rows, mean and log-variance `[N, ..., D]`: `model.encode(...).posterior`.
      weight: `[N]`, 0 where a row only pads.

    Returns:
      `[..., D]`; a value near 0 means that the dimension has collapsed onto the prior.

    Source: Kingma and Welling 2014, appendix B.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.generation import kl_per_dimension
      >>> from jaxae.types import Gaussian
      >>> kl_per_dimension(Gaussian(jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2)))).tolist()
      [0.5, 0.0]
    """
    posterior, weight = _checked(posterior, weight)
    kl = standard_normal().kl
    assert kl is not None
    return weighted_mean(kl((), posterior), weight)


def active_units(posterior: Gaussian, threshold: float = 0.01, weight: ArrayLike | None = None) -> Array:
    """Which dimensions are active: the variance over the rows of the posterior's mean is above `threshold`.

    Args:
      posterior: posterior of N rows, `[N, ..., D]`.
      threshold: least variance of an active dimension; 0.01 is the published value.
      weight: `[N]`, 0 where a row only pads.

    Returns:
      `[..., D]` bool; its sum is the number of active units.

    Source: Burda, Grosse and Salakhutdinov 2016, section 5.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.generation import active_units
      >>> from jaxae.types import Gaussian
      >>> active_units(Gaussian(jnp.array([[1.0, 0.1], [-1.0, 0.1]]), jnp.zeros((2, 2)))).tolist()
      [True, False]
    """
    require_within("threshold", threshold, "[0, inf)")
    posterior, weight = _checked(posterior, weight)
    # the covariance criterion of Burda et al.: Var_x E_q[z_d | x]
    centred = posterior.mean - weighted_mean(posterior.mean, weight)[None]
    return weighted_mean(centred**2, weight) > threshold


def collapsed_scales(posterior: Gaussian, threshold: float = 0.01, weight: ArrayLike | None = None) -> Array:
    """Which dimensions have a collapsed posterior: the root mean square of its scale is below `threshold`.

    The scale is then near its bound `exp(-5)` = 0.0067, where gradients vanish. The dimension is deterministic, its KL
    large, and draws of the prior fall between the encoded points. The cause is a decoder likelihood that is narrower
    than the error, or too small a weight of the KL.

    Args:
      posterior: posterior of N rows, `[N, ..., D]`.
      threshold: root mean square of a collapsed scale, in units of the prior's standard deviation.
      weight: `[N]`, 0 where a row only pads.

    Returns:
      `[..., D]` bool.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.generation import collapsed_scales
      >>> from jaxae.types import Gaussian
      >>> collapsed_scales(Gaussian(jnp.zeros((1, 2)), jnp.array([[-9.9, -2.0]]))).tolist()
      [True, False]
    """
    require_within("threshold", threshold, "[0, inf)")
    posterior, weight = _checked(posterior, weight)
    # mean of the variance, then the root: a few wide posteriors count more than in a mean of scales
    return jnp.sqrt(weighted_mean(jnp.exp(posterior.log_variance), weight)) < threshold


def _checked(posterior: Gaussian, weight: ArrayLike | None) -> tuple[Gaussian, Array]:
    """The posterior as finite arrays, and the weights of its rows."""
    arrays = {"mean": posterior.mean, "log_variance": posterior.log_variance}
    posterior = Gaussian(*(jnp.asarray(real_array(name, values)) for name, values in arrays.items()))
    for name, values in posterior._asdict().items():
        if not is_traced(values) and (bad := first_nonfinite(values))[0]:
            raise ValueError(f"{name}: {bad[0]} of {values.size} values are NaN or infinite, the first at {bad[1]}")
    shapes = posterior.mean.shape, posterior.log_variance.shape
    if len(shapes[0]) < 2 or shapes[0] != shapes[1] or 0 in shapes[0]:
        raise ValueError(f"a posterior has mean and log_variance [B, ..., D] alike; got {shapes[0]} and {shapes[1]}")
    return posterior, as_weights(weight, shapes[0][0])
