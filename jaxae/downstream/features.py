"""Features of a data set: an encoder's latents as an array or a file, and two baselines without a network."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jaxae import transforms
from jaxae.data.batches import padded
from jaxae.numerics import real_array, require_count
from jaxae.transforms import Transform
from jaxae.types import Autoencoder, Batch, Network, PyTree


def extract(encode: Callable, x: np.ndarray, batch_size: int = 512, path: str | Path | None = None) -> np.ndarray:
    """Features of all rows, through one compiled program of one batch size.

    Args:
      encode: function `[B, ...] -> [B, ...]` whose result is flattened, from `codes_of` or `layers_of`.
      x: `[N, ...]` rows.
      batch_size: number of rows in each call.
      path: path of an .npz file to write, with the key "features"; None writes none.

    Returns:
      `[N, D]` float32.

    Raises:
      ValueError: no rows.

    Example:
      >>> import numpy as np
      >>> from jaxae import downstream
      >>> downstream.extract(lambda x: x.mean((1, 2)), np.ones((3, 4, 4, 2), np.float32)).tolist()
      [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    x = np.asarray(real_array("x", x))
    if not x.ndim or not len(x):
        raise ValueError(f"no rows to take features of: shape {np.shape(x)}")
    batch_size = require_count("batch_size", batch_size)
    compiled = jax.jit(lambda rows: encode(rows).reshape(rows.shape[0], -1))
    parts = [np.asarray(compiled(batch.x), np.float32) for batch in padded(x, min(batch_size, len(x)))]
    # the last batch is padded by repeats of its last row, which are dropped here
    features = np.concatenate(parts)[: len(x)]
    if path is not None:
        np.savez(path, features=features)
    return features


def codes_of(model: Autoencoder, params: PyTree, state: PyTree, transform: Transform | None = None) -> Callable:
    """`x -> latent`, the latents of a trained model; posterior means where it is variational.

    Args:
      model: a trained autoencoder.
      params: parameters of the model.
      state: state of the model.
      transform: transform of the input as in training, called without a key; None: `transforms.scale_uint8`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream, presets
      >>> model, _ = presets.vae((5,), latent_size=2)
      >>> params, state = model.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> downstream.codes_of(model, params, state)(jnp.ones((3, 5))).shape
      (3, 2)
    """
    scaling = transform or transforms.scale_uint8()
    return lambda x: model.encode(params, state, scaling(None, Batch(x)).x).latent


def layers_of(
    encoder: Network, params: PyTree, layers: tuple[int, ...], transform: Transform | None = None
) -> Callable:
    """`x -> [B, D]`: outputs of some layers of an encoder, rectified, flattened and concatenated.

    Args:
      encoder: a network with `Network.hidden`.
      params: parameters of the encoder, `params["encoder"]` of a model.
      layers: indices of the layers; negative ones count from the end.
      transform: transform of the input, as in `codes_of`.

    Raises:
      ValueError: the encoder does not know its layers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream, networks
      >>> encoder = networks.mlp(8, 4, 2)
      >>> params = encoder.init(jax.random.key(0), jnp.ones((3, 5)))
      >>> downstream.layers_of(encoder, params, (0, 1))(jnp.ones((3, 5))).shape
      (3, 12)
    """
    hidden = encoder.hidden
    if hidden is None:
        raise ValueError("this encoder does not know its layers: take one of jaxae.networks, or give Network a hidden")
    scaling = transform or transforms.scale_uint8()

    def apply(x):
        outputs = hidden(params, scaling(None, Batch(x)).x)
        rows = [jax.nn.relu(outputs[i]).reshape(x.shape[0], -1) for i in layers]
        return jax.numpy.concatenate(rows, -1)

    return apply


def pixels(x: np.ndarray) -> np.ndarray:
    """The baseline without an encoder: flattened rows, uint8 scaled to 0..1, `[N, D]`.

    Example:
      >>> import numpy as np
      >>> from jaxae import downstream
      >>> downstream.pixels(np.full((1, 1, 2, 1), 255, np.uint8)).tolist()
      [[1.0, 1.0]]
    """
    rows = np.asarray(real_array("x", x))
    if not rows.ndim or not rows.size:
        raise ValueError(f"x must be [N, ...], not empty; got shape {rows.shape}")
    flat = rows.reshape(len(rows), -1)
    return flat.astype(np.float32) / (255 if flat.dtype == np.uint8 else 1)


def principal_components(x: np.ndarray, num: int) -> Callable:
    """The linear baseline: `x -> [B, num]`, coordinates along the directions of greatest variance of these rows.

    Args:
      x: `[N, ...]` rows to fit to, uint8 or floating.
      num: number of components, at most N and at most the size of a row.

    Raises:
      ValueError: more components than there can be.

    Example:
      >>> import numpy as np
      >>> from jaxae import downstream
      >>> line = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], np.float32)
      >>> np.asarray(abs(downstream.principal_components(line, 1)(line)), float).round(3).tolist()
      [[1.414], [0.0], [1.414]]
    """
    rows = pixels(x)
    num = require_count("num", num)
    if num > min(rows.shape):
        raise ValueError(f"rows {rows.shape} have 1 to {min(rows.shape)} components; got {num}")
    mean = rows.mean(0)
    centred = rows - mean
    # eigenvectors of the scatter matrix come in ascending order of variance
    _, vectors = np.linalg.eigh(centred.T @ centred)
    directions = vectors[:, ::-1][:, :num]
    return lambda x: (pixels(x) - mean) @ directions
