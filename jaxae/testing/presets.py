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
    - its objective trains: the loss falls in 25 steps, in one trace, and two models train at once under `vmap`;
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
    # steps of one size in every parameter, as Adam's, at a tenth of its operations
    optimizer = optax.sign_sgd(1e-3)
    step = build_step(objective, optimizer)

    def trained(key, x):
        batch = Batch(x, condition=condition)
        return jax.lax.scan(
            lambda state, _: step(state, batch), init_state(objective, optimizer, key, batch), length=STEPS
        )

    train = Compiled(trained, "a preset's training")
    state, metrics = train(second, x)
    losses = np.asarray(metrics["loss"])
    require_shape(losses, (STEPS,), "loss")
    require_finite(losses, "loss")
    start, end = losses[:3].mean(), losses[-3:].mean()
    require(end < start, f"the loss must fall in {STEPS} steps, got {start:.6g} at first and {end:.6g} at last")
    members = jax.eval_shape(jax.vmap(trained, (0, None)), jax.random.split(second, 2), x)[1]["loss"]
    require_shape(members, (2, STEPS), "loss of two members of an ensemble")

    def used(state, x, pixels, key):
        losses = [
            objective.apply(state.params, state.state, key, Batch(a, condition=condition), 0)[0] for a in (x, pixels)
        ]
        params, inner = state.params["model"], state.state["model"]
        code = model.encode(params, inner, x, condition)
        prediction = model.decode(params, code.latent, condition, inner)
        found = {"losses": losses, "latent": code.latent, "mean": model.likelihood.mean(prediction)}
        if model.sample is not None:
            drawn = model.sample(params, inner, key, abstract(x), condition)
            found["drawn"] = model.likelihood.mean(model.decode(params, drawn, condition, inner))
        if model.lookup is not None:
            found["looked_up"] = model.lookup(params, inner, code.symbols, condition)
        return found

    found = Compiled(used, "a preset's model")(state, x, pixels, second)
    require_equal(
        found["losses"][1], found["losses"][0], "bytes must be read as their scaled values, but loss", 1e-5, 1e-5
    )
    require_shape(found["mean"], x.shape, "reconstruction")
    if "drawn" in found:
        require_shape(found["drawn"], x.shape, "decoded draw")
        require_finite(found["drawn"], "decoded draw")
    if "looked_up" in found:
        require_equal(found["looked_up"], found["latent"], "lookup must give the latent, but latent")


def _check_refused(preset, shape):
    try:
        preset(shape)
    except ValueError as error:
        return require("\n" not in str(error), f"a shape that is none must be refused in one line, got {error}")
    raise AssertionError(f"a preset must refuse the shape {shape}")
