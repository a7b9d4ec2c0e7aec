"""The settings of each command: fields, types, defaults and, in the docstring, what each is."""

import math
from typing import Annotated, Any, NamedTuple

from jaxae.settings.limits import Named, Within

# the deployment's share of anomalies where nobody says another
ANOMALY_RATE = 0.05


# jax.random.key reads 32 bits: two larger seeds could give one and the same run
Seed = Annotated[int, Within(0, 2**32 - 1)]
Epochs = Annotated[int | None, Within(1, 1_000_000)]
Rate = Annotated[float, Within(1e-30, 1, open=True)]
Confidence = Annotated[float | None, Within(0, 1, open=True)]
Share = Annotated[float, Within(0, 1, open_high=True)]
Rule = tuple[str, float | None] | None


class DetectSettings(NamedTuple):
    """Settings of `jobs.detect`.

    Attributes:
      data: source of the data: fashion-sample, sprites, a .npz, .csv or .parquet file, a folder of images, or
        tfds:NAME; see `data.load`.
      label_column: name of the column that holds the labels; tables only.
      normal: names of the normal classes. None: those that the data itself names.
      model: name of a preset, or package.module:function of an own one, called as presets are.
      bottleneck: name of a bottleneck for the models ae and denoising_ae, or package.module:function of an own one,
        called without arguments. None: the latent passes unchanged.
      score: anomaly score, by name, or package.module:function of an own one, `(model) -> Scorer`. None: the recipe's,
        see `recipes.build`.
      view: what of an image the model reads: edges tell shapes apart better, pixels show more.
      cost: costs of a miss and of a false alarm, in one unit.
      rule: name and value of a threshold rule of `recipes.RULES`, such as ("recall", 0.9), or package.module:function
        of an own one. None: least expected cost, or without labels a false-alarm rate of 0.05.
      anomaly_rate: share of anomalies in deployment.
      confidence: confidence of the bounds on false alarms and misses; with the rule "false_alarm_rate" that rate then
        holds with this confidence, not on average. None: 0.95, for the bounds that are reported.
      certify: share of dev that is set aside to bound the miss rate of the λ chosen.
      contamination: share of unmarked anomalies that the training rows are thought to hold; 0 trusts them.
      robust: how contaminated training rows are handled: by an objective of `recipes.ROBUST`, or by leaving rows out,
        those far from their neighbours ("neighbours") or those that models of the others score highest ("refined").
      known_anomalies: number of dev's anomalies that are taught to the model (`objectives.supervised`) and leave dev.
      group_duplicates: whether equal rows are kept in one part.
      epochs: passes over the training rows. None: by their number.
      seed: seed for the data split, parameter initialisation, batch order and noise.
      options: keywords of the model's preset, such as latent_size.
      tensorboard: whether TensorBoard events are written too (needs jaxae[tensorboard]).
    """

    data: str = "fashion-sample"
    label_column: str | None = None
    normal: tuple[str, ...] | None = None
    model: Annotated[str, Named("jaxae.presets:PRESETS", importable=True)] = "denoising_ae"
    bottleneck: Annotated[str | None, Named("jaxae.bottlenecks:BOTTLENECKS", importable=True)] = None
    score: Annotated[str | None, Named("jaxae.recipes:SCORES", importable=True)] = None
    view: Annotated[str, Named(("pixels", "edges"))] = "pixels"
    cost: tuple[float, float] = (10.0, 1.0)
    rule: Rule = None
    anomaly_rate: Rate = ANOMALY_RATE
    confidence: Confidence = None
    certify: Share = 0.0
    contamination: Share = 0.0
    robust: Annotated[str, Named("jaxae.recipes:ROBUST", besides=("neighbours", "refined"))] = "trimmed"
    known_anomalies: Annotated[int, Within(0, 2**31)] = 0
    group_duplicates: bool = False
    epochs: Epochs = None
    seed: Seed = 0
    options: dict[str, Any] = {}  # noqa: RUF012  never written to
    tensorboard: bool = False


class OpenSetSettings(NamedTuple):
    """Settings of `jobs.open_set`.

    Attributes:
      known: names of the classes to learn, two or more; every other class is unknown.
      data: labelled data; see `data.load`.
      label_column: name of the column that holds the labels; tables only.
      score: confidence of the classifier, by name.
      auxiliary: what a classifier of images learns besides its classes: spliced images as a class of their own,
        quarter turns of each class, or nothing.
      cost: costs of an unknown example that gets a class, of a known one that is called unknown, and of a wrong class.
      rule: name and value of a threshold rule, for which "anomaly" is unknown. None: least expected cost, or a
        false-alarm rate where no example is unknown.
      anomaly_rate: share of unknown examples in deployment.
      confidence: confidence of the bounds on errors; with the rule "false_alarm_rate" that rate then holds with this
        confidence, not on average. None: 0.95, for the bounds that are reported.
      certify: share of dev that is set aside to bound the share of unknown examples that get a class.
      group_duplicates: whether equal rows are kept in one part.
      epochs: passes over the training rows. None: by their number.
      seed: seed for the data split, parameter initialisation, batch order and augmentation.
      tensorboard: whether TensorBoard events are written too (needs jaxae[tensorboard]).
    """

    known: tuple[str, ...]
    data: str = "fashion-sample"
    label_column: str | None = None
    score: Annotated[str, Named("jaxae.scoring.confidence:CONFIDENCES")] = "knn"
    auxiliary: Annotated[str, Named(("spliced", "turned", "none"))] = "spliced"
    cost: tuple[float, float, float] = (10.0, 1.0, 1.0)
    rule: Rule = None
    anomaly_rate: Rate = ANOMALY_RATE
    confidence: Confidence = None
    certify: Share = 0.0
    group_duplicates: bool = False
    epochs: Epochs = None
    seed: Seed = 0
    tensorboard: bool = False


class TrainSettings(NamedTuple):
    """Settings of `jobs.train`.

    Attributes:
      data: training data; see `data.load`.
      label_column: name of the column that holds the labels; tables only.
      normal: names of the classes to train on. None: all rows.
      model: name of a preset, or package.module:function of an own one, called as presets are.
      bottleneck: name of a bottleneck for the models ae and denoising_ae, or package.module:function of an own one,
        called without arguments. None: the latent passes unchanged.
      epochs: passes over the training rows. None: by their number.
      seed: seed for the data split, parameter initialisation, batch order and noise.
      options: keywords of the model's preset, such as latent_size.
      tensorboard: whether TensorBoard events are written too (needs jaxae[tensorboard]).
    """

    data: str = "fashion-sample"
    label_column: str | None = None
    normal: tuple[str, ...] | None = None
    model: Annotated[str, Named("jaxae.presets:PRESETS", importable=True)] = "vae"
    bottleneck: Annotated[str | None, Named("jaxae.bottlenecks:BOTTLENECKS", importable=True)] = None
    epochs: Epochs = None
    seed: Seed = 0
    options: dict[str, Any] = {}  # noqa: RUF012
    tensorboard: bool = False


class CalibrateSettings(NamedTuple):
    """Settings of `jobs.calibrate`.

    Attributes:
      data: rows that the detector has not seen, all of which are used; or the run's own source at another path, which
        is told by its content. None: the rows that the run held out.
      label_column: name of the column that holds the labels; tables only. None: the run's.
      normal: names of the normal classes of other data. None: the run's.
      cost: costs of a miss and of a false alarm, in one unit.
      wrong_class_cost: cost of a wrong class, for the run of `open-set`. None: the run's.
      rule: name and value of a threshold rule, or package.module:function of an own one. None: least expected cost, or
        without labels a false-alarm rate of 0.05.
      anomaly_rate: share of anomalies in deployment.
      confidence: confidence of the bounds; with the rule "false_alarm_rate" that rate then holds with this confidence,
        not on average. None: 0.95, for the bounds that are reported.
      certify: share of dev that is set aside to bound the miss rate of the λ chosen.
      seed: seed for the deal of other rows; those that the run held out stay as they were dealt.
    """

    data: str | None = None
    label_column: str | None = None
    normal: tuple[str, ...] | None = None
    cost: tuple[float, float] = (10.0, 1.0)
    wrong_class_cost: Annotated[float | None, Within(0, math.inf, open_high=True)] = None
    rule: Rule = None
    anomaly_rate: Rate = ANOMALY_RATE
    confidence: Confidence = None
    certify: Share = 0.5
    seed: Seed = 0


class ScoreSettings(NamedTuple):
    """Settings of `jobs.score`.

    Attributes:
      data: rows to score, all of them; see `data.load`.
      label_column: name of the column that holds the labels; tables only. None: that of the detector's own data, where
        the table has it; it is never scored.
      part: one part of the data alone: "test" or "train" where the source has these parts itself, or any part of the
        run that the detector lies in (train, validation, calibration, dev, certify, test) where this is its data.
    """

    data: str = "fashion-sample"
    label_column: str | None = None
    part: Annotated[str, Named(("train", "validation", "calibration", "dev", "certify", "test"))] | None = None


class SampleSettings(NamedTuple):
    """Settings of `jobs.sample`.

    Attributes:
      number: number of examples to draw.
      seed: seed for the draw.
      uniform: whether to draw from the model's own prior (of codes: all alike), though another was trained.
      labels: classes to draw in turn, by name or number, of a conditional model or of a prior by class. None: of the
        model all that it learned, of the prior as frequent as in the training rows.
      temperature: temperature of a trained prior over codes; below 1, probable codes are drawn more often.
      top_k: number of most probable values of each code that are kept. None: all.
      top_p: probability mass of the fewest values of each code that are kept. None: all.
      noise: whether to draw from the likelihood too, instead of giving its mean.
      score: whether to compare images with the run's test part, in the features of a classifier trained for it.
    """

    number: Annotated[int, Within(1, 100_000)] = 64
    seed: Seed = 0
    uniform: bool = False
    labels: tuple[str, ...] | None = None
    temperature: Annotated[float, Within(0, 1e6, open=True)] = 1.0
    top_k: Annotated[int | None, Within(1, 2**31)] = None
    top_p: Annotated[float | None, Within(0, 1)] = None
    noise: bool = False
    score: bool = False


class TrainPriorSettings(NamedTuple):
    """Settings of `jobs.train_prior`.

    Attributes:
      prior: name of the prior: for codes autoregressive, masked or unigram, for latents mixture or flow. None:
        autoregressive, mixture.
      by_class: whether to condition on the data's labels, for `jaxae sample --label`.
      epochs: passes over the training rows. None: eight, and at least 1,000 steps.
      seed: seed for initialisation, order and masks.
      options: keywords of the prior, such as width.
    """

    prior: str | None = None
    by_class: bool = False
    epochs: Epochs = None
    seed: Seed = 0
    options: dict[str, Any] = {}  # noqa: RUF012
