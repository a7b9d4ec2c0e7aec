"""Vector quantization: each token becomes a code of a learned codebook."""

import math

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.typing import ArrayLike

from jaxae.bottlenecks import codebooks, estimators
from jaxae.bottlenecks.codebooks import Codebook, Upkeep
from jaxae.bottlenecks.directions import unit
from jaxae.bottlenecks.nearest import drawn_code, map_rows, nearest_code, squared_distances
from jaxae.bottlenecks.tokens import checked_symbols, counted_tokens, require_input, tokens_per_example, unpadded
from jaxae.numerics import (
    as_number,
    over_replicas,
    replica_axis,
    straight_through,
    sum_per_example,
)
from jaxae.types import Bottleneck, Code, Estimator

LEARN = ("ema", "gradient", "frozen")
ESTIMATORS = ("straight_through", "rotation", "directional", "gumbel")
SEEDING = ("data", "kmeans", "random")


def vector_quantizer(
    num_codes: int,
    *,
    learn: str = "ema",
    estimator: str = "straight_through",
    commitment: ArrayLike = 1.0,
    decay: ArrayLike | None = None,
    smoothing: ArrayLike = 1e-5,
    restart_below: ArrayLike = 0.1,
    seeding: str = "data",
    cosine: bool = False,
    orthogonality: ArrayLike = 0.0,
    diversity: ArrayLike = 0.0,
    temperature: ArrayLike = 0.0,
    axis_name: str | None = None,
) -> Bottleneck:
    """Each vector of `h`, a token, becomes the nearest of `num_codes` codes.

    The penalty's terms, each a sum over an example's tokens and named in `Code.terms`:

    - "commitment": `commitment * |h - sg(code)|^2`;
    - "codebook", with `learn="gradient"`: `|sg(h) - code|^2`;
    - "orthogonality", with a weight above 0: `orthogonality * |E E' - I|^2 / K^2` of the unit codes E, the same for
    every
      example;
    - "diversity", with a weight above 0: `diversity * (mean_t H(q_t) - H(mean_t q_t))` of the batch's soft assignments
      `q_t = softmax(-|h_t - code|^2)`, the same for every example: it is least where every token is certain of its
      code and all codes are used equally.

    `rate` is `log num_codes` nats a token, the code length under a uniform prior. A token with NaN or infinity gives
    NaN in the latent, has symbol -1 and does not update the codebook.

    Restarts keep codes in use: a code whose running count falls below `restart_below` of the mean count moves to a
    token of the batch, and its statistics are reset. Statistics start empty, so the first training batch restarts
    every code, which is the initialisation.

    Args:
      num_codes: number of codes K, at least 2.
      learn: learning of the codes: "ema" (codes are moving averages of the tokens they quantize; no parameters),
        "gradient" (codes are parameters, restarts a shift in the state), or "frozen" (constant random normal codes).
      estimator: gradient to `h`: "straight_through" (identity), "rotation" (rotated and scaled as the token is to its
        code, the scale at most 10), "directional" (DiVeQ: a step towards the code, with a differentiated length and a
        constant direction, with noise in calls with a key; to the codes as well), "gumbel" (with a key, a code is drawn
        by `softmax(-|h - code|^2)` with the gradient of the draw relaxed at `temperature`; to the codes as well).
      commitment: weight of the commitment term, >= 0, relative to the likelihood in nats: 1 suits a normal likelihood
        whose scale is the data's standard deviation, a quarter (the paper's) a scale of 1 on pixels in [0, 1].
      decay: decay of the moving averages of counts and sums, in [0, 1). None takes the decay at which a code's mean
        covers about 60 tokens, within 0.9 and 0.99; small codebooks lose less if they follow the encoder fast.
      smoothing: Laplace smoothing of the counts that the sums are divided by, >= 0.
      restart_below: fraction of the mean count below which a code is restarted, in [0, 1). 0 switches restarts off;
        with seeding "data" the codes then start (and may stay) at random normal vectors.
      seeding: initial codes: "data" (tokens of the first batch, drawn without replacement), "kmeans" (k-means++ and ten
        steps of Lloyd's algorithm on the first batch) or "random" (normal).
      cosine: whether codes are chosen by angle: tokens, codes and the latent are scaled to length 1, and the Jacobian
        is that of the estimator times that of the scaling. Codes in the state are stored with length 1.
      orthogonality: weight of the orthogonality term, >= 0; needs `learn="gradient"`.
      diversity: weight of the diversity term, >= 0; it costs one more product of tokens and codes, and two in the
        backward pass.
      temperature: with "gumbel", temperature of the relaxed draw, above 0. Otherwise the temperature of a random choice
        that replaces the nearest code in calls with a key, `softmax(-|h - code|^2 / temperature)`; 0: no random choice.
      axis_name: name of the mapped axis of a step that `build_step` did not build, under `pmap` or `shard_map`; None:
        that of the train step
        (`build_step(axis_name=...)`), if it has one. Tokens are then gathered from all replicas before the statistics
        are updated, restarts are drawn once for all, and the diversity's mean is over all replicas' tokens.

    Returns:
      A `Bottleneck` with `lookup`, whose latents equal those that the decoder read bit for bit; with `cosine` and
      `learn="gradient"` to the last bit, since programs round the scaling differently. `condition["mask"]` `[B, ...]`
      leaves padded tokens out.

    Raises:
      ValueError: an argument is out of its range, or two exclude each other; from `apply` a width that differs from
        that of `init`; from `lookup` symbols out of range.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, equation 3 and appendix A.1; restarts: Dhariwal et al. 2020,
    "Jukebox", section 3.1; cosine: Yu et al. 2022, "Vector-quantized Image Modeling with Improved VQGAN";
    orthogonality: Shin et al. 2023, "Exploration into Translation-Equivariant Image Quantization".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.vector_quantizer(4)
      >>> h = jax.random.normal(jax.random.key(0), (2, 5, 3))
      >>> params, state = layer.init(jax.random.key(1), h)
      >>> code, state = layer.apply(params, state, jax.random.key(2), h)
      >>> code.latent.shape, code.symbols.shape
      ((2, 5, 3), (2, 5))
    """
    name = "vector_quantizer"
    check_numbers(name, num_codes, commitment=commitment, smoothing=smoothing, diversity=diversity)
    check_numbers(name, num_codes, temperature=temperature, orthogonality=orthogonality)
    for key, value in {"decay": decay, "restart_below": restart_below}.items():
        if (number := as_number(value)) is not None and not 0 <= number < 1:
            raise ValueError(f"{name}: {key} must be in [0, 1), got {value}")
    for key, value, choices in (
        ("learn", learn, LEARN),
        ("estimator", estimator, ESTIMATORS),
        ("seeding", seeding, SEEDING),
    ):
        if value not in choices:
            raise ValueError(f"{name}: {key} must be one of {', '.join(choices)}; got {value!r}")
    if learn != "gradient" and (as_number(orthogonality) or 0) > 0:
        raise ValueError(f'{name}: orthogonality={orthogonality} moves no code with learn="{learn}": take "gradient"')
    if estimator == "gumbel" and as_number(temperature) == 0:
        raise ValueError(f'{name}: estimator="gumbel" needs a temperature above 0, such as 1.0; got 0')
    upkeep = Upkeep(decay, restart_below, seeding, axis_name)
    book = {
        "ema": lambda: codebooks.moving_average(num_codes, upkeep, smoothing),
        "gradient": lambda: codebooks.by_gradient(num_codes, upkeep),
        "frozen": lambda: codebooks.frozen(num_codes),
    }[learn]()
    weights = {"commitment": commitment, "codebook": 1.0 if learn == "gradient" else 0.0}
    weights |= {"orthogonality": orthogonality, "diversity": diversity}
    return quantizer(
        name, book, weights, estimator=estimator, cosine=cosine, temperature=temperature, axis_name=axis_name
    )


def quantizer(
    name: str,
    book: Codebook,
    weights: dict,
    *,
    estimator: str = "straight_through",
    cosine: bool = False,
    temperature: ArrayLike = 0.0,
    axis_name: str | None = None,
) -> Bottleneck:
    """The bottleneck over any `Codebook`: `vector_quantizer` and `sim_vq` are this one with their books.

    Args:
      name: name of the bottleneck, for errors.
      book: the codes and how they learn.
      weights: weights of the terms "commitment", "codebook", "orthogonality" and "diversity"; those that are the
        number 0 are left out.
      estimator: gradient estimator, see `vector_quantizer`.
      cosine: whether codes are chosen by angle, see `vector_quantizer`.
      temperature: temperature of random choices, see `vector_quantizer`.
      axis_name: name of the mapped axis for the diversity term, see `vector_quantizer`; `book` has a separate one.

    Example:
      >>> from jaxae.bottlenecks import codebooks
      >>> from jaxae.bottlenecks.vector_quantizer import quantizer
      >>> layer = quantizer("frozen", codebooks.frozen(8), {"commitment": 1.0})
    """
    # a weight that is the number 0 leaves its term out of the program; a traced 0 does not
    weights = {key: weight for key, weight in weights.items() if as_number(weight) != 0}

    book = codebooks.of_unit_length(book) if cosine else book

    def choose(rng, tokens, codes):
        """`(ids, values)`, the values with the estimator's gradient."""
        if rng is not None and estimator == "gumbel":
            return estimators.gumbel(rng, tokens, codes, temperature)
        if rng is None or as_number(temperature) == 0:
            ids = nearest_code(tokens, codes)
        else:
            ids = drawn_code(rng, tokens, codes, temperature)
        if estimator == "directional":
            noise = None if rng is None else jax.random.fold_in(rng, 1)
            return ids, estimators.directional(_rows(codes, ids), tokens, noise)
        # codes learn by the penalty or by moving averages, not through the latent
        values = _rows(stop_gradient(codes), ids)
        return ids, estimators.rotation(values, tokens) if estimator == "rotation" else straight_through(values, tokens)

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded(name, h, condition)
        codes = book.read(params, state)
        if codes.shape[-1] != h.shape[-1]:
            raise ValueError(f"{name}: codes are {codes.shape[-1]} wide, h is {h.shape[-1]}: keep the encoder's width")
        h = unit(h) if cosine else h
        is_finite = jnp.isfinite(h).all(-1)
        finite = jnp.where(is_finite[..., None], h, 0.0)
        # tokens that are not finite become zeros: a NaN would spread through sums over tokens
        tokens = finite.reshape(-1, h.shape[-1])
        choice_rng, update_rng = (None, None) if rng is None else jax.random.split(rng)
        ids, values = choose(choice_rng, tokens, codes)
        # tokens that are padding, not finite or of rows of weight 0 neither count nor update
        counted = counted_tokens(h, mask)
        counted = is_finite if counted is None else is_finite & counted
        weight = counted.reshape(-1).astype(jnp.float32)
        terms = charges(h, _rows(codes, ids).reshape(h.shape), codes, tokens, weight, mask)
        if update_rng is not None:
            if isinstance(tokens.shape[0], int) and tokens.shape[0] == 0:
                raise ValueError(f"{name}: h of shape {h.shape} has no token to learn from: leave empty batches out")
            arguments = stop_gradient((params, state)), update_rng, stop_gradient(tokens), ids, weight
            state = book.update(*arguments[0], *arguments[1:])
        # a token that was not finite gives NaN again: a failure upstream stays visible
        latent = jnp.where(is_finite[..., None], values.reshape(h.shape), jnp.nan)
        symbols = jnp.where(is_finite, ids.reshape(h.shape[:-1]), -1)
        rate = tokens_per_example(h, mask) * math.log(book.size)
        penalty = sum(terms.values(), jnp.zeros(h.shape[0]))
        return Code(latent, penalty, rate, symbols, terms=terms), state

    def charges(h, codes_read, codes, tokens, weight, mask):
        mask = None if mask is None else mask[..., None] > 0
        term_of = {
            "commitment": lambda: sum_per_example((h - stop_gradient(codes_read)) ** 2, mask),
            "codebook": lambda: sum_per_example((stop_gradient(h) - codes_read) ** 2, mask),
            "orthogonality": lambda: jnp.broadcast_to(_overlap(codes), h.shape[:1]),
            "diversity": lambda: jnp.broadcast_to(_uncertainty(tokens, codes, weight, axis_name), h.shape[:1]),
        }
        return {key: weight * term_of[key]() for key, weight in weights.items()}

    def lookup(params, state, symbols, condition=None):
        ids, in_range = checked_symbols(name, symbols, book.size)
        return jnp.where(in_range[..., None], _rows(stop_gradient(book.read(params, state)), ids), jnp.nan)

    def sample(params, state, rng, h, condition=None):
        return lookup(params, state, jax.random.randint(rng, h.shape[:-1], 0, book.size))

    def gradient(rng, latent, h):
        # what is not finite gives NaN and no gradient, as above
        is_finite = jnp.isfinite(h).all(-1, keepdims=True) & jnp.isfinite(latent).all(-1, keepdims=True)
        tokens, codes = (jnp.where(is_finite, a, 0.0).reshape(-1, a.shape[-1]) for a in (h, latent))
        if estimator == "rotation":
            values = estimators.rotation(codes, tokens)
        else:
            values = estimators.directional(codes, tokens, rng)
        return jnp.where(is_finite, values.reshape(h.shape), jnp.nan)

    def codes_read(params, state, symbols, condition=None):
        return _rows(book.read(params, state), jnp.maximum(symbols, 0))

    stacked = {
        "straight_through": None,
        "rotation": Estimator("rotation", gradient),
        "directional": Estimator("directional", gradient, codes_read),
        # a relaxed draw of one code: the sum of several draws is relaxed by none of them
        "gumbel": Estimator("gumbel"),
    }[estimator]

    def init(rng, h, condition=None):
        require_input(name, h)
        return book.init(rng, h.shape[-1])

    return Bottleneck(init, apply, sample, lookup, book.size, stacked)


def check_numbers(name: str, num_codes: int, **numbers) -> None:
    """Refuse a book of fewer than 2 codes, and weights that are negative or not finite."""
    if num_codes < 2:
        raise ValueError(f"{name}: num_codes must be at least 2, got {num_codes}")
    for key, value in numbers.items():
        if (number := as_number(value)) is not None and not 0 <= number < math.inf:
            raise ValueError(f"{name}: {key} must be a finite number >= 0, got {value}")


def _rows(codes, ids):
    return codes.at[ids].get(mode="clip")


def _overlap(codes):
    # |E E' - I|^2 = |E' E|^2 - K for rows of length 1: a D x D product where the definition has K x K
    units = unit(codes)
    product = jnp.matmul(units.T, units, precision=jax.lax.Precision.HIGHEST)
    return ((product**2).sum() - codes.shape[0]) / codes.shape[0] ** 2


def _uncertainty(tokens, codes, weight, axis_name):
    """`mean H(q_t) - H(mean q_t)`, nats, over the tokens that count."""
    axis = replica_axis(axis_name)

    @jax.checkpoint
    def chunk(rows, share):
        log_q = jax.nn.log_softmax(-squared_distances(rows, codes), -1)
        q = jnp.exp(log_q)
        return -(q * log_q).sum(-1), (q * share[:, None]).sum(0, keepdims=True)

    share = weight / jnp.maximum(over_replicas(weight.sum(), axis), 1.0)
    # chunk by chunk and recomputed in the backward pass: no tokens-by-codes matrix is kept
    entropies, chunk_means = map_rows(chunk, codes.shape[0], tokens, share)
    mean, token_entropy = over_replicas(chunk_means.sum(0), axis), over_replicas((share * entropies).sum(), axis)
    # H(mean q) is subtracted: + sum mean log mean
    return token_entropy + jnp.where(mean > 0, mean * jnp.log(jnp.where(mean > 0, mean, 1.0)), 0.0).sum()
