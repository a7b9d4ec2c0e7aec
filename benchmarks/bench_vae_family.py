"""Importance-weighted log-likelihood on MNIST by member of the VAE family, at one budget.

Dynamic binarisation: every pixel is drawn anew with its grey value's probability at each step. Encoder and decoder are
MLPs of two layers of 200, 50 latents, Bernoulli pixels; all members take the same number of steps, the same batches and
the same Adam, whose rate rises to its peak within 500 steps and falls to 0 along a cosine. What differs is the bound
(VAE, IWAE, MIWAE, PIWAE, CIWAE) or a part: the prior (vamp: 500 pseudo-inputs; mixture: 64; coupling: 4 layers), the
posterior (iaf: 2 layers), the levels (hierarchical: 50 latents above 50).

The figure is the mean over the held-out images, each binarised once by a fixed key, of
`log 1/K sum_k p(x, z_k) / q(z_k|x)`, nats summed over pixels. `--dev` trains on all but 5,000 train images and measures
on those; without it the whole test split is measured, once.

    python benchmarks/bench_vae_family.py --data mnist.npz --dev --epochs 10 --samples 200
    python benchmarks/bench_vae_family.py --data mnist.npz --epochs 200 --samples 5000

Published after 3,280 passes (K = 5000, test): VAE -86.76, IWAE-5 -85.54, IWAE-50 -84.78 (Burda et al. 2016); MIWAE
-84.97, PIWAE -84.46, CIWAE -84.57 (Rainforth et al. 2018). A step of IWAE-5 took about three
of the VAE's (20 ms against 6); those of 50 or 64 samples grow with them.

Result on the test split after 60 passes, K = 500, one core: vamp -87.1, coupling -87.2, hierarchical -88.3, iwae_5
-88.8, iaf -89.6, mixture -89.8, vae -90.0. The vae after 600 passes, K = 5000: -86.1.
"""

import argparse
import time

import jax
import numpy as np
import optax
from bounds import log_likelihood
from common import emit
from flax import linen as nn

from jaxae import likelihoods, networks, presets, priors, train, transforms
from jaxae.data import load
from jaxae.data.batches import shuffled

LATENTS, WIDTH = 50, 200
MEMBERS = {
    "vae": ("vae", {}),
    "iwae_5": ("iwae", {"num_samples": 5}),
    "iwae_50": ("iwae", {"num_samples": 50}),
    "miwae": ("miwae", {"num_samples": 8, "num_averages": 8}),
    "piwae": ("piwae", {"num_samples": 8, "num_averages": 8}),
    "ciwae": ("ciwae", {"num_samples": 64, "mixing": 0.5}),
    "mixture": ("vae", {"prior": priors.mixture(64)}),
    "coupling": ("vae", {"prior": priors.coupling_flow(WIDTH)}),
    "vamp": ("vamp_vae", {"num_pseudo_inputs": 500}),
    "iaf": ("flow_vae", {"flow": networks.inverse_autoregressive(WIDTH)}),
    "hierarchical": ("hierarchical_vae", {"top_size": LATENTS, "width": WIDTH}),
}
NUMBERS = {"iaf": 3 * LATENTS, "hierarchical": WIDTH}  # that the encoder gives; else mean and log-variance
BINARISED = transforms.chain(transforms.scale_uint8(), transforms.binarise())


def build(member: str, shape: tuple[int, ...]):
    """The member's model and objective."""
    preset, options = MEMBERS[member]
    return presets.PRESETS[preset](
        shape,
        latent_size=LATENTS,
        encoder=networks.mlp(WIDTH, WIDTH, NUMBERS.get(member, 2 * LATENTS), flatten=True, activation=nn.silu),
        decoder=networks.mlp(WIDTH, WIDTH, output_shape=shape, activation=nn.silu),
        likelihood=likelihoods.bernoulli(),
        transform=BINARISED,
        **options,
    )


def measure(member: str, x: np.ndarray, held_out: np.ndarray, arguments) -> None:
    """Train one member, print its line."""
    per_epoch = len(x) // arguments.batch_size
    num_steps = per_epoch * arguments.epochs
    model, objective = build(member, x.shape[1:])
    rate = optax.warmup_cosine_decay_schedule(0.0, arguments.peak, min(500, num_steps // 10), num_steps)
    optimizer = optax.adam(rate)
    started = time.monotonic()
    fitted = train.fit(
        train.build_step(objective, optimizer),
        train.init_state(objective, optimizer, jax.random.key(arguments.seed), x[: arguments.batch_size]),
        shuffled(len(x), arguments.batch_size, arguments.seed),
        num_steps,
        data=jax.device_put(x),
        chunk=per_epoch,
        progress=False,
    )
    trained = time.monotonic()
    figure = log_likelihood(model, fitted.state, BINARISED, held_out, arguments.samples)
    emit(
        member=member,
        split="dev" if arguments.dev else "test",
        log_likelihood=figure,
        samples=arguments.samples,
        train_loss=fitted.history[-1]["loss"],
        epochs=arguments.epochs,
        steps=num_steps,
        batch_size=arguments.batch_size,
        peak=arguments.peak,
        seed=arguments.seed,
        seconds=trained - started,
        seconds_to_measure=time.monotonic() - trained,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file with x_train and x_test")
    parser.add_argument("--members", nargs="+", choices=sorted(MEMBERS), default=list(MEMBERS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--peak", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--samples", type=int, default=200, help="K of the bound that is printed")
    parser.add_argument("--dev", action="store_true", help="train on all but 5,000 train images and measure on those")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load(arguments.data)
    x, held_out = data.x_train, data.x_test
    if arguments.dev:
        x, held_out = x[:-5000], x[-5000:]
    for member in arguments.members:
        measure(member, x, held_out, arguments)


if __name__ == "__main__":
    main()
