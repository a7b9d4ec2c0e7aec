"""jaxae: autoencoders in JAX, from raw data to a trusted decision."""

__version__ = "0.1.0"
