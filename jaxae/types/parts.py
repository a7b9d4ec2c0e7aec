"""The parts: NamedTuples of pure functions, each with a protocol for its arguments."""

from typing import NamedTuple

from jaxae.types.functions import (
    AutoencoderApply,
    AutoencoderDecode,
    AutoencoderEncode,
    BottleneckApply,
    DetectorApply,
    DetectorFit,
    LatentGradient,
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
      hidden: `(params, x, condition=None) -> [[B, ...], ...]`, outputs of the layers; None where unknown.
    """

    init: NetworkInit
    apply: NetworkApply
    hidden: NetworkHidden | None = None


class Estimator(NamedTuple):
    """How a latent that is not straight-through gets its gradient: what `residual` and `multi_scale` ask of their base.

    They sum latents and give the sum one gradient. Without `gradient` they refuse the base, since its own gradient
    would be lost in them.

    Attributes:
      name: name of the estimator, for errors.
      gradient: `(rng, latent, h) -> latent` with the estimator's gradient to `h`, and through the latent's own to the
        codes; None where a sum of latents has none.
      codes: `(params, state, symbols, condition=None) -> latent` with gradients to the codes; None where codes get none
        through the latent.
    """

    name: str
    gradient: LatentGradient | None = None
    codes: SymbolLookup | None = None


class Bottleneck(NamedTuple):
    """The part between encoder and decoder. `rng=None`: deterministic, and the state is returned unchanged.

    Attributes:
      init: `(rng, h, condition=None) -> (params, state)`.
      apply: `(params, state, rng, h, condition=None) -> (Code, state)`.
      sample: `(params, state, rng, h, condition=None) -> latent` from the prior; only the shape of `h` is read.
      lookup: `(params, state, symbols, condition=None) -> latent`; discrete codes only, else None.
      num_codes: number of codes, above every symbol: an int, or a tree of ints like the symbols; None for continuous
        codes.
      estimator: the `Estimator` of the latent's gradient; None: straight-through.
    """

    init: StatefulInit
    apply: BottleneckApply
    sample: LatentSample | None = None
    lookup: SymbolLookup | None = None
    num_codes: PyTree | None = None
    estimator: Estimator | None = None


class StatefulNetwork(NamedTuple):
    """A network with batch statistics or dropout, which a `Network` cannot have; `jaxae.model.autoencoder` takes both.

    Attributes:
      init: `(rng, x, condition=None) -> (params, state)`; `x` may be abstract (only shape and dtype are read).
      apply: `(params, state, rng, x, condition=None) -> (y, state)`; `rng=None`: running statistics, no dropout, and
        the state is returned unchanged.
    """

    init: StatefulInit
    apply: StatefulNetworkApply


class Prior(NamedTuple):
    """`p(z | condition)`: inside a bottleneck, or fitted after training.

    Attributes:
      init: `(rng, latent, condition=None) -> params`.
      log_prob: `(params, latent, condition=None) -> [B]` nats.
      sample: `(params, rng, latent, condition=None) -> latent`; only the shape of the argument `latent` is read.
      kl: `(params, posterior, condition=None) -> [B, ..., D]` nats, the closed form, or None.
      bound: `(params, rng, latent, condition=None) -> [B]` nats, a random estimate that training maximises instead of
        `log_prob`; None where training uses `log_prob`.
    """

    init: PriorInit
    log_prob: PriorLogProb
    sample: PriorSample
    kl: PriorKL | None = None
    bound: PriorBound | None = None


class Likelihood(NamedTuple):
    """A distribution of the data with the decoder's raw output, the prediction, as parameters.

    Attributes:
      num_params: number of decoder output channels for each data channel.
      log_prob: `(x, prediction) -> [B, ...]` shaped like `x`: nats per element, not summed, as masks need elements.
      mean: `prediction -> x_hat`, the reconstruction.
      sample: `(rng, prediction) -> x`.
      binary: whether the data are 0 and 1 alone (`likelihoods.warn_of_grey` warns of other values).
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
        needs the model's state.
      sample: `(params, state, rng, x, condition=None) -> latent`; only the shape of `x` is read. None where the
        bottleneck has no prior.
      lookup: `(params, state, symbols, condition=None) -> latent`; None for continuous codes.
      likelihood: the `Likelihood` that reads predictions.
      num_codes: `num_codes` of the bottleneck.
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
    """The function that training minimises. `params` and `state` are dicts with the key "model"; a critic adds a key.

    Attributes:
      init: `(rng, batch) -> (params, state)`.
      apply: `(params, state, rng, batch, step) -> (loss [B], (Output, state, metrics {name: [B]}))`.
      frozen: keys of `params["model"]` that no train step changes, whatever the optimizer (`partial`).
    """

    init: ObjectiveInit
    apply: ObjectiveApply
    frozen: tuple[str, ...] = ()


class Scorer(NamedTuple):
    """An anomaly score; `fitted` holds all arrays that scoring reads, including the model's.

    Attributes:
      fit: `(params, state, reference) -> fitted`; `params` and `state` are those of the model.
      apply: `(fitted, rng, batch) -> [B]`, higher is more anomalous.
      map: `(fitted, rng, batch) -> [B, ...]`, score map of the positions in each example; None without one.
    """

    fit: ScorerFit
    apply: ScorerApply
    map: ScorerApply | None = None


class Threshold(NamedTuple):
    """A threshold rule: it chooses λ.

    Attributes:
      fit: `(calibration [n], dev=None [m], labels=None [m], weight=None [m]) -> fitted`. Calibration scores are
        clean normals; dev scores carry labels (1 anomaly, 0 normal) and weights.
      apply: `(fitted, scores [B]) -> Verdict`.
      reads: kind of scores that λ depends on, which decides how its false-alarm rate can be bounded: "dev" (no
        calibration score), "rank" (the calibration score of a rank that is fixed beforehand) or "calibration" (in any
        other way).
    """

    fit: ThresholdFit
    apply: ThresholdApply
    reads: str = "calibration"


class Detector(NamedTuple):
    """Scorer and Threshold composed: one function to jit, export and save.

    Attributes:
      fit: `(params, state, reference, calibration, dev=None, labels=None) -> FittedDetector`.
      apply: `(fitted, batch) -> Verdict`.
    """

    fit: DetectorFit
    apply: DetectorApply
