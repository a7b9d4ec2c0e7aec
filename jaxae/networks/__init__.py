"""Encoders, decoders and heads: constructors of `Network`. The only room that imports Flax."""

from jaxae.networks.autoregressive import autoregressive_mlp
from jaxae.networks.combinators import conditional, frozen, identity, shared_scale
from jaxae.networks.convolutional import conv_decoder, conv_encoder
from jaxae.networks.default import default_decoder, default_encoder
from jaxae.networks.equinox import from_equinox
from jaxae.networks.flows import inverse_autoregressive, planar
from jaxae.networks.linen import from_linen
from jaxae.networks.local_autoregressive import LocalAutoregressive, local_autoregressive
from jaxae.networks.mlp import mlp
from jaxae.networks.nnx import from_nnx
from jaxae.networks.patches import patch_decoder, patch_encoder
from jaxae.networks.spatial_broadcast import spatial_broadcast
from jaxae.networks.stateful import AnyNetwork, around, evaluated, with_state
from jaxae.networks.transformer import Transformer, transformer
from jaxae.numerics.arguments import check_arguments

__all__ = [
    "AnyNetwork",
    "LocalAutoregressive",
    "Transformer",
    "around",
    "autoregressive_mlp",
    "conditional",
    "conv_decoder",
    "conv_encoder",
    "default_decoder",
    "default_encoder",
    "evaluated",
    "from_equinox",
    "from_linen",
    "from_nnx",
    "frozen",
    "identity",
    "inverse_autoregressive",
    "local_autoregressive",
    "mlp",
    "patch_decoder",
    "patch_encoder",
    "planar",
    "shared_scale",
    "spatial_broadcast",
    "transformer",
    "with_state",
]

check_arguments(__name__)
