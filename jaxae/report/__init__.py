"""Figures and one HTML page from a run folder."""

from jaxae.report.page import render
from jaxae.report.pictures import sample_grid

__all__ = ["render", "sample_grid"]
