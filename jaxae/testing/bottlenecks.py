"""The contract of a bottleneck."""

import jax
import jax.numpy as jnp

from jaxae.testing.properties import (
    Compiled,
    abstract,
    differ,
    keys,
    require,
    require_alike,
    require_equal,
    require_finite,
    require_learning,
    require_rows,
    require_shape,
)
from jaxae.types import Bottleneck, PyTree


def check_bottleneck(
    bottleneck: Bottleneck, h: PyTree | None = None, condition: PyTree | None = None, *, exact: bool = True
) -> None:
    """Refuse a bottleneck that breaks its contract.

    - shapes and dtypes: latent float32, penalty and rate `[B]`, symbols int32 below `num_codes`, all finite;
    - without a key: the same result twice, the state as it was, and rows that do not depend on their batch;
    - `init` reads only the shape of `h`;
    - one trace, for a state that training has changed too;
    - every parameter, and `h`, get a gradient;
    - `lookup` gives the latent that the decoder read;
    - `sample` gives latents, other ones for another key.

    Args:
      bottleneck: what is checked.
      h: `[B, ..., D]` what it codes; None: normal, `[6, 3, 4]`.
      condition: what it is told, or None.
      exact: whether `lookup` gives the bits of the latent; False: to rounding, where it ends in products of floats.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae import bottlenecks
      >>> from jaxae.testing import check_bottleneck
      >>> check_bottleneck(bottlenecks.fsq((3, 3, 3, 3)))
    """
    first, second, third, target_key = keys(4)
    h = jax.random.normal(first, (6, 3, 4)) if h is None else h
    require(all(getattr(leaf, "ndim", 0) for leaf in jax.tree.leaves(h)), "h must be an array [B, ..., D]")
    rows = jax.tree.leaves(h)[0].shape[0]
    init = jax.jit(lambda key: bottleneck.init(key, abstract(h), abstract(condition)))
    params, state = init(second)
    concrete = jax.eval_shape(bottleneck.init, second, h, condition)
    require_alike((params, state), concrete, "init must read only the shape of h, but params and state")

    for rng in (None, second):
        code, new = jax.eval_shape(
            lambda p, s, r, h, c: bottleneck.apply(p, s, r, h, c), params, state, rng, h, condition
        )
        _check_shapes(bottleneck, code, rows)
        require_alike(new, abstract(state), "the state after a call")

    def everything(params, state, key, h):
        def apply(state, rng, h=h, condition=condition):
            return bottleneck.apply(params, state, rng, h, condition)

        code, same = apply(state, None)

        def row(h, condition):
            one = apply(state, None, *jax.tree.map(lambda leaf: leaf[None], (h, condition)))[0]
            return jax.tree.map(lambda leaf: leaf[0], (one.latent, one.symbols))

        found = {"code": code, "same": same, "rows": jax.vmap(row)(h, condition)}
        if bottleneck.sample is not None:
            found["drawn"] = bottleneck.sample(params, state, key, abstract(h), condition)

        def loss(params, h):
            code, new = bottleneck.apply(params, state, key, h, condition)
            latents = jax.tree.leaves(code.latent)
            targets = [jax.random.normal(target_key, leaf.shape) for leaf in latents]
            distance = sum(((a - b) ** 2).sum() for a, b in zip(latents, targets, strict=True))
            return distance + code.penalty.sum(), (code, new)

        found["gradients"], (found["trained"], found["new"]) = jax.grad(loss, (0, 1), has_aux=True)(params, h)
        return found

    run = Compiled(everything, "apply")
    # the state of a first training step: a book starts with the first batch's tokens
    state = run(params, state, second, h)["new"]
    once, again = (run(params, state, key, h) for key in (second, third))
    for code in (once["code"], once["trained"]):
        _check_values(bottleneck, code)
    require_equal(once["code"], again["code"], "without a key apply must be deterministic, but code")
    require_equal(once["same"], state, "without a key the state must come back as it went in, but state")
    latent, symbols = once["rows"]
    require_equal(latent, once["code"].latent, "a row must not depend on its batch, but latent", 1e-5, 1e-6)
    require_equal(symbols, once["code"].symbols, "a row must not depend on its batch, but symbols")
    require_learning(once["gradients"], "(params, h)")
    if bottleneck.lookup is not None:
        near = (0.0, 0.0) if exact else (1e-5, 1e-6)
        # compiled apart from the call that coded: so it is in use
        looked_up = jax.jit(bottleneck.lookup)(params, state, once["code"].symbols, condition)
        require_equal(looked_up, once["code"].latent, "lookup must give the latent, but latent", *near)
    if bottleneck.sample is not None:
        require_alike(once["drawn"], once["code"].latent, "sample")
        require(differ(once["drawn"], again["drawn"]), "sample ignores its seed: two keys give the same latents")
    run.require_pure(params, state, second, h)


def _check_shapes(bottleneck, code, rows):
    require_rows(code.latent, rows, "latent")
    for leaf in jax.tree.leaves(code.latent):
        require(leaf.dtype == jnp.float32, f"latent: float32 is needed, got {leaf.dtype}")
    for key, value in {"penalty": code.penalty, "rate": code.rate, **(code.terms or {})}.items():
        if value is not None:
            require_shape(value, (rows,), key)
    require_rows(code.symbols, rows, "symbols")
    for leaf in jax.tree.leaves(code.symbols):
        require(leaf.dtype == jnp.int32, f"symbols: int32 is needed, got {leaf.dtype}")
    if code.symbols is None:
        require(bottleneck.lookup is None, "a bottleneck with lookup must give symbols")
    else:
        require(bottleneck.num_codes is not None, "a bottleneck with symbols must say num_codes")


def _check_values(bottleneck, code):
    require_finite({"penalty": code.penalty, "rate": code.rate, "terms": code.terms}, "code")
    if code.terms:
        total = sum(code.terms.values())
        require_equal(total, code.penalty, "terms must add up to the penalty, but their sum", 1e-4, 1e-5)
    sizes = jax.tree.leaves(bottleneck.num_codes)
    for i, leaf in enumerate(jax.tree.leaves(code.symbols)):
        size = sizes[min(i, len(sizes) - 1)]
        require(int(leaf.max()) < size, f"symbols must be below num_codes {size}, got {int(leaf.max())}")
