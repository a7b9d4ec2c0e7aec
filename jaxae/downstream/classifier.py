"""A classifier is an autoencoder whose target is the label: `Batch(x, target=labels[:, None])`.

Its latents, `model.encode(params, state, x).latent`, are the features; `model.decode(params, latent)` the logits. So
`train.fit`, checkpoints, scorers and detectors work with it unchanged.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from jaxae import bottlenecks, likelihoods, networks, objectives, transforms
from jaxae.model import autoencoder
from jaxae.networks import AnyNetwork
from jaxae.numerics import require_within, sum_per_example, target_of
from jaxae.objectives import negative_log_likelihood
from jaxae.transforms import Transform
from jaxae.types import Autoencoder, Network, Objective, PyTree


def classifier(
    encoder: AnyNetwork,
    head: AnyNetwork,
    num_classes: int,
    *,
    label_smoothing: ArrayLike = 0.0,
    transform: Transform | None = None,
) -> tuple[Autoencoder, Objective]:
    """Encoder and head, trained by cross-entropy: `p(y | x) = softmax(head(encoder(x)))`.

    Args:
      encoder: network `x -> features`, such as `feature_encoder(shape)` or the encoder of an autoencoder.
      head: network `features -> [B, num_classes]` logits, such as `networks.mlp(num_classes)`, a linear layer.
      num_classes: number of classes K, at least 2.
      label_smoothing: weight s of the uniform distribution in [0, 1), see `cross_entropy`.
      transform: scaling and augmentation in front of the objective; None: `transforms.scale_uint8`.

    Returns:
      `(Autoencoder, Objective)`. Batches are `Batch(x, target)` with `target` `[B, 1]` whole numbers 0..K-1 (not
      uint8, which is for pixels). The model's params are a dict with "encoder" and "decoder" (the head).

    Raises:
      ValueError: fewer than 2 classes, a smoothing outside [0, 1); (from `init`) the head does not give
        `[B, num_classes]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream, networks
      >>> from jaxae.types import Batch
      >>> model, objective = downstream.classifier(networks.mlp(8, 4), networks.mlp(3), num_classes=3)
      >>> batch = Batch(jnp.ones((2, 5)), target=jnp.array([[0], [2]]))
      >>> params, state = objective.init(jax.random.key(0), batch)
      >>> loss, (output, _, metrics) = objective.apply(params, state, None, batch, 0)
      >>> loss.shape, output.prediction.shape, sorted(metrics)
      ((2,), (2, 3), ['accuracy', 'nll'])
    """
    likelihood = likelihoods.categorical(num_classes)
    parts = bottlenecks.nested(encoder, bottlenecks.identity(), head)

    def init(rng, x, condition=None):
        params, state = parts.init(rng, x, condition)
        code, _ = jax.eval_shape(lambda p, s, x, c: parts.apply(p, s, None, x, c), params, state, x, condition)
        if code.latent.ndim != 2 or code.latent.shape[-1] != num_classes:
            raise ValueError(f"the head gives {code.latent.shape}, but {num_classes} classes need (B, {num_classes})")
        return params, state

    # the autoencoder's init requires predictions shaped like x; a classifier predicts the target instead
    model = autoencoder(encoder, bottlenecks.identity(), head, likelihood)._replace(init=init)
    objective = cross_entropy(model, label_smoothing)
    return model, objectives.prepared(objective, transform or transforms.scale_uint8())


def cross_entropy(model: Autoencoder, label_smoothing: ArrayLike = 0.0) -> Objective:
    """`-(1 - s) log p(y | x) - s mean_k log p(k | x)`, nats: with s = 0 the classifier's negative ELBO.

    Smoothing bounds the logits. It helps the accuracy and, in most reports, hurts scores that separate known from
    unknown classes by the size of the logits.

    Args:
      model: the `Autoencoder` from `classifier`.
      label_smoothing: weight s of the uniform distribution, in [0, 1).

    Returns:
      An `Objective` whose metrics, each `[B]`, are "nll" (without smoothing) and "accuracy" (1 where right).

    Raises:
      ValueError: the smoothing is outside [0, 1); (from `apply`) the batch has no target of whole numbers `[B, 1]`.

    Source: smoothing: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7;
    what it does to open sets: Vaze et al. 2022, "Open-Set Recognition: a Good Closed-Set Classifier is All You Need".

    Example: see `classifier`.
    """
    require_within("label_smoothing", label_smoothing, "[0, 1)")

    def apply(params, state, rng, batch, step):
        output, model_state = model.apply(params["model"], state["model"], rng, batch.x, batch.condition)
        logits, labels = output.prediction, target_of(batch)
        _require_labels(labels, logits)
        nll = negative_log_likelihood(model, batch, output)
        # cross-entropy against the uniform distribution over the classes
        uniform = -sum_per_example(jax.nn.log_softmax(logits.astype(jnp.float32))) / logits.shape[-1]
        is_correct = (logits.argmax(-1) == labels[:, 0]).astype(jnp.float32)
        # cross-entropy against (1 - s) one-hot + s uniform
        loss = nll + label_smoothing * (uniform - nll)
        return loss, (output, {**state, "model": model_state}, {"nll": nll, "accuracy": is_correct})

    return Objective(objectives.elbo(model).init, apply)


def feature_encoder(
    shape: tuple[int, ...], num_features: int = 128, channels: tuple[int, ...] = (32, 64, 128)
) -> Network:
    """An encoder to non-negative features: convolutions for images, dense layers for rows of a data table.

    Args:
      shape: shape of one example, `(H, W, C)` or `(D,)`.
      num_features: width of the features.
      channels: number of channels of each strided convolution; images only.

    Returns:
      A `Network`.

    Raises:
      ValueError: a shape or size below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream
      >>> encoder = downstream.feature_encoder((28, 28, 1))
      >>> params = jax.eval_shape(encoder.init, jax.random.key(0), jnp.ones((2, 28, 28, 1)))
      >>> jax.eval_shape(encoder.apply, params, jnp.ones((2, 28, 28, 1))).shape
      (2, 128)
    """
    if len(shape) == 3:
        base = networks.conv_encoder(shape, num_features, channels=channels, num_blocks=0, activation=jax.nn.relu)
    else:
        base = networks.default_encoder(shape, num_features)
    return Network(base.init, lambda params, x, condition=None: jax.nn.relu(base.apply(params, x, condition)))


def pretrained(params_of_classifier: PyTree, params_of_autoencoder: PyTree) -> PyTree:
    """The classifier's parameters with the encoder of a trained autoencoder; the head stays as it is.

    Args:
      params_of_classifier: parameters of the classifier's model, or of its train state (with the key "model").
      params_of_autoencoder: parameters of a model with the same encoder, or of its train state.

    Raises:
      ValueError: the encoders' parameters differ in structure or shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import downstream, networks, presets
      >>> x = jnp.ones((2, 5))
      >>> encoder = networks.mlp(8, 4)
      >>> autoencoder, _ = presets.ae((5,), latent_size=4, encoder=encoder)
      >>> classifier, _ = downstream.classifier(encoder, networks.mlp(3), 3)
      >>> source, target = (m.init(jax.random.key(i), x)[0] for i, m in enumerate((autoencoder, classifier)))
      >>> started = downstream.pretrained(target, source)
      >>> started["encoder"] is source["encoder"], started["decoder"] is target["decoder"]
      (True, True)
    """
    for name, params in {"classifier": params_of_classifier, "autoencoder": params_of_autoencoder}.items():
        if not isinstance(params, Mapping) or not {"model", "encoder"} & set(params):
            raise ValueError(f"pretrained: params_of_{name} must be a dict with the key encoder or model")
    if "model" in params_of_classifier:
        return {**params_of_classifier, "model": pretrained(params_of_classifier["model"], params_of_autoencoder)}
    source = params_of_autoencoder.get("model", params_of_autoencoder)["encoder"]
    expected, actual = _shapes(params_of_classifier["encoder"]), _shapes(source)
    if odd := sorted(set(expected.items()) ^ set(actual.items())):
        name = odd[0][0]
        raise ValueError(
            f"the autoencoder's encoder is not the classifier's: {name} is {actual.get(name, 'missing')}, the "
            f"classifier's {expected.get(name, 'missing')}; build both with the same encoder"
        )
    return {**params_of_classifier, "encoder": source}


def fine_tuning(
    head: optax.GradientTransformation, encoder: optax.GradientTransformation | None = None
) -> optax.GradientTransformation:
    """An optimizer of a classifier's train state with a separate optimizer for the pretrained encoder.

    Args:
      head: optimizer of everything but the encoder.
      encoder: optimizer of the encoder; None freezes it.

    Example:
      >>> import optax
      >>> from jaxae import downstream
      >>> frozen = downstream.fine_tuning(optax.adam(1e-3))
      >>> tuned = downstream.fine_tuning(optax.adam(1e-3), encoder=optax.adam(1e-4))
    """

    # params are the model's own, or a train state's with "model" above: the key is at depth 0 or 1
    def labels(params):
        return jax.tree.map_with_path(
            lambda path, _: "encoder" if any(getattr(k, "key", None) == "encoder" for k in path[:2]) else "head", params
        )

    return optax.multi_transform({"head": head, "encoder": encoder or optax.set_to_zero()}, labels)


def _require_labels(labels: Array, logits: Array) -> None:
    if labels.shape != (logits.shape[0], 1) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"a classifier's batch needs target [B, 1] of whole numbers, got shape {labels.shape} {labels.dtype}: "
            "give Batch(x, target=labels[:, None]) with int32 labels"
        )


def _shapes(params: PyTree) -> dict[str, tuple]:
    leaves = jax.tree.leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}
