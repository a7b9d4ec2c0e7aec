"""What a data set's examples are, as data: names, kinds, sizes and ranges, kept by the run and by the detector."""

from typing import Any, NamedTuple

import numpy as np

from jaxae.data.dataset import Dataset

VERSION = 1
# a column is said to have another unit where more than this share of the rows lies beyond its training range
ELSEWHERE = 0.5


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      name: column name; None where the source names none.
      kind: "number".
      low: least value among the training rows.
      high: largest value among the training rows.
    """

    name: str | None
    kind: str
    low: float
    high: float


class ImageKind(NamedTuple):
    """What all images of a data set have in common.

    Attributes:
      height: pixels.
      width: pixels.
      channels: 1 for grey, 3 for colour.
      low: least value among the training rows, in the unit of the dtype.
      high: largest value among the training rows.
    """

    height: int
    width: int
    channels: int
    low: float
    high: float


class Schema(NamedTuple):
    """What the examples are.

    Attributes:
      kind: "table" or "images".
      dtype: of the arrays that the readers give, "float32" or "uint8".
      parts: a `Column` for each column of a table, in order; one `ImageKind` for images.
    """

    kind: str
    dtype: str
    parts: tuple[Column, ...] | tuple[ImageKind]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        if isinstance(self.parts[0], ImageKind):
            return self.parts[0][:3]
        return (len(self.parts),)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of a table's columns; None for images and for columns without names."""
        names = [part.name for part in self.parts if isinstance(part, Column)]
        return tuple(name for name in names if name is not None) if names and None not in names else None


def describe(x: np.ndarray, names: tuple[str, ...] | None = None) -> Schema:
    """The schema of training rows.

    Args:
      x: `[N, D]` float32 or `[N, H, W, C]` float32 or uint8, N at least 1.
      names: D column names of a table; None: it has none.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.schema import describe
      >>> schema = describe(np.array([[1.0, 5.0], [2.0, 4.0]], np.float32), ("age", "dose"))
      >>> schema.parts[1]
      Column(name='dose', kind='number', low=4.0, high=5.0)
      >>> schema.shape, schema.names
      ((2,), ('age', 'dose'))
    """
    if x.ndim == 2:
        lows, highs = x.min(0), x.max(0)
        each = names or (None,) * x.shape[1]
        columns = zip(each, lows, highs, strict=True)
        return Schema("table", str(x.dtype), tuple(Column(n, "number", float(a), float(b)) for n, a, b in columns))
    height, width, channels = map(int, x.shape[1:])
    kind = ImageKind(height, width, channels, float(x.min()), float(x.max()))
    return Schema("images", str(x.dtype), (kind,))


def as_json(schema: Schema) -> dict[str, Any]:
    """The schema as JSON has it; `from_json` reads it back."""
    return {
        "version": VERSION,
        "kind": schema.kind,
        "dtype": schema.dtype,
        "parts": [part._asdict() for part in schema.parts],
    }


def from_json(where: str, value: Any) -> Schema:
    """Read `as_json` back.

    Args:
      where: what the value was read from, for messages.
      value: the parsed JSON.

    Raises:
      ValueError: it is no schema, or one of a newer version.

    Example:
      >>> import numpy as np
      >>> from jaxae.data import schema
      >>> images = schema.describe(np.zeros((2, 8, 9, 1), np.uint8))
      >>> schema.from_json("card.json", schema.as_json(images)) == images
      True
    """
    try:
        if value["version"] != VERSION:
            raise ValueError(f"{where}: a schema of version {value['version']!r}; this library reads version {VERSION}")
        kinds = {"table": Column, "images": ImageKind}
        if value["kind"] not in kinds or value["dtype"] not in ("float32", "uint8") or not value["parts"]:
            raise ValueError(f"{where}: no schema of a table or of images, but {value['kind']!r} {value['dtype']!r}")
        parts = tuple(kinds[value["kind"]](**part) for part in value["parts"])
        for part in parts:
            _require_types(where, part)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: its schema cannot be read ({type(error).__name__}: {error})") from None
    if value["kind"] == "images" and len(parts) != 1:
        raise ValueError(f"{where}: images have one kind, not {len(parts)}")
    return Schema(value["kind"], value["dtype"], parts)


def _require_types(where: str, part: Column | ImageKind) -> None:
    for name, value in part._asdict().items():
        texts, whole = name in ("name", "kind"), name in ("height", "width", "channels")
        fits = isinstance(value, str) or (name == "name" and value is None) if texts else isinstance(value, int | float)
        if not fits or isinstance(value, bool) or (whole and not isinstance(value, int)):
            raise ValueError(f"{where}: {name} of the schema is {value!r}")


def differences(schema: Schema, dataset: Dataset) -> list[str]:
    """What there is to tell of data that is read by the schema of other data.

    Args:
      schema: of the data that a detector was trained on.
      dataset: other data, whose test part is looked at.

    Returns:
      A line for each: columns that were matched by position since names are missing, and columns or images most of
      which lie beyond the range seen in training by more than its width (another unit?).

    Raises:
      ValueError: another kind, shape or dtype, in one line.

    Example:
      >>> import numpy as np
      >>> from jaxae.data import Dataset, schema
      >>> grams = np.linspace(1, 2, 50, dtype=np.float32)[:, None]
      >>> seen = schema.describe(grams, ("dose",))
      >>> schema.differences(seen, Dataset("mg", grams, None, 1000 * grams, None, feature_names=("dose",)))
      ['dose: 100 % of the rows lie far beyond what training saw, 1 to 2 (now 1000 to 2000): another unit?']
    """
    x = dataset.x_test
    kind = "table" if x.ndim == 2 else "images"
    if (kind, x.shape[1:], str(x.dtype)) != (schema.kind, schema.shape, schema.dtype):
        raise ValueError(
            f"{dataset.name}: {_words(kind, x.shape[1:], str(x.dtype))}; the detector was trained on "
            f"{_words(schema.kind, schema.shape, schema.dtype)}"
        )
    lines = []
    if kind == "table" and (schema.names is None) != (dataset.feature_names is None):
        which = "the training data" if schema.names is None else dataset.name
        lines.append(f"{which} names no columns: they are matched by their position")
    for index, part in enumerate(schema.parts):
        values = x[:, index] if isinstance(part, Column) else x.reshape(len(x), -1).mean(1, dtype=np.float64)
        width = part.high - part.low
        if not len(values) or not width > 0:
            continue
        share = float(((values < part.low - width) | (values > part.high + width)).mean())
        if share > ELSEWHERE:
            name = "images" if isinstance(part, ImageKind) else part.name or f"column {index}"
            lines.append(
                f"{name}: {100 * share:.0f} % of the rows lie far beyond what training saw, {part.low:.4g} to "
                f"{part.high:.4g} (now {values.min():.4g} to {values.max():.4g}): another unit?"
            )
    return lines


def _words(kind: str, shape: tuple[int, ...], dtype: str) -> str:
    if kind == "table":
        return f"{shape[0]} columns of {dtype}"
    return f"images of {shape[1]}x{shape[0]} pixels, {shape[2]} channel{'s' if shape[2] > 1 else ''}, {dtype}"
