"""Figures and one HTML page from a run folder."""

from jaxae.report.page import render
from jaxae.report.pictures import sample_grid
from jaxae.report.terminal import table

__all__ = ["render", "sample_grid", "table"]
