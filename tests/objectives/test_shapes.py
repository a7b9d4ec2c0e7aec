"""Targets that broadcast against the prediction are refused: their loss would be a sum over pairs of elements."""

import jax
import jax.numpy as jnp
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives
from jaxae.model import autoencoder
from jaxae.types import Batch


@pytest.mark.parametrize("shape", [(4, 1), (4, 5, 1), (1, 5), (4, 4)])
@pytest.mark.parametrize("likelihood", [likelihoods.gaussian(), likelihoods.gaussian(None), likelihoods.categorical(3)])
def test_a_target_of_another_shape(shape, likelihood):
    model = autoencoder(networks.mlp(4), bottlenecks.gaussian(), networks.mlp(5 * likelihood.num_params), likelihood)
    for make in (objectives.elbo, lambda model: objectives.iwae(model, 2)):
        objective = make(model)
        params, state = objective.init(jax.random.key(0), Batch(jnp.ones((4, 5))))
        batch = Batch(jnp.ones((4, 5)), target=jnp.ones(shape))
        with pytest.raises(ValueError, match=r"but the target .* needs"):
            objective.apply(params, state, jax.random.key(1), batch, 0)
