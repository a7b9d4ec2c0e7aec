# %% [markdown]
# # Anomaly detection that can be trusted
#
# How good is the score, where is λ, and what does the decision guarantee: three questions, on the images of clothing
# that come with the package. Ankle boots are normal. About two minutes on a TPU, a GPU or a CPU.

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

from jaxae import cleaning, presets, scoring, train, transforms
from jaxae.data import batches, load, protocols, splits
from jaxae.report import decisions
from jaxae.scoring import bounds, conformal, discoveries, latent, thresholds
from jaxae.types import Batch, CostTable

folder = Path(tempfile.mkdtemp())
print(jax.__version__, jax.devices())

# %% [markdown]
# ## Data, and who reads it
#
# `dev` chooses λ. Half of it is set aside as `certify`, which bounds the misses of the λ chosen and is read for nothing
# else. Fewer parts would give better-looking numbers that mean less.

# %%
parts = splits.split(load("fashion-sample"), "Ankle boot", certify=0.5)
for name in ("train", "validation", "calibration", "dev", "certify", "test"):
    part = getattr(parts, name)
    print(f"{name:12} {len(part.x):6,} images, {int(part.labels.sum()):6,} anomalies")
x, labels = parts.train.x, parts.test.labels
reference = Batch(np.concatenate([x, parts.validation.x]))


def fit(rows, seed=0):
    """A denoising autoencoder of these rows: the model, its parameters and its state."""
    model, objective = presets.denoising_ae(rows.shape[1:])
    optimizer = optax.adam(2e-3)
    state = train.init_state(objective, optimizer, jax.random.key(seed), rows[:120])
    order = batches.shuffled(len(rows), 120, seed)
    state = train.fit(train.build_step(objective, optimizer), state, order, 300, data=rows, chunk=100).state
    return model, state.params["model"], state.state["model"]


model, params, state = fit(x)

# %% [markdown]
# ## How good is the score
#
# Every score is a `Scorer`; combinators take one and return one. `held_out` says how many of the last reference rows no
# parameter was fitted to: those set the units in which scores are fused.

# %%
held_out = len(parts.validation.x)
smooth = scoring.relative(scoring.reconstruction(model, "smooth"))
scorers = {
    "squared error": scoring.reconstruction(model, "l2"),
    "blurred residual": scoring.reconstruction(model, "smooth"),
    "structural similarity": scoring.reconstruction(model, "ssim"),
    "blurred, relative": smooth,
    "latent neighbours": latent.knn(latent.encoded(model)),
    "latent Mahalanobis": latent.mahalanobis(latent.encoded(model)),
    "fused": scoring.fused(smooth, scoring.relative(latent.knn(latent.inputs), 0.5), held_out=held_out, by="log"),
}
ready = {name: scoring.prepared(scorer, transforms.scale_uint8()) for name, scorer in scorers.items()}
for name, scorer in ready.items():
    arrays = scorer.fit(params, state, reference)
    score = jax.jit(lambda batch, scorer=scorer, arrays=arrays: scorer.apply(arrays, jax.random.key(0), Batch(batch)))
    scores = np.asarray(scoring.score_batches(score, parts.test.x, 500))
    print(f"{name:24} AUROC {float(scoring.metrics.auroc(labels, scores)):.3f}")

# %% [markdown]
# ## Where is λ
#
# One scorer, several rules. `conformal` and `false_alarm_bound` need no anomaly; the others read dev.

# %%
scorer = ready["fused"]
arrays = scorer.fit(params, state, reference)
score = jax.jit(lambda batch: scorer.apply(arrays, jax.random.key(0), Batch(batch)))
calibration, dev, certify, test = (
    np.asarray(scoring.score_batches(score, getattr(parts, name).x, 500))
    for name in ("calibration", "dev", "certify", "test")
)
table = CostTable.binary(miss=10.0, false_alarm=1.0)
rules = {
    "expected cost 10:1, 5 %": thresholds.expected_cost(table, 0.05),
    "recall 95 %": thresholds.recall(0.95),
    "best F1 at 5 %": thresholds.best_f1(0.05),
    "false alarms 5 %": thresholds.conformal(0.05),
    "... with confidence 90 %": thresholds.false_alarm_bound(0.05, 0.9),
    "3 robust deviations": thresholds.mad(3.0),
}
for name, rule in rules.items():
    verdict = rule.apply(rule.fit(calibration, dev, parts.dev.labels), test)
    recall = float(scoring.metrics.recall(labels, verdict.is_anomaly))
    alarms = float(scoring.metrics.false_alarm_rate(labels, verdict.is_anomaly))
    print(f"{name:26} λ {float(verdict.threshold[0]):6.2f}   recall {recall:.3f}   false alarms {alarms:.3f}")

# %% [markdown]
# ## What does the decision guarantee
#
# Bounds come from rows that λ has not read: false alarms from calibration, misses from certify.

# %%
fitted, proven = scoring.calibrate(
    rules["expected cost 10:1, 5 %"],
    calibration,
    dev,
    parts.dev.labels,
    certify=certify,
    certify_labels=parts.certify.labels,
    rows={name: getattr(parts, name).rows for name in ("train", "validation", "calibration", "dev", "certify")},
)
print("\n".join(proven.lines))
print(f"\n{bounds.needed(0.01)} clean examples without an alarm would prove a rate of 1 %")
threshold = float(fitted["threshold"])
path = decisions.cost(folder / "cost.png", (test, labels), threshold, np.asarray(table.costs), 0.05)
display(Image(path, width=560))

# %% [markdown]
# Testing many examples at once is another question: of what is reported, how much is wrong? Benjamini and Hochberg's
# procedure on conformal p-values keeps that share, the false discovery rate, below a level.

# %%
p = conformal.p_values(calibration, test)
found = discoveries.benjamini_hochberg(p, level=0.1)
reported = np.asarray(found.is_discovery)
print(f"{reported.sum()} of {len(reported)} reported, of which {100 * (1 - labels[reported].mean()):.1f} % are normal")

# %% [markdown]
# ## When the training data is not clean
#
# A tenth of the training rows become anomalies, unmarked. `cleaning.refined` lets models judge the rows that they have
# not seen, and leaves the worst out.

# %%
dirty = protocols.pollute(parts, 0.1)


def scores_with(rows):
    """Scores of a model that is trained on these rows."""
    model, params, state = fit(rows)
    scorer = scoring.prepared(scoring.relative(scoring.reconstruction(model, "smooth")), transforms.scale_uint8())
    arrays = scorer.fit(params, state, None)
    score = jax.jit(lambda batch: scorer.apply(arrays, None, Batch(batch)))
    return lambda others: np.asarray(scoring.score_batches(score, others, 256))


kept, _ = cleaning.refined(dirty.train.x, scores_with, contamination=0.1, rounds=2)
truth = dirty.train.labels
print(f"anomalies among the rows: {truth.mean():.3f}, among those kept: {truth[kept].mean():.3f}")
for name, rows in (("clean", x), ("polluted", dirty.train.x), ("polluted, refined", dirty.train.x[kept])):
    print(f"{name:20} AUROC {float(scoring.metrics.auroc(labels, scores_with(rows)(parts.test.x))):.3f}")
