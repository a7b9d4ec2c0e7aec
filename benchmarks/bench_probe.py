"""Linear probes of frozen features: Fashion-MNIST, 1 % to 100 % of the labels.

The encoder is trained without labels: a denoising autoencoder whose input is the images' oriented gradients, products
and ReLUs all through. Its features are its hidden layers side by side. Beside it stand raw pixels, principal components
and the oriented gradients themselves, each with the same probe: logistic regression, its L2 weight chosen on the last
5,000 train images, which choose everything else, too. `--dev` measures there and reads no test image.

    python benchmarks/bench_probe.py --data fashion_mnist.npz

Test split, 1 / 10 / 100 % of the labels: pixels 78.0 / 82.5 / 84.4 %, oriented gradients 82.9 / 87.7 / 90.1 %, encoder
83.1 / 88.3 / 91.3 %.
"""

import argparse
import time

import jax
import numpy as np
import optax
from common import emit

from jaxae import downstream, networks, presets, train, transforms
from jaxae.data import load
from jaxae.data.batches import shuffled
from jaxae.types import Batch

VIEW = transforms.chain(transforms.scale_uint8(), transforms.oriented_gradients())


def trained(x: np.ndarray, width: int, noise: float, drop: float, epochs: int, seed: int):
    """The encoder's hidden layers as features `x -> [B, D]`."""
    shape = jax.eval_shape(lambda rows: VIEW(None, rows), as_rows(x[:1])).x.shape[1:]
    encoder = networks.mlp(width, width, 128, flatten=True)
    corruption = transforms.chain(transforms.feature_dropout(drop), transforms.gaussian_noise(noise))
    _, objective = presets.denoising_ae(
        shape,
        encoder=encoder,
        decoder=networks.mlp(width, output_shape=shape),
        corruption=corruption,
        transform=VIEW,
    )
    batch_size = 256
    num_steps = epochs * (len(x) // batch_size)
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, 2e-3, 200, num_steps))
    first = as_rows(x[:batch_size])
    state = jax.jit(lambda rng: train.init_state(objective, optimizer, rng, first))(jax.random.key(seed))
    order = shuffled(len(x), batch_size, seed)
    step = train.build_step(objective, optimizer)
    state = train.fit(step, state, order, num_steps, data=jax.device_put(x), chunk=214, progress=False).state
    return downstream.layers_of(encoder, state.params["model"]["encoder"], (0, 1), VIEW)


def as_rows(x):
    return Batch(x)


def gradients(rows):
    return downstream.extract(lambda part: VIEW(None, as_rows(part)).x, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--dev", action="store_true", help="measure on the dev images instead of the test images")
    parser.add_argument("--features", nargs="*", default=["pixels", "components", "gradients", "encoder"])
    parser.add_argument("--fractions", nargs="*", type=float, default=[0.01, 0.1, 1.0])
    parser.add_argument("--draws", type=int, default=3, help="of the labels, where a share of them is read")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--drop", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load(arguments.data)
    fit, dev = slice(None, -5000), slice(-5000, None)
    x, y = data.x_train, data.y_train
    test_x, test_y = (x[dev], y[dev]) if arguments.dev else (data.x_test, data.y_test)
    for name in arguments.features:
        started = time.monotonic()
        encode = {
            "pixels": lambda: downstream.pixels,
            "components": lambda: downstream.principal_components(x[fit], 256),
            "gradients": lambda: gradients,
            "encoder": lambda: encoder_features(x[fit], arguments),
        }[name]()
        parts = [encode(rows) for rows in (x[fit], x[dev], test_x)]
        curve = downstream.label_curve(
            (parts[0], y[fit]),
            (parts[1], y[dev]),
            (parts[2], test_y),
            arguments.fractions,
            draws=arguments.draws,
            seed=arguments.seed,
        )
        for share, count, accuracy in zip(*curve, strict=True):
            emit(
                data=data.name,
                split="dev" if arguments.dev else "test",
                features=name,
                width=parts[0].shape[1],
                labels=int(count),
                fraction=float(share),
                accuracy=float(accuracy.mean()),
                deviation=float(accuracy.std(ddof=1)) if len(accuracy) > 1 else 0.0,
                seconds=time.monotonic() - started,
            )


def encoder_features(x, arguments):
    encode = trained(x, arguments.width, arguments.noise, arguments.drop, arguments.epochs, arguments.seed)
    return lambda rows: downstream.extract(encode, rows)


if __name__ == "__main__":
    main()
