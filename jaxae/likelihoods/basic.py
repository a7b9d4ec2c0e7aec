"""Normal, Bernoulli, Laplace and categorical elements."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxae.numerics import as_number, as_whole, bounded_log_variance, normal_log_prob, require_real
from jaxae.types import Likelihood


def gaussian(scale: ArrayLike | None = 1.0) -> Likelihood:
    """A normal distribution for each element.

    `log p(x) = -((x - mean) / scale)^2 / 2 - log(scale) - log(2 pi) / 2`

    Args:
      scale: standard deviation in the data's unit, > 0; None: learned, the decoder then gives a mean and a log-variance
        (bounded smoothly to ±10) for each element.

    Returns:
      A `Likelihood` with 1 parameter per data channel, or 2 where the scale is learned.

    Raises:
      ValueError: scale is not a positive finite number.

    Source: Kingma and Welling 2014, appendix C.2; a learned scale: Rybkin et al. 2021, "Simple and Effective VAE
    Training with Calibrated Decoders".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> likelihood = likelihoods.gaussian(scale=1.0)
      >>> round(float(likelihood.log_prob(jnp.zeros((1, 1)), jnp.ones((1, 1)))[0, 0]), 4)
      -1.4189
    """
    _check_positive("gaussian", "scale", scale)

    def read(prediction):
        prediction = prediction.astype(jnp.float32)
        if scale is None:
            mean, raw = jnp.split(prediction, 2, -1)
            return mean, bounded_log_variance(raw)
        # log-variance of a fixed scale
        return prediction, 2 * jnp.log(jnp.asarray(scale, jnp.float32))

    def sample(rng, prediction):
        mean, log_variance = read(prediction)
        return mean + jnp.exp(0.5 * log_variance) * jax.random.normal(rng, mean.shape)

    return Likelihood(
        num_params=2 if scale is None else 1,
        log_prob=lambda x, prediction: normal_log_prob(x, *read(prediction)),
        mean=lambda prediction: read(prediction)[0],
        sample=sample,
    )


def bernoulli() -> Likelihood:
    """A Bernoulli distribution for each element; the prediction is its logit.

    `log p(x) = x log sigmoid(l) + (1 - x) log sigmoid(-l)`. For `x` strictly between 0 and 1 this is the usual
    cross-entropy but not a density of grey values: binarise (`transforms.binarise`) before comparing nats.

    Source: Kingma and Welling 2014, appendix C.1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> round(float(likelihoods.bernoulli().log_prob(jnp.ones((1, 1)), jnp.zeros((1, 1)))[0, 0]), 4)
      -0.6931
    """

    def log_prob(x, logits):
        logits = logits.astype(jnp.float32)
        # x l - softplus(l) is exact where the sigmoid rounds to 0 or 1, unlike the log of a sigmoid
        return x * logits - jax.nn.softplus(logits)

    def sample(rng, logits):
        probability = jax.nn.sigmoid(logits.astype(jnp.float32))
        return jax.random.bernoulli(rng, probability).astype(jnp.float32)

    return Likelihood(
        num_params=1,
        log_prob=log_prob,
        mean=lambda logits: jax.nn.sigmoid(logits.astype(jnp.float32)),
        sample=sample,
        binary=True,
    )


def laplace(scale: ArrayLike | None = 1.0) -> Likelihood:
    """A Laplace distribution for each element: the likelihood of the absolute error.

    `log p(x) = -|x - mean| / scale - log(2 scale)`

    Args:
      scale: scale parameter in the data's unit, > 0; None: learned, the decoder then gives a mean and a log-scale
        (bounded smoothly to ±5, so that the scale reaches neither 0 nor infinity) for each element.

    Returns:
      A `Likelihood` with 1 parameter per data channel, or 2 where the scale is learned.

    Raises:
      ValueError: scale is not a positive finite number.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> round(float(likelihoods.laplace().log_prob(jnp.zeros((1, 1)), jnp.ones((1, 1)))[0, 0]), 4)
      -1.6931
    """
    _check_positive("laplace", "scale", scale)

    def read(prediction):
        prediction = prediction.astype(jnp.float32)
        if scale is None:
            mean, raw = jnp.split(prediction, 2, -1)
            return mean, bounded_log_variance(raw, 5.0)
        return prediction, jnp.log(jnp.asarray(scale, jnp.float32))

    def log_prob(x, prediction):
        mean, log_scale = read(prediction)
        # log p = -|x - m| / s - log 2 s, by the log-scale, which cannot be 0 or negative
        return -jnp.abs(x - mean) * jnp.exp(-log_scale) - log_scale - math.log(2.0)

    def sample(rng, prediction):
        mean, log_scale = read(prediction)
        return mean + jnp.exp(log_scale) * jax.random.laplace(rng, mean.shape)

    return Likelihood(
        num_params=2 if scale is None else 1,
        log_prob=log_prob,
        mean=lambda prediction: read(prediction)[0],
        sample=sample,
    )


def categorical(num_classes: int) -> Likelihood:
    """One of K classes, or grey levels, for each element; the prediction holds its logits.

    `log p(x) = l_x - log sum_k exp(l_k)`, with `l_k` in block k of the prediction's last axis.

    `mean` is the expectation `sum_k k p_k`, in levels, which minimises the squared error for ordered classes such as
    grey levels. For classes without an order use the logits: `prediction.argmax(-1)` is the most probable class.

    Args:
      num_classes: number of classes K, at least 2; targets are whole numbers 0..K-1, integer or floating. The
        log-probability of other targets is NaN.

    Returns:
      A `Likelihood` with K parameters per data channel: target `[B, ..., C]`, prediction `[B, ..., C * K]`. Samples
      are int32.

    Raises:
      ValueError: num_classes is not a whole number of at least 2.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"; for grey levels
    van den Oord et al. 2016, "Pixel Recurrent Neural Networks", section 3.4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> grey, logits = likelihoods.categorical(4), jnp.zeros((1, 4))
      >>> round(float(grey.log_prob(jnp.array([[3]]), logits)[0, 0]), 4), grey.mean(logits).tolist()
      (-1.3863, [[1.5]])
    """
    if (whole := as_whole(num_classes)) is None or whole < 2:
        raise ValueError(f"categorical: num_classes must be a whole number of at least 2, got {num_classes}")

    def logits_of(prediction):
        """`[..., C * K] -> [..., C, K]`."""
        # blocks of the last axis are classes, each with all channels: back to one axis of classes per channel
        blocks = prediction.astype(jnp.float32).reshape(*prediction.shape[:-1], num_classes, -1)
        return jnp.swapaxes(blocks, -1, -2)

    def log_prob(x, prediction):
        log_p = jax.nn.log_softmax(logits_of(prediction))
        # a class out of range has no probability: NaN shows it, a clipped index would hide it
        level = x.astype(jnp.int32)
        in_range = (level >= 0) & (level < num_classes)
        log_p_of_class = jnp.take_along_axis(log_p, jnp.where(in_range, level, 0)[..., None], -1)[..., 0]
        return jnp.where(in_range, log_p_of_class, jnp.nan)

    def mean(prediction):
        # expectation over the levels: sum_k k p_k
        return jax.nn.softmax(logits_of(prediction)) @ jnp.arange(num_classes, dtype=jnp.float32)

    return Likelihood(
        num_params=num_classes,
        log_prob=log_prob,
        mean=mean,
        sample=lambda rng, prediction: jax.random.categorical(rng, logits_of(prediction)),
    )


def _check_positive(owner, name, value):
    if value is not None:
        require_real(owner, **{name: value})
    if (number := as_number(value)) is not None and not (math.isfinite(number) and number > 0):
        raise ValueError(f"{owner}: {name} must be a positive finite number, got {value}")
