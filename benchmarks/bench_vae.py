"""ELBO of a VAE on MNIST, dynamic binarisation: MLP 200-200, 50 latents, Bernoulli pixels.

Every pixel is drawn anew with its grey value's probability at each step. Adam; the rate rises to its peak within 500
steps and falls to 0 along a cosine; the KL's weight rises to 1 over the first tenth of the steps (more latents stay in
use). The figure is the mean over the whole test split of `log p(x|z) - KL(q(z|x) || p(z))`, nats summed over pixels,
schedules at their final value, one sample of z and one binarisation an image from a fixed key. With `--components K`
the prior is a mixture of K normals that is learned along, and the KL is that sample's.

    python benchmarks/bench_vae.py --data mnist.npz

Result with `--dev --components 64 --epochs 100` (5,000 held-out train images): -93.1. An experiment with the settings
that are the defaults here gave -91.2 after 250 epochs (-89.4 on the images trained on): overfitting is what is left.
"""

import argparse
import time

import jax
import numpy as np
import optax
from common import emit
from flax import linen as nn

from jaxae import likelihoods, networks, presets, priors, train, transforms
from jaxae.data import load
from jaxae.data.batches import shuffled

LATENTS = 50


def build(shape: tuple[int, ...], num_steps: int, peak: float, components: int = 0):
    """The objective and its optimizer."""
    _, objective = presets.vae(
        shape,
        latent_size=LATENTS,
        prior=priors.mixture(components) if components else None,
        beta=optax.linear_schedule(0.01, 1.0, num_steps // 10),
        encoder=networks.mlp(200, 200, 2 * LATENTS, flatten=True, activation=nn.silu),
        decoder=networks.mlp(200, 200, output_shape=shape, activation=nn.silu),
        likelihood=likelihoods.bernoulli(),
        transform=transforms.chain(transforms.scale_uint8(), transforms.binarise()),
    )
    rate = optax.warmup_cosine_decay_schedule(0.0, peak, min(500, num_steps // 10), num_steps)
    return objective, optax.adam(rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file with x_train and x_test")
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--peak", type=float, default=4e-3, help="highest learning rate")
    parser.add_argument("--components", type=int, default=0, help="of a mixture prior; 0: the standard normal")
    parser.add_argument("--dev", action="store_true", help="train on all but 5,000 train images and measure on those")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load(arguments.data)
    x, held_out = data.x_train, data.x_test
    if arguments.dev:
        x, held_out = x[:-5000], x[-5000:]
    per_epoch = len(x) // arguments.batch_size
    num_steps = per_epoch * arguments.epochs
    objective, optimizer = build(x.shape[1:], num_steps, arguments.peak, arguments.components)
    started = time.monotonic()

    def log(entry):
        epoch = entry["step"] // per_epoch
        if epoch % 10 == 0:
            emit(epoch=epoch, train_nll=entry["nll"], train_kl=entry["penalty"], seconds=time.monotonic() - started)

    state = train.fit(
        train.build_step(objective, optimizer),
        train.init_state(objective, optimizer, jax.random.key(arguments.seed), x[: arguments.batch_size]),
        shuffled(len(x), arguments.batch_size, arguments.seed),
        num_steps,
        data=jax.device_put(x),
        chunk=per_epoch,
        log=log,
        progress=False,
    ).state
    seconds = time.monotonic() - started
    figures = train.evaluator(objective, held_out, num_steps, batch_size=500)(state)
    emit(
        data=data.name,
        split="dev" if arguments.dev else "test",
        elbo=-figures["loss"],
        nll=figures["nll"],
        kl=figures["penalty"],
        rows=int(np.size(held_out, 0)),
        components=arguments.components,
        epochs=arguments.epochs,
        steps=num_steps,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
