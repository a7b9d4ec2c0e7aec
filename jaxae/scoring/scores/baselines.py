"""Classical anomaly scores through scikit-learn, to compare with those of an autoencoder.

A baseline is fitted to training normals `[n, D]`, scaled by the caller, and returns a function `x [m, D] -> [m]`
float64, higher is more anomalous. scikit-learn is imported when a baseline is fitted:
`pip install 'jaxae[baselines]'`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxae.files.messages import shown
from jaxae.numerics import as_whole, real_array, require_count, require_within
from jaxae.numerics.arguments import check_arguments

Score = Callable[[np.ndarray], np.ndarray]
Baseline = Callable[[np.ndarray], Score]


def knn(k: int = 5) -> Baseline:
    """Distance to the k-th nearest training row.

    Args:
      k: rank of the neighbour, at least 1; at most the number of training rows is used.

    Raises:
      ValueError: k is below 1 or no whole number.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring import baselines
      >>> baselines.knn(k=2)(np.array([[0.0], [1.0], [5.0]]))(np.array([[2.0]])).tolist()
      [2.0]
    """

    k = require_count("k", k)

    def fit(x: np.ndarray) -> Score:
        neighbours = _sklearn("neighbors").NearestNeighbors(n_neighbors=min(k, len(x))).fit(x)
        return lambda rows: neighbours.kneighbors(rows)[0][:, -1]

    return _checked(fit)


def pca(variance: float | int | None = 0.9) -> Baseline:
    """Squared distance to the subspace of the leading principal components.

    At most D - 1 components are kept, whatever share they explain: all D span every row, and no row would lie apart.

    Args:
      variance: share of the variance that the components explain, in (0, 1), or their number, at least 1; None: D - 1.

    Raises:
      ValueError: a share outside (0, 1) or a number below 1; in use, training rows that are all equal.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring import baselines
      >>> score = baselines.pca(1)(np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]))
      >>> score(np.array([[9.0, 2.0]])).round(6).tolist()
      [4.0]
    """

    whole = as_whole(variance)
    if whole is not None:
        require_count("the number of components", whole)
    elif variance is not None:
        require_within("the share of variance", variance, "(0, 1)")

    def fit(x: np.ndarray) -> Score:
        _require_varied(x)
        most = min(len(x), x.shape[1] - 1)
        decomposition = _sklearn("decomposition").PCA
        if most == 0:  # a single column: the subspace is the mean
            return lambda rows: ((rows - x.mean(0)) ** 2).sum(1)
        components = most if variance is None else float(variance) if whole is None else min(whole, most)
        model = decomposition(components, svd_solver="full").fit(x)
        if model.n_components_ > most:  # of equal variances a share may take every direction
            model = decomposition(most, svd_solver="full").fit(x)
        return lambda rows: ((rows - model.inverse_transform(model.transform(rows))) ** 2).sum(1)

    return _checked(fit)


def mahalanobis(shrinkage: float = 0.0) -> Baseline:
    """Squared Mahalanobis distance to the training mean, `(x - m)^T S^+ (x - m)`.

    Args:
      shrinkage: weight of the multiple of the identity with the same trace in the covariance, in [0, 1].

    Raises:
      ValueError: the shrinkage is outside [0, 1]; in use, training rows that are all equal.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring import baselines
      >>> train = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -2.0], [0.0, 2.0]])
      >>> baselines.mahalanobis()(train)(np.array([[1.0, 0.0], [0.0, 1.0]])).round(6).tolist()
      [2.0, 0.5]
    """

    require_within("shrinkage", shrinkage, "[0, 1]")

    def fit(x: np.ndarray) -> Score:
        _require_varied(x)
        model = _sklearn("covariance").ShrunkCovariance(shrinkage=float(shrinkage)).fit(x)
        return model.mahalanobis

    return _checked(fit)


def kde(bandwidth: float | str = "scott") -> Baseline:
    """Negative log-density of a kernel density estimate with a normal kernel.

    Args:
      bandwidth: standard deviation of the kernel in the data's unit, > 0, or the rule "scott" or "silverman".

    Raises:
      ValueError: a bandwidth that is not above 0, or another rule.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring import baselines
      >>> baselines.kde(1.0)(np.array([[0.0]]))(np.array([[0.0], [2.0]])).round(3).tolist()
      [0.919, 2.919]
    """

    chosen = _number_or_rule("bandwidth", bandwidth, ("scott", "silverman"))

    def fit(x: np.ndarray) -> Score:
        model = _sklearn("neighbors").KernelDensity(bandwidth=chosen).fit(x)
        return lambda rows: -model.score_samples(rows)

    return _checked(fit)


def one_class_svm(nu: float = 0.5, gamma: float | str = "scale") -> Baseline:
    """Negative decision function of a one-class support vector machine with a radial kernel.

    Args:
      nu: upper bound on the share of training rows outside the region, in (0, 1].
      gamma: inverse width of the kernel `exp(-gamma |x - y|^2)`, > 0; "scale" is 1 / (D var(x)), "auto" is 1 / D.

    Raises:
      ValueError: nu is outside (0, 1], gamma is not above 0 or another rule.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring import baselines
      >>> near, far = baselines.one_class_svm()(np.array([[-1.0], [0.0], [1.0]]))(np.array([[0.0], [9.0]]))
      >>> bool(near < far)
      True
    """

    require_within("nu", nu, "(0, 1]")
    chosen = _number_or_rule("gamma", gamma, ("scale", "auto"))

    def fit(x: np.ndarray) -> Score:
        model = _sklearn("svm").OneClassSVM(nu=float(nu), gamma=chosen).fit(x)
        return lambda rows: -model.decision_function(rows)

    return _checked(fit)


def isolation_forest(trees: int = 100, max_samples: int | str = "auto", seed: int = 0) -> Baseline:
    """Isolation score `2^(-E[depth] / c(n))` in (0, 1): few random cuts isolate an anomaly.

    Args:
      trees: number of trees, at least 1.
      max_samples: number of training rows of each tree, at least 2, as one row has no depth; "auto" is at most 256.
      seed: seed of rows and cuts, a whole number from 0.

    Raises:
      ValueError: a number is outside its range; in use, fewer than 2 training rows.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring import baselines
      >>> train = np.random.default_rng(0).normal(size=(100, 2))
      >>> near, far = baselines.isolation_forest()(train)(np.array([[0.0, 0.0], [9.0, 9.0]]))
      >>> bool(near < far)
      True
    """

    trees, seed = require_count("trees", trees), require_count("seed", seed, 0)
    limit = max_samples if max_samples == "auto" else require_count("max_samples", max_samples, 2)

    def fit(x: np.ndarray) -> Score:
        samples = "auto" if isinstance(limit, str) else min(limit, len(x))
        forest = _sklearn("ensemble").IsolationForest
        model = forest(n_estimators=trees, max_samples=samples, random_state=seed).fit(x)
        return lambda rows: -model.score_samples(rows)

    return _checked(fit, at_least=2)


def lof(k: int = 20) -> Baseline:
    """Local outlier factor: density at a row's k neighbours over the density at the row, about 1 for normals.

    Args:
      k: number of neighbours, at least 1; less than the number of training rows is used.

    Raises:
      ValueError: k is below 1 or no whole number; in use, fewer than 2 training rows.

    Example:
      >>> import numpy as np
      >>> from jaxae.scoring import baselines
      >>> near, far = baselines.lof(k=2)(np.arange(9.0)[:, None])(np.array([[4.0], [20.0]]))
      >>> bool(near < 1.5 < far)
      True
    """

    k = require_count("k", k)

    def fit(x: np.ndarray) -> Score:
        model = _sklearn("neighbors").LocalOutlierFactor(n_neighbors=min(k, len(x) - 1), novelty=True).fit(x)
        return lambda rows: -model.score_samples(rows)

    return _checked(fit, at_least=2)


BASELINES: dict[str, Callable[..., Baseline]] = {
    "knn": knn,
    "pca": pca,
    "mahalanobis": mahalanobis,
    "kde": kde,
    "one_class_svm": one_class_svm,
    "isolation_forest": isolation_forest,
    "lof": lof,
}
"""Name to constructor; the defaults are the settings that are usually reported."""


def _sklearn(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise ValueError("the baselines need scikit-learn: pip install 'jaxae[baselines]'") from None


def _number_or_rule(name: str, value: Any, rules: tuple[str, ...]) -> float | str:
    """A number above 0 as a float, or the name of a rule."""
    if isinstance(value, str):
        if value not in rules:
            raise ValueError(f"{name} must be a number above 0 or one of {', '.join(rules)}; got {shown(value)}")
        return value
    require_within(name, value, "(0, inf)")
    return float(value)


def _require_varied(x: np.ndarray) -> None:
    """Raise for training rows that are all equal: they span no direction, and every score would be 0."""
    if (x == x[:1]).all():
        raise ValueError(f"all {len(x)} training rows are equal: there is no direction to compare with")


def _checked(fit: Baseline, at_least: int = 1) -> Baseline:
    def checked(x: np.ndarray) -> Score:
        x = _rows(x)
        if len(x) < at_least:
            raise ValueError(f"this baseline needs at least {at_least} training rows; got {len(x)}")
        score = fit(x)
        return lambda rows: np.asarray(score(_rows(rows, x.shape[1])), np.float64)

    return checked


def _rows(x: np.ndarray, width: int | None = None) -> np.ndarray:
    x = np.asarray(real_array("rows", x), np.float64)
    if x.ndim != 2 or 0 in x.shape or width not in (None, x.shape[-1]):
        raise ValueError(f"rows must be a table [n, {'D' if width is None else width}]; got {x.shape}")
    if bad := int((~np.isfinite(x)).sum()):
        raise ValueError(f"rows must be finite; {bad} of {x.size} values are not")
    return x


check_arguments(__name__)
