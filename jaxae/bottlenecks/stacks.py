"""Helpers of the combinators of bottlenecks: sums over codes, and token masks in the condition."""

from collections.abc import Callable, Mapping, Sequence

from jax import Array
from jax.lax import stop_gradient

from jaxae.numerics import straight_through
from jaxae.types import Bottleneck, Code, Estimator


def require_lookup(name: str, bottleneck: Bottleneck) -> Callable:
    """`lookup` of a base; a base whose latents do not follow from symbols is refused.

    Args:
      name: name of the combinator, for the error.
      bottleneck: base bottleneck.

    Raises:
      ValueError: the base has no `lookup`.
    """
    if bottleneck.lookup is None:
        raise ValueError(
            f"{name} needs a discrete base, one with lookup: a continuous one would lose the gradient of its sample"
        )
    return bottleneck.lookup


def require_gradient(name: str, bottleneck: Bottleneck) -> None:
    """Refuse a base whose gradient a sum of latents cannot have: it would be lost in silence.

    Args:
      name: name of the stack, for the error.
      bottleneck: base bottleneck.

    Raises:
      ValueError: the base has an estimator without `gradient`.
    """
    if bottleneck.estimator is not None and bottleneck.estimator.gradient is None:
        raise ValueError(
            f'{name} would lose the gradient of its base ("{bottleneck.estimator.name}"): take the estimator '
            f"straight_through, rotation or directional, and put projected, nested and grouped around {name}"
        )


def level_latent(name: str, bottleneck: Bottleneck, params, state, code: Code, h: Array, condition=None) -> Array:
    """The latent of one level of a stack, without gradient to `h`; with one to the codes where the estimator has it.

    Args:
      name: name of the stack, for the error.
      bottleneck: base bottleneck.
      params: parameters of the base that gave the code.
      state: state of the base that gave the code.
      code: the level's code.
      h: input of the level.
      condition: condition of the base.

    Raises:
      ValueError: the latent is not shaped like `h`, so that levels do not add up to it.
    """
    if code.latent.shape != h.shape:
        raise ValueError(
            f"{name}: the base's latent {code.latent.shape} must be shaped like its input {h.shape}, "
            "as the levels are summed: take a base that keeps the width"
        )
    constant = stop_gradient(code.latent)
    if bottleneck.estimator is None or bottleneck.estimator.codes is None:
        return constant
    return straight_through(constant, bottleneck.estimator.codes(params, state, code.symbols, condition))


def stacked_latent(bottleneck: Bottleneck, rng: Array | None, total: Array, h: Array) -> Array:
    """The sum of a stack's latents with one gradient to `h`: that of the base's estimator, or straight-through.

    Args:
      bottleneck: base bottleneck.
      rng: key of an estimator that draws, or None.
      total: sum of the levels' latents.
      h: input of the stack.
    """
    if bottleneck.estimator is None:
        return straight_through(total, h)
    assert bottleneck.estimator.gradient is not None
    return bottleneck.estimator.gradient(rng, total, h)


def in_another_stack(bottleneck: Bottleneck) -> Estimator | None:
    """The estimator of a combinator around `bottleneck`, which no further stack can apply."""
    return None if bottleneck.estimator is None else Estimator(bottleneck.estimator.name)


def with_mask(name: str, condition, mask: Array):
    """The condition with a token mask under the key "mask".

    Args:
      name: name of the combinator, for the error.
      condition: None or a mapping.
      mask: `[B, ...]`, 1 where a token counts.

    Raises:
      ValueError: the condition is neither None nor a mapping.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.stacks import with_mask
      >>> sorted(with_mask("residual", {"label": 3}, jnp.ones(2)))
      ['label', 'mask']
    """
    if condition is None:
        return {"mask": mask}
    if not isinstance(condition, Mapping):
        kind = type(condition).__name__
        raise ValueError(f'{name}: the condition must be a mapping, so that it can hold "mask"; got {kind}')
    return {**condition, "mask": mask}


def summed(codes: Sequence[Code]) -> dict:
    """Penalty, rate and terms of several codes, summed.

    Args:
      codes: the codes of all levels or scales.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.stacks import summed
      >>> from jaxae.types import Code
      >>> code = Code(jnp.zeros((1, 2)), jnp.ones(1), jnp.ones(1))
      >>> summed([code, code])["penalty"].tolist()
      [2.0]
    """
    rates = [code.rate for code in codes if code.rate is not None]
    terms: dict = {}
    for code in codes:
        for key, value in (code.terms or {}).items():
            terms[key] = terms[key] + value if key in terms else value
    return {
        "penalty": sum(code.penalty for code in codes),
        "rate": sum(rates) if len(rates) == len(codes) else None,
        "terms": terms or None,
    }
