# %% [markdown]
# # What are features worth?
#
# An encoder that has learned without labels serves those who have few of them. This notebook trains a denoising
# autoencoder on clothing, reads labels off its features in two ways, and compares with raw pixels and principal
# components. On a TPU or GPU it takes half a minute, on two CPU cores one.

# %%
# Colab's jax is built for its TPU or GPU: pinning what is installed keeps pip from replacing it, so that only what is
# missing is added. jaxae itself comes from a checkout in or beside this folder.
import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

try:
    metadata.version("jaxae")
except metadata.PackageNotFoundError:  # a folder of that name can be imported without being installed
    checkouts = [path for path in map(Path, (".", "..", "jaxae")) if (path / "jaxae" / "__init__.py").is_file()]
    if not checkouts:
        raise SystemExit(
            "put a checkout of jaxae beside this notebook first: there is no release to install yet"
        ) from None
    installed = {package.metadata["Name"].lower(): package.version for package in metadata.distributions()}
    keep = [f"{name}=={installed[name]}" for name in ("jax", "jaxlib", "libtpu") if name in installed]
    Path("keep.txt").write_text("\n".join(keep))
    source = str(checkouts[0].resolve())
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", "keep.txt", source], check=True)
    importlib.invalidate_caches()

# %%
import functools
import tempfile

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

from jaxae import downstream, networks, presets, train, transforms
from jaxae.data import batches, load
from jaxae.types import Batch

folder = Path(tempfile.mkdtemp())
data = load("fashion-sample")
fit, dev = slice(None, -1000), slice(-1000, None)
x, y = data.x_train, data.y_train
print(jax.devices(), x[fit].shape, x[dev].shape, data.x_test.shape)

# %% [markdown]
# ## An encoder that has seen no label
#
# It reads oriented gradients of the images, half of them dropped and the others noisy, and has to give them back whole.

# %%
VIEW = transforms.chain(transforms.scale_uint8(), transforms.oriented_gradients())
shape = jax.eval_shape(lambda rows: VIEW(None, Batch(rows)).x, x[:1]).shape[1:]
encoder = networks.mlp(256, 256, 64, flatten=True, activation=jax.nn.relu)
model, objective = presets.denoising_ae(
    shape,
    encoder=encoder,
    decoder=networks.mlp(256, output_shape=shape, activation=jax.nn.relu),
    corruption=transforms.chain(transforms.feature_dropout(0.5), transforms.gaussian_noise(0.1)),
    transform=VIEW,
)
STEPS = 500
optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, 2e-3, 50, STEPS))
state = jax.jit(lambda key: train.init_state(objective, optimizer, key, x[:128]))(jax.random.key(0))
step = train.build_step(objective, optimizer)
order = batches.shuffled(len(x[fit]), 128, seed=0)
found = train.fit(step, state, order, STEPS, data=x[fit], chunk=100, progress=False)
print([round(entry["loss"], 2) for entry in found.history])

# %% [markdown]
# ## Features of every row
#
# To an array, or to an `.npz` file for other programs.

# %%
encode = downstream.layers_of(encoder, found.state.params["model"]["encoder"], (0, 1), VIEW)
FEATURES = {
    "pixels": downstream.pixels,
    "64 principal components": downstream.principal_components(x[fit], 64),
    "encoder": lambda rows: downstream.extract(encode, rows),
}
parts = {name: [of(rows) for rows in (x[fit], x[dev], data.x_test)] for name, of in FEATURES.items()}
downstream.extract(encode, data.x_test, path=folder / "features.npz")
with np.load(folder / "features.npz", allow_pickle=False) as file:
    print(file["features"].shape, file["features"].dtype)

# %% [markdown]
# ## A linear probe and a vote of neighbours
#
# Logistic regression along a path of L2 weights: dev data chooses the weight, test data are read once.

# %%
figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
for name, (train_part, dev_part, test_part) in parts.items():
    probe = downstream.linear_probe(train_part, y[fit], dev_part, y[dev])
    linear = np.mean(np.asarray(downstream.probe_classes(probe, test_part)) == data.y_test)
    voted = np.mean(np.asarray(downstream.knn_classes(test_part, train_part, y[fit])) == data.y_test)
    print(f"{name:24} linear probe {100 * linear:.1f} %   20 neighbours {100 * voted:.1f} %")
    ax.plot(probe.path, 100 * np.asarray(probe.dev_accuracy), "o-", label=name)
ax.set(xscale="log", xlabel="L2 weight", title="accuracy on dev, %")
ax.legend()
plt.show()

# %% [markdown]
# ## How many labels does it take?
#
# The same probe on random shares of the labels, each class in its share; three draws each.

# %%
SHARES = (0.01, 0.1, 1.0)
few = functools.partial(downstream.linear_probe, path=(0.1, 0.01, 0.001))
figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
for name, (train_part, dev_part, test_part) in parts.items():
    curve = downstream.label_curve(
        (train_part, y[fit]), (dev_part, y[dev]), (test_part, data.y_test), SHARES, draws=3, probe=few
    )
    ax.plot(curve.num_labels, 100 * curve.accuracy.mean(1), "o-", label=name)
    ax.fill_between(curve.num_labels, 100 * curve.accuracy.min(1), 100 * curve.accuracy.max(1), alpha=0.2)
    points = zip(curve.num_labels, 100 * curve.accuracy.mean(1), strict=True)
    print(f"{name:24}", "  ".join(f"{number}: {accuracy:.1f} %" for number, accuracy in points))
ax.set(xscale="log", xlabel="labels", title="accuracy on test, %")
ax.legend()
plt.show()

# %% [markdown]
# To go on training the encoder with the labels, put it into a classifier: `downstream.classifier`, `pretrained` and
# `fine_tuning`. With a few hundred labels of these images that has no gain over the probe.
