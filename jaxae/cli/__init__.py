"""The command line: `jaxae detect | train | ...`, or `python -m jaxae.cli`."""

from jaxae.cli.commands import main

__all__ = ["main"]
