"""The contract of a preset."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxae.testing.properties import Compiled, abstract, keys, require, require_equal, require_finite, require_shape
from jaxae.train import build_step, init_state
from jaxae.types import Autoencoder, Batch, Objective, PyTree

ROWS, STEPS = 8, 25


def check_preset(
    preset: Callable[..., tuple[Autoencoder, Objective]],
    shape: tuple[int, ...] = (7,),
    condition: PyTree | None = None,
    **options,
) -> None:
    """Refuse a preset that breaks its contract.

    - it takes one example's shape and returns `(Autoencoder, Objective)`; a shape that is none is a `ValueError`;
    - its objective trains: the loss falls in 25 steps of Adam, in one trace, two models at once under `vmap`;
    - it reads bytes 0..255 as it reads their values in 0..1;
    - what it codes decodes to the shape of the data; `sample`, where there is one, gives latents that decode;
    - `lookup`, where there is one, gives the latent.

    Args:
      preset: what is checked.
      shape: one example's, without the batch.
      condition: `[8, ...]` for models that need one; None: none.
      **options: for the preset.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae import presets
      >>> from jaxae.testing import check_preset
      >>> check_preset(presets.ae, (5,), latent_size=2)
    """
    for bad in ((), (0,), (28, -1, 1)):
        _check_refused(preset, bad)
    model, objective = preset(shape, **options)
    first, second = keys(2)
    pixels = jax.random.randint(first, (ROWS, *shape), 0, 256).astype(jnp.uint8)
    x = pixels.astype(jnp.float32) / 255
    optimizer = optax.adam(3e-3)
    step = build_step(objective, optimizer)

    def everything(members, x, pixels):
        def trained(key):
            state = init_state(objective, optimizer, key, Batch(x, condition=condition))
            return jax.lax.scan(lambda s, _: step(s, Batch(x, condition=condition)), state, length=STEPS)

        states, metrics = jax.vmap(trained)(members)
        state = jax.tree.map(lambda leaf: leaf[0], states)
        read = [
            objective.apply(state.params, state.state, second, Batch(a, condition=condition), 0) for a in (x, pixels)
        ]
        params, inner = state.params["model"], state.state["model"]
        code = model.encode(params, inner, x, condition)
        found = {
            "losses": metrics["loss"],
            "read": [loss for loss, _ in read],
            "code": code,
            "prediction": model.decode(params, code.latent, condition, inner),
        }
        found["mean"] = model.likelihood.mean(found["prediction"])
        if model.sample is not None:
            drawn = model.sample(params, inner, second, abstract(x), condition)
            found["drawn"] = model.decode(params, drawn, condition, inner)
        if model.lookup is not None:
            found["looked_up"] = model.lookup(params, inner, code.symbols, condition)
        return found

    run = Compiled(everything, "a preset's training")
    found = run(jax.random.split(second, 2), x, pixels)
    require_shape(found["losses"], (2, STEPS), "loss")
    require_finite(found["losses"], "loss")
    start, end = np.asarray(found["losses"])[:, 0], np.asarray(found["losses"])[:, -3:].mean(1)
    require((end < start).all(), f"the loss must fall in {STEPS} steps, got {start} at first and {end} at last")
    require((np.ptp(np.asarray(found["losses"]), 0) > 0).any(), "two members of an ensemble must differ, but do not")
    require_equal(found["read"][1], found["read"][0], "bytes must be read as their scaled values, but loss", 1e-5, 1e-5)
    require_shape(found["mean"], x.shape, "reconstruction")
    if "drawn" in found:
        require_shape(found["drawn"], found["prediction"].shape, "prediction of a draw")
        require_finite(found["drawn"], "prediction of a draw")
    if "looked_up" in found:
        require_equal(found["looked_up"], found["code"].latent, "lookup must give the latent, but latent")


def _check_refused(preset, shape):
    try:
        preset(shape)
    except ValueError as error:
        return require("\n" not in str(error), f"a shape that is none must be refused in one line, got {error}")
    raise AssertionError(f"a preset must refuse the shape {shape}")
