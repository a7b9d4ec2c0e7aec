"""pythae's VAE, beta-TCVAE, IWAE and VQ-VAE on MNIST beside ours: seconds an epoch, and the bound after equal epochs.

The same layers (the numbers of parameters are printed), one batch size, Adam at a constant 1e-3, the same rows, each
image binarised once by its grey values (the VQ-VAE reads grey values). MLP: 784-200-200, 50 latents, ReLUs, mirrored.
Convolutions: 4x4 windows with stride 2, channels 32-64, 50 latents, mirrored. IWAE: K = 5; beta-TCVAE: beta = 6;
VQ-VAE: 512 codes of 16 numbers with moving averages, 16 tokens in the MLP, 7 x 7 in the convolutions.

Both sides take turns epoch by epoch, theirs in a process of its own. An epoch of theirs is a call of the trainer's
`train_step`, loader included; one of ours a call of `train.fit`, rows drawn on the device. "cold" is the first epoch
with all that comes before it, ours compiled; "epoch" the median of the others. "steps" are theirs on batches that are
cut already, without the loader. Processor seconds stand beside the clock's: they forget what else the machine does.

    python -m venv peer && peer/bin/pip install pythae==0.1.2 torch
    python benchmarks/bench_pythae.py --data mnist.npz --peer-python peer/bin/python
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import jax
import numpy as np
import optax
from common import emit

from jaxae import bottlenecks, likelihoods, networks, objectives, presets, train, transforms
from jaxae.data import load
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.objectives import prepared
from jaxae.scoring import score_batches
from jaxae.scoring.scores.likelihood import bound
from jaxae.types import Batch, Network

SHAPE, WIDTH, LATENTS, TOKENS, CODE_SIZE, CODES = (28, 28, 1), 200, 50, 16, 16, 512
RATE, SAMPLES, BETA = 1e-3, 5, 6.0
MEMBERS = ("vae", "beta_tc_vae", "iwae", "vq_vae")
SCALING = transforms.scale_uint8()


def layers(network: str, member: str) -> tuple[Network, Network]:
    """Encoder and decoder."""
    quantized, relu = member == "vq_vae", jax.nn.relu
    if network == "conv":
        parts = {"channels": (32, 64), "num_blocks": 0, "activation": relu}
        size = CODE_SIZE if quantized else 2 * LATENTS
        return networks.conv_encoder(SHAPE, size, spatial=quantized, **parts), networks.conv_decoder(SHAPE, **parts)
    size = TOKENS * CODE_SIZE if quantized else 2 * LATENTS
    encoder = networks.mlp(WIDTH, WIDTH, size, flatten=True, activation=relu)
    decoder = networks.mlp(WIDTH, WIDTH, output_shape=SHAPE, flatten=quantized, activation=relu)
    return (_cut(encoder) if quantized else encoder), decoder


def _cut(network: Network) -> Network:
    def apply(params, x, condition=None):
        return network.apply(params, x, condition).reshape(x.shape[0], TOKENS, CODE_SIZE)

    return Network(network.init, apply)


def build(network: str, member: str):
    """Our model and objective."""
    encoder, decoder = layers(network, member)
    if member == "vq_vae":
        quantizer = bottlenecks.vector_quantizer(CODES, commitment=0.25, decay=0.99)
        model = autoencoder(encoder, quantizer, decoder, likelihoods.gaussian(0.5**0.5))  # the squared error, as theirs
        return model, prepared(objectives.elbo(model), SCALING)
    options = {"iwae": {"num_samples": SAMPLES}, "beta_tc_vae": {"beta": BETA}}.get(member, {})
    parts = {"encoder": encoder, "decoder": decoder, "likelihood": likelihoods.bernoulli(), "latent_size": LATENTS}
    return presets.PRESETS[member](SHAPE, **parts, **options)


class Ours:
    """A member in training, epoch by epoch."""

    def __init__(self, network: str, member: str, x: np.ndarray, batch_size: int, seed: int):
        self.model, objective = build(network, member)
        optimizer = optax.adam(RATE)
        self.step, self.x, self.epochs = train.build_step(objective, optimizer), jax.device_put(x), 0
        self.order, self.per_epoch = shuffled(len(x), batch_size, seed), len(x) // batch_size
        initial = jax.jit(lambda rng, x: train.init_state(objective, optimizer, rng, x))
        self.state = initial(jax.random.key(seed), x[:batch_size])

    def epoch(self):
        """Every row once."""
        self.epochs += 1
        end, chunk = self.epochs * self.per_epoch, self.per_epoch
        fitted = train.fit(self.step, self.state, self.order, end, data=self.x, chunk=chunk, progress=False)
        self.state = jax.block_until_ready(fitted.state)

    def evaluate(self, test: np.ndarray, samples: int) -> dict:
        """The bound on test images, or the squared error of their reconstructions."""
        params, inner = self.state.params["model"], self.state.state["model"]
        if self.model.lookup is not None:

            @jax.jit
            def error(x):
                output, _ = self.model.apply(params, inner, None, x)
                return ((self.model.likelihood.mean(output.prediction) - x) ** 2).mean((1, 2, 3))

            return {"error": float(score_batches(error, np.float32(test) / 255).mean())}
        scorer = bound(self.model, samples)
        fitted = scorer.fit(params, inner)
        nats = jax.jit(lambda x: scorer.apply(fitted, jax.random.key(0), SCALING(None, Batch(x))))
        return {"bound": -float(score_batches(nats, test).mean())}


class Theirs:
    """The same on the other side of a pipe."""

    def __init__(self, python: str, network: str, member: str, rows: pathlib.Path, batch_size: int, seed: int):
        script = str(pathlib.Path(__file__).with_name("peer_pythae.py"))
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([python, script], stdin=pipe, stdout=pipe, text=True)
        sizes = {"width": WIDTH, "latents": LATENTS, "tokens": TOKENS, "code_size": CODE_SIZE, "codes": CODES}
        settings = {"rate": RATE, "batch_size": batch_size, "samples": SAMPLES, "beta": BETA, "seed": seed}
        what = {"network": network, "member": member, "rows": str(rows)}
        self.built = self.ask("build", **what, **sizes, **settings)

    def ask(self, do: str, **more) -> dict:
        """One request, its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"the peer ended at {do!r} with status {self.process.wait()}")
        return json.loads(line)

    def close(self):
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def timed(function):
    """What a call gives, its wall and its processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}


def measure(network: str, member: str, parts: dict[str, np.ndarray], rows: pathlib.Path, arguments) -> None:
    """Both sides of one member in turns; a line."""
    size = arguments.batch_size
    theirs = Theirs(arguments.peer_python, network, member, rows, size, arguments.seed)
    ours, built = timed(lambda: Ours(network, member, parts["train"], size, arguments.seed))
    times = {"theirs": [theirs.ask("epoch")], "ours": [timed(ours.epoch)[1]]}
    for _ in range(arguments.epochs - 1):
        times["theirs"].append(theirs.ask("epoch"))
        times["ours"].append(timed(ours.epoch)[1])
    figures = {}
    for side, before in (("theirs", theirs.built), ("ours", built)):
        for clock in ("seconds", "cpu_seconds"):
            first, *rest = (each[clock] for each in times[side])
            figures[f"{side}_cold_{clock}"] = before[clock] + first
            figures[f"{side}_epoch_{clock}"] = float(np.median(rest or [first]))
    found = {
        "ours": ours.evaluate(parts["test"], arguments.samples),
        "theirs": theirs.ask("evaluate", samples=arguments.samples),
    }
    steps = min(100, len(parts["train"]) // size)
    lone = theirs.ask("steps", steps=steps)["cpu_seconds"] * (len(parts["train"]) // size) / steps
    theirs.close()
    ratios = {
        f"ratio_{c}": figures[f"theirs_epoch_{c}"] / figures[f"ours_epoch_{c}"] for c in ("seconds", "cpu_seconds")
    }
    emit(
        network=network,
        member=member,
        batch_size=size,
        epochs=arguments.epochs,
        **figures,
        **ratios,
        ratio_cold=figures["theirs_cold_seconds"] / figures["ours_cold_seconds"],
        theirs_steps_cpu_seconds=lone,
        ratio_steps=lone / figures["ours_epoch_cpu_seconds"],
        **{f"{side}_{name}": value for side, figure in found.items() for name, value in figure.items()},
        ours_parameters=sum(leaf.size for leaf in jax.tree.leaves(ours.state.params)),
        theirs_parameters=theirs.built["parameters"],
        torch=theirs.built["torch"],
        samples=arguments.samples,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file with x_train and x_test, MNIST")
    parser.add_argument("--peer-python", required=True, help="a Python that has pythae and torch")
    parser.add_argument("--networks", nargs="+", choices=("mlp", "conv"), default=["mlp", "conv"])
    parser.add_argument("--members", nargs="+", choices=MEMBERS, default=list(MEMBERS))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--samples", type=int, default=50, help="K of the bound that is printed")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data, rng = load(arguments.data), np.random.default_rng(0)
    size = arguments.batch_size
    grey = {"train": data.x_train[: len(data.x_train) // size * size], "test": data.x_test}
    binary = {name: np.uint8(255) * (255 * rng.random(x.shape) < x) for name, x in grey.items()}
    with tempfile.TemporaryDirectory() as folder:
        for network in arguments.networks:
            for member in arguments.members:
                parts = grey if member == "vq_vae" else binary
                rows = pathlib.Path(folder, "rows.npz")
                np.savez(rows, train=parts["train"], test=parts["test"])
                measure(network, member, parts, rows, arguments)


if __name__ == "__main__":
    main()
