"""A `typing.Protocol` for each function of a contract, which shows its arguments to readers and type checkers.

A function satisfies a protocol by its arguments alone: plain functions, lambdas, `functools.partial` and jitted
functions do. Arguments before a slash are passed by position. `rng` is a typed key; where it may be None, None means
deterministic. Only shapes and dtypes of arguments named `like` are read, so they may be abstract
(`jax.ShapeDtypeStruct`).
"""

from typing import Any, Protocol, runtime_checkable

from jax import Array
from jax.typing import ArrayLike

from jaxae.types.values import Batch, Code, FittedDetector, Output, PyTree, Verdict


@runtime_checkable
class NetworkInit(Protocol):
    """Parameters for inputs like `like`, `[B, ...]`."""

    def __call__(self, rng: Array, like: PyTree, /, condition: PyTree | None = None) -> PyTree: ...


@runtime_checkable
class NetworkApply(Protocol):
    """`x [B, ...] -> y [B, ...]`, row by row."""

    def __call__(self, params: PyTree, x: PyTree, /, condition: PyTree | None = None) -> Any: ...


@runtime_checkable
class NetworkHidden(Protocol):
    """Outputs of the layers, `[[B, ...], ...]`, in order."""

    def __call__(self, params: PyTree, x: PyTree, /, condition: PyTree | None = None) -> list[Array]: ...


@runtime_checkable
class StatefulInit(Protocol):
    """`(params, state)` for inputs like `like`: of an autoencoder, a bottleneck or a network with state."""

    def __call__(self, rng: Array, like: PyTree, /, condition: PyTree | None = None) -> tuple[PyTree, PyTree]: ...


@runtime_checkable
class StatefulNetworkApply(Protocol):
    """`x -> (y, state)`. `rng=None`: running statistics, no dropout, the state unchanged."""

    def __call__(
        self, params: PyTree, state: PyTree, rng: Array | None, x: PyTree, /, condition: PyTree | None = None
    ) -> tuple[Any, PyTree]: ...


@runtime_checkable
class BottleneckApply(Protocol):
    """`h [B, ..., D] -> (Code, state)`. `rng=None`: deterministic, the state unchanged."""

    def __call__(
        self, params: PyTree, state: PyTree, rng: Array | None, h: Any, /, condition: PyTree | None = None
    ) -> tuple[Code, PyTree]: ...


@runtime_checkable
class LatentSample(Protocol):
    """Latents from the prior, for inputs like `like`: a bottleneck's `h`, an autoencoder's `x`."""

    def __call__(
        self, params: PyTree, state: PyTree, rng: Array, like: Any, /, condition: PyTree | None = None
    ) -> Any: ...


@runtime_checkable
class SymbolLookup(Protocol):
    """The latent of symbols, equal to the bit to the decoder's input; NaN for symbol -1."""

    def __call__(self, params: PyTree, state: PyTree, symbols: Any, /, condition: PyTree | None = None) -> Any: ...


@runtime_checkable
class LatentGradient(Protocol):
    """The latent of a stack `[B, ..., D]` with the estimator's gradient to its input `h`; the value stays."""

    def __call__(self, rng: Array | None, latent: Any, h: Any, /) -> Any: ...


@runtime_checkable
class PriorInit(Protocol):
    """Parameters for latents (or symbols) like `like`, `[B, ...]`."""

    def __call__(self, rng: Array, like: Any, /, condition: PyTree | None = None) -> PyTree: ...


@runtime_checkable
class PriorLogProb(Protocol):
    """`log p(latent | condition)`, `[B]` nats."""

    def __call__(self, params: PyTree, latent: Any, /, condition: PyTree | None = None) -> Array: ...


@runtime_checkable
class PriorSample(Protocol):
    """Draws shaped like `like`, one for each of its rows."""

    def __call__(self, params: PyTree, rng: Array, like: Any, /, condition: PyTree | None = None) -> Any: ...


@runtime_checkable
class PriorKL(Protocol):
    """`KL(posterior || p)` in closed form, `[B, ..., D]` nats: its sum over an example is the divergence."""

    def __call__(self, params: PyTree, posterior: Any, /, condition: PyTree | None = None) -> Array: ...


@runtime_checkable
class PriorBound(Protocol):
    """A random estimate `[B]`, nats, that training maximises instead of `log_prob`."""

    def __call__(self, params: PyTree, rng: Array, latent: Any, /, condition: PyTree | None = None) -> Array: ...


@runtime_checkable
class LikelihoodLogProb(Protocol):
    """`log p(x | prediction)` for each element of `x`, nats, not summed: masks need the elements."""

    def __call__(self, x: Any, prediction: Any, /) -> Any: ...


@runtime_checkable
class LikelihoodMean(Protocol):
    """The reconstruction from a prediction, shaped like `x`."""

    def __call__(self, prediction: Any, /) -> Any: ...


@runtime_checkable
class LikelihoodSample(Protocol):
    """A draw of `x` given the prediction."""

    def __call__(self, rng: Array, prediction: Any, /) -> Any: ...


@runtime_checkable
class AutoencoderApply(Protocol):
    """One pass, `x -> (Output, state)`. `rng=None`: deterministic, the state unchanged."""

    def __call__(
        self, params: PyTree, state: PyTree, rng: Array | None, x: PyTree, /, condition: PyTree | None = None
    ) -> tuple[Output, PyTree]: ...


@runtime_checkable
class AutoencoderEncode(Protocol):
    """The code of `x`, deterministic."""

    def __call__(self, params: PyTree, state: PyTree, x: PyTree, /, condition: PyTree | None = None) -> Code: ...


@runtime_checkable
class AutoencoderDecode(Protocol):
    """`latent -> prediction`, deterministic; `state` of the model, for decoders that have one."""

    def __call__(
        self, params: PyTree, latent: Any, /, condition: PyTree | None = None, state: PyTree | None = None
    ) -> Any: ...


@runtime_checkable
class ObjectiveInit(Protocol):
    """`(params, state)`, dicts with the key "model", for batches shaped like `batch`."""

    def __call__(self, rng: Array, batch: Batch, /) -> tuple[dict, dict]: ...


@runtime_checkable
class ObjectiveApply(Protocol):
    """`(loss [B], (Output, state, metrics {name: [B]}))` at a training step, at which schedules are read."""

    def __call__(
        self, params: Any, state: Any, rng: Array | None, batch: Batch, step: Array | int, /
    ) -> tuple[Array, tuple[Output, dict, dict[str, Array]]]: ...


@runtime_checkable
class Penalty(Protocol):
    """A penalty, `[B]` or a scalar, on one pass of a model; `params` and `state` are those of the model."""

    def __call__(self, params: Any, state: Any, rng: Array | None, batch: Batch, output: Output, /) -> Array: ...


@runtime_checkable
class Transform(Protocol):
    """A batch from a batch: scaling, augmentation, corruption. `rng=None`: deterministic, corruptions are off."""

    def __call__(self, rng: Array | None, batch: Batch, /) -> Batch: ...


@runtime_checkable
class ScorerFit(Protocol):
    """Arrays that scoring reads, including the model's; `reference` holds normal rows."""

    def __call__(self, params: PyTree, state: PyTree, reference: Batch | None) -> PyTree: ...


@runtime_checkable
class ScorerApply(Protocol):
    """Scores `[B]`, higher is more anomalous; or their map `[B, ...]`."""

    def __call__(self, fitted: Any, rng: Array | None, batch: Batch, /) -> Array: ...


@runtime_checkable
class ThresholdFit(Protocol):
    """λ and the arrays of p-values, from clean scores `[n]` and labelled scores `[m]` (1 anomaly, 0 normal)."""

    def __call__(
        self,
        calibration: ArrayLike,
        dev: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> dict[str, Array]: ...


@runtime_checkable
class ThresholdApply(Protocol):
    """Decisions on scores `[B]`."""

    def __call__(self, fitted: Any, scores: ArrayLike, /) -> Verdict: ...


@runtime_checkable
class DetectorFit(Protocol):
    """A fitted scorer and threshold; the scorer reads `reference`, the threshold the other rows."""

    def __call__(
        self,
        params: PyTree,
        state: PyTree,
        reference: Batch | ArrayLike | None,
        calibration: Batch | ArrayLike,
        dev: Batch | ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> FittedDetector: ...


@runtime_checkable
class DetectorApply(Protocol):
    """Decisions on the rows of a batch, each independent of the others."""

    def __call__(self, fitted: Any, batch: Batch | ArrayLike, /) -> Verdict: ...


@runtime_checkable
class Schedule(Protocol):
    """A number that depends on the training step, such as optax's schedules."""

    def __call__(self, step: Any, /) -> Any: ...
