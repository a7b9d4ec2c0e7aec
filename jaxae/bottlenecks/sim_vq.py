"""Vector quantization with frozen codes under one learned linear map."""

import math

from jax.typing import ArrayLike

from jaxae.bottlenecks import codebooks
from jaxae.bottlenecks.vector_quantizer import ESTIMATORS, check_numbers, quantizer
from jaxae.types import Bottleneck


def sim_vq(
    num_codes: int,
    *,
    commitment: ArrayLike = 0.25,
    estimator: str = "straight_through",
    cosine: bool = False,
) -> Bottleneck:
    """The codebook is `C W`: constant random codes C `[K, D]` and a learned matrix W `[D, D]`.

    A step moves W and with it every code, chosen or not, so that no code dies and none has to be restarted. C is normal
    with standard deviation `1 / sqrt(D)` and part of the state; W starts as the identity. The terms of
    the penalty are "commitment" and "codebook", as of `vector_quantizer` with `learn="gradient"`.

    Args:
      num_codes: number of codes K, at least 2.
      commitment: weight of the commitment term, >= 0.
      estimator: gradient estimator, "straight_through" or "rotation".
      cosine: whether codes are chosen by angle, as in `vector_quantizer`.

    Returns:
      A `Bottleneck` with `lookup`, whose latents equal those that the decoder read bit for bit (with `cosine` to the
      last bit); `condition["mask"]` `[B, ...]` leaves padded tokens out.

    Raises:
      ValueError: an argument is out of its range; as of `vector_quantizer` from its functions.

    Source: Zhu et al. 2024, "Addressing Representation Collapse in Vector Quantized Models with One Linear Layer".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks import sim_vq
      >>> layer = sim_vq(16)
      >>> params, state = layer.init(jax.random.key(0), jnp.zeros((2, 3)))
      >>> params["transform"].shape, layer.apply(params, state, None, jnp.ones((2, 3)))[0].symbols.shape
      ((3, 3), (2,))
    """
    check_numbers("sim_vq", num_codes, commitment=commitment)
    if estimator not in ESTIMATORS[:2]:
        raise ValueError(f"sim_vq: estimator must be one of {', '.join(ESTIMATORS[:2])}; got {estimator!r}")
    book = codebooks.transformed(codebooks.frozen(num_codes, lambda width: 1 / math.sqrt(width)))
    return quantizer("sim_vq", book, {"commitment": commitment, "codebook": 1.0}, estimator=estimator, cosine=cosine)
