"""Reconstruction errors as anomaly scores, one number for each example, with their maps."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.files.messages import shown
from jaxae.numerics import mean_per_example, require_within, sum_per_example, target_of
from jaxae.numerics.filters import gaussian_blur
from jaxae.scoring.scores.ssim import ssim
from jaxae.types import Autoencoder, Batch, PyTree, Scorer

KINDS = ("l2", "l1", "top_fraction", "nll", "smooth", "ssim")


def reconstruction(
    model: Autoencoder,
    kind: str = "l2",
    fraction: ArrayLike = 0.1,
    sigma: float = 1.0,
    data_range: ArrayLike = 1.0,
) -> Scorer:
    """The reconstruction error of an example, without noise (`rng=None` inside the model).

    With t the target and x̂ the reconstruction, elements i that the mask counts:

    - "l2": mean of `(t_i - x̂_i)^2`; "l1": mean of `|t_i - x̂_i|`.
    - "top_fraction": mean of the largest `ceil(fraction * n)` of the n values `(t_i - x̂_i)^2`, for small defects.
    - "nll": sum of `-log p(t_i | prediction)`, nats.
    - "smooth": images only; mean of `(G * (t - x̂))_i^2`, the signed residual blurred by a normal of `sigma` pixels
      before it is squared: noise of single pixels averages out, missing or added structure stays.
    - "ssim": images only; 1 less the mean structural similarity of t and x̂ (`ssim.ssim`).

    `Scorer.map` is `[B, ...]` like the target, channels kept, what each element adds (0 where masked): its sum
    over the counted elements is the "nll" score, its mean any other; for "top_fraction" it is the squared error of all
    elements. Sum or average the last axis for one value a pixel.

    Args:
      model: the autoencoder; `fit` takes its parameters and state and needs no reference.
      kind: kind of error, one of the above.
      fraction: share of the elements that "top_fraction" averages, in (0, 1].
      sigma: standard deviation of the blur of "smooth", pixels, > 0.
      data_range: largest possible value of the scaled data less the least one, > 0; for "ssim".

    Raises:
      ValueError: unknown kind, a fraction outside (0, 1], sigma or data_range not above 0; in `apply`, target and
        reconstruction differ in shape, or "smooth" or "ssim" is asked of what is no image.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import scoring
      >>> from jaxae.numerics import as_batch
      >>> from jaxae.types import Autoencoder, Code, Likelihood, Output
      >>> halve = lambda params, state, rng, x, condition=None: (Output(Code(x, x[:, 0]), x / 2), state)
      >>> likelihood = Likelihood(1, None, lambda prediction: prediction, None)
      >>> scorer = scoring.reconstruction(Autoencoder(None, halve, None, None, None, None, likelihood), "l1")
      >>> fitted = scorer.fit({}, {}, None)
      >>> scorer.apply(fitted, None, as_batch(jnp.array([[2.0, 4.0]]))).tolist()
      [1.5]
      >>> scorer.map(fitted, None, as_batch(jnp.array([[2.0, 4.0]]))).tolist()
      [[1.0, 2.0]]
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown kind of reconstruction score {shown(kind)}; there are {', '.join(KINDS)}")
    require_within("fraction", fraction, "(0, 1]")
    require_within("sigma", sigma, "(0, inf)")
    require_within("data_range", data_range, "(0, inf)")

    def difference(target: Array, reconstruction: Array) -> Array:
        if kind == "ssim":
            return 1 - ssim(_images(target, kind), _images(reconstruction, kind), data_range)
        # signed before the blur: independent pixel noise cancels, a shared sign adds up
        residual = target - reconstruction
        if kind == "smooth":
            residual = gaussian_blur(_images(residual, kind), sigma)
        return jnp.abs(residual) if kind == "l1" else residual**2

    def reduce(values: Array, mask: Array | None) -> Array:
        if kind == "nll":
            return sum_per_example(values, mask)
        if kind == "top_fraction":
            return top_mean(values, fraction, mask)
        return mean_per_example(values, mask)

    def values(fitted: PyTree, batch: Batch) -> Array:
        output, _ = model.apply(fitted["params"], fitted["state"], None, batch.x, batch.condition)
        target = jnp.asarray(target_of(batch), jnp.float32)
        if kind == "nll":
            return -model.likelihood.log_prob(target, output.prediction).astype(jnp.float32)
        reconstruction = model.likelihood.mean(output.prediction)
        if reconstruction.shape != target.shape:
            raise ValueError(f"the reconstruction's shape {reconstruction.shape} is not the target's {target.shape}")
        reconstruction = reconstruction.astype(jnp.float32)
        if batch.mask is not None:  # a missing element may be NaN, which a window would spread to its neighbours
            counts = jnp.broadcast_to(batch.mask, target.shape) > 0
            target, reconstruction = (jnp.where(counts, a, 0) for a in (target, reconstruction))
        return difference(target, reconstruction)

    def apply(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        return reduce(values(fitted, batch), batch.mask)

    def score_map(fitted: PyTree, rng: Array | None, batch: Batch) -> Array:
        result = values(fitted, batch)
        if batch.mask is None:
            return result
        return jnp.where(jnp.broadcast_to(batch.mask, result.shape) > 0, result, 0)

    return Scorer(fit_model, apply, score_map)


def fit_model(params: PyTree, state: PyTree, reference: Batch | None = None) -> dict:
    """`Scorer.fit` of a score that needs the model's arrays and nothing else."""
    return {"params": params, "state": state}


def top_mean(values: Float[Array, "B *dims"], fraction: ArrayLike, mask: Array | None = None) -> Float[Array, " B"]:
    """Mean of the largest `ceil(fraction * n)` of each example's n (unmasked) values, which are not negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.reconstruction import top_mean
      >>> top_mean(jnp.array([[4.0, 1.0, 2.0, 0.0]]), fraction=0.5).tolist()
      [3.0]
    """
    flat = values.reshape(values.shape[0], -1)
    # Bits of non-negative floats, read as integers, keep their order. So the k-th largest value is built bit by bit:
    # 31 counts instead of a sort (about ten times faster on a CPU), and k may differ between examples.
    keys = jax.lax.bitcast_convert_type(flat, jnp.int32)
    if mask is not None:
        keys = jnp.where(jnp.broadcast_to(mask, values.shape).reshape(flat.shape) > 0, keys, -1)
    count = (keys >= 0).sum(-1)
    size = jnp.maximum(jnp.ceil(fraction * (1 - 1e-6) * count), 1)  # 0.1 * 30 is 3.0000001 in float32, whose ceil is 4

    def set_bit(step: Array, limit: Array) -> Array:
        larger = limit | (1 << (30 - step))
        # the bit stays set if at least k keys reach the number with it: the limit is the k-th largest key
        return jnp.where((keys >= larger[:, None]).sum(-1) >= size, larger, limit)

    limit = jax.lax.fori_loop(0, 31, set_bit, jnp.zeros_like(count, jnp.int32))
    above = keys > limit[:, None]
    # of keys equal to the limit, as many count as are missing to k
    tied_sum = (size - above.sum(-1)) * jax.lax.bitcast_convert_type(limit, jnp.float32)
    return (jnp.where(above, flat, 0).sum(-1) + tied_sum) / size


def _images(values: Array, kind: str) -> Array:
    if values.ndim != 4:
        raise ValueError(f'the "{kind}" score is for images [B, H, W, C], got {values.shape}: use "l2"')
    return values
