"""How fast codes are found and books updated, beside vector-quantize-pytorch and beside the matrix product alone.

"product" is tokens times codes and nothing else; "lookup" the nearest codes; "train" a quantizer's forward pass with
its statistics and the backward pass to its input, on tokens of a book that is alive. Peers are run as we are: moving
averages at 0.99, straight-through, commitment 0.25. The variants take turns, round after round; the figures are
medians and the ratios are taken within a round.

    pip install torch vector-quantize-pytorch
    python benchmarks/bench_quantizers.py
"""

import argparse
import importlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import emit

from jaxae.bottlenecks import residual, vector_quantizer
from jaxae.bottlenecks.nearest import nearest_code

SIZES = ((8192, 64, 512), (8192, 256, 1024), (8192, 64, 8192))
RESIDUAL = (8192, 64, 1024)
DEPTH = 8


def our_step(layer, h):
    """A compiled train step of ours that keeps its state: `() -> None`."""

    @jax.jit
    def step(params, state, rng, h):
        def loss(h):
            code, new = layer.apply(params, state, rng, h)
            return (code.latent.sum() + code.penalty.sum()), (new, code.symbols)

        gradient, (new, symbols) = jax.grad(loss, has_aux=True)(h)
        return gradient, new, symbols

    params, state = layer.init(jax.random.key(0), h)
    held = {"state": state, "i": 0}

    def run():
        held["i"] += 1
        gradient, held["state"], _ = step(params, held["state"], jax.random.key(held["i"]), h)
        gradient.block_until_ready()

    return run


def their_step(layer, h):
    """The same of a torch module."""
    import torch

    tokens = torch.from_numpy(np.array(h))[None].requires_grad_(True)
    layer.train()

    def run():
        quantized, _, loss = layer(tokens)
        tokens.grad = None
        (quantized.sum() + loss.sum()).backward()

    return run


def timed(variants: dict, rounds: int) -> dict:
    """Median seconds of each variant, and of its time over that of each other in the same round."""
    times = {name: [] for name in variants}
    for run in variants.values():
        for _ in range(3):
            run()
    for _ in range(rounds):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: np.array(found) for name, found in times.items()}


def report(label: str, sizes: tuple[int, int, int], times: dict, ratios: dict) -> None:
    """One line: medians in milliseconds, and medians of the ratios named."""
    n, width, num_codes = sizes
    found = {f"{name}_ms": float(1e3 * np.median(t)) for name, t in times.items()}
    found |= {name: float(np.median(times[a] / times[b])) for name, (a, b) in ratios.items()}
    emit(what=label, tokens=n, width=width, codes=num_codes, **found)


def compiled(function, *arguments):
    """`() -> None` for a function compiled for these arguments."""
    call = jax.jit(function)
    return lambda: call(*arguments).block_until_ready()


def main() -> None:
    """Print a line for each size, one for the residual stack and one for the large book."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    peers = None if arguments.no_peers else importlib.import_module("vector_quantize_pytorch")
    settings = {"decay": 0.99, "commitment_weight": 0.25, "rotation_trick": False}
    for sizes in SIZES:
        n, width, num_codes = sizes
        h = jax.random.normal(jax.random.key(1), (n, width))
        codes = jax.random.normal(jax.random.key(2), (num_codes, width))
        variants = {
            "product": compiled(lambda a, b: jnp.matmul(a, b.T), h, codes),
            "lookup": compiled(nearest_code, h, codes),
            "train": our_step(vector_quantizer(num_codes), h),
        }
        ratios = {"lookup_to_product": ("lookup", "product")}
        if peers is not None:
            variants["peer"] = their_step(peers.VectorQuantize(dim=width, codebook_size=num_codes, **settings), h)
            ratios["times_faster"] = ("peer", "train")
        report("vector_quantizer", sizes, timed(variants, arguments.rounds), ratios)
    n, width, num_codes = RESIDUAL
    h = jax.random.normal(jax.random.key(1), (n, width))
    variants, ratios = {"train": our_step(residual(vector_quantizer(num_codes), DEPTH), h)}, {}
    if peers is not None:
        stack = peers.ResidualVQ(dim=width, codebook_size=num_codes, num_quantizers=DEPTH, **settings)
        variants["peer"], ratios = their_step(stack, h), {"times_faster": ("peer", "train")}
    report(f"residual, depth {DEPTH}", RESIDUAL, timed(variants, max(3, arguments.rounds // 3)), ratios)
    large = (8192, 8, 262_144)
    h, codes = (
        jax.random.normal(jax.random.key(1), large[:2]),
        jax.random.normal(jax.random.key(2), (large[2], large[1])),
    )
    memory = jax.jit(nearest_code).lower(h, codes).compile().memory_analysis()
    times = timed({"lookup": compiled(nearest_code, h, codes)}, 3)
    emit(
        what="large book",
        tokens=large[0],
        width=large[1],
        codes=large[2],
        lookup_ms=float(1e3 * np.median(times["lookup"])),
        temporary_megabytes=None if memory is None else memory.temp_size_in_bytes / 2**20,
        matrix_megabytes=4 * large[0] * large[2] / 2**20,
    )


if __name__ == "__main__":
    main()
