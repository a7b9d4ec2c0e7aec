"""Named models: each preset composes the parts and returns a model and its objective.

A preset takes the shape of one example and returns `(Autoencoder, Objective)`. Its specific keywords are in its
signature; the keywords that all share, `latent_size`, `encoder`, `decoder`, `likelihood` and `transform`, are those of
`presets.Parts`. A shape or size that is not a positive whole number raises a `ValueError`.

Objectives scale pixels 0..255 (uint8) to 0..1 themselves; floating values pass through.
"""

from jaxae.numerics.arguments import check_arguments
from jaxae.presets.bounds import ciwae, iwae, miwae, piwae
from jaxae.presets.discrete import vq_vae
from jaxae.presets.disentangled import beta_tc_vae, dip_vae, factor_vae, info_vae
from jaxae.presets.masked import masked_ae, visible_patches
from jaxae.presets.parts import Networks, Parts, keywords
from jaxae.presets.plain import adversarial_ae, ae, contractive_ae, denoising_ae, rae, sparse_ae, wae
from jaxae.presets.variational import (
    conditional_vae,
    flow_vae,
    hierarchical_vae,
    hyperspherical_vae,
    sigma_vae,
    vae,
    vae_gan,
    vamp_vae,
)

PRESETS = {
    "ae": ae,
    "denoising_ae": denoising_ae,
    "masked_ae": masked_ae,
    "sparse_ae": sparse_ae,
    "contractive_ae": contractive_ae,
    "rae": rae,
    "wae": wae,
    "adversarial_ae": adversarial_ae,
    "vae": vae,
    "sigma_vae": sigma_vae,
    "conditional_vae": conditional_vae,
    "vamp_vae": vamp_vae,
    "flow_vae": flow_vae,
    "hierarchical_vae": hierarchical_vae,
    "hyperspherical_vae": hyperspherical_vae,
    "vae_gan": vae_gan,
    "iwae": iwae,
    "miwae": miwae,
    "piwae": piwae,
    "ciwae": ciwae,
    "beta_tc_vae": beta_tc_vae,
    "factor_vae": factor_vae,
    "dip_vae": dip_vae,
    "info_vae": info_vae,
    "vq_vae": vq_vae,
}
"""Name to preset, for the command line and the contract tests."""

CONDITIONAL = frozenset({"conditional_vae"})
"""Presets whose model needs `Batch.condition`: labels `[B]`."""

__all__ = [
    "CONDITIONAL",
    "PRESETS",
    "Networks",
    "Parts",
    "adversarial_ae",
    "ae",
    "beta_tc_vae",
    "ciwae",
    "conditional_vae",
    "contractive_ae",
    "denoising_ae",
    "dip_vae",
    "factor_vae",
    "flow_vae",
    "hierarchical_vae",
    "hyperspherical_vae",
    "info_vae",
    "iwae",
    "keywords",
    "masked_ae",
    "miwae",
    "piwae",
    "rae",
    "sigma_vae",
    "sparse_ae",
    "vae",
    "vae_gan",
    "vamp_vae",
    "visible_patches",
    "vq_vae",
    "wae",
]

check_arguments(__name__)
