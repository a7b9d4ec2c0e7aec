"""Figures and one HTML page from a run folder."""

from jaxae.numerics.arguments import check_arguments
from jaxae.report import decisions, pictures, traversals
from jaxae.report.page import render
from jaxae.report.pictures import sample_grid
from jaxae.report.terminal import table
from jaxae.report.traversals import animate, latent_traversals

__all__ = ["animate", "decisions", "latent_traversals", "pictures", "render", "sample_grid", "table", "traversals"]

check_arguments(__name__)
