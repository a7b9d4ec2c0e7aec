"""`nearest_rows` under its earlier name; it lives in `jaxae.neighbours`, where downstream probes can reach it."""

from jaxae.neighbours import nearest_rows as nearest_rows
