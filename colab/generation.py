# %% [markdown]
# # New images from a decoder
#
# A variational autoencoder learns where its latents lie and a decoder that reads them. This notebook trains one on
# clothing, asks how likely held-out images are and which latents are in use, draws images from its own prior and from
# two priors that are fitted to its latents afterwards, and measures which of them come closest to real ones. On a TPU
# or GPU it takes half a minute, on two CPU cores less than one.

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
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from IPython.display import Image, display

from jaxae import generation, objectives, presets, priors, report, train
from jaxae.data import batches, load
from jaxae.numerics import interpolation
from jaxae.scoring import score_batches
from jaxae.scoring.scores.likelihood import bound
from jaxae.types import Batch

folder = Path(tempfile.mkdtemp())
data = load("fashion-sample")
x, held_out = data.x_train, data.x_test
scaled = held_out.astype(np.float32) / 255
print(jax.devices(), x.shape, held_out.shape)

# %% [markdown]
# ## A variational autoencoder
#
# The preset's objective scales the bytes and adds the KL to the negative log-likelihood. The decoder's pixels are
# normal with standard deviation 0.1, about the error of a good reconstruction.


# %%
def fitted(objective, rows, steps, peak):
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, peak, 50, steps))
    state = jax.jit(lambda key: train.init_state(objective, optimizer, key, rows[:128]))(jax.random.key(0))
    step, order = train.build_step(objective, optimizer), batches.shuffled(len(rows), 128, seed=0)
    return train.fit(step, state, order, steps, data=jax.device_put(rows), chunk=steps // 20, progress=False)


model, objective = presets.vae(x.shape[1:], latent_size=16)
found = fitted(objective, x, 1000, 2e-3)
params, inner = found.state.params["model"], found.state.state["model"]
plt.figure(figsize=(6, 2.5), layout="constrained")
late = found.history[2:]
plt.plot([entry["step"] for entry in late], [entry["loss"] for entry in late], "o-")
plt.gca().set(xlabel="step", title="-ELBO, nats")
plt.show()

# %% [markdown]
# ## How likely are held-out images?
#
# The importance-weighted bound averages `p(x, z) / q(z|x)` over samples inside the logarithm: with more of them it
# comes closer to `log p(x)`. (It is the logarithm of a density of pixels in 0..1, so it may be above 0.) The KL of
# each dimension says how many nats of an image pass through it; one whose mean hardly moves is not in use.

# %%
for samples in (1, 8, 64):
    scorer = bound(model, samples)
    arrays = scorer.fit(params, inner)
    nats = jax.jit(lambda rows, s=scorer, a=arrays: s.apply(a, jax.random.key(0), Batch(rows)))
    print(f"{samples:3} samples: {-score_batches(nats, scaled[:500]).mean():.1f} nats")
posterior = jax.jit(lambda rows: model.encode(params, inner, rows).posterior)(scaled)
kl, active = generation.kl_per_dimension(posterior), generation.active_units(posterior)
print(f"{int(active.sum())} of {len(active)} latents are in use, KL {float(kl.sum()):.1f} nats an image")
plt.figure(figsize=(6, 2.5), layout="constrained")
plt.bar(range(len(kl)), np.sort(kl)[::-1])
plt.gca().set(xlabel="latent, sorted", title="KL, nats")
plt.show()

# %% [markdown]
# ## Reconstructions and ways between images
#
# Held-out images, and below them what the decoder makes of their posterior means. Then from one image to another:
# along the straight line between two latents, and along the arc, which keeps the length that latents usually have.

# %%
decode = jax.jit(lambda latents: model.likelihood.mean(model.decode(params, latents)))
means = posterior.mean
rebuilt = np.asarray(decode(means[:12]))
title = "Images and reconstructions"
display(Image(report.sample_grid(folder / "rebuilt.png", np.concatenate([scaled[:12], rebuilt]), title, columns=12)))

# %%
first, second = means[jnp.array([0, 7])], means[jnp.array([11, 5])]
ways = (interpolation.linear, interpolation.spherical)
points = [way(a, b, 12) for a, b in zip(first, second, strict=True) for way in ways]
title = "Two pairs: straight line, arc"
display(Image(report.sample_grid(folder / "ways.png", np.asarray(decode(jnp.concatenate(points))), title, columns=12)))

# %% [markdown]
# ## Three priors
#
# The model's own prior is the standard normal. The latents of the training images, one draw of the posterior each, do
# not fill it evenly: a mixture of normals, fitted by expectation maximisation, or a flow, fitted by gradients, knows
# where they lie. This second stage is `jaxae train-prior` on the command line; it also gives a prior to autoencoders
# that have none.

# %%
latents = np.concatenate(
    [
        np.asarray(jax.jit(model.apply)(params, inner, jax.random.key(i), rows / 255)[0].code.latent)
        for i, rows in enumerate(np.array_split(x.astype(np.float32), 10))
    ]
)
mixture = priors.full_mixture(20)
fit_mixture = jax.jit(lambda z, key: priors.fit_mixture(z, 20, key, covariance="full", floor=1e-4))
flow = priors.coupling_flow(128, num_layers=6)
stages = {
    "own": (priors.standard_normal(), ()),
    "mixture": (mixture, fit_mixture(jnp.asarray(latents), jax.random.key(1))),
    "flow": (flow, fitted(objectives.negative_log_prob(flow), latents, 1000, 4e-3).state.params["model"]),
}
unseen = np.asarray(jax.jit(model.apply)(params, inner, jax.random.key(99), scaled)[0].code.latent)
drawn = {}
for name, (prior, prior_params) in stages.items():
    log_p = float(jax.jit(prior.log_prob)(prior_params, unseen).mean())
    print(f"{name:8} -log p(z) of held-out images' latents: {-log_p:.2f} nats")
    drawn[name] = np.asarray(decode(jax.jit(prior.sample)(prior_params, jax.random.key(2), unseen)))
    picture = report.sample_grid(folder / f"{name}.png", drawn[name][:24], f"Drawn: {name}", columns=12)
    display(Image(picture))

# %% [markdown]
# ## Which come closest?
#
# A classifier trained here on the labels gives the features. The Fréchet distance is between all drawn and all held-out
# images; precision is the share of drawn images that look real, recall the share of real ones that are covered. Images
# of the train part are the floor, and reconstructions show what the decoder costs whatever the prior.

# %%
space = generation.classifier_features(x, data.y_train, epochs=2)
real = space.features(held_out)
sets = {"train part": x[: len(held_out)], "rebuilt": generation.as_bytes(decode(means))}
sets |= {name: generation.as_bytes(images) for name, images in drawn.items()}
for name, images in sets.items():
    figures = generation.compare(real, space.features(images))
    print(f"{name:10}", " ".join(f"{what} {value:7.3f}" for what, value in figures.items()))
