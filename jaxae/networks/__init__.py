"""Encoders, decoders and heads: constructors of `Network`. The only room that imports Flax."""

from jaxae.networks.adapters import from_linen, from_nnx
from jaxae.networks.combinators import conditional, identity
from jaxae.networks.convolutional import conv_decoder, conv_encoder
from jaxae.networks.default import default_decoder, default_encoder
from jaxae.networks.mlp import mlp
from jaxae.networks.transformer import Transformer, transformer

__all__ = [
    "Transformer",
    "conditional",
    "conv_decoder",
    "conv_encoder",
    "default_decoder",
    "default_encoder",
    "from_linen",
    "from_nnx",
    "identity",
    "mlp",
    "transformer",
]
