"""Cleaning: which training rows to leave out, since they may be anomalies."""

from jaxae.cleaning.neighbours import kept_by_neighbours
from jaxae.cleaning.refined import refined
from jaxae.cleaning.removal import METHODS, cleaned
from jaxae.numerics.arguments import check_arguments

__all__ = ["METHODS", "cleaned", "kept_by_neighbours", "refined"]

check_arguments(__name__)
