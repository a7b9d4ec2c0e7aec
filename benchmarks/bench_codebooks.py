"""Which quantizer keeps its codes alive and what it loses: usage, perplexity, error and seconds, ours and peers'.

One convolutional encoder and decoder (two strided stages, 7 x 7 tokens of Fashion-MNIST, 8 x 8 of CIFAR-10), Adam
falling along a cosine, batch 64. The error is the squared error of the test reconstructions divided by the variance of
the training pixels. Usage is the share of codes that the frozen model gives to any test token, so restarts do not
count. Of stacks, the mean over their books. "bits" are those of a token's symbols. Peers (vector-quantize-pytorch) have
the same layers in PyTorch, its defaults but for what their names say, and a loss of mean squared error over variance
plus the auxiliary loss.

    pip install torch vector-quantize-pytorch
    python benchmarks/bench_codebooks.py --data fashion_mnist.npz
    python benchmarks/bench_codebooks.py --data cifar10.npz --sonnet --ours vq_plain vq
"""

import argparse
import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import emit

from jaxae import bottlenecks, likelihoods, networks, objectives, train, transforms
from jaxae.bottlenecks import diagnostics
from jaxae.data import load
from jaxae.data.batches import padded, shuffled
from jaxae.model import autoencoder


class Setting(NamedTuple):
    """What all members of a run share.

    Attributes:
      channels: of the two strided stages.
      blocks: residual blocks in each.
      batch: rows a step.
      steps: of the training.
      rate: Adam's, falling along a cosine.
      constant: keep the rate as it is.
      seed: of everything.
    """

    channels: tuple[int, int] = (32, 64)
    blocks: int = 1
    batch: int = 64
    steps: int = 2000
    rate: float = 1e-3
    constant: bool = False
    seed: int = 0


# Sonnet's VQ-VAE example on CIFAR-10, of which a variance-normalised error of 0.056 and a perplexity of 326 are quoted
SONNET = Setting((64, 128), blocks=2, batch=32, steps=10_000, rate=3e-4, constant=True)
# levels whose product is near 2 ** bits
LEVELS = {9: (8, 8, 8), 11: (8, 8, 8, 4), 14: (8, 8, 8, 8, 4)}
LEVELS_BY_SIZE = {512: LEVELS[9], 2048: LEVELS[11], 16384: LEVELS[14]}


def ours(name: str, num_codes: int, width: int):
    """`(bottleneck, books, codes in a book)` of our member of this name."""
    bits = int(math.log2(num_codes))
    if name == "residual":  # two books of half the bits each
        size = 2 ** (bits // 2), 2 ** (bits - bits // 2)
        return bottlenecks.residual(bottlenecks.vector_quantizer(max(size)), 2), 2, max(size)
    if name == "fsq":
        levels = LEVELS_BY_SIZE[num_codes]
        return bottlenecks.projected(bottlenecks.fsq(levels), len(levels)), 1, math.prod(levels)
    if name == "lfq":
        return bottlenecks.projected(bottlenecks.lfq(bits), bits), 1, num_codes
    made = {
        "vq": lambda: bottlenecks.vector_quantizer(num_codes),
        "vq_plain": lambda: bottlenecks.vector_quantizer(num_codes, restart_below=0.0, seeding="random"),
        "vq_gradient": lambda: bottlenecks.vector_quantizer(num_codes, learn="gradient"),
        "vq_rotation": lambda: bottlenecks.vector_quantizer(num_codes, estimator="rotation"),
        "vq_cosine": lambda: bottlenecks.vector_quantizer(num_codes, cosine=True),
        "sim_vq": lambda: bottlenecks.sim_vq(num_codes),
    }
    return made[name](), 1, num_codes


OURS = ("vq", "vq_plain", "vq_gradient", "vq_rotation", "vq_cosine", "fsq", "lfq", "sim_vq", "residual")


def train_ours(name, x, held_out, num_codes, width, setting):
    """Train and measure one member of ours: a dictionary of figures."""
    started = time.monotonic()
    layer, books, size = ours(name, num_codes, width)
    variance = float((x / 255.0).var())
    network = {"channels": setting.channels, "num_blocks": setting.blocks}
    model = autoencoder(
        networks.conv_encoder(x.shape[1:], width, **network, spatial=True),
        layer,
        networks.conv_decoder(x.shape[1:], **network),
        likelihoods.gaussian(math.sqrt(variance)),
    )
    objective = objectives.prepared(objectives.elbo(model), transforms.scale_uint8())
    rate, steps = setting.rate, setting.steps
    optimizer = optax.adam(rate if setting.constant else optax.cosine_decay_schedule(rate, steps))
    first = x[: setting.batch]
    state = jax.jit(lambda key: train.init_state(objective, optimizer, key, first))(jax.random.key(setting.seed))
    step = train.build_step(objective, optimizer)
    order = shuffled(len(x), setting.batch, setting.seed)
    found = train.fit(step, state, order, steps, data=x, chunk=100, progress=False)
    seconds = time.monotonic() - started
    params, inner = found.state.params["model"], found.state.state["model"]

    @jax.jit
    def measured(rows):
        rows = rows / 255.0
        code = model.encode(params, inner, rows)
        error = (model.likelihood.mean(model.decode(params, code.latent)) - rows) ** 2
        return error.sum(range(1, error.ndim)), code.symbols

    errors, symbols = [], []
    for batch in padded(held_out, 500):
        error, ids = measured(batch.x)
        keep = np.asarray(batch.weight) > 0
        errors.append(np.asarray(error)[keep])
        symbols.append(np.asarray(ids)[keep])
    error = np.concatenate(errors).sum() / (held_out.size * variance)
    ids = np.concatenate(symbols).reshape(-1, books)
    counts = [diagnostics.code_counts(jnp.asarray(ids[:, i]), size) for i in range(books)]
    return {
        "error": float(error),
        "usage": float(np.mean([diagnostics.usage(c) for c in counts])),
        "perplexity": float(np.mean([diagnostics.perplexity(c) for c in counts])),
        "bits": books * math.log2(size),
        "seconds": seconds,
    }


PEERS = ("vq", "vq_ema99", "vq_kmeans_restart", "fsq", "lfq", "sim_vq", "residual")


def peer(name: str, num_codes: int, width: int):
    """vector-quantize-pytorch's module of this name: `(module, books, codes in a book)`."""
    import vector_quantize_pytorch as peers

    bits = int(math.log2(num_codes))
    if name == "residual":
        size = 2 ** (bits - bits // 2)
        return peers.ResidualVQ(dim=width, codebook_size=size, num_quantizers=2), 2, size
    if name == "fsq":
        levels = LEVELS_BY_SIZE[num_codes]
        return peers.FSQ(list(levels), dim=width), 1, math.prod(levels)
    made = {
        "vq": lambda: peers.VectorQuantize(dim=width, codebook_size=num_codes),
        "vq_ema99": lambda: peers.VectorQuantize(
            dim=width, codebook_size=num_codes, decay=0.99, commitment_weight=0.25, rotation_trick=False
        ),
        "vq_kmeans_restart": lambda: peers.VectorQuantize(
            dim=width, codebook_size=num_codes, decay=0.99, kmeans_init=True, threshold_ema_dead_code=2
        ),
        "lfq": lambda: peers.LFQ(dim=width, codebook_size=num_codes),
        "sim_vq": lambda: peers.SimVQ(dim=width, codebook_size=num_codes),
    }
    return made[name](), 1, num_codes


def train_peer(name, x, held_out, num_codes, width, setting):
    """The same for a peer, in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.wide, self.point = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 1)

        def forward(self, x):
            return x + self.point(functional.gelu(self.wide(functional.gelu(x))))

    def blocks(channels):
        return (*(Block(channels) for _ in range(setting.blocks)), nn.GELU())

    torch.manual_seed(setting.seed)
    started = time.monotonic()
    first, second = setting.channels
    colours = x.shape[-1]
    encoder = nn.Sequential(
        *(nn.Conv2d(colours, first, 4, 2, 1), *blocks(first), nn.Conv2d(first, second, 4, 2, 1)),
        *(*blocks(second), nn.Conv2d(second, width, 1)),
    )
    decoder = nn.Sequential(
        *(nn.Conv2d(width, second, 1), *blocks(second), nn.ConvTranspose2d(second, first, 4, 2, 1)),
        *(*blocks(first), nn.ConvTranspose2d(first, colours, 4, 2, 1)),
    )
    layer, books, size = peer(name, num_codes, width)
    modules = nn.ModuleList([encoder, layer, decoder])
    optimizer = torch.optim.Adam(modules.parameters(), setting.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setting.steps)
    variance = float((x / 255.0).var())

    def run(rows):
        rows = torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255
        h = encoder(rows)
        tokens = h.flatten(2).transpose(1, 2)
        out = layer(tokens)
        extra = out[2].sum() if len(out) > 2 else torch.zeros(())
        return decoder(out[0].transpose(1, 2).reshape(h.shape)) - rows, out[1], extra

    order = shuffled(len(x), setting.batch, setting.seed)
    for i in range(setting.steps):
        difference, _, extra = run(x[order[i]])
        optimizer.zero_grad()
        ((difference**2).mean() / variance + extra).backward()
        optimizer.step()
        if not setting.constant:
            schedule.step()
    seconds = time.monotonic() - started
    modules.eval()
    total, symbols = 0.0, []
    with torch.no_grad():
        for begin in range(0, len(held_out), 500):
            difference, ids, _ = run(held_out[begin : begin + 500])
            total += float((difference**2).sum())
            symbols.append(ids.numpy().reshape(-1, books))
    ids = np.concatenate(symbols)
    counts = [np.bincount(ids[:, i], minlength=size) for i in range(books)]
    shares = [c / c.sum() for c in counts]
    return {
        "error": total / (held_out.size * variance),
        "usage": float(np.mean([(c > 0).mean() for c in counts])),
        "perplexity": float(np.mean([np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()) for p in shares])),
        "bits": books * math.log2(size),
        "seconds": seconds,
    }


def main() -> None:
    """Print a line for each member, size and width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file with x_train and x_test")
    parser.add_argument("--ours", nargs="*", default=list(OURS), choices=OURS)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--codes", nargs="+", type=int, default=[512, 2048, 16384], choices=sorted(LEVELS_BY_SIZE))
    parser.add_argument("--widths", nargs="+", type=int, default=[8, 64])
    parser.add_argument("--sonnet", action="store_true", help="Sonnet's CIFAR-10 recipe: 512 codes, 64 wide")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float, help="falling along a cosine, where it is given")
    parser.add_argument("--dev", action="store_true", help="hold out 5,000 training images, leave the test split alone")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    setting = SONNET if arguments.sonnet else Setting()
    setting = setting._replace(seed=arguments.seed, steps=arguments.steps or setting.steps)
    if arguments.rate is not None:
        setting = setting._replace(rate=arguments.rate, constant=False)
    data = load(arguments.data)
    x, held_out = np.asarray(data.x_train), np.asarray(data.x_test)
    if arguments.dev:
        x, held_out = x[:-5000], x[-5000:]
    if x.ndim == 3:
        x, held_out = x[..., None], held_out[..., None]
    for num_codes in [512] if arguments.sonnet else arguments.codes:
        for width in [64] if arguments.sonnet else arguments.widths:
            for owner, names, run in (("ours", arguments.ours, train_ours), ("peer", arguments.peers, train_peer)):
                for name in names:
                    found = run(name, x, held_out, num_codes, width, setting)
                    kept = {key: getattr(setting, key) for key in ("steps", "batch", "rate", "constant", "seed")}
                    emit(owner=owner, name=name, codes=num_codes, width=width, **kept, **found)


if __name__ == "__main__":
    main()
