"""Helpers of the combinators of bottlenecks: sums over codes, and token masks in the condition."""

from collections.abc import Callable, Mapping, Sequence

from jax import Array

from jaxae.types import Bottleneck, Code


def require_lookup(name: str, bottleneck: Bottleneck) -> tuple[Callable, Callable]:
    """`lookup` and `sample` of a base; a base whose latents do not follow from symbols is refused.

    Args:
      name: name of the combinator, for the error.
      bottleneck: base bottleneck.

    Raises:
      ValueError: the base has no `lookup`.
    """
    if bottleneck.lookup is None or bottleneck.sample is None:
        raise ValueError(
            f"{name} needs a discrete base, one with lookup: a continuous one would lose the gradient of its sample"
        )
    return bottleneck.lookup, bottleneck.sample


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
