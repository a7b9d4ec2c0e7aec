# %% [markdown]
# # What does each latent stand for?
#
# Sprites are drawn from known factors: shape, scale, rotation, and where they are. A variational autoencoder that pays
# for the total correlation of its latents is to find such factors without being told. This notebook trains one on
# ellipses that differ in three of them, looks at what each latent changes, and measures it. On a TPU or GPU it takes
# half a minute, on two CPU cores one.

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

from jaxae import disentanglement, likelihoods, networks, presets, report, train
from jaxae.data import batches, sprites
from jaxae.data.factors import sample_factors
from jaxae.generation import kl_per_dimension
from jaxae.report import traversals

folder = Path(tempfile.mkdtemp())
SIZE, LATENTS = 16, 6
ALL = dict(zip(sprites.FACTOR_NAMES, sprites.FACTOR_SIZES, strict=True))
NAMES = ("scale", "x", "y")
SIZES = tuple(ALL[name] for name in NAMES)
print(jax.devices(), ALL)

# %% [markdown]
# ## Images from factors
#
# `sprites.render` draws on the device: no file is needed. They have the factors of dSprites and are not that data set.
# Here shape and rotation are held, which lets a minute of training do: all five take hours.


# %%
def render(factors):
    """Ellipses that lie flat, `[B, 16, 16, 1]`, from scale, x and y `[B, 3]`."""
    rows = jnp.zeros((len(factors), len(ALL)), jnp.int32)
    places = jnp.array([list(ALL).index(name) for name in NAMES])
    return sprites.render(rows.at[:, places].set(factors).at[:, 0].set(1), SIZE)


x = np.asarray(jax.jit(render)(sample_factors(jax.random.key(0), SIZES, 6000)))
display(Image(report.sample_grid(folder / "sprites.png", x[:24], "Drawn from known factors", columns=12)))

# %% [markdown]
# ## Training
#
# A beta-TCVAE charges the total correlation of the latents `beta` times. Pixels of these small images count 16 times,
# as many as at 64 x 64, so that beta means what it means in the literature.


# %%
def weighed(likelihood, weight):
    return likelihood._replace(log_prob=lambda x, prediction: weight * likelihood.log_prob(x, prediction))


STEPS = 2000
model, objective = presets.beta_tc_vae(
    x.shape[1:],
    beta=6.0,
    latent_size=LATENTS,
    encoder=networks.mlp(256, 256, 2 * LATENTS, flatten=True, activation=jax.nn.relu),
    decoder=networks.mlp(256, 256, output_shape=x.shape[1:], activation=jax.nn.relu),
    likelihood=weighed(likelihoods.bernoulli(), (64 / SIZE) ** 2),
)
optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, STEPS))
state = jax.jit(lambda key: train.init_state(objective, optimizer, key, x[:64]))(jax.random.key(0))
step = train.build_step(objective, optimizer)
found = train.fit(step, state, batches.shuffled(len(x), 64, seed=0), STEPS, data=x, chunk=250, progress=False)
params = found.state.params["model"]
for entry in found.history[::4]:
    print(
        f"step {entry['step']:5d}  loss {entry['loss']:7.1f}  total correlation {entry['total_correlation']:.2f} nats"
    )

# %% [markdown]
# ## Traversals
#
# Each row starts at one image and moves one latent from -2 to 2, the latents with the greatest KL first. A latent
# without KL tells the decoder nothing: its row stands still.

# %%
encode = jax.jit(lambda images: model.encode(params, (), images))
kl = np.asarray(kl_per_dimension(encode(x[:2000]).posterior))
order = np.argsort(-kl)
start = encode(x[:1]).latent[0]
names = [f"z{d}  {kl[d]:.1f} nats" for d in order]
title = "What each latent changes"
path = traversals.latent_traversals(
    folder / "z.png", model, params, start, steps=11, dimensions=order.tolist(), names=names, title=title
)
display(Image(path))

# %%
short = [f"z{d}" for d in order]
path = traversals.latent_traversals(
    folder / "z.gif", model, params, start, steps=21, dimensions=order.tolist(), names=short
)
display(Image(path.read_bytes(), format="gif"))

# %% [markdown]
# ## Measured
#
# Every score carries its protocol: "quick" is a tenth of the rows of the published one, `locatello2019`. The interval
# says where one more repetition with other draws would fall. Beside the model stand the true factors, which every score
# should like best, and the model's latents after a random rotation: they hold the same information, mixed.


# %%
def representation(factors):
    return model.encode(params, (), render(factors)).latent


turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(LATENTS, LATENTS)))
SOURCES = {
    "true factors": lambda factors: factors.astype(jnp.float32) / jnp.array(SIZES)[None],
    "beta-TCVAE": representation,
    "the same, rotated": lambda factors: representation(factors) @ jnp.asarray(turn, jnp.float32),
}
SCORES = ("factor_vae", "mig", "modularity")
table = {}
for name, represent in SOURCES.items():
    source = disentanglement.from_generator(represent, SIZES)
    table[name] = disentanglement.evaluate(source, jax.random.key(1), "quick", scores=SCORES, repetitions=3)
print(f"{'':18}" + "".join(f"{score:>24}" for score in SCORES))
for name, scores in table.items():
    cells = [f"{float(i.value):.2f}  [{float(i.low):.2f}, {float(i.high):.2f}]" for i in scores.values()]
    print(f"{name:18}" + "".join(f"{cell:>24}" for cell in cells))

# %% [markdown]
# ## Where each factor is
#
# Mutual information between latents and factors: a disentangled representation has one dark square in each row, and
# no two in a column.

# %%
sample = sample_factors(jax.random.key(2), SIZES, 5000)
codes = jax.jit(representation)(sample)
information, _ = disentanglement.mutual_information(codes, sample, factor_sizes=SIZES)
figure, ax = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
shown = ax.imshow(np.asarray(information).T[:, order], cmap="Blues", vmin=0)
ax.set_yticks(range(len(NAMES)), NAMES)
ax.set_xticks(range(LATENTS), short)
figure.colorbar(shown, label="nats")
plt.show()
