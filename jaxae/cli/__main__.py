"""`python -m jaxae.cli`: the command `jaxae`."""

from jaxae.cli.commands import main

main()
