"""Data: reading it (`load`), splitting it honestly (`splits`), feeding it (`batches`).

Everything comes in as NumPy arrays: images uint8 `[N, H, W, C]` (or float32 in 0..1), tables float32 `[N, D]`,
labels int64 `[N]` that index `label_names`. The readers of files are imported when a spec asks for them.
"""

from jaxae.data import batches as batches
from jaxae.data import protocols as protocols
from jaxae.data import splits as splits
from jaxae.data.dataset import Dataset as Dataset
from jaxae.data.dataset import Factors as Factors
from jaxae.data.loading import load as load
from jaxae.data.splits import Part as Part
from jaxae.data.splits import Splits as Splits

__all__ = ["Dataset", "Factors", "Part", "Splits", "batches", "load", "protocols", "splits"]
