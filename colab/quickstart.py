# %% [markdown]
# # jaxae in five minutes
#
# An autoencoder learns what normal examples look like. What it cannot rebuild is suspicious, and a cost table says how
# suspicious is suspicious enough. This notebook goes from images to decisions on a TPU, a GPU or a CPU, in about a
# minute.

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
import tempfile

import jax
import numpy as np
import optax
from IPython.display import Image, display

from jaxae import parallel, presets, report, scoring, train, transforms
from jaxae.data import batches, load, splits
from jaxae.report import decisions, pictures
from jaxae.types import Batch, CostTable

folder = Path(tempfile.mkdtemp())
print(jax.__version__, jax.devices())

# %% [markdown]
# ## Data
#
# The package brings 12,000 images of clothing. One class, ankle boots, counts as normal. `splits.split` deals the rows
# out by a seed, and each part is read for one purpose: `train` fits the parameters, `calibration` (normal) gives
# p-values, `dev` (labelled) chooses the threshold λ, `test` is read once.

# %%
parts = splits.split(load("fashion-sample"))
for name in ("train", "validation", "calibration", "dev", "test"):
    part = getattr(parts, name)
    print(f"{name:12} {len(part.x):6,} images, {int(part.labels.sum()):6,} anomalies")
display(Image(report.sample_grid(folder / "train.png", parts.train.x[:32], "Normal examples", columns=8), width=480))

# %% [markdown]
# ## Training
#
# `build_step` gives one pure function, `(state, batch) -> (state, metrics)`. `fit` compiles a scan over it. With
# several devices `jit_step` splits each batch over them; the losses stay those of one device.

# %%
x = parts.train.x
model, objective = presets.denoising_ae(x.shape[1:], latent_size=16)
optimizer = optax.adam(2e-3)
state = train.init_state(objective, optimizer, jax.random.key(0), x[:120])
step = train.build_step(objective, optimizer)
if jax.device_count() > 1:
    step = parallel.jit_step(step, parallel.make_mesh())
result = train.fit(step, state, batches.shuffled(len(x), 120, seed=0), num_steps=300, data=x, chunk=100)
state = result.state
for entry in result.history:
    print(f"step {entry['step']:4}   loss {entry['loss']:.2f} nats per image")

# %% [markdown]
# ## From a score to a decision
#
# The score is the mean squared reconstruction error. A miss costs ten times as much as a false alarm, and one example
# in twenty is expected to be an anomaly: λ is where that costs least on the dev set.

# %%
score = scoring.prepared(scoring.reconstruction(model, "l2"), transforms.scale_uint8())
costs = CostTable.binary(miss=10.0, false_alarm=1.0)
detector = scoring.detector(score, scoring.thresholds.expected_cost(costs, anomaly_rate=0.05))
fitted = detector.fit(
    state.params["model"], state.state["model"], None, parts.calibration.x, parts.dev.x, parts.dev.labels
)
verdict = jax.jit(detector.apply)(fitted, parts.test.x)

labels, scores, threshold = parts.test.labels, np.asarray(verdict.score), float(verdict.threshold[0])
print(f"AUROC            {scoring.metrics.auroc(labels, scores):.3f}")
print(f"recall           {scoring.metrics.recall(labels, scores, threshold=threshold):.3f}")
print(f"false-alarm rate {scoring.metrics.false_alarm_rate(labels, scores, threshold=threshold):.3f}")
for row in range(3):
    label = "anomaly" if labels[row] else "normal"
    print(
        f"image {row}: score {verdict.score[row]:.4f}, λ {threshold:.4f}, p {verdict.p_value[row]:.3f}, "
        f"{'flagged' if verdict.is_anomaly[row] else 'accepted'} ({label})"
    )

# %%
display(Image(decisions.histogram(folder / "scores.png", scores, threshold, labels), width=480))
display(
    Image(decisions.cost(folder / "cost.png", (scores, labels), threshold, np.asarray(costs.costs), 0.05), width=480)
)

# %% [markdown]
# ## Where in the image

# %%
normal, anomaly = np.flatnonzero(labels == 0)[:3], np.flatnonzero(labels == 1)[:3]
rows = np.concatenate([normal, anomaly])
scaled = transforms.scale_uint8()(None, Batch(parts.test.x[rows]))
output, _ = model.apply(state.params["model"], state.state["model"], None, scaled.x)
error = score.map(fitted.scorer, jax.random.key(0), Batch(parts.test.x[rows]))
kinds = ["normal"] * len(normal) + ["anomaly"] * len(anomaly)
path = pictures.reconstructions(
    folder / "examples.png",
    np.asarray(scaled.x),
    np.asarray(model.likelihood.mean(output.prediction)),
    np.asarray(error),
    kinds,
    scores[rows],
)
display(Image(path, width=760))

# %% [markdown]
# ## Keep it
#
# A saved detector is a program for CPU, CUDA and TPU with its arrays and a card: loading it needs neither this
# notebook's code nor a pickle.

# %%
scoring.save_detector(folder / "detector", detector, fitted, parts.test.x[:1], {"normal": list(parts.normal)})
loaded = scoring.load_detector(folder / "detector")
again = loaded.apply(parts.test.x[:256])
print(loaded.card)
assert np.allclose(again.score, scores[:256], rtol=1e-5)
