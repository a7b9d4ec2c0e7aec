# %% [markdown]
# # Known or unknown
#
# A classifier names one of its classes for whatever it is shown. In use it meets things that it was never taught. This
# notebook trains one on six kinds of clothing, measures how sure it is in several ways, and lets costs decide below
# which confidence λ the answer is "unknown". About a minute on a TPU, a GPU or a CPU.

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

from jaxae import downstream, networks, report, scoring, train, transforms
from jaxae.data import batches, load, splits
from jaxae.report import decisions
from jaxae.scoring import confidence, metrics
from jaxae.scoring.detector.open_set import cost_table, open_set
from jaxae.scoring.scores import latent
from jaxae.types import Batch

folder = Path(tempfile.mkdtemp())
print(jax.__version__, jax.devices())

# %% [markdown]
# ## Data
#
# Six classes are known. Those rows are dealt into `train`, `validation`, `calibration` and `dev`; the rows of the four
# other classes go to `dev`, which chooses λ. The test part has all ten.

# %%
dataset = load("fashion-sample")
known = ("T-shirt/top", "Trouser", "Dress", "Sandal", "Bag", "Ankle boot")
parts = splits.split(dataset, known)
K = len(parts.normal)
lookup = np.full(10, K, np.int32)
lookup[[dataset.label_names.index(name) for name in parts.normal]] = np.arange(K)

for name in ("train", "calibration", "dev", "test"):
    part = getattr(parts, name)
    print(f"{name:12} {len(part.x):6,} images, {int(part.labels.sum()):6,} of unknown classes")
labelled = Batch(parts.train.x, target=lookup[parts.train.classes][:, None])

# %% [markdown]
# ## A classifier is an autoencoder whose target is the label
#
# So the same step and the same loop train it, and its latents are the features. While it trains, a quarter of each
# batch are splices, halves of two images of different classes, with a label of their own: without them a network keeps
# only what tells the known classes apart.

# %%
model, objective = downstream.classifier(
    downstream.feature_encoder(labelled.x.shape[1:], channels=(16, 32, 64)),
    networks.mlp(K + 1),
    num_classes=K + 1,
    transform=transforms.chain(
        transforms.scale_uint8(), transforms.random_affine(2, rotation=5), downstream.spliced(unknown=K)
    ),
)
steps = 400
optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
state = train.init_state(objective, optimizer, jax.random.key(0), jax.tree.map(lambda rows: rows[:128], labelled))
rows = batches.shuffled(len(labelled.x), 128, seed=0)
result = train.fit(train.build_step(objective, optimizer), state, rows, steps, data=jax.device_put(labelled), chunk=100)
params, inner = result.state.params["model"], result.state.state["model"]
for entry in result.history:
    print(f"step {entry['step']:4}   loss {entry['loss']:.3f} nats   accuracy {entry['accuracy']:.3f}")

# %% [markdown]
# ## How sure is it?
#
# Every confidence is a `Scorer`, score = -confidence. Some read the logits, some the features.

# %%
logits = confidence.known_logits(confidence.logits_of(model), K)
features = latent.encoded(model)
scaling = transforms.scale_uint8()
truth, unknown = lookup[parts.test.classes], parts.test.labels

predict = jax.jit(lambda x: logits(params, inner, scaling(None, Batch(x))).argmax(-1))
right = scoring.score_batches(predict, parts.test.x) == truth
print(f"accuracy on the known classes {right[unknown == 0].mean():.3f}\n")
print(f"{'score':22}  AUROC   FPR95")
for name, build in confidence.CONFIDENCES.items():
    scorer = scoring.prepared(build(logits, features, K, None), scaling)
    fitted = scorer.fit(params, inner, labelled)
    apply = jax.jit(lambda fitted, x, scorer=scorer: scorer.apply(fitted, None, Batch(x)))
    scores = scoring.score_batches(lambda x, fitted=fitted, apply=apply: apply(fitted, x), parts.test.x)
    print(f"{name:22}  {metrics.auroc(unknown, scores):.3f}   {metrics.fpr_at_tpr(unknown, scores):.3f}")

# %% [markdown]
# ## λ by cost
#
# An unknown example that gets a class costs 10, a known one that is called unknown 1, a wrong class 3, and one example
# in ten is expected to be unknown. λ is where that costs least on dev.

# %%
table = cost_table(K, unknown_taken=10.0, known_refused=1.0, wrong_class=3.0)
detector = open_set(logits, confidence.knn(features, 3), table, unknown_rate=0.1, transform=scaling)
fitted = detector.fit(params, inner, labelled, parts.calibration.x, parts.dev.x, lookup[parts.dev.classes])
apply = jax.jit(detector.apply)
verdict = scoring.score_batches(lambda x: apply(fitted, x), parts.test.x)

names = [*parts.normal, "unknown"]
print(f"λ: a confidence of {-verdict.threshold[0]:.4f}")
print(f"known examples that get their class   {(verdict.action == truth)[unknown == 0].mean():.3f}")
print(f"unknown examples that are found       {(verdict.action == K)[unknown == 1].mean():.3f}")
for row in range(5):
    print(
        f"image {row}: {names[verdict.action[row]]:12} confidence {-verdict.score[row]:.4f} "
        f"(it is {dataset.label_names[parts.test.classes[row]]})"
    )

# %%
threshold = float(verdict.threshold[0])
display(Image(decisions.histogram(folder / "scores.png", verdict.score, threshold, unknown), width=480))
found = parts.test.x[verdict.action == K][:32]
display(Image(report.sample_grid(folder / "unknown.png", found, 'Called "unknown"', columns=8), width=480))

# %% [markdown]
# ## Keep it
#
# The saved program answers with a class or "unknown" anywhere that jax runs. `jaxae open-set` does all of this from the
# command line.

# %%
scoring.save_detector(folder / "detector", detector, fitted, parts.test.x[:1], {"classes": names})
loaded = scoring.load_detector(folder / "detector")
again = loaded.apply(parts.test.x[:256])
print([loaded.card["classes"][action] for action in again.action[:8]])
assert (again.action == verdict.action[:256]).mean() > 0.99
