"""One row for each score."""

from collections.abc import Callable

from jaxae.scoring.scores.combinators import averaged, ensemble, prepared
from jaxae.scoring.scores.explain import heat_maps
from jaxae.scoring.scores.fusion import fused
from jaxae.scoring.scores.latent import encoded, knn, mahalanobis
from jaxae.scoring.scores.layers import normalised_pathway, simple_pathway
from jaxae.scoring.scores.likelihood import bound
from jaxae.scoring.scores.normalisation import complexity_normalised, normalised, relative
from jaxae.scoring.scores.reconstruction import reconstruction
from jaxae.scoring.scores.surprisal import surprisal
from jaxae.transforms import gaussian_noise
from jaxae.types import Autoencoder, Network, Scorer

SCORERS: dict[str, Callable[[Autoencoder, Network], Scorer]] = {
    "reconstruction": lambda model, encoder: reconstruction(model),
    "bound": lambda model, encoder: bound(model, num_samples=2, num_averages=2),
    "surprisal": lambda model, encoder: surprisal(model, model.num_codes or 2),
    "latent.knn": lambda model, encoder: knn(encoded(model)),
    "latent.mahalanobis": lambda model, encoder: mahalanobis(encoded(model)),
    "simple_pathway": simple_pathway,
    "normalised_pathway": normalised_pathway,
    "normalised": lambda model, encoder: normalised(reconstruction(model)),
    "relative": lambda model, encoder: relative(reconstruction(model)),
    "complexity_normalised": lambda model, encoder: complexity_normalised(reconstruction(model)),
    "explain.heat_maps": lambda model, encoder: heat_maps(reconstruction(model)),
    "fused": lambda model, encoder: fused(reconstruction(model), knn(encoded(model))),
    "prepared": lambda model, encoder: prepared(reconstruction(model), gaussian_noise(0.1)),
    "averaged": lambda model, encoder: averaged(prepared(reconstruction(model), gaussian_noise(0.1)), 4),
    "ensemble": lambda model, encoder: ensemble(reconstruction(model)),
}
"""Name to constructor `(model, encoder) -> Scorer`: of a model whose code has symbols and a rate (such as one with
`bottlenecks.bernoulli`), and its encoder, which must have `hidden`. "ensemble" scores several models at once:
params and state with an axis of members."""
