"""Contract checks: what every part of a kind must do, for parts of your own as for those that ship.

```python
from jaxae.testing import check_bottleneck

check_bottleneck(mine())
```

Each check compiles the part once, on a few rows, and raises an `AssertionError` that names the property that does not
hold. They need neither pytest nor any other test package.
"""

from jaxae.numerics.arguments import check_arguments
from jaxae.testing.bottlenecks import check_bottleneck
from jaxae.testing.likelihoods import check_likelihood
from jaxae.testing.networks import check_network
from jaxae.testing.objectives import check_objective
from jaxae.testing.presets import check_preset
from jaxae.testing.priors import check_prior
from jaxae.testing.scorers import check_scorer
from jaxae.testing.thresholds import check_threshold
from jaxae.testing.transforms import check_transform

__all__ = [
    "check_bottleneck",
    "check_likelihood",
    "check_network",
    "check_objective",
    "check_preset",
    "check_prior",
    "check_scorer",
    "check_threshold",
    "check_transform",
]

check_arguments(__name__)
