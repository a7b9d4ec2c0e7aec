"""Arrays of `.npz` files, read strictly."""

import contextlib
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxae.files.kinds import text
from jaxae.files.messages import first_line, listed, shown

# deflate packs at most 1032 bytes into one
MOST_PACKED = 1032
_BLOCK = 2**24


class Array(NamedTuple):
    """What an array of an `.npz` must be.

    Attributes:
      kinds: letters of NumPy's kinds of dtype, such as "f" or "iu".
      shape: a size for each axis: a number, a letter (axes of one letter in one file are equally long), or "..." at
        the end for any more; None: any shape.
      low: least value; None: any.
      high: largest value; None: any.
      finite: whether NaN and infinity are refused.
    """

    kinds: str
    shape: tuple[int | str, ...] | None = None
    low: float | int | None = None
    high: float | int | None = None
    finite: bool = True


def read_arrays(
    path: str | os.PathLike,
    needed: Mapping[str, Array],
    optional: Mapping[str, Array] | None = None,
    others: Array | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`.

    Args:
      path: the file.
      needed: name to what the array must be.
      optional: alike, of arrays that may be absent.
      others: what every other array must be; None: there is no other one.

    Raises:
      ValueError: it is damaged or no `.npz`, an array is missing, unknown or of another kind.
      FileNotFoundError: there is none.
    """
    known = {**needed, **(optional or {})}
    with open_arrays(path) as (names, read):
        if absent := [name for name in needed if name not in names]:
            raise ValueError(f"{path} holds no array {listed(absent)}")
        unknown = [name for name in names if name not in known]
        if unknown and others is None:
            raise ValueError(f"{path} holds {listed(map(shown, unknown))}; there are {listed(known, 20)}")
        expected = {**known, **dict.fromkeys(unknown, others or Array(""))}
        sizes: dict[str, int] = {}
        return {name: _checked(f"{path}: {name}", read(name), expected[name], sizes) for name in names}


@contextlib.contextmanager
def open_arrays(path: str | os.PathLike) -> Iterator[tuple[list[str], Callable[[str], np.ndarray]]]:
    """The names of the arrays of an `.npz`, and a function that reads one of them.

    Raises:
      ValueError: (also from the function) it is damaged or no `.npz`, an array holds Python objects, or its header
        announces more than the file holds.
    """
    path = Path(path)
    with path.open("rb") as stream:
        start = stream.read(8)
        if start[:6] == np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"{path}: holds one bare array; save it as .npz with the key x")
        if start[:2] != b"PK":
            raise ValueError(f"{path}: not a readable .npz file (it does not begin as one)")
        try:
            archive = zipfile.ZipFile(stream)
            size = os.fstat(stream.fileno()).st_size
            members = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename or name in members:
                    raise ValueError(f"its member {shown(info.filename)} is no array of NumPy, or is there twice")
                members[name] = info
            if sum(info.file_size for info in members.values()) > MOST_PACKED * size:
                raise ValueError("its members claim more than the file can hold")
        except Exception as error:  # zipfile raises many kinds on damaged bytes
            raise ValueError(f"{path}: not a readable .npz file ({first_line(error)})") from None
        with archive:
            yield list(members), lambda name: _member(f"{path}: {name}", archive, members[name])


def _member(where: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{where} is damaged (it is packed in a way that NumPy does not write)")
    try:
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"its format is {version[0]}.{version[1]}")
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = header(stream)
            if dtype.hasobject:
                raise _Pickled
            announced, there = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
            if announced != there or any(length < 0 for length in shape):
                size = f"{dtype}[{', '.join(map(str, shape))}]"
                raise ValueError(f"it announces {size}, {announced} bytes, and holds {there}")
            flat = np.empty(math.prod(shape), dtype)
            if announced:
                _fill(flat.view(np.uint8), stream)
    except _Pickled:
        raise ValueError(f"{where} holds Python objects (a pickle), which are never loaded") from None
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged bytes
        raise ValueError(f"{where} is damaged ({first_line(error)})") from None
    array = flat.reshape(shape, order="F" if is_fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


class _Pickled(Exception):
    pass


def _fill(target: np.ndarray, stream: Any) -> None:
    filled = 0
    while filled < len(target):
        block = stream.read(min(_BLOCK, len(target) - filled))
        if not block:
            raise ValueError("it ends too early")
        target[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)
    if stream.read(1):  # also lets zipfile compare the checksum
        raise ValueError("it is longer than it says")


def _checked(where: str, array: np.ndarray, expected: Array, sizes: dict[str, int]) -> np.ndarray:
    if array.dtype.kind not in expected.kinds:
        words = {"f": "floating", "i": "whole", "u": "not negative", "b": "true or false", "U": "texts", "V": "raw"}
        kinds = " or ".join(words.get(kind, kind) for kind in expected.kinds)
        raise ValueError(f"{where} is {shown(array) if array.ndim else array.dtype}; its values must be {kinds}")
    if expected.shape is not None:
        is_open = expected.shape[-1:] == ("...",)
        axes = expected.shape[:-1] if is_open else expected.shape
        fits = array.ndim >= len(axes) if is_open else array.ndim == len(axes)
        for length, axis in zip(array.shape, axes, strict=False):
            fits = fits and length == (sizes.setdefault(axis, length) if isinstance(axis, str) else axis)
        if not fits:
            wanted = ", ".join(str(sizes.get(axis, axis) if isinstance(axis, str) else axis) for axis in expected.shape)
            raise ValueError(f"{where} has shape {list(array.shape)}; it must be [{wanted}]")
    if array.dtype.kind == "U":
        for value in np.unique(array):
            text(where, str(value))
    elif array.size and array.dtype.kind in "fiub":
        if expected.finite and not np.isfinite(array).all():
            raise ValueError(f"{where} holds NaN or infinite values")
        low, high = array.min(), array.max()
        if (expected.low is not None and low < expected.low) or (expected.high is not None and high > expected.high):
            limits = f"[{expected.low}, {expected.high}]"
            raise ValueError(f"{where} holds values from {low} to {high}; they must lie in {limits}")
    return array
