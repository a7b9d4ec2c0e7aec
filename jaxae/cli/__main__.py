"""`python -m jaxae.cli`: the command `jaxae`."""

from jaxae.cli.commands import main

if __name__ == "__main__":
    main()
