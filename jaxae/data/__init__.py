"""Data: reading it (`load`), splitting it honestly (`splits`), feeding it (`batches`).

Everything comes in as NumPy arrays: images uint8 `[N, H, W, C]` (or float32 in 0..1), tables float32 `[N, D]`,
labels int64 `[N]` that index `label_names`. The readers of files are imported when a spec asks for them.
"""

from jaxae.data import adbench, batches, duplicates, factors, protocols, rooms, splits, sprites
from jaxae.data.dataset import Dataset, Factors
from jaxae.data.loading import load
from jaxae.data.splits import Part, Splits
from jaxae.numerics.arguments import check_arguments

__all__ = [
    "Dataset",
    "Factors",
    "Part",
    "Splits",
    "adbench",
    "batches",
    "duplicates",
    "factors",
    "load",
    "protocols",
    "rooms",
    "splits",
    "sprites",
]

check_arguments(__name__)
