"""Defects on printed circuit boards (DeepPCB): trained on templates alone, tested on boards that it sees alone.

The aligned template of a test board is not looked at: a model of what boards look like has to do. It is a
convolutional autoencoder with an 8-number code for every 4 x 4 pixels, trained on 48 x 48 crops of the 1,000
templates of the train split, to rebuild them where bits of other crops were pasted into them. Its parameters do not
depend on the image's size, so whole boards of 160 x 160 are scored. Image AUROC compares the test split's boards
with their templates (which are cleaner pictures, so part of it is easy); pixel AUROC counts the pixels in the
defects' boxes against all others of the boards.

    python benchmarks/bench_defects.py --data deeppcb_160.npz

RESULTS
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import emit

from jaxae import bottlenecks, likelihoods, networks, objectives, scoring, train, transforms
from jaxae.data.batches import shuffled
from jaxae.model import autoencoder
from jaxae.scoring import metrics, prepared, reconstruction
from jaxae.scoring.normalisation import normalised
from jaxae.scoring.scores import top_mean
from jaxae.types import Batch

CROP, PATCHES, CODE = 48, 4, 8


def model_of(size: int):
    """The same parameters fit every size."""
    shape = (size, size, 1)
    parts = {"channels": (32, 64), "num_blocks": 0}
    encoder = networks.conv_encoder(shape, CODE, spatial=True, **parts)
    return autoencoder(encoder, bottlenecks.identity(), networks.conv_decoder(shape, **parts), likelihoods.gaussian())


def pasted(rng, batch: Batch) -> Batch:
    """Rectangles of 3 to 14 pixels cut out of other crops, or turned to their negative; the target stays whole."""
    if rng is None:
        return batch
    x = batch.x

    def one(x, key):
        keys = jax.random.split(key, 5)
        corner = jax.random.uniform(keys[0], (x.shape[0], 2), maxval=CROP)
        size = jax.random.uniform(keys[1], (x.shape[0], 2), minval=3, maxval=14)
        place = jnp.arange(CROP, dtype=jnp.float32)[None]
        inside = [(place >= corner[:, i : i + 1]) & (place < (corner + size)[:, i : i + 1]) for i in (0, 1)]
        inside = (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
        other = x[jax.random.permutation(keys[2], x.shape[0])][:, ::-1]
        negative = jax.random.bernoulli(keys[3], 0.5, (x.shape[0], 1, 1, 1))
        there = jax.random.bernoulli(keys[4], 0.5, (x.shape[0], 1, 1, 1))
        return jnp.where(inside & there, jnp.where(negative, 1 - x, other), x), None

    corrupted, _ = jax.lax.scan(one, x, jax.random.split(rng, PATCHES))
    return batch._replace(x=corrupted, target=x)


def crops(images: np.ndarray, number: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(images), number)
    top, left = rng.integers(0, images.shape[1] - CROP + 1, (2, number))
    windows = np.lib.stride_tricks.sliding_window_view(images, (CROP, CROP), (1, 2))
    return windows[rows, top, left][..., None]


def trained(templates: np.ndarray, arguments):
    rows = crops(templates, arguments.crops, arguments.seed)
    transform = transforms.chain(transforms.scale_uint8(), pasted)
    objective = objectives.prepared(objectives.elbo(model_of(CROP)), transform)
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, arguments.steps))
    init = jax.jit(lambda key: train.init_state(objective, optimizer, key, rows[: arguments.batch]))
    step, batches = train.build_step(objective, optimizer), shuffled(len(rows), arguments.batch, arguments.seed)
    state = init(jax.random.key(arguments.seed))
    data = jax.device_put(rows)
    state = train.fit(step, state, batches, arguments.steps, data=data, progress=False, log=print).state
    return state.params["model"], state.state["model"]


def masks_of(boxes: np.ndarray, number: int, size: int) -> np.ndarray:
    """Pixels in a defect's box; the boxes' corners are in pixels of the 640 x 640 originals."""
    masks = np.zeros((number, size, size), np.int32)
    for image, *corners, _ in boxes:
        x1, y1, x2, y2 = np.array(corners) * size // 640
        masks[image, y1 : y2 + 1, x1 : x2 + 1] = 1
    return masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz with template, test, split and boxes_img_x1y1x2y2_type")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--crops", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with np.load(arguments.data, allow_pickle=False) as file:
        templates, boards, split = file["template"], file["test"], file["split"]
        masks = masks_of(file["boxes_img_x1y1x2y2_type"], *templates.shape[:2])
    held_out, tested = templates[split == 0][-100:], split == 1
    started = time.perf_counter()
    params, state = trained(templates[split == 0][:-100], arguments)
    seconds = time.perf_counter() - started
    normal, boards, masks = (a[tested][..., None] for a in (templates, boards, masks))
    whole = model_of(templates.shape[1])
    for name, base in {
        "l2": reconstruction(whole, "l2"),
        "smooth, 1 pixel": reconstruction(whole, "smooth", sigma=1.0),
        "smooth, 2 pixels": reconstruction(whole, "smooth", sigma=2.0),
        "smooth, 3 pixels": reconstruction(whole, "smooth", sigma=3.0),
        "ssim": reconstruction(whole, "ssim"),
        "smooth, normalised": normalised(reconstruction(whole, "smooth", sigma=2.0), 99),
    }.items():
        scorer = prepared(base, transforms.scale_uint8())
        fitted = scorer.fit(params, state, Batch(held_out[..., None]))
        maps = jax.jit(lambda rows, scorer=scorer, fitted=fitted: scorer.map(fitted, None, Batch(rows)))
        of_boards, of_normals = (scoring.score_batches(maps, x, 50) for x in (boards, normal))
        high = [np.asarray(top_mean(jnp.asarray(m), 0.002)) for m in (of_normals, of_boards)]
        labels = np.repeat([0, 1], [len(normal), len(boards)])
        pixels = metrics.auroc(masks.ravel(), of_boards.ravel())
        emit(
            score=name,
            image_auroc=float(metrics.auroc(labels, np.concatenate(high))),
            pixel_auroc=float(pixels),
            **_pro(masks, of_boards),
            train_seconds=seconds,
        )


def _pro(masks, maps) -> dict:
    pro = getattr(metrics, "pro", None)
    return {} if pro is None else {"pro": float(pro(masks[..., 0], maps[..., 0]))}


if __name__ == "__main__":
    main()
