"""How fast the networks train, and how well in a given time, beside the same networks in torch (an optional import).

    python benchmarks/bench_train.py                                       # about 2 minutes
    python benchmarks/bench_train.py --quality --data fashion_mnist.npz    # about 9 minutes

The first times one Adam step of a convolutional autoencoder (32x32x1, 4x4 windows with stride 2, channels 32-64-128,
latent 32, batch 128), the variants in turn, round after round, and prints medians, minima and their ratios to the
best torch variant. `--keep-memory` tells the C library to keep freed memory for all of the process.

The second trains autoencoders with latent 32 on 28x28 images for 10, 30 and 60 seconds, everything included
(tracing, compilation, data transfer), and prints the squared error per pixel on the same held-out images. The torch
variants and `plain_mlp` take batches of 128 at a constant rate of 1e-3, and are read at all three times; the default
networks train anew for each time, batches of 64 at a rate that falls from 2e-3 to 0 along a cosine. `--same-recipe`
adds the torch perceptron with that recipe. The AUROC beside it is of the squared error, after a third of a minute of
training on `--label` alone, over all held-out images.
"""

import argparse
import ctypes
import functools
import itertools
import time

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxae import likelihoods, networks, presets, train
from jaxae.scoring import metrics

BATCH, LATENT, BUDGETS = 128, 32, (10.0, 30.0, 60.0)
CHUNK = 20  # steps in one call


def torch_conv(torch):
    """Strided convolutions and their transposes, ReLU between."""
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, LATENT)),
        *(nn.Linear(LATENT, 2048), nn.ReLU(), nn.Unflatten(1, (128, 4, 4))),
        *(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU()),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )


def torch_padded_conv(torch):
    """The same for 28x28 images, which it pads to 32x32."""
    return torch.nn.Sequential(torch.nn.ZeroPad2d(2), torch_conv(torch), torch.nn.ZeroPad2d(-2))


def torch_mlp(torch):
    """A perceptron 784-512-256 to the latent and back."""
    nn = torch.nn
    sizes = (784, 512, 256, LATENT, 256, 512, 784)
    layers = [nn.Flatten()]
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        layers += [nn.Linear(before, after)] + ([] if i in (2, 5) else [nn.ReLU()])
    return nn.Sequential(*layers, nn.Unflatten(1, (1, 28, 28)))


def torch_patches(torch):
    """4x4 patches as one product, then one strided pair of convolutions."""
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 4, 4), nn.ReLU(), nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(2048, LATENT), nn.Linear(LATENT, 2048), nn.ReLU(), nn.Unflatten(1, (128, 4, 4))),
        *(nn.ConvTranspose2d(128, 64, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 1, 4, 4)),
    )


def torch_step(torch, network, rate=1e-3):
    """A step of Adam on the squared error, and its optimizer."""
    optimizer = torch.optim.Adam(network.parameters(), rate)

    def step(x):
        optimizer.zero_grad(set_to_none=True)
        loss = ((network(x) - x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, optimizer


def conv_autoencoder(shape):
    """torch_conv's twin, as the library's own objective."""
    parts = {"channels": (32, 64, 128), "num_blocks": 0, "activation": jax.nn.relu}
    return presets.ae(
        shape,
        latent_size=LATENT,
        encoder=networks.conv_encoder(shape, LATENT, **parts),
        decoder=networks.conv_decoder(shape, **parts),
    )


def jax_runners(rows):
    """A lone compiled step and a scanned epoch of `len(rows)` steps, each a function without arguments."""
    _, objective = conv_autoencoder(rows.shape[2:])
    optimizer = optax.adam(1e-3)
    step = train.build_step(objective, optimizer)
    lone = jax.jit(step, donate_argnums=0)
    epoch = jax.jit(lambda state, rows: jax.lax.scan(step, state, rows), donate_argnums=0)
    states = {key: train.init_state(objective, optimizer, jax.random.key(0), rows[0]) for key in ("lone", "epoch")}

    def run_lone():
        states["lone"], result = lone(states["lone"], rows[0])
        return float(result["loss"])

    def run_epoch():
        states["epoch"], result = epoch(states["epoch"], rows)
        return float(result["loss"][-1])

    return run_lone, run_epoch


def keep_memory():
    """Freed memory stays with the process: no page faults for it again."""
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
    libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


def bench_steps(rounds: int):
    """Time the variants in turn; a line for each."""
    rows = np.random.default_rng(0).random((CHUNK, BATCH, 32, 32, 1), np.float32)
    run_lone, run_epoch = jax_runners(jnp.asarray(rows))
    runners = {"jaxae lone step": (run_lone, 1), "jaxae scanned epoch": (run_epoch, CHUNK)}
    torch = import_torch()
    if torch is not None:
        x = torch.from_numpy(rows[0].transpose(0, 3, 1, 2).copy())
        last = torch.channels_last
        for name, compiled, layout in (
            ("torch eager", False, torch.contiguous_format),
            ("torch eager channels_last", False, last),
            ("torch.compile", True, torch.contiguous_format),
            ("torch.compile channels_last", True, last),
        ):
            network = torch_conv(torch).to(memory_format=layout)
            step, _ = torch_step(torch, torch.compile(network) if compiled else network)
            runners[name] = (functools.partial(step, x.to(memory_format=layout)), 1)
    times = {name: [] for name in runners}
    for run, _ in runners.values():
        for _ in range(3):
            run()
    for _ in range(rounds):
        for name, (run, steps) in runners.items():
            for _ in range(1 if steps > 1 else 4):
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) / steps)
    best = {f: min((f(t) for n, t in times.items() if "torch" in n), default=None) for f in (np.median, np.min)}
    for name, t in times.items():
        figures = {"median_ms": 1e3 * float(np.median(t)), "min_ms": 1e3 * float(np.min(t))}
        if best[np.median] is not None:
            figures["median_to_best_torch"] = float(np.median(t) / best[np.median])
            figures["min_to_best_torch"] = float(np.min(t) / best[np.min])
        common.emit(benchmark="convolutional train step", variant=name, **versions(torch), **figures)


def import_torch():
    """torch with its seed set; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(0)
    return torch


def versions(torch) -> dict:
    """Of torch, for the lines."""
    return {} if torch is None else {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}


class Clock:
    """Seconds of training: evaluation stops it."""

    def __init__(self):
        self.start = time.perf_counter()

    def __call__(self):
        return time.perf_counter() - self.start

    def outside(self, f):
        before = time.perf_counter()
        result = f()
        self.start += time.perf_counter() - before
        return result


def train_torch(make, images, held_out, budgets, batch=BATCH, rate=1e-3, cosine=False):
    """Squared errors `[n]` of the held-out images at each budget, seconds."""
    torch = import_torch()
    assert torch is not None
    clock, generator, errors = Clock(), np.random.default_rng(0), []
    network = make(torch)
    step, optimizer = torch_step(torch, network, rate)
    data, test = torch.from_numpy(images[:, None]), torch.from_numpy(held_out[:, None]).float() / 255

    @torch.no_grad()
    def evaluate():
        return torch.cat([((network(x) - x) ** 2).mean((1, 2, 3)) for x in test.split(1000)]).numpy()

    for budget in budgets:
        while (now := clock()) < budget:
            if cosine:
                optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * now / budget))
            step(data[torch.from_numpy(generator.integers(0, len(data), batch))].float() / 255)
        errors.append(clock.outside(evaluate))
    return errors


def train_ours(parts, images, held_out, budgets, batch, rate, cosine):
    """The same with the library's own objective and step; the clock sets the rate before each scanned chunk."""
    clock, generator, errors = Clock(), np.random.default_rng(0), []
    shape = (28, 28, 1)
    model, objective = presets.ae(shape, latent_size=LATENT, **parts)
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=rate)
    data = jnp.asarray(images[..., None])
    # compiled whole: the initialisers' small operations would each be compiled, on the clock
    initial = jax.jit(lambda rng, x: train.init_state(objective, optimizer, rng, x))
    state = initial(jax.random.key(0), data[:1].astype(jnp.float32) / 255)
    step = train.build_step(objective, optimizer)
    run = jax.jit(lambda s, data, i: jax.lax.scan(lambda s, i: step(s, data[i]), s, i), donate_argnums=0)
    test = jnp.asarray(held_out[..., None]).astype(jnp.float32) / 255

    @jax.jit
    def errors_of(state, test):
        output, _ = model.apply(state.params["model"], state.state["model"], None, test)
        return ((model.likelihood.mean(output.prediction) - test) ** 2).mean((1, 2, 3))

    for budget in budgets:
        while (now := clock()) < budget:
            falling = 0.5 * (1 + np.cos(np.pi * now / budget)) if cosine else 1.0
            state.opt_state.hyperparams["learning_rate"] = jnp.float32(rate * falling)
            state, result = run(state, data, generator.integers(0, len(data), (CHUNK, batch), dtype=np.int32))
            jax.block_until_ready(result)
        errors.append(clock.outside(lambda: np.asarray(errors_of(state, test))))  # noqa: B023
    return errors


def quality_variants(same_recipe: bool) -> dict:
    """name: (train(images, held_out, budgets), whether it trains anew for each budget)."""
    relu = {"activation": jax.nn.relu}
    plain = {
        "encoder": networks.mlp(512, 256, LATENT, flatten=True, **relu),
        "decoder": networks.mlp(256, 512, output_shape=(28, 28, 1), **relu),
        "likelihood": likelihoods.gaussian(),
    }
    recipe = {"batch": 64, "rate": 2e-3, "cosine": True}
    variants = {
        "jaxae default": (lambda *a: train_ours({}, *a, **recipe), True),
        "jaxae plain_mlp": (lambda *a: train_ours(plain, *a, batch=BATCH, rate=1e-3, cosine=False), False),
    }
    if import_torch() is not None:
        variants["torch mlp"] = (lambda *a: train_torch(torch_mlp, *a), False)
        variants["torch patches"] = (lambda *a: train_torch(torch_patches, *a), False)
        variants["torch conv"] = (lambda *a: train_torch(torch_padded_conv, *a), False)
        if same_recipe:
            variants["torch mlp, our recipe"] = (lambda *a: train_torch(torch_mlp, *a, **recipe), True)
    return variants


def bench_quality(path: str, label: int, same_recipe: bool, budgets: tuple[float, ...]):
    """Error after fixed times of training, and one-class AUROC; a line for each variant."""
    with np.load(path, allow_pickle=False) as file:
        x, y, held_out, labels = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    for name, (run, anew) in quality_variants(same_recipe).items():
        each = [(b,) for b in budgets] if anew else [budgets]
        errors = [e for some in each for e in run(x, held_out, some)]
        one_class = run(x[y == label], held_out, (20.0,))[0]
        auroc = float(metrics.auroc(jnp.asarray(labels != label, jnp.int32), jnp.asarray(one_class)))
        figures = {f"mse_{b:g}s": float(e.mean()) for b, e in zip(budgets, errors, strict=True)}
        common.emit(benchmark="quality", variant=name, **figures, one_class_auroc=auroc, **versions(import_torch()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="of the interleaved timing")
    parser.add_argument("--keep-memory", action="store_true", help="freed memory stays with the process (glibc)")
    parser.add_argument("--quality", action="store_true", help="reconstruction after fixed times instead")
    parser.add_argument("--data", help="npz file with x_train, y_train, x_test, y_test of 28x28 bytes")
    parser.add_argument("--label", type=int, default=0, help="the normal class of the AUROC")
    parser.add_argument("--same-recipe", action="store_true", help="the torch perceptron with our recipe, too")
    parser.add_argument("--seconds", type=float, nargs="+", default=BUDGETS, help="the times to read at")
    arguments = parser.parse_args()
    if arguments.keep_memory:
        keep_memory()
    if arguments.quality:
        if arguments.data is None:
            parser.error("--quality needs --data FILE")
        bench_quality(arguments.data, arguments.label, arguments.same_recipe, tuple(arguments.seconds))
    else:
        bench_steps(arguments.rounds)


if __name__ == "__main__":
    main()
