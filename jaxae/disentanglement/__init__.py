"""Disentanglement, measured against ground-truth factors; and UDR, which needs none.

Scores of rows are functions of `(codes [N, D], factors [N, F])`, scores of groups of a `Source`. `evaluate` runs all
of them by a named protocol on any source, with an interval each.
"""

from jaxae.disentanglement.beta_vae import beta_vae_score
from jaxae.disentanglement.boosted_trees import Boosted, boosted_trees
from jaxae.disentanglement.dci import DCI, dci
from jaxae.disentanglement.explicitness import explicitness
from jaxae.disentanglement.factor_vae import factor_vae_score
from jaxae.disentanglement.information import mutual_information
from jaxae.disentanglement.irs import irs
from jaxae.disentanglement.mig import mig, mig_sup
from jaxae.disentanglement.modularity import modularity
from jaxae.disentanglement.protocols import PROTOCOLS, SCORES, Protocol, evaluate, repeated
from jaxae.disentanglement.sap import sap
from jaxae.disentanglement.sources import Source, code_table, from_arrays, from_generator, from_table
from jaxae.disentanglement.udr import udr
from jaxae.numerics.arguments import check_arguments

__all__ = [
    "DCI",
    "PROTOCOLS",
    "SCORES",
    "Boosted",
    "Protocol",
    "Source",
    "beta_vae_score",
    "boosted_trees",
    "code_table",
    "dci",
    "evaluate",
    "explicitness",
    "factor_vae_score",
    "from_arrays",
    "from_generator",
    "from_table",
    "irs",
    "mig",
    "mig_sup",
    "modularity",
    "mutual_information",
    "repeated",
    "sap",
    "udr",
]

check_arguments(__name__)
