"""What a part reads beside its arguments, made known to the caches of `jax.jit`.

Some facts reach a part by a context instead of an argument: the axis of the replicas, the weights of the rows. A
caller may have wrapped the part in `jit`, whose cache looks at arguments alone and would go on with the facts of an
earlier trace.
"""

import contextlib
from collections.abc import Hashable, Iterator

import jax

# releases of jax without such contexts go on with the first trace of a jitted part
_CONTEXT = jax.make_user_context() if hasattr(jax, "make_user_context") else None


@contextlib.contextmanager
def tracing_apart(key: Hashable) -> Iterator[None]:
    """A context in which `jit` does not take up what it traced under another key; None and no context are the same.

    Args:
      key: what tells this trace from others.

    Example:
      >>> from jaxae.numerics.tracing import tracing_apart
      >>> with tracing_apart("axis of a replica"):
      ...     pass  # what is called here is traced for it
    """
    if _CONTEXT is None or key is None:
        yield
        return
    with _CONTEXT(key):
        yield
