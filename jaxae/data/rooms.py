"""A solid in a room, seen from several sides: three-dimensional images from the factors of shapes3d."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jaxae.numerics import is_traced
from jaxae.numerics.arguments import check_arguments

FACTOR_NAMES = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
FACTOR_SIZES = (10, 10, 10, 8, 4, 15)
SHAPES = ("cube", "cylinder", "sphere", "pill")
# number of steps of the march along a ray, and the depth at which it starts, in front of the largest solid
_STEPS, _NEAR = 24, 2.9


def render(factors: Int[Array, "B F"], size: int = 64) -> Float[Array, "B size size 3"]:
    """A solid on the floor between two walls, lit from above, by marching along rays through its distance field.

    Args:
      factors: `[B, 6]`: hues of floor, wall and object (ten each), scale (8), shape (cube, cylinder, sphere, pill),
        orientation of the view (15, from -30 to 30 degrees): 480,000 combinations.
      size: height and width in pixels.

    Returns:
      `[B, size, size, 3]` float32 in 0..1.

    Raises:
      ValueError: another number of factors, or a size below 8.

    Source: factors: Burgess and Kim 2018, "3D Shapes Dataset"; the images are re-rendered, not those of that file.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.data import rooms
      >>> rooms.render(jnp.array([[0, 3, 6, 7, 2, 7]]), size=32).shape
      (1, 32, 32, 3)
    """
    check_factors(factors, FACTOR_SIZES, size)
    return jax.vmap(lambda row: _one(row, size))(jnp.asarray(factors))


def hues(num: int) -> Float[Array, "num 3"]:
    """Bright colours at equal steps around the colour circle.

    Example:
      >>> from jaxae.data.rooms import hues
      >>> hues(3).tolist()
      [[1.0, 0.25, 0.25], [0.25, 1.0, 0.25], [0.25, 0.25, 1.0]]
    """
    # hue to RGB: each channel is a trapezoid over the circle, shifted by a third of it
    turn = 6 * np.arange(num)[:, None] / num + np.array([[0.0, 4.0, 2.0]])
    return jnp.asarray(0.25 + 0.75 * np.clip(np.abs(turn % 6 - 3) - 1, 0, 1), jnp.float32)


def check_factors(factors: Array, sizes: tuple[int, ...], size: int) -> None:
    """Raise ValueError where these are no factors `[B, F]` in their ranges, or the image is under 8 pixels wide."""
    if jnp.ndim(factors) != 2 or factors.shape[1] != len(sizes) or not jnp.issubdtype(factors.dtype, jnp.integer):
        raise ValueError(f"factors must be whole numbers [B, {len(sizes)}]; got {jnp.shape(factors)} {factors.dtype}")
    if size < 8:
        raise ValueError(f"images must be 8 pixels wide at least; got {size}")
    if not is_traced(factors):
        values = np.asarray(factors)
        odd = (values < 0) | (values >= np.array(sizes))
        if odd.any():
            row, factor = np.argwhere(odd)[0]
            raise ValueError(f"factor {factor} has values 0..{sizes[factor] - 1}; row {row} has {values[row, factor]}")


def _one(row, size):
    floor, wall, thing, scale, shape, orientation = row
    colours = hues(10)[:, None, None]
    radius = 0.5 + 0.5 * scale / 7
    solid_at = _solid(shape, radius)
    eye, ray = _camera((orientation / 14 - 0.5) * (math.pi / 3), size)

    def along(depth):
        return [start + depth * part for start, part in zip(eye, ray, strict=True)]

    def march(depth, _):
        return depth + solid_at(*along(depth)), None

    # sphere tracing: the distance to the solid is a step that cannot pass through its surface
    depth, _ = jax.lax.scan(march, jnp.full((size, size), _NEAR), None, length=_STEPS)
    points = along(depth)
    # a ray that misses the solid ends near its closest approach: within a pixel of the outline it counts in part
    cover = jnp.clip(1 - solid_at(*points) / (1.3 * depth / size), 0, 1)
    # ambient light and the diffuse reflection of a single light
    bright = 0.45 + 0.6 * jnp.clip(_towards_light(solid_at, points), 0, 1)
    left, to_floor, right = (_to_plane(e, r, at) for e, r, at in zip(eye, ray, (-2.6, 0.0, -2.6), strict=True))
    # floor near the solid gets less ambient light
    shadow = 0.65 + 0.35 * jnp.clip(solid_at(*along(jnp.minimum(to_floor, 50.0))) / 0.5, 0, 1)
    # a ray sees the nearest of the three planes behind the solid
    is_floor = to_floor < jnp.minimum(left, right)
    behind = jnp.where(left < right, 0.75, 0.95)
    room = jnp.where(is_floor, 0.9 * shadow, behind)[..., None] * jnp.where(
        is_floor[..., None], colours[floor], colours[wall]
    )
    cover = cover[..., None]
    return jnp.clip(cover * bright[..., None] * colours[thing] + (1 - cover) * room, 0, 1)


def _camera(angle, size):
    """Position of the camera and unit ray of each pixel, as x, y and z: it circles the solid and looks down at it."""
    turn = angle + math.pi / 4
    toward = jnp.stack([-jnp.sin(turn), -0.32, -jnp.cos(turn)])
    toward = toward / jnp.linalg.norm(toward)
    right = jnp.stack([jnp.cos(turn), 0.0, -jnp.sin(turn)])
    up = jnp.cross(right, toward)
    axis = ((2 * jnp.arange(size, dtype=jnp.float32) + 1) / size - 1) * 0.5
    ray = [toward[i] + axis[None, :] * right[i] - axis[:, None] * up[i] for i in range(3)]
    length = jnp.sqrt(sum(part**2 for part in ray))
    return list(jnp.array([0.0, 0.75, 0.0]) - 4.6 * toward), [part / length for part in ray]


def _to_plane(start, part, place):
    return jnp.where(part < -1e-3, (place - start) / jnp.minimum(part, -1e-3), jnp.inf)


def _solid(shape, radius):
    """`(x, y, z) ->` distance to a solid that stands on the floor: a box, round or not, with rounded edges."""
    # the solid is a smaller box or cylinder, grown by `edge`: that rounds its edges
    width, edge = jnp.array([[0.8, 0.05], [0.8, 0.05], [1.0, 1.0], [0.55, 0.55]])[shape] * radius
    inner, height, is_box = width - edge, radius - edge, shape == 0

    def distance(x, y, z):
        first = jnp.where(is_box, jnp.abs(x), jnp.sqrt(x * x + z * z)) - inner
        second = jnp.where(is_box, jnp.abs(z) - inner, -1.0)
        third = jnp.abs(y - radius) - height
        out = [jnp.maximum(part, 0) for part in (first, second, third)]
        inside = jnp.minimum(jnp.maximum(jnp.maximum(first, second), third), 0)
        return jnp.sqrt(out[0] * out[0] + out[1] * out[1] + out[2] * out[2]) + inside - edge

    return distance


def _towards_light(distance, points, step=1e-2):
    """Cosine between the surface's normal, the gradient of the distance by central differences, and the light."""
    x, y, z = points
    normal = [
        distance(x + step, y, z) - distance(x - step, y, z),
        distance(x, y + step, z) - distance(x, y - step, z),
        distance(x, y, z + step) - distance(x, y, z - step),
    ]
    length = jnp.sqrt(sum(part**2 for part in normal))
    light = (-0.45, 0.8, 0.4)
    return sum(part * n for part, n in zip(light, normal, strict=True)) / jnp.maximum(length, 1e-6)


check_arguments(__name__)
