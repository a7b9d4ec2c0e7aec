"""The parts: NamedTuples of pure functions, each function's call given by its protocol."""

from typing import NamedTuple

from jaxae.types.functions import (
    AutoencoderApply,
    AutoencoderDecode,
    AutoencoderEncode,
    BottleneckApply,
    DetectorApply,
    DetectorFit,
    LatentSample,
    LikelihoodLogProb,
    LikelihoodMean,
    LikelihoodSample,
    NetworkApply,
    NetworkHidden,
    NetworkInit,
    ObjectiveApply,
    ObjectiveInit,
    PriorBound,
    PriorInit,
    PriorKL,
    PriorLogProb,
    PriorSample,
    ScorerApply,
    ScorerFit,
    StatefulInit,
    StatefulNetworkApply,
    SymbolLookup,
    ThresholdApply,
    ThresholdFit,
)
from jaxae.types.values import PyTree


class Network(NamedTuple):
    """An encoder, a decoder, a critic, a flow: a function with parameters.

    Attributes:
      init: `(rng, x, condition=None) -> params`; `x` may be abstract (only shape and dtype are read).
      apply: `(params, x, condition=None) -> y`.
      hidden: `(params, x, condition=None) -> [[B, ...], ...]`, what each layer gives on the way; None where unknown.
    """

    init: NetworkInit
    apply: NetworkApply
    hidden: NetworkHidden | None = None


class Bottleneck(NamedTuple):
    """What stands between encoder and decoder. `rng=None`: deterministic, and the state comes back unchanged.

    Attributes:
      init: `(rng, h, condition=None) -> (params, state)`.
      apply: `(params, state, rng, h, condition=None) -> (Code, state)`.
      sample: `(params, state, rng, h, condition=None) -> latent` from the prior; of `h` only the shape is read.
      lookup: `(params, state, symbols, condition=None) -> latent`; discrete codes only, else None.
      num_codes: symbols are below it: an int, or a tree of them like the symbols; None for continuous codes.
    """

    init: StatefulInit
    apply: BottleneckApply
    sample: LatentSample | None = None
    lookup: SymbolLookup | None = None
    num_codes: PyTree | None = None


class StatefulNetwork(NamedTuple):
    """A network with what a `Network` cannot hold: batch statistics, dropout. `jaxae.model.autoencoder` takes both.

    Attributes:
      init: `(rng, x, condition=None) -> (params, state)`; `x` may be abstract (only shape and dtype are read).
      apply: `(params, state, rng, x, condition=None) -> (y, state)`; `rng=None`: running statistics, no dropout, and
        the state comes back as it went in.
    """

    init: StatefulInit
    apply: StatefulNetworkApply


class Prior(NamedTuple):
    """`p(z | condition)`: inside a bottleneck, or fitted after training.

    Attributes:
      init: `(rng, latent, condition=None) -> params`.
      log_prob: `(params, latent, condition=None) -> [B]` nats.
      sample: `(params, rng, latent, condition=None) -> latent`; of the given latent only the shape is read.
      kl: `(params, posterior, condition=None) -> [B, ..., D]` nats, the closed form, or None.
      bound: `(params, rng, latent, condition=None) -> [B]` nats, a random estimate that training maximises instead of
        `log_prob`; None where there is no need of one.
    """

    init: PriorInit
    log_prob: PriorLogProb
    sample: PriorSample
    kl: PriorKL | None = None
    bound: PriorBound | None = None


class Likelihood(NamedTuple):
    """Reads the decoder's raw output, the prediction; has no parameters of its own.

    Attributes:
      num_params: decoder output channels for each data channel.
      log_prob: `(x, prediction) ->` like `x`: nats per element, not summed (masks need that).
      mean: `prediction -> x_hat`, the reconstruction.
      sample: `(rng, prediction) -> x`.
      binary: of 0 and 1 alone; values between them are no data of it (`likelihoods.warn_of_grey`).
    """

    num_params: int
    log_prob: LikelihoodLogProb
    mean: LikelihoodMean
    sample: LikelihoodSample
    binary: bool = False


class Autoencoder(NamedTuple):
    """Encoder, bottleneck, decoder and likelihood, composed (`jaxae.model.autoencoder`).

    Attributes:
      init: `(rng, x, condition=None) -> (params, state)`.
      apply: `(params, state, rng, x, condition=None) -> (Output, state)`.
      encode: `(params, state, x, condition=None) -> Code`, deterministic.
      decode: `(params, latent, condition=None, state=None) -> prediction`, deterministic; a decoder with state
        needs the model's.
      sample: `(params, state, rng, x, condition=None) -> latent`; of `x` only the shape is read. None where the
        bottleneck has no prior.
      lookup: `(params, state, symbols, condition=None) -> latent`; None for continuous codes.
      likelihood: the `Likelihood` that reads predictions.
      num_codes: the bottleneck's.
    """

    init: StatefulInit
    apply: AutoencoderApply
    encode: AutoencoderEncode
    decode: AutoencoderDecode
    sample: LatentSample | None
    lookup: SymbolLookup | None
    likelihood: Likelihood
    num_codes: PyTree | None = None


class Objective(NamedTuple):
    """What training minimises. `params` and `state` are dicts with the key "model"; a critic adds its own.

    Attributes:
      init: `(rng, batch) -> (params, state)`.
      apply: `(params, state, rng, batch, step) -> (loss [B], (Output, state, metrics {name: [B]}))`.
      frozen: keys of `params["model"]` that a train step leaves as they are, whatever the optimizer (`partial`).
    """

    init: ObjectiveInit
    apply: ObjectiveApply
    frozen: tuple[str, ...] = ()


class Scorer(NamedTuple):
    """An anomaly score; `fitted` holds everything, the model's arrays too.

    Attributes:
      fit: `(params, state, reference) -> fitted`; `params` and `state` are the model's own.
      apply: `(fitted, rng, batch) -> [B]`, higher is more anomalous.
      map: `(fitted, rng, batch) -> [B, ...]`, where in the example; None if there is no such thing.
    """

    fit: ScorerFit
    apply: ScorerApply
    map: ScorerApply | None = None


class Threshold(NamedTuple):
    """A rule that chooses λ.

    Attributes:
      fit: `(calibration [n], dev=None [m], labels=None [m], weight=None [m]) -> fitted`. Calibration scores are
        clean normals; dev scores carry labels (1 anomaly, 0 normal) and weights.
      apply: `(fitted, scores [B]) -> Verdict`.
      reads: what λ depends on, which decides how its false-alarm rate can be bounded: "dev" (no calibration score),
        "rank" (the calibration score of a rank that is fixed beforehand) or "calibration" (in any other way).
    """

    fit: ThresholdFit
    apply: ThresholdApply
    reads: str = "calibration"


class Detector(NamedTuple):
    """Scorer and Threshold composed: one function to jit, export and save.

    Attributes:
      fit: `(params, state, reference, calibration, dev=None, labels=None) -> fitted`.
      apply: `(fitted, batch) -> Verdict`.
    """

    fit: DetectorFit
    apply: DetectorApply
