"""Gradient estimators of the choice of a code; the value is that of the code, bit for bit."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.bottlenecks.nearest import map_rows, squared_distances
from jaxae.numerics import straight_through

# bound of the scale by which `rotation` multiplies a gradient
MOST_SCALE = 10.0


def rotation(codes: Float[Array, "N D"], tokens: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """The codes, with the gradient of the rotation and scaling that takes each token to its code, held constant.

    `(|c| / |e|) (e - 2 (r . e) r + 2 (u . e) v)` with `u = e / |e|`, `v = c / |c|`, `r = (u + v) / |u + v|`: unlike
    straight-through, the gradient depends on the token's position in its cell. Where a token, its code or `u + v` is 0
    the rotation is undefined, and the gradient is straight-through. The scale `|c| / |e|` is at most 10, which the
    paper has not: near 0 a token's gradient would grow without bound.

    Args:
      codes: `[N, D]`, code of each token: the value.
      tokens: `[N, D]`, which receive the gradient.

    Source: Fifty et al. 2024, "Restructuring Vector Quantization with the Rotation Trick", section 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.estimators import rotation
      >>> code, token = jnp.array([[0.0, 2.0]]), jnp.array([[1.0, 0.0]])
      >>> jax.jacobian(lambda e: rotation(code, e)[0])(token)[:, 0].round(3).tolist()
      [[0.0, -2.0], [2.0, 0.0]]
    """
    e, c = stop_gradient(tokens), stop_gradient(codes)
    token_norm, code_norm = jnp.linalg.norm(e, axis=-1, keepdims=True), jnp.linalg.norm(c, axis=-1, keepdims=True)
    u, v = e / jnp.where(token_norm > 0, token_norm, 1.0), c / jnp.where(code_norm > 0, code_norm, 1.0)
    sum_norm = jnp.linalg.norm(u + v, axis=-1, keepdims=True)
    r = (u + v) / jnp.where(sum_norm > 0, sum_norm, 1.0)

    def along(axis):
        return (axis * tokens).sum(-1, keepdims=True)

    # a product of two reflections, which takes u to v and leaves the plane's complement as it is
    rotated = tokens - 2 * along(r) * r + 2 * along(u) * v
    # opposite vectors (u = -v) have no unique rotation
    defined = (token_norm > 0) & (code_norm > 0) & (sum_norm > 1e-6)
    # held constant: u, v and r have no gradient, so the Jacobian is the rotation and scaling itself
    scale = jnp.minimum(code_norm / jnp.where(token_norm > 0, token_norm, 1.0), MOST_SCALE)
    soft = jnp.where(defined, scale * rotated, tokens)
    return straight_through(codes, soft)


def directional(
    codes: Float[Array, "N D"],
    tokens: Float[Array, "N D"],
    rng: Array | None = None,
    variance: ArrayLike = 5e-3,
) -> Float[Array, "N D"]:
    """The codes, with the gradient of `e + |c - e| d` to tokens e and codes c, the direction d held constant.

    `d` is `c - e` plus normal noise with a key, scaled to length 1: a step whose length is differentiated and whose
    direction is not. Codes learn by the loss itself. Where a token equals its code the gradient is straight-through.

    Args:
      codes: `[N, D]`, code of each token: the value.
      tokens: `[N, D]`, tokens.
      rng: key of the noise; None: no noise.
      variance: variance of the noise, >= 0.

    Source: Vali et al. 2025, "DiVeQ: Differentiable Vector Quantization Using the Reparameterization Trick". There the
    value is the expression itself; here it is the code, bit for bit. The variance is that of vector-quantize-pytorch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.estimators import directional
      >>> code, token = jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2))
      >>> (25 * jax.jacobian(lambda c: directional(c, token)[0])(code)[:, 0]).round().astype(int).tolist()
      [[9, 12], [12, 16]]
    """
    step = codes - tokens
    square = (step**2).sum(-1, keepdims=True)
    is_step = square > 0
    # the square root has an infinite slope at 0: a token on its code gets length 1 here and no step below
    length = jnp.sqrt(jnp.where(is_step, square, 1.0))
    noise = 0.0 if rng is None else jnp.sqrt(variance) * jax.random.normal(rng, codes.shape)
    # the direction is a constant of the gradient, the length is not
    target_step = stop_gradient(step + noise)
    step_norm = jnp.linalg.norm(target_step, axis=-1, keepdims=True)
    direction = target_step / jnp.where(step_norm > 0, step_norm, 1.0)
    return straight_through(stop_gradient(codes), tokens + jnp.where(is_step, length * direction, 0.0))


def gumbel(
    rng: Array,
    tokens: Float[Array, "N D"],
    codebook: Float[Array, "K D"],
    temperature: ArrayLike,
) -> tuple[Array, Float[Array, "N D"]]:
    """Draws a code with probability `softmax(-|token - code|^2)`; the gradient is that of the relaxed draw.

    The gradient reaches tokens and codes. The relaxed draw is `softmax((-|token - code|^2 + Gumbel noise) /
    temperature) . codebook`, computed in chunks of tokens and again in the backward pass, so that no tokens-by-codes
    matrix is kept.

    Args:
      rng: a key.
      tokens: `[N, D]`, finite.
      codebook: `[K, D]`, the codes.
      temperature: temperature of the relaxed draw, above 0.

    Returns:
      `(ids [N] int32, latent [N, D])`.

    Source: Jang, Gu and Poole 2017, "Categorical Reparameterization with Gumbel-Softmax".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.estimators import gumbel
      >>> ids, latent = gumbel(jax.random.key(0), jnp.array([[90.0]]), jnp.array([[0.0], [100.0]]), 1.0)
      >>> ids.tolist(), latent.tolist()
      ([1], [[100.0]])
    """

    @jax.checkpoint
    def chunk(rows, keys):
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (codebook.shape[0],)))(keys)
        # Gumbel-max: the argmax is a draw from softmax(-distance)
        logits = noise - squared_distances(rows, codebook)
        soft = jnp.matmul(jax.nn.softmax(logits / temperature, -1), codebook, precision=jax.lax.Precision.HIGHEST)
        return jnp.argmax(logits, -1).astype(jnp.int32), soft

    ids, soft = map_rows(chunk, codebook.shape[0], tokens, jax.random.split(rng, tokens.shape[0]))
    return ids, straight_through(codebook[ids], soft)
