"""Sprites rendered from known factors on the device, so that no file is needed.

`sprites` has the factors of dSprites (shape 3, scale 6, rotation 40, x 32, y 32: 737,280 combinations), but is a
re-rendering: edges are smooth, and the 40 angles are distinct (dSprites has the first one twice), so that figures are
not comparable to the digit with those on the original file.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jaxae.data import rooms
from jaxae.data.dataset import Factors, Raw
from jaxae.data.factors import factors_at
from jaxae.numerics import target_of
from jaxae.numerics.arguments import check_arguments
from jaxae.transforms import Transform
from jaxae.types import Batch

FACTOR_NAMES = ("shape", "scale", "rotation", "x", "y")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")
NUM_HUES = 10
# half the width of the largest square, and the largest distance of a centre from the image's centre along an axis, in
# units of half the image's width: even the corner of a rotated square stays inside
_HALF, _REACH = 0.3, 0.55


class Sprites(NamedTuple):
    """A family of images with known factors.

    Attributes:
      factor_names: names of the F factors.
      factor_sizes: number of values of each factor.
      render: `(factors [B, F] int32, size=64) -> [B, size, size, C]` float32 in 0..1.
    """

    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    render: Callable


def render(factors: Int[Array, "B F"], size: int = 64) -> Float[Array, "B size size 1"]:
    """White sprites on black: coverage of each pixel by a shape, from its signed distance d: `clip(1/2 - d, 0, 1)`.

    Args:
      factors: `[B, 5]`: shape (square, ellipse, heart), scale (0.5 to 1), rotation (steps of 9 degrees), x (left to
        right), y (top to bottom).
      size: height and width in pixels.

    Returns:
      `[B, size, size, 1]` float32 in 0..1.

    Raises:
      ValueError: another number of factors, or a size below 8.

    Source: factors: Matthey, Higgins, Hassabis and Lerchner 2017, "dSprites: Disentanglement testing Sprites dataset";
    distances to shapes: Quilez, "2D distance functions".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.data import sprites
      >>> sprites.render(jnp.array([[2, 5, 0, 16, 16]]), size=32).shape
      (1, 32, 32, 1)
    """
    _check(factors, FACTOR_SIZES, size)
    return jax.vmap(lambda row: _coverage(row, size))(jnp.asarray(factors))[..., None]


def render_colour(factors: Int[Array, "B F"], size: int = 64) -> Float[Array, "B size size 3"]:
    """As `render`, with a sixth factor: one of ten hues.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.data import sprites
      >>> sprites.render_colour(jnp.array([[2, 5, 0, 16, 16, 0]]), size=32).max((0, 1, 2)).round(2).tolist()
      [1.0, 0.25, 0.25]
    """
    _check(factors, (*FACTOR_SIZES, NUM_HUES), size)
    shade = jax.vmap(lambda row: _coverage(row[:5], size))(jnp.asarray(factors))
    return shade[..., None] * rooms.hues(NUM_HUES)[factors[:, 5]][:, None, None, :]


SPRITES = {
    "plain": Sprites(FACTOR_NAMES, FACTOR_SIZES, render),
    "colour": Sprites((*FACTOR_NAMES, "hue"), (*FACTOR_SIZES, NUM_HUES), render_colour),
    "room": Sprites(rooms.FACTOR_NAMES, rooms.FACTOR_SIZES, rooms.render),
}
"""Name to family: `plain` sprites, with `colour`, and a three-dimensional `room` with the factors of shapes3d."""


def rendered(world: str = "plain", size: int = 64) -> Transform:
    """A transform that renders indices of the full grid, or factors: the whole grid as training data without a file.

    Args:
      world: name of a family in `SPRITES`.
      size: height and width in pixels.

    Returns:
      `(rng, Batch) -> Batch`; `x` is `[B]` indices into the grid, or `[B, F]` factors. A target in the batch stays.

    Raises:
      ValueError: there is no such world.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.data import sprites
      >>> from jaxae.types import Batch
      >>> sprites.rendered(size=32)(None, Batch(jnp.arange(4))).x.shape
      (4, 32, 32, 1)
    """
    made = _world(world)

    def apply(rng: Array | None, batch: Batch) -> Batch:
        factors = batch.x if jnp.ndim(batch.x) == 2 else factors_at(batch.x, made.factor_sizes)
        images = made.render(factors, size)
        return batch._replace(x=images, target=None if batch.target is None else target_of(batch))

    return apply


def read(options: str, seed: int = 0) -> Raw:
    """Data of `load("sprites")`, `load("sprites:colour")`, `load("sprites:room:32:5000")`: a draw from the grid.

    Args:
      options: name of a family, image size (up to 512 pixels) and number of training images (above 512), separated by
        colons, each optional; the defaults are "plain", 64 pixels and 50,000. A fifth as many images are for testing.
      seed: seed of the draw; no combination is drawn twice.

    Raises:
      ValueError: an option that is none of these.
    """
    world, size, num = "plain", 64, 50_000
    for option in filter(None, options.split(":")):
        if option in SPRITES:
            world = option
        elif option.isdigit() and int(option) <= 512:
            size = int(option)
        elif option.isdigit():
            num = int(option)
        else:
            raise ValueError(f"sprites:{options}: {option} is neither a size nor one of {', '.join(SPRITES)}")
    made = _world(world)
    total, num_test = math.prod(made.factor_sizes), num // 5
    if num + num_test > total:
        raise ValueError(f"sprites:{options}: {num} + {num_test} images of {total} combinations; take fewer")
    rows = np.random.default_rng([seed, 0x5B17]).choice(total, num + num_test, replace=False)
    factors = np.asarray(factors_at(jnp.asarray(rows, jnp.int32), made.factor_sizes))
    images = _bytes(world, size, factors)
    shapes = factors[:, made.factor_names.index("shape")]
    names = rooms.SHAPES if world == "room" else SHAPES
    card = {"source": "rendered here from factors; no file", "world": world, "size": size, "factor_seed": seed}
    return Raw(
        ":".join(["sprites", *filter(None, options.split(":"))]),
        images[:num],
        shapes[:num],
        images[num:],
        shapes[num:],
        label_names=names,
        card=card,
        factors=Factors(made.factor_names, made.factor_sizes, factors[:num], factors[num:]),
    )


def _bytes(world: str, size: int, factors: np.ndarray, chunk: int = 1024) -> np.ndarray:
    draw = _compiled(world, size)
    images = []
    for start in range(0, len(factors), chunk):
        rows = np.minimum(np.arange(start, start + chunk), len(factors) - 1)
        images.append(np.asarray(draw(factors[rows])))
    return np.concatenate(images)[: len(factors)]


@functools.cache
def _compiled(world: str, size: int) -> Callable:
    made = SPRITES[world]
    return jax.jit(lambda factors: jnp.round(255 * made.render(factors, size)).astype(jnp.uint8))


def _world(name: str) -> Sprites:
    if name not in SPRITES:
        raise ValueError(f"no sprites {name!r}; there are {', '.join(SPRITES)}")
    return SPRITES[name]


def _check(factors: Array, sizes: tuple[int, ...], size: int) -> None:
    rooms.check_factors(factors, sizes, size)


def _coverage(row, size):
    """`[size, size]` of one sprite."""
    # centres of the pixels, the image spanning -1..1
    axis = (2 * jnp.arange(size, dtype=jnp.float32) + 1) / size - 1
    shape, scale, rotation, x, y = row
    # scale 0..5 is a relative size of 0.5, 0.6 ... 1
    half = _HALF * (0.5 + 0.1 * scale)
    angle = rotation * (2 * math.pi / FACTOR_SIZES[2])
    places = jnp.linspace(-_REACH, _REACH, FACTOR_SIZES[3])
    across, down = (axis[None, :] - places[x]) / half, (axis[:, None] - places[y]) / half
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    # coordinates in the sprite's own frame, where its half-width is 1
    u, v = cosine * across + sine * down, cosine * down - sine * across
    distance = jnp.stack([_square(u, v), _ellipse(u, v), _heart(u, v)])[shape]
    # distance in pixels: an edge through a pixel's centre covers half of it
    return jnp.clip(0.5 - distance * half * size / 2, 0, 1)


def _square(u, v):
    # outside: distance to the nearest edge or corner; inside: minus the distance to the nearest edge
    a, b = jnp.abs(u) - 1, jnp.abs(v) - 1
    return jnp.hypot(jnp.maximum(a, 0), jnp.maximum(b, 0)) + jnp.minimum(jnp.maximum(a, b), 0)


def _ellipse(u, v, long=1.25, short=0.7):
    # first-order distance to k = 1, for k = |(u / long, v / short)|: (k - 1) / |grad k| with |grad k| = slope / k
    value, slope = jnp.hypot(u / long, v / short), jnp.hypot(u / long**2, v / short**2)
    return value * (value - 1) / jnp.maximum(slope, 1e-3)


def _heart(u, v, scale=1.9):
    # a square on its corner between two half discs, symmetric in u, with the tip pointing down
    u, v = jnp.abs(u) / scale, 0.55 - v / scale
    disc = jnp.hypot(u - 0.25, v - 0.75) - math.sqrt(2) / 4
    along = jnp.maximum(u + v, 0) / 2
    # distance to the upper corner or to the side u = v, negative inside
    side = jnp.minimum(jnp.hypot(u, v - 1), jnp.hypot(u - along, v - along)) * jnp.sign(u - v)
    return jnp.where(u + v > 1, disc, side) * scale


check_arguments(__name__)
