"""A decoder that computes each pixel from the latent and the pixel's position."""

import math

import jax.numpy as jnp

from jaxae.networks.pixelwise import by_rows, finish, init_layers
from jaxae.types import Network


def spatial_broadcast(shape: tuple[int, ...], *sizes: int, num_params: int = 1) -> Network:
    """`y_ij = f(latent, i, j)`: every pixel reads the latent and its own position; f is a perceptron.

    Moving an object is an addition to the position, which the first layer can do; a decoder of dense layers or
    transposed convolutions has to learn every position. Position then takes few latents, which helps disentanglement.
    Positions run from -1 to 1, rows from top to bottom, columns from left to right.

    Args:
      shape: shape of one image, `(H, W, C)`.
      *sizes: widths of the hidden layers of f, with ReLU; none: three layers of 64.
      num_params: number of output channels for each data channel, the likelihood's `num_params`.

    Returns:
      A `Network` from `[B, D]` to `[B, H, W, C * num_params]`.

    Raises:
      ValueError: shape is not `(H, W, C)`, a number is below 1; from `init` and `apply`: the latent is not `[B, D]`.

    Source: Watters et al. 2019, "Spatial Broadcast Decoder"; there the layers after the first are convolutions of
    width 3 or 5.

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
    # a single row or column has no extent: its position is the centre
    rows, columns = jnp.meshgrid(*(jnp.linspace(-1, 1, n) if n > 1 else jnp.zeros(1) for n in shape[:2]), indexing="ij")
    positions = jnp.stack([rows.ravel(), columns.ravel()])

    def init(rng, latent, condition=None):
        _check(latent)
        return init_layers(rng, (latent.shape[-1] + 2, *sizes, outputs))

    def images(layers, latent):
        kernel, bias = layers[0]["kernel"], layers[0]["bias"]
        # W [latent, position] = W_1 latent + W_2 position: two small products instead of one over all pixels
        position_term = kernel[:, -2:] @ positions + bias[:, None]
        first_layer = (kernel[:, :-2] @ latent.T)[:, :, None] + position_term[:, None]
        y = finish(layers[1:], first_layer.reshape(len(first_layer), math.prod(first_layer.shape[1:])))
        # columns were (row of the batch, pixel): back to images with channels last
        return jnp.moveaxis(y.reshape(outputs, latent.shape[0], height, width), 0, -1)

    def apply(params, latent, condition=None):
        _check(latent)
        return by_rows(images, height * width, params, latent.astype(jnp.float32))

    return Network(init, apply)


def _check(latent):
    if latent.ndim != 2:
        raise ValueError(f"spatial_broadcast reads latents [B, D], got {latent.shape}: join their axes")
