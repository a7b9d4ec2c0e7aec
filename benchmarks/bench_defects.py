"""Defects on printed circuit boards (DeepPCB): trained on templates alone, tested on boards that it sees alone.

The aligned template of a test board is not looked at: a model of what boards look like has to do. It is a denoising
autoencoder whose target is the corruption itself (the discriminative half of DRAEM, Zavrtanik et al. 2021): a
perceptron reads a window of 32 x 32 pixels of a template, into which up to three rough blots of copper were put or from
which they were taken, and says of the inner 8 x 8 how much each pixel was changed. What it says in all windows, 4
pixels apart, is averaged; the blurred probability is the map, the mean of its highest 3 pixels the image's score.

Image AUROC compares the test split's boards with their templates (which are cleaner pictures, so part of it may be
easy); pixel AUROC counts the pixels in the defects' boxes against all others of the boards. `--dev` takes 60 held-out
templates of the train split and their boards for the test: on these the blur and the highest share were chosen. That
defects are small blots of copper is known of this data set beforehand, their shapes and places are not.

    python benchmarks/bench_defects.py --data deeppcb_160.npz
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import emit

from jaxae import bottlenecks, likelihoods, networks, objectives, scoring, train
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.numerics.filters import gaussian_blur
from jaxae.scoring import metrics
from jaxae.scoring.metrics.pixels import per_region_overlap, pixel_auroc
from jaxae.scoring.scores.reconstruction import fit_model, top_mean
from jaxae.types import Batch, Scorer

WINDOW, CENTRE, STRIDE, BLOTS = 32, 8, 4, 3
EDGE = (WINDOW - CENTRE) // 2
WINDOWS = 120_000
HIGHEST = 1e-4  # share of the pixels, 3 of 25,600
MODEL = autoencoder(
    networks.mlp(768, 384, activation=jax.nn.relu, flatten=True),
    bottlenecks.identity(),
    networks.mlp(384, output_shape=(CENTRE, CENTRE, 1), activation=jax.nn.relu),
    likelihoods.bernoulli(),
)


def blotted(rng, batch: Batch) -> Batch:
    """Blots of 1 to 5 pixels where there is none, or taken out; the target is how much the inner pixels changed."""
    x = batch.x.astype(jnp.float32) / 255
    rows, place = x.shape[0], jnp.arange(WINDOW, dtype=jnp.float32)

    def one(x, key):
        keys = jax.random.split(key, 6)
        centre = jax.random.uniform(keys[0], (2, rows, 1, 1), minval=2, maxval=WINDOW - 2)
        radius = jnp.exp(jax.random.uniform(keys[1], (2, rows, 1, 1), minval=jnp.log(0.8), maxval=jnp.log(5.0)))
        angle = jax.random.uniform(keys[2], (rows, 1, 1), maxval=jnp.pi)
        down, across = place[None, :, None] - centre[0], place[None, None, :] - centre[1]
        along = (across * jnp.cos(angle) + down * jnp.sin(angle)) / radius[0]
        aside = (down * jnp.cos(angle) - across * jnp.sin(angle)) / radius[1]
        rough = 1.4 * gaussian_blur(jax.random.normal(keys[3], (rows, WINDOW, WINDOW, 1)), 1.2)[..., 0]
        there = jax.random.bernoulli(keys[4], 0.6, (rows, 1, 1))
        blot = there * jax.nn.sigmoid(8 * (1 - jnp.hypot(along, aside) + rough))
        at = jnp.round(centre[:, :, 0, 0]).astype(jnp.int32)
        here = jnp.round(x[jnp.arange(rows), at[0], at[1], 0])
        copper = jnp.where(jax.random.bernoulli(keys[5], 0.9, (rows,)), 1 - here, here)  # mostly what is not there
        return x + (blot * (copper[:, None, None] - x[..., 0]))[..., None], None

    # a batch without a key is looked at with blots too: without any there is nothing to tell
    keys = jax.random.split(jax.random.key(0) if rng is None else rng, BLOTS)
    changed, _ = jax.lax.scan(one, x, keys)
    inner = slice(EDGE, EDGE + CENTRE)
    return batch._replace(x=changed, target=jnp.abs(changed - x)[:, inner, inner])


def windows_of(images: np.ndarray, seed: int) -> np.ndarray:
    """Windows at random places of random images, turned and mirrored, `[N, H, W, 1]` bytes."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(images), WINDOWS)
    top, left = rng.integers(0, images.shape[1] - WINDOW + 1, (2, WINDOWS))
    windows = np.lib.stride_tricks.sliding_window_view(images, (WINDOW, WINDOW), (1, 2))[rows, top, left]
    for way in range(1, 8):
        turned = np.rot90(windows[way::8], way % 4, (1, 2))
        windows[way::8] = turned[:, ::-1] if way >= 4 else turned
    return windows[..., None]


def trained(templates: np.ndarray, arguments):
    """Params and state of the model, trained on the templates' windows."""
    rows = windows_of(templates, arguments.seed)
    objective = objectives.prepared(objectives.elbo(MODEL), blotted)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, arguments.steps))
    init = jax.jit(lambda key: train.init_state(objective, optimizer, key, rows[:128]))
    step, batches = train.build_step(objective, optimizer), shuffled(len(rows), 128, arguments.seed)
    state, data = init(jax.random.key(arguments.seed)), jax.device_put(rows)
    state = train.fit(step, state, batches, arguments.steps, data=data, progress=False).state
    return state.params["model"], state.state["model"]


def changes(params, state, image):
    """`[H, W]` bytes to the probability that a pixel was changed, by the windows around it."""
    size = image.shape[0]
    image = image.astype(jnp.float32) / 255
    padded = jnp.pad(image, EDGE, mode="edge")
    start = jnp.arange(0, size - CENTRE + 1, STRIDE)
    top, left = (axis.reshape(-1) for axis in jnp.meshgrid(start, start, indexing="ij"))

    def taken(length):
        inner = jnp.arange(length)
        return top[:, None, None] + inner[None, :, None], left[:, None, None] + inner[None, None, :]

    output, _ = MODEL.apply(params, state, None, padded[taken(WINDOW)][..., None])
    total = jnp.zeros_like(image).at[taken(CENTRE)].add(output.prediction[..., 0])
    return jax.nn.sigmoid(total / jnp.zeros_like(image).at[taken(CENTRE)].add(1.0))


def scorer_of(sigma: float) -> Scorer:
    """The map is the blurred probability of a change; the score the mean of its highest pixels."""

    def score_map(fitted, rng, batch):
        found = jax.lax.map(lambda image: changes(fitted["params"], fitted["state"], image), batch.x[..., 0])
        return gaussian_blur(found[..., None], sigma)

    return Scorer(fit_model, lambda *arguments: top_mean(score_map(*arguments), HIGHEST), score_map)


def masks_of(boxes: np.ndarray, number: int, size: int) -> np.ndarray:
    """Pixels in a defect's box; the boxes' corners are in pixels of the 640 x 640 originals."""
    masks = np.zeros((number, size, size), np.int32)
    for image, *corners, _ in boxes:
        x1, y1, x2, y2 = np.array(corners, int) * size // 640
        masks[image, y1 : y2 + 1, x1 : x2 + 1] = 1
    return masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz with template, test, split and boxes_img_x1y1x2y2_type")
    parser.add_argument("--dev", action="store_true", help="test on boards of the train split")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--sigma", type=float, nargs="+", default=[4.0])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with np.load(arguments.data, allow_pickle=False) as file:
        templates, boards, split = file["template"], file["test"], file["split"]
        masks = masks_of(file["boxes_img_x1y1x2y2_type"], *templates.shape[:2])
    fitted_to = np.flatnonzero(split == 0)[:-60]
    tested = np.flatnonzero(split == 0)[-60:] if arguments.dev else np.flatnonzero(split == 1)
    started = time.perf_counter()
    params, state = trained(templates[fitted_to], arguments)
    seconds = time.perf_counter() - started
    labels = np.repeat([0, 1], len(tested))
    for sigma in arguments.sigma:
        scorer = scorer_of(sigma)
        fitted = scorer.fit(params, state)
        maps = jax.jit(lambda rows, scorer=scorer, fitted=fitted: scorer.map(fitted, None, Batch(rows)))
        started = time.perf_counter()
        normal, found = (scoring.score_batches(maps, x[tested][..., None], 20)[..., 0] for x in (templates, boards))
        per_image = (time.perf_counter() - started) / (2 * len(tested))
        high = [np.asarray(top_mean(jnp.asarray(m), HIGHEST)) for m in (normal, found)]
        emit(
            score=f"blur of {sigma} pixels",
            split="dev" if arguments.dev else "test",
            image_auroc=float(metrics.auroc(labels, np.concatenate(high))),
            pixel_auroc=float(pixel_auroc(masks[tested], found)),
            per_region_overlap=float(per_region_overlap(masks[tested], found)),
            train_seconds=seconds,
            seconds_per_image=per_image,
        )


if __name__ == "__main__":
    main()
