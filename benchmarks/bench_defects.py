"""Defects on printed circuit boards (DeepPCB): trained on templates alone, tested on boards that it sees alone.

The aligned template of a test board is not looked at: a model of what boards look like has to do. It is a perceptron
that reads a window of 32 x 32 pixels and rebuilds its inner 8 x 8, trained on windows of the templates into which
rectangles were pasted (bits of other windows, or the negative): it learns to take out what does not belong. The
predictions of all windows, 4 pixels apart, are averaged; the blurred squared residual is the map, the mean of its
highest 0.2 % the image's score. Image AUROC compares the test split's boards with their templates (which are cleaner
pictures, so part of it is easy); pixel AUROC counts the pixels in the defects' boxes against all others of the boards.
`--dev` takes 60 held-out templates of the train split and their boards for the test: on these the window, the
corruption and the blur were chosen.

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
from jaxae.filters import gaussian_blur
from jaxae.model import autoencoder
from jaxae.scoring import metrics
from jaxae.scoring.maps import per_region_overlap, pixel_auroc
from jaxae.scoring.scores import fit_model, top_mean
from jaxae.types import Batch, Scorer

WINDOW, CENTRE, STRIDE, PASTED = 32, 8, 4, 3
EDGE = (WINDOW - CENTRE) // 2
WINDOWS = 60_000
MODEL = autoencoder(
    networks.mlp(512, 256, activation=jax.nn.relu, flatten=True),
    bottlenecks.identity(),
    networks.mlp(512, output_shape=(CENTRE, CENTRE, 1), activation=jax.nn.relu),
    likelihoods.bernoulli(),
)


def pasted(rng, batch: Batch) -> Batch:
    """Rectangles of 3 to 14 pixels from other windows, or turned to their negative; the target is the clean centre."""
    x = batch.x.astype(jnp.float32) / 255
    target = x[:, EDGE : EDGE + CENTRE, EDGE : EDGE + CENTRE]
    if rng is None:
        return batch._replace(x=x, target=target)
    rows = x.shape[0]

    def one(x, key):
        keys = jax.random.split(key, 5)
        corner = jax.random.uniform(keys[0], (rows, 2), minval=-4, maxval=WINDOW - 4)
        size = jax.random.uniform(keys[1], (rows, 2), minval=3, maxval=14)
        place = jnp.arange(WINDOW, dtype=jnp.float32)[None]
        inside = [(place >= corner[:, i : i + 1]) & (place < (corner + size)[:, i : i + 1]) for i in (0, 1)]
        inside = (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
        other = x[jax.random.permutation(keys[2], rows)][:, ::-1]
        negative, there = (jax.random.bernoulli(key, 0.5, (rows, 1, 1, 1)) for key in keys[3:])
        return jnp.where(inside & there, jnp.where(negative, 1 - x, other), x), None

    corrupted, _ = jax.lax.scan(one, x, jax.random.split(rng, PASTED))
    return batch._replace(x=corrupted, target=target)


def windows_of(images: np.ndarray, seed: int) -> np.ndarray:
    """Windows at random places of random images, `[N, H, W, 1]` bytes."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(images), WINDOWS)
    top, left = rng.integers(0, images.shape[1] - WINDOW + 1, (2, WINDOWS))
    windows = np.lib.stride_tricks.sliding_window_view(images, (WINDOW, WINDOW), (1, 2))
    return windows[rows, top, left][..., None]


def trained(templates: np.ndarray, arguments):
    """Params and state of the model, trained on the templates' windows."""
    rows = windows_of(templates, arguments.seed)
    objective = objectives.prepared(objectives.elbo(MODEL), pasted)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, arguments.steps))
    init = jax.jit(lambda key: train.init_state(objective, optimizer, key, rows[:128]))
    step, batches = train.build_step(objective, optimizer), shuffled(len(rows), 128, arguments.seed)
    state, data = init(jax.random.key(arguments.seed)), jax.device_put(rows)
    state = train.fit(step, state, batches, arguments.steps, data=data, progress=False).state
    return state.params["model"], state.state["model"]


def residual(params, state, image):
    """`[H, W]` bytes less what the windows around each pixel say it is."""
    size = image.shape[0]
    image = image.astype(jnp.float32) / 255
    padded = jnp.pad(image, EDGE, mode="edge")
    start = jnp.arange(0, size - CENTRE + 1, STRIDE)
    top, left = (axis.reshape(-1) for axis in jnp.meshgrid(start, start, indexing="ij"))

    def taken(length):
        inner = jnp.arange(length)
        return top[:, None, None] + inner[None, :, None], left[:, None, None] + inner[None, None, :]

    output, _ = MODEL.apply(params, state, None, padded[taken(WINDOW)][..., None])
    predictions = MODEL.likelihood.mean(output.prediction)[..., 0]
    total = jnp.zeros_like(image).at[taken(CENTRE)].add(predictions)
    return image - total / jnp.zeros_like(image).at[taken(CENTRE)].add(1.0)


def scorer_of(sigma: float) -> Scorer:
    """The map is the blurred squared residual; the score the mean of its highest 0.2 %."""

    def score_map(fitted, rng, batch):
        found = jax.lax.map(lambda image: residual(fitted["params"], fitted["state"], image), batch.x[..., 0])
        return gaussian_blur(found[..., None], sigma) ** 2

    return Scorer(fit_model, lambda *arguments: top_mean(score_map(*arguments), 0.002), score_map)


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
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--sigma", type=float, nargs="+", default=[2.0, 3.0])
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
        high = [np.asarray(top_mean(jnp.asarray(m), 0.002)) for m in (normal, found)]
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
