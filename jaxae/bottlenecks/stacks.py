"""What combinators of bottlenecks share: sums of codes by levels, and masks that narrow."""

from collections.abc import Callable, Mapping, Sequence

from jax import Array

from jaxae.types import Bottleneck, Code


def require_lookup(name: str, bottleneck: Bottleneck) -> tuple[Callable, Callable]:
    """The base's `lookup` and `sample`; a base whose latents cannot be had from symbols is refused.

    Raises:
      ValueError: the base has no `lookup`.
    """
    if bottleneck.lookup is None or bottleneck.sample is None:
        raise ValueError(
            f"{name} needs a discrete base, one with lookup: a continuous one would lose the gradient of its sample"
        )
    return bottleneck.lookup, bottleneck.sample


def with_mask(name: str, condition, mask: Array):
    """The condition with this token mask in it.

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


def charged(codes: Sequence[Code]) -> dict:
    """Penalty, rate and terms of several codes: their sums.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.stacks import charged
      >>> from jaxae.types import Code
      >>> one = Code(jnp.zeros((1, 2)), jnp.ones(1), jnp.ones(1))
      >>> charged([one, one])["penalty"].tolist()
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
