"""What the benchmark scripts share: one JSON line a result, with the versions and the machine it came from."""

import json
import os
import platform

import jax
import optax

import jaxae


def machine() -> dict:
    """Versions, processor and the cores this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "jaxae": jaxae.__version__,
        "jax": jax.__version__,
        "optax": optax.__version__,
        "python": platform.python_version(),
        "platform": jax.default_backend(),
        "processor": platform.processor() or platform.machine(),
        "cores": usable,
    }


def emit(**figures) -> None:
    """Print one result as a JSON line, at once."""
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in figures.items()}
    print(json.dumps({**rounded, **machine()}), flush=True)
