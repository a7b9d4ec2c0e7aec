"""Disentanglement of sprites, measured: MIG, FactorVAE score, DCI and others over seeds trained in one vmap.

Sprites (a re-rendering with the factors of dSprites: shape, scale, rotation, x, y) at 16 x 16 pixels; a perceptron of
two hidden layers encodes, a spatial broadcast decoder (or such a perceptron) decodes; 10 latents, Bernoulli likelihood
whose pixels count 16 times (as many as at 64 x 64), Adam at a rate that falls along a cosine. All seeds of a setting
learn in one vmap from the same `--rows` images; all 737,280 combinations are encoded once, and the scores look codes up
by the protocol named. UDR, which reads no factor, stands beside each setting: `--strengths` given several times, it is
what chooses among them.

    python benchmarks/bench_disentanglement.py --methods beta_tc --steps 10000
    python benchmarks/bench_disentanglement.py --methods beta_tc factor dip_ii --steps 10000 --decoder mlp

Result of the first command, ten seeds, medians: FactorVAE score .68, MIG .43, DCI disentanglement .48; of the second's
beta_tc .54, .14 and .19.

The study of Locatello et al. (2019) trains for 300,000 steps at 64 x 64; its ranges are context, not a bar.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import emit

from jaxae import disentanglement, likelihoods, networks, presets, train
from jaxae.data import sprites
from jaxae.data.batches import shuffled
from jaxae.data.factors import factors_at, sample_factors
from jaxae.generation import kl_per_dimension
from jaxae.train import ensemble

SIZES = sprites.FACTOR_SIZES
LATENT = 10
SCORES = ("factor_vae", "mig", "sap", "dci", "modularity", "beta_vae")
# the strengths at which each method did best in the study, of its grids
METHODS = {
    "vae": (lambda shape, strength, **parts: presets.vae(shape, beta=strength, **parts), 1.0),
    "beta": (lambda shape, strength, **parts: presets.vae(shape, beta=strength, **parts), 4.0),
    "beta_tc": (lambda shape, strength, **parts: presets.beta_tc_vae(shape, beta=strength, **parts), 6.0),
    "factor": (lambda shape, strength, **parts: presets.factor_vae(shape, gamma=strength, **parts), 30.0),
    "dip_i": (lambda shape, strength, **parts: presets.dip_vae(shape, variant="i", weight=strength, **parts), 10.0),
    "dip_ii": (lambda shape, strength, **parts: presets.dip_vae(shape, variant="ii", weight=strength, **parts), 10.0),
}


def trained(method: str, strength: float, rows: np.ndarray, arguments):
    """`(model, params with an axis of seeds, seconds)`."""
    started = time.monotonic()
    shape, width = rows.shape[1:], arguments.width
    decoders = {
        "broadcast": lambda: networks.spatial_broadcast(shape),
        "mlp": lambda: networks.mlp(width, width, output_shape=shape, activation=jax.nn.relu),
    }
    model, objective = METHODS[method][0](
        shape,
        strength,
        latent_size=LATENT,
        encoder=networks.mlp(width, width, 2 * LATENT, flatten=True, activation=jax.nn.relu),
        decoder=decoders[arguments.decoder](),
        likelihood=weighed(likelihoods.bernoulli(), (64 / arguments.size) ** 2),
    )
    optimizer = optax.adam(optax.cosine_decay_schedule(arguments.rate, arguments.steps))
    first = rows[: arguments.batch]
    state = jax.jit(lambda key: ensemble.init_states(objective, optimizer, key, first, arguments.seeds))(
        jax.random.key(arguments.seed)
    )
    step = ensemble.build_step(objective, optimizer)
    order = shuffled(len(rows), arguments.batch, arguments.seed)
    found = train.fit(step, state, order, arguments.steps, data=jax.device_put(rows), chunk=500, progress=False)
    return model, found.state.params["model"], time.monotonic() - started


def weighed(likelihood, weight: float):
    """A pixel counts as often as it stands for pixels of the study, so that penalties weigh what they do there."""
    return likelihood._replace(log_prob=lambda x, prediction: weight * likelihood.log_prob(x, prediction))


def encoder_of(model):
    """`(params of all seeds, images [B, ...]) -> codes` whose leaves have axes `[seeds, B]`."""
    return jax.vmap(lambda params, images: model.encode(params, (), images), (0, None))


def tables(model, params, size: int) -> np.ndarray:
    """`[seeds, 737280, 10]`: the posterior means of all combinations; an image is rendered once for all seeds."""

    def represent(factors):
        means = encoder_of(model)(params, sprites.render(factors, size)).latent
        return jnp.swapaxes(means, 0, 1).reshape(len(factors), -1)

    table = jax.jit(lambda: disentanglement.code_table(represent, SIZES))()
    return np.asarray(table.reshape(len(table), -1, LATENT).swapaxes(0, 1))


def measured(model, params, arguments) -> dict[str, np.ndarray]:
    """Each score of each seed `[seeds]`, and UDR."""
    codes = tables(model, params, arguments.size)
    protocol = disentanglement.PROTOCOLS[arguments.protocol]
    found = {}
    for name in arguments.scores:

        @jax.jit
        def scored(table, key, name=name):
            return disentanglement.SCORES[name](disentanglement.from_table(table, SIZES), key, protocol)

        values = [scored(table, jax.random.key(1)) for table in codes]
        for part in values[0] if isinstance(values[0], dict) else [None]:
            each = [float(v if part is None else v[part]) for v in values]
            found[f"{name}_{part}" if part else name] = np.array(each)
    index = jnp.asarray(np.random.default_rng(0).integers(0, codes.shape[1], 2000))
    images = sprites.render(factors_at(index, SIZES), arguments.size)
    kl = jax.vmap(kl_per_dimension)(encoder_of(model)(params, images).posterior)
    found["udr"] = np.asarray(jax.jit(disentanglement.udr)(jnp.asarray(codes[:, np.asarray(index)]), kl))
    return found


def main() -> None:
    """Print a line for each method and strength."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["vae", "beta_tc", "factor", "dip_ii"], choices=METHODS)
    parser.add_argument("--strengths", nargs="+", type=float, help="of the penalty; each method's own by default")
    parser.add_argument("--scores", nargs="+", default=list(SCORES), choices=disentanglement.SCORES)
    parser.add_argument("--protocol", default="locatello2019", choices=disentanglement.PROTOCOLS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decoder", choices=["broadcast", "mlp"], default="broadcast")
    parser.add_argument("--width", type=int, default=256, help="of the perceptrons' hidden layers")
    parser.add_argument("--size", type=int, default=16, help="pixels")
    parser.add_argument("--rows", type=int, default=100_000, help="images to learn from, drawn from the grid")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    factors = sample_factors(jax.random.key(arguments.seed), SIZES, arguments.rows)
    render = jax.jit(lambda part: sprites.render(part, arguments.size))
    rows = np.concatenate([np.asarray(render(part)) for part in jnp.array_split(factors, max(1, len(factors) // 2000))])
    for method in arguments.methods:
        for strength in arguments.strengths or [METHODS[method][1]]:
            model, params, seconds = trained(method, strength, rows, arguments)
            started = time.monotonic()
            found = measured(model, params, arguments)
            emit(
                method=method,
                strength=strength,
                **{name: spread(values) for name, values in found.items()},
                train_seconds=seconds,
                score_seconds=time.monotonic() - started,
                **{k: v for k, v in vars(arguments).items() if k not in ("methods", "strengths", "scores")},
            )


def spread(values: np.ndarray) -> dict[str, float]:
    """Median over the seeds, and where a further seed would fall in 95 of 100 cases."""
    interval = disentanglement.repeated(jnp.asarray(values))
    ends = {"median": np.median(values), "low": interval.low, "high": interval.high}
    ends |= {"least": values.min(), "most": values.max()}
    return {name: round(float(value), 4) for name, value in ends.items()}


if __name__ == "__main__":
    main()
