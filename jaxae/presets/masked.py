"""The masked autoencoder: an image from a few of its patches."""

from typing import Unpack

import jax
import jax.numpy as jnp

from jaxae import bottlenecks, likelihoods, networks, objectives
from jaxae.presets.parts import Parts, check, plain, scaled
from jaxae.transforms import Transform
from jaxae.types import Autoencoder, Objective


def masked_ae(
    shape: tuple[int, ...],
    *,
    patch: int = 4,
    rate: float = 0.75,
    hidden_only: bool = False,
    width: int = 64,
    depth: int = 2,
    **parts: Unpack[Parts],
) -> tuple[Autoencoder, Objective]:
    """A transformer that reads only the visible patches of an image, and one that predicts all patches.

    Without a key, as in scores, every patch is visible. To score the error of hidden patches, put the transform in
    front of the score: `scoring.averaged(scoring.prepared(score, presets.visible_patches(4, 0.75)), 8)`.

    Args:
      shape: shape of one image, `(H, W, C)`.
      patch: side of a patch, pixels.
      rate: share of the patches that are hidden in training.
      hidden_only: whether the loss counts only hidden patches, as published; reconstructions of visible patches, and
        scores that read them, are then meaningless.
      width: width of both transformers.
      depth: number of blocks of the encoder; the decoder has one.
      **parts: shared keywords, see `Parts`; `latent_size` is the width of each patch's latent.

    Raises:
      ValueError: the shape is no image's, or a size does not fit.

    Source: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners".

    Example:
      >>> from jaxae import presets
      >>> model, objective = presets.masked_ae((28, 28, 1), patch=7, width=32)
    """
    size, likelihood = parts.get("latent_size", 32), parts.get("likelihood") or likelihoods.gaussian()
    check(shape, latent_size=size)
    encoder = networks.patch_encoder(shape, size, patch=patch, width=width, depth=depth)
    decoder = networks.patch_decoder(shape, likelihood.num_params, patch=patch, width=width)
    keywords: Parts = {
        **parts,
        "encoder": parts.get("encoder") or encoder,
        "decoder": parts.get("decoder") or decoder,
    }
    model = plain(shape, bottlenecks.identity(), **keywords)
    transform = visible_patches(patch, rate, hidden_only)
    return model, scaled(objectives.prepared(objectives.elbo(model), transform), parts)


def visible_patches(patch: int, rate: float, hidden_only: bool = True) -> Transform:
    """A transform that draws the visible patches, `condition["visible"]`, which `networks.patch_encoder` reads.

    In every image `round(rate * patches)` patches are hidden, at least one and not all. Labels in the condition are
    dropped. Without a key the whole image is visible.

    Args:
      patch: side of a patch, pixels.
      rate: share of the patches that is hidden, in (0, 1).
      hidden_only: whether `mask` becomes 1 on hidden pixels alone (times the batch's mask, if it has one), so that only
        they count.

    Raises:
      ValueError: patch < 1, rate outside (0, 1), or `x` is not `[B, H, W, C]` or has a single patch.

    Source: He et al. 2022, section 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import presets
      >>> from jaxae.types import Batch
      >>> batch = presets.visible_patches(2, 0.5)(jax.random.key(0), Batch(jnp.ones((3, 4, 4, 1))))
      >>> batch.condition["visible"].shape, float(batch.mask.sum())
      ((3, 2), 24.0)
    """
    if patch < 1 or not 0 < rate < 1:
        raise ValueError(f"visible_patches: patch must be at least 1 and rate in (0, 1), got {patch} and {rate}")

    def apply(rng, batch):
        if batch.x.ndim != 4:
            raise ValueError(f"visible_patches: images must be [B, H, W, C], got shape {batch.x.shape}")
        if rng is None:
            return batch._replace(condition=None)
        b, height, width, _ = batch.x.shape
        rows, columns = -(-height // patch), -(-width // patch)
        if rows * columns < 2:
            raise ValueError(f"visible_patches: an image of {height} x {width} has a single patch of side {patch}")
        hidden = min(max(1, round(rate * rows * columns)), rows * columns - 1)
        order = jnp.argsort(jax.random.uniform(rng, (b, rows * columns)), -1)
        visible = jnp.sort(order[:, hidden:], -1)
        batch = batch._replace(condition={"visible": visible})
        if not hidden_only:
            return batch
        grid = jnp.ones((b, rows * columns)).at[jnp.arange(b)[:, None], visible].set(0.0).reshape(b, rows, columns)
        mask = jnp.repeat(jnp.repeat(grid, patch, 1), patch, 2)[:, :height, :width, None]
        mask = jnp.broadcast_to(mask, batch.x.shape)
        return batch._replace(mask=mask if batch.mask is None else mask * batch.mask)

    return apply
