"""A decoder that asks the latent for each pixel by its position."""

import math

import jax.numpy as jnp

from jaxae.networks.pixelwise import by_rows, finish, init_layers
from jaxae.types import Network


def spatial_broadcast(shape: tuple[int, ...], *sizes: int, num_params: int = 1) -> Network:
    """`y_ij = f(latent, i, j)`: the latent stands at every pixel beside the pixel's position; f is a perceptron.

    To move an object is to add to the position, which the first layer does, where a decoder by products or transposed
    convolutions has to learn each place. Position then takes few latents: take it where factors of variation are to be
    apart. Positions run from -1 to 1, rows from top to bottom, columns from left to right.

    Args:
      shape: `(H, W, C)`.
      *sizes: hidden layers of f, ReLU; none: three of 64.
      num_params: of the likelihood, for each channel.

    Returns:
      A `Network` from `[B, D]` to `[B, H, W, C * num_params]`.

    Raises:
      ValueError: shape is not `(H, W, C)`, a number is below 1; from `init` and `apply`: the latent is not `[B, D]`.

    Source: Watters et al. 2019, "Spatial Broadcast Decoder"; their layers after the first are convolutions 3 or 5 wide.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> decoder = networks.spatial_broadcast((16, 16, 1), 8, 8)
      >>> params = decoder.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> decoder.apply(params, jnp.ones((3, 5))).shape
      (3, 16, 16, 1)
    """
    sizes = sizes or (64, 64, 64)
    if len(shape) != 3 or min(*shape, *sizes, num_params) < 1:
        raise ValueError(
            f"spatial_broadcast needs a shape (H, W, C) and numbers of 1 or more; got {shape}, sizes {sizes}, "
            f"num_params {num_params}"
        )
    height, width, outputs = shape[0], shape[1], shape[2] * num_params
    rows, columns = jnp.meshgrid(*(jnp.linspace(-1, 1, n) if n > 1 else jnp.zeros(1) for n in shape[:2]), indexing="ij")
    places = jnp.stack([rows.ravel(), columns.ravel()])

    def init(rng, latent, condition=None):
        _check(latent)
        return init_layers(rng, (latent.shape[-1] + 2, *sizes, outputs))

    def images(layers, latent):
        kernel, bias = layers[0]["kernel"], layers[0]["bias"]
        # one product for the latents, one for the places: their sum is the product with both
        near = kernel[:, -2:] @ places + bias[:, None]
        first = (kernel[:, :-2] @ latent.T)[:, :, None] + near[:, None]
        y = finish(layers[1:], first.reshape(len(first), math.prod(first.shape[1:])))
        return jnp.moveaxis(y.reshape(outputs, latent.shape[0], height, width), 0, -1)

    def apply(params, latent, condition=None):
        _check(latent)
        return by_rows(images, height * width, params, latent.astype(jnp.float32))

    return Network(init, apply)


def _check(latent):
    if latent.ndim != 2:
        raise ValueError(f"spatial_broadcast reads latents [B, D], got {latent.shape}: join their axes")
