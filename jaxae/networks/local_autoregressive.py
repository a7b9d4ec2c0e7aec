"""A decoder that reads the latent and, for each pixel, its neighbours that come before it in raster order."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxae.networks.pixelwise import by_rows, finish, init_layers
from jaxae.networks.stateful import AnyNetwork, require_stateless
from jaxae.types import Likelihood, Network


class LocalAutoregressive(NamedTuple):
    """A decoder of images, pixel by pixel.

    Attributes:
      network: `(params, latent, condition=images [B, H, W, C]) -> prediction [B, H, W, C * num_params]`, all pixels in
        one pass, each from the pixels before it: for training and bounds.
      sample: `(params, rng, latent) -> images [B, H, W, C]`, drawn one pixel after another in one scan.
    """

    network: Network
    sample: Callable


def local_autoregressive(
    decoder: AnyNetwork, likelihood: Likelihood, *sizes: int, window: int = 3
) -> LocalAutoregressive:
    """`prediction_t = features_t[:n] + f(features_t, pixels before t within the window)`, f an MLP shared by all t.

    The features come from the decoder, so information from beyond the window must pass through the latent: f learns
    strokes and textures, the latent encodes global structure. The channels of a pixel are independent given the pixels
    before it.

    Args:
      decoder: network from the latent to features `[B, H, W, F]`, F at least `n = C * likelihood.num_params`, of which
        the first n are the prediction without neighbours.
      likelihood: likelihood of a pixel.
      *sizes: widths of the hidden layers of f, with ReLU; none: 48 and 24.
      window: reach r in pixels: f reads r rows above, from r columns left to r right, and r pixels to the left.

    Returns:
      `LocalAutoregressive(network, sample)`. The network's condition is the image itself, as the objective scores it
      (`transforms.condition_on_input` sets it). Its params are a dict with "decoder" and "layers". The output of f is
      near 0 after `init`.

    Raises:
      ValueError: a size or a window below 1; (from `init`, `apply`) no image as the condition, or one that does not
        fit the features.

    Source: Chen et al. 2017, "Variational Lossy Autoencoder", section 3.1 (the window); Gulrajani et al. 2017,
    "PixelVAE". The papers use masked convolutions.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import likelihoods, networks
      >>> features = networks.mlp(8, output_shape=(5, 4, 3))
      >>> pixels = networks.local_autoregressive(features, likelihoods.bernoulli(), 6, window=2)
      >>> latent, images = jnp.ones((2, 7)), jnp.ones((2, 5, 4, 1))
      >>> params = pixels.network.init(jax.random.key(0), latent, images)
      >>> pixels.network.apply(params, latent, images).shape
      (2, 5, 4, 1)
      >>> pixels.sample(params, jax.random.key(1), latent).shape
      (2, 5, 4, 1)
    """
    decoder = require_stateless("local_autoregressive", decoder)
    sizes = sizes or (48, 24)
    if min(*sizes, window) < 1:
        raise ValueError(f"local_autoregressive: sizes and window must be 1 or more, got {sizes} and {window}")
    # rows above in full width, then the pixels to the left: all come before the pixel in raster order
    offsets = [(-i, j) for i in range(window, 0, -1) for j in range(-window, window + 1)]
    offsets += [(0, -j) for j in range(window, 0, -1)]

    def init(rng, latent, condition=None):
        decoder_rng, layers_rng = jax.random.split(rng)
        params = decoder.init(decoder_rng, latent)
        features = jax.eval_shape(decoder.apply, params, latent)
        outputs = _outputs(features, condition)
        # f reads the pixel's features and all channels of every neighbour
        inputs = features.shape[-1] + len(offsets) * outputs // likelihood.num_params
        return {"decoder": params, "layers": init_layers(layers_rng, (inputs, *sizes, outputs), 0.05)}

    def head(layers, inputs, base_prediction):
        """Columns are pixels: `[F + window, N], [n, N] -> [n, N]`."""
        # f corrects the prediction that needs no neighbours, and starts near 0
        return base_prediction + finish(layers[1:], layers[0]["kernel"] @ inputs + layers[0]["bias"][:, None])

    def all_pixels(layers, features, images):
        outputs = images.shape[-1] * likelihood.num_params
        height, width = images.shape[1:3]
        # shifted copies of the image: neighbour (i, j) of every pixel at once; outside of the image is 0
        padded = jnp.pad(jnp.moveaxis(images, -1, 0), ((0, 0), (0, 0), (window, 0), (window, window)))
        neighbours = [
            padded[:, :, window + i : window + i + height, window + j : window + j + width] for i, j in offsets
        ]
        columns = jnp.moveaxis(features, -1, 0)
        inputs = jnp.concatenate([columns, *neighbours]).reshape(-1, math.prod(images.shape[:3]))
        y = head(layers, inputs, columns[:outputs].reshape(outputs, -1))
        return jnp.moveaxis(y.reshape(outputs, *images.shape[:3]), 0, -1)

    def apply(params, latent, condition=None):
        features = decoder.apply(params["decoder"], latent)
        _outputs(features, condition)
        images = jnp.asarray(condition, features.dtype)
        return by_rows(all_pixels, math.prod(images.shape[1:3]), params["layers"], features, images)

    def sample(params, rng, latent):
        features = decoder.apply(params["decoder"], latent)
        rows, height, width = features.shape[:3]
        outputs = params["layers"][-1]["bias"].shape[0]
        channels = outputs // likelihood.num_params

        def pixel(padded, position_and_key):
            position, key = position_and_key
            i, j = position // width, position % width
            window_pixels = lax.dynamic_slice(padded, (0, i, j, 0), (rows, window + 1, 2 * window + 1, channels))
            neighbours = [window_pixels[:, window + di, window + dj] for di, dj in offsets]
            pixel_features = lax.dynamic_slice(features, (0, i, j, 0), (rows, 1, 1, features.shape[-1]))[:, 0, 0]
            y = head(
                params["layers"], jnp.concatenate([pixel_features, *neighbours], -1).T, pixel_features[:, :outputs].T
            ).T
            drawn = likelihood.sample(key, y).astype(padded.dtype)
            # the drawn pixel becomes a neighbour of the pixels after it
            padded = lax.dynamic_update_slice(padded, drawn[:, None, None], (0, i + window, j + window, 0))
            return padded, None

        start = jnp.zeros((rows, height + window, width + 2 * window, channels), features.dtype)
        positions = jnp.arange(height * width)
        drawn, _ = lax.scan(pixel, start, (positions, jax.random.split(rng, height * width)))
        return drawn[:, window:, window : window + width]

    def _outputs(features, images):
        if images is None:
            raise ValueError(
                "local_autoregressive reads the image as its condition: transforms.condition_on_input() sets it"
            )
        shape, outputs = features.shape, images.shape[-1] * likelihood.num_params
        if len(shape) != 4 or images.ndim != 4 or shape[1:3] != images.shape[1:3] or shape[-1] < outputs:
            raise ValueError(
                f"features {shape[1:]} do not fit images {images.shape[1:]}: the decoder must give {images.shape[1:3]} "
                f"positions of at least {outputs} features"
            )
        return outputs

    return LocalAutoregressive(Network(init, apply), sample)
