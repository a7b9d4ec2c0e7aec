"""The bound on MNIST with 200 binary units and with 20 one-hot variables of 10 classes, by estimator of the gradient.

784-200-784 without hidden layers for the binary units, 784-(20x10)-200-784 for the one-hot ones; pixels are drawn anew
from their grey values at each step, Adam at a rate that falls from its peak to 0 along a cosine, batch 100. The
temperature of relaxed draws falls from 1 to its least value over half of the training. `nats` is the bound on the test
split, pixels drawn anew, of the discrete model whatever was relaxed in training: the latent is drawn hard, the KL is
exact. `relaxed_nats` is what the same parameters give where the latent is drawn relaxed at the least temperature, which
bounds no discrete model's likelihood. Quoted from Jang, Gu and Poole 2017, "Categorical Reparameterization with
Gumbel-Softmax", table 1: straight-through Gumbel 111.5 and 107.8, Gumbel 105.0 and 101.5, straight-through 116.0 and
110.9.

    python benchmarks/bench_discrete.py --data mnist.npz
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import emit

from jaxae import bottlenecks, likelihoods, objectives, train, transforms
from jaxae.data import load
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.networks import mlp
from jaxae.types import Network

BATCH = 100
ESTIMATORS = ("straight_through", "gumbel_straight_through", "relaxed")


def between(network: Network, before, after) -> Network:
    """`after(network(before(x)))`, for fixed functions."""

    def init(rng, x, condition=None):
        return network.init(rng, jax.eval_shape(before, x), condition)

    return Network(init, lambda params, x, condition=None: after(network.apply(params, before(x), condition)))


def model_of(latent: str, estimator: str, temperature, prior: str, mean=None):
    """The paper's network with a latent of this kind; `prior` is that of the bits, `mean` the pixels' to centre by."""
    if latent == "bernoulli":
        layer = bottlenecks.bernoulli(200, estimator=estimator, temperature=temperature, prior=prior)
        decoder = mlp(output_shape=(28, 28, 1))
    else:
        layer = bottlenecks.categorical(20, 10, estimator=estimator, temperature=temperature)
        decoder = mlp(200, output_shape=(28, 28, 1), activation=jax.nn.relu)
    encoder = mlp(200, flatten=True)
    if mean is not None:
        log_odds = jax.scipy.special.logit(jnp.clip(mean, 0.001, 0.999))
        encoder = between(encoder, lambda x: x - mean, lambda h: h)
        decoder = between(decoder, lambda z: 2 * z - 1, lambda y: y + log_odds)
    return autoencoder(encoder, layer, decoder, likelihoods.bernoulli())


def run(latent, estimator, prior, centred, x, held_out, epochs, peak, least, samples, seed):
    """Train and measure: negative bounds in nats, seconds, steps."""
    started = time.monotonic()
    steps = epochs * (len(x) // BATCH)
    mean = jnp.asarray(x.mean(0) / 255) if centred else None

    def temperature(step):
        return jnp.maximum(least, 1.0 - (1.0 - least) * 2 * step / steps)

    binary = transforms.chain(transforms.scale_uint8(), transforms.binarise())
    objective = objectives.prepared(objectives.elbo(model_of(latent, estimator, temperature, prior, mean)), binary)
    rate = optax.cosine_decay_schedule(peak, steps)
    state = train.init_state(objective, optax.adam(rate), jax.random.key(seed), x[:BATCH])
    step = train.build_step(objective, optax.adam(rate))
    order = shuffled(len(x), BATCH, seed)
    state = train.fit(step, state, order, steps, data=x, chunk=1000, progress=False).state

    def bound(estimator):
        """Of the model whose latent is drawn so at the least temperature, the mean over fresh draws."""
        drawn = objectives.elbo(model_of(latent, estimator, least, prior, mean))
        prepared = objectives.prepared(drawn, binary)
        constant = state._replace(state={"model": ()})
        found = [train.evaluator(prepared, held_out, steps, seed=i)(constant)["loss"] for i in range(samples)]
        return float(np.mean(found))

    found = {"nats": bound("gumbel_straight_through")}
    if estimator == "relaxed":
        found["relaxed_nats"] = bound("relaxed")
    return found | {"seconds": time.monotonic() - started, "steps": steps}


def main() -> None:
    """Print a line for each latent and estimator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file with x_train and x_test")
    parser.add_argument("--latents", nargs="+", default=["bernoulli", "categorical"])
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS), choices=ESTIMATORS)
    parser.add_argument("--prior", default="uniform", choices=["uniform", "learned"], help="of the binary units")
    parser.add_argument("--centred", action="store_true", help="pixels less their mean, bits as -1 and 1")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--least", type=float, default=0.5, help="temperature")
    parser.add_argument("--samples", type=int, default=10, help="draws of the latent and the pixels a test image")
    parser.add_argument("--dev", action="store_true", help="hold out 5,000 training images, leave the test split alone")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load(arguments.data)
    x, held_out = np.asarray(data.x_train), np.asarray(data.x_test)
    if arguments.dev:
        x, held_out = x[:-5000], x[-5000:]
    kept = {key: value for key, value in vars(arguments).items() if key not in ("data", "latents", "estimators")}
    shared = (arguments.epochs, arguments.peak, arguments.least, arguments.samples, arguments.seed)
    for latent in arguments.latents:
        for estimator in arguments.estimators:
            if latent == "categorical" and estimator == "straight_through":
                continue  # there is no such estimator of a one-hot draw here
            found = run(latent, estimator, arguments.prior, arguments.centred, x, held_out, *shared)
            emit(latent=latent, estimator=estimator, **found, **kept)


if __name__ == "__main__":
    main()
