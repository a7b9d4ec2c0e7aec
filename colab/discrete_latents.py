# %% [markdown]
# # Codes that stay alive
#
# A quantizer turns what an encoder gives into whole numbers, and a decoder makes images of them again. This notebook
# trains three quantizers on clothing, looks at which codes they use, learns which codes go together, and lets the
# decoder draw new images. On a TPU or GPU it takes a minute, on two CPU cores about two.

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

from jaxae import bottlenecks, likelihoods, networks, objectives, priors, report, train, transforms
from jaxae.data import batches, load
from jaxae.model import autoencoder

folder = Path(tempfile.mkdtemp())
data = load("fashion-sample")
x, held_out = data.x_train, data.x_test[:1000]
print(jax.devices(), x.shape, held_out.shape)

# %% [markdown]
# ## Three quantizers, one network
#
# The encoder makes 7 x 7 tokens of an image. `vector_quantizer` gives each token the nearest of 256 learned codes,
# `fsq` rounds a few channels to a few levels, and `residual` codes with a second book what the first one left. Each
# is a `Bottleneck`: nothing else changes.

# %%
LAYERS = {
    "vector_quantizer": bottlenecks.vector_quantizer(256),
    "fsq": bottlenecks.projected(bottlenecks.fsq((8, 8, 4)), 3),
    "residual": bottlenecks.residual(bottlenecks.vector_quantizer(256), 2),
}
SCALE = float((x / 255).std())
STEPS = 400


def fitted(layer):
    model = autoencoder(
        networks.conv_encoder((28, 28, 1), 32, channels=(16, 32), spatial=True),
        layer,
        networks.conv_decoder((28, 28, 1), channels=(16, 32)),
        likelihoods.gaussian(SCALE),
    )
    objective = objectives.prepared(objectives.elbo(model), transforms.scale_uint8())
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, STEPS))
    state = jax.jit(lambda key: train.init_state(objective, optimizer, key, x[:64]))(jax.random.key(0))
    monitor = train.code_monitor(objective, held_out, model.num_codes)

    def watch(state):
        return {"loss": 0.0, **monitor(state)}

    step = train.build_step(objective, optimizer)
    order = batches.shuffled(len(x), 64, seed=0)
    found = train.fit(step, state, order, STEPS, data=x, chunk=50, validation=watch, progress=False)
    return model, found


results = {name: fitted(layer) for name, layer in LAYERS.items()}
for name, (_, found) in results.items():
    last = found.history[-1]
    used, bits = last["validation_usage"], last["validation_bits_per_example"]
    print(f"{name:18} {100 * used:5.1f} % of the codes in use, {bits:5.0f} bits an image")

# %% [markdown]
# Usage and perplexity are measured on images that were held out, with the model as it stands: a code that was
# restarted a moment ago counts only if a held-out token is nearest to it.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, (_, found) in results.items():
    steps = [entry["step"] for entry in found.history]
    axes[0].plot(steps, [100 * entry["validation_usage"] for entry in found.history], "o-", label=name)
    axes[1].plot(steps, [entry["validation_perplexity"] for entry in found.history], "o-", label=name)
for ax, title in zip(axes, ("codes in use, %", "perplexity"), strict=True):
    ax.set(xlabel="step", title=title, ylim=(0, None))
axes[0].legend(loc="lower right")
plt.show()

# %% [markdown]
# ## What the decoder reads
#
# `encode` gives symbols, `lookup` the latent again, bit for bit: symbols are all that has to be stored. Above the
# images, below what each quantizer makes of them; the error is divided by the variance of the pixels.

# %%
shown = [held_out[:12].astype(np.float32) / 255]
for name, (model, found) in results.items():
    params, inner = found.state.params["model"], found.state.state["model"]

    @jax.jit
    def rebuilt(images, model=model, params=params, inner=inner):
        code = model.encode(params, inner, images)
        read = model.lookup(params, inner, code.symbols)
        return model.likelihood.mean(model.decode(params, read)), jnp.array_equal(read, code.latent)

    images, same = rebuilt(held_out / np.float32(255))
    error = float(((images - held_out / 255) ** 2).mean() / SCALE**2)
    print(f"{name:18} error {error:.4f}, looked up bit for bit: {bool(same)}")
    shown.append(np.asarray(images[:12]))
display(
    Image(report.sample_grid(folder / "rebuilt.png", np.concatenate(shown), "Images and reconstructions", columns=12))
)

# %% [markdown]
# ## A prior makes a generator of the decoder
#
# A transformer learns the distribution of the symbols, one after the other, by the same `fit`. Drawn symbols, looked
# up and decoded, are new images. Symbols drawn uniformly show what the prior has learned. (Two hundred steps are few:
# `jaxae train-prior` takes longer, and better ones.)

# %%
model, found = results["vector_quantizer"]
params, inner = found.state.params["model"], found.state.state["model"]
encode = jax.jit(lambda rows: model.encode(params, inner, rows / 255).symbols)
symbols = np.concatenate([np.asarray(encode(rows)) for rows in np.array_split(x.astype(np.float32), 20)])
prior = priors.autoregressive(model.num_codes)
objective = objectives.negative_log_prob(prior)
optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, 200))
state = jax.jit(lambda key: train.init_state(objective, optimizer, key, symbols[:32]))(jax.random.key(1))
order = batches.shuffled(len(symbols), 32, seed=1)
learned = train.fit(train.build_step(objective, optimizer), state, order, 200, data=symbols, chunk=50, progress=False)
bits = learned.history[-1]["loss"] / np.log(2)
print(f"{bits:.0f} bits an image, {49 * np.log2(model.num_codes):.0f} without a prior")


@jax.jit
def drawn(key):
    like = jax.ShapeDtypeStruct((24, *symbols.shape[1:]), jnp.int32)
    ids = prior.sample(learned.state.params["model"], key, like)
    uniform = jax.random.randint(key, like.shape, 0, model.num_codes)
    images = [model.likelihood.mean(model.decode(params, model.lookup(params, inner, s))) for s in (ids, uniform)]
    return jnp.concatenate(images)


title = "Two rows from the prior, two from uniform codes"
display(Image(report.sample_grid(folder / "drawn.png", np.asarray(drawn(jax.random.key(2))), title, columns=12)))
