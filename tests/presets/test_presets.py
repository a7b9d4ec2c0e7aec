"""Every preset: ten steps of training, each loss term alive, its parts put together; what each refuses."""

import functools
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import networks, presets
from jaxae.jobs import TrainSettings, train
from jaxae.networks import patches
from jaxae.presets import PRESETS
from jaxae.scoring.scores.likelihood import bound
from jaxae.train import build_step, init_state
from jaxae.types import Batch, Network

KEY = jax.random.key
COLUMNS, SIZE, ROWS = 7, 3, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, COLUMNS)).astype(np.float32)
WIDTH = {
    "flow_vae": 3 * SIZE,
    "hierarchical_vae": 8,
    "hyperspherical_vae": SIZE + 1,
}  # of h; else the latent's, or twice that


def linear(size):
    """A product: little to compile."""
    return Network(
        lambda rng, x, condition=None: 0.3 * jax.random.normal(rng, (x.shape[-1], size)),
        lambda params, x, condition=None: x @ params,
    )


# what the loss is made of, each metric with its weight; no metric is left out but those that only inform
TERMS = {
    "ae": {"nll": 1},
    "denoising_ae": {"nll": 1},
    "masked_ae": {"nll": 1},
    "sparse_ae": {"nll": 1, "sparsity": 0.1},
    "contractive_ae": {"nll": 1, "jacobian": 0.01},
    "rae": {"nll": 1, "latent_norm": 0.01, "decoder": 0.001},
    "wae": {"nll": 1, "mmd": 10},
    "adversarial_ae": {"nll": 1, "divergence": 1, "critic": 1},
    "vae": {"nll": 1, "penalty": 1},
    "sigma_vae": {"nll": 1, "penalty": 1},
    "conditional_vae": {"nll": 1, "penalty": 1},
    "vamp_vae": {"nll": 1, "penalty": 1},
    "flow_vae": {"nll": 1, "penalty": 1},
    "hierarchical_vae": {"nll": 1, "penalty": 1},
    "hyperspherical_vae": {"nll": 1, "penalty": 1},
    "vae_gan": {"nll": 1, "penalty": 1, "misled": 30, "critic": 1},
    "iwae": {"bound": -1},
    "miwae": {"bound": -1},
    "beta_tc_vae": {"nll": 1, "penalty": 1, "total_correlation": 5},
    "factor_vae": {"nll": 1, "penalty": 1, "total_correlation": 6, "critic": 1},
    "dip_vae": {"nll": 1, "penalty": 1, "dip": 10},
    "info_vae": {"nll": 1, "penalty": 0.5, "mmd": 99.5},
    "vq_vae": {"nll": 1, "penalty": 1},
    "piwae": {"bound": None},  # beside a second bound, which is no metric
    "ciwae": {"bound": None},
}
NO_LATENT_PENALTY = {"ae", "denoising_ae", "masked_ae", "sparse_ae", "contractive_ae", "rae", "wae", "adversarial_ae"}
OPTIONS = {
    "vq_vae": {"num_codes": 8, "num_tokens": 2, "code_size": 2},
    "adversarial_ae": {"critic": linear(1)},
    "factor_vae": {"critic": linear(1)},
    "vae_gan": {"critic": linear(1)},
    "flow_vae": {"flow": networks.inverse_autoregressive(4, num_layers=1)},
    "vamp_vae": {"num_pseudo_inputs": 3},
    "hierarchical_vae": {"top_size": 2, "width": 4},
    "miwae": {"num_samples": 2, "num_averages": 2},
    "piwae": {"num_samples": 2, "num_averages": 2},
    "ciwae": {"num_samples": 2},
}
every = pytest.mark.parametrize("name", sorted(PRESETS))


def small(name, **options):
    options = {**OPTIONS.get(name, {}), **options}
    if name == "vq_vae":
        return PRESETS[name]((COLUMNS,), **options)
    if name == "masked_ae":
        return PRESETS[name]((4, 3, 1), patch=2, latent_size=SIZE, width=4, depth=1)
    width = WIDTH.get(name, SIZE if name in NO_LATENT_PENALTY else 2 * SIZE)
    return PRESETS[name]((COLUMNS,), latent_size=SIZE, encoder=linear(width), decoder=linear(COLUMNS), **options)


def batch_of(name, x=X):
    if name == "masked_ae" and x is X:
        x = np.concatenate([X, X[:, :5]], -1).reshape(ROWS, 4, 3, 1)
    return Batch(jnp.asarray(x), condition=jnp.arange(len(x)) % 10 if name == "conditional_vae" else None)


@functools.cache
def trained(name):
    model, objective = small(name)
    optimizer, batch = optax.sgd(1e-3), batch_of(name)
    step = build_step(objective, optimizer)

    @jax.jit
    def ten(rng):
        state = init_state(objective, optimizer, rng, batch)
        return jax.lax.scan(lambda s, _: step(s, batch), state, length=10)

    state, metrics = ten(KEY(1))
    return model, objective, state, metrics


def test_the_table_names_every_preset():
    assert set(TERMS) == set(PRESETS)


@every
def test_every_loss_term_is_there_and_learns(name):
    _, objective, state, history = trained(name)
    batch, terms = batch_of(name), TERMS[name]
    assert all(bool(jnp.isfinite(values).all()) for values in history.values())

    def values(params):
        loss, (_, _, metrics) = objective.apply(params, state.state, KEY(2), batch, state.step)
        return jnp.stack([metrics[term].mean() for term in terms]), (loss, metrics)

    @jax.jit
    def look(params):
        found, back, (loss, metrics) = jax.vjp(values, params, has_aux=True)
        (slopes,) = jax.vmap(back)(jnp.eye(len(terms)))
        sizes = sum(jnp.abs(leaf).reshape(len(terms), -1).sum(1) for leaf in jax.tree.leaves(slopes))
        return found, sizes, loss, metrics

    found, slopes, loss, metrics = look(state.params)
    assert (np.abs(found) > 1e-6).all(), dict(zip(terms, found, strict=True))
    assert (np.asarray(slopes) > 1e-6).all(), dict(zip(terms, slopes, strict=True))
    informing = {"rate", "critic_accuracy", "commitment"} | ({"penalty"} if name in NO_LATENT_PENALTY else set())
    assert set(metrics) <= set(terms) | informing
    if None not in terms.values():
        np.testing.assert_allclose(loss, sum(w * metrics[t] for t, w in terms.items()), rtol=1e-4, atol=1e-5)
    if name in NO_LATENT_PENALTY:
        np.testing.assert_array_equal(metrics["penalty"], 0)


@pytest.mark.parametrize("name", ["adversarial_ae", "beta_tc_vae", "dip_vae", "factor_vae", "info_vae", "wae"])
def test_rows_that_only_pad_change_nothing(name):
    """Two of eight rows weigh nothing, whatever they hold: the others' mean loss stays."""
    _, objective, state, _ = trained(name)
    weight = jnp.array([1.0] * 6 + [0.0] * 2)

    @jax.jit
    def mean_loss(params, x):
        batch = batch_of(name, x)._replace(weight=weight)
        loss = objective.apply(params, state.state, KEY(2), batch, state.step)[0]
        return (loss * weight).sum() / 6

    junk = np.where(np.asarray(weight)[:, None] > 0, X, 2.5).astype(np.float32)
    one, other = mean_loss(state.params, X), mean_loss(state.params, junk)
    np.testing.assert_allclose(one, other, rtol=1e-5)


@every
def test_its_parts_fit_together(name):
    model, _, state, _ = trained(name)
    params, inner, batch = state.params["model"], state.state["model"], batch_of(name)
    like = jax.ShapeDtypeStruct(batch.x.shape, jnp.float32)

    def whole(params, inner, rng):
        code = model.encode(params, inner, batch.x, batch.condition)
        assert model.decode(params, code.latent, batch.condition).shape[0] == ROWS
        if model.sample is None:
            return code, None
        return code, model.decode(params, model.sample(params, inner, rng, like, batch.condition), batch.condition)

    code, drawn = jax.eval_shape(whole, params, inner, KEY(0))
    assert code.penalty.shape == (ROWS,)
    assert (drawn is None) == (name in NO_LATENT_PENALTY - {"wae", "adversarial_ae"})
    if code.rate is not None and name != "vq_vae":
        score = jax.eval_shape(lambda p: bound(model, 3).apply({"params": p, "state": inner}, KEY(0), batch), params)
        assert score.shape == (ROWS,)


@every
def test_default_networks_build_for_images_and_odd_shapes(name):
    _, objective = PRESETS[name]((9, 7, 2))
    x = jnp.zeros((4, 9, 7, 2), jnp.uint8)
    params, _ = jax.eval_shape(lambda rng: objective.init(rng, batch_of(name, x)), KEY(0))
    assert "model" in params
    with pytest.raises(TypeError, match="unexpected keyword"):
        PRESETS[name]((5, 4, 1), latnt_size=3)


VARIANTS = [
    ("sparse_ae", {"sparsity": "kl"}, "sparsity"),
    ("sparse_ae", {"sparsity": "top_k", "k": 2}, "nll"),
    ("contractive_ae", {"num_probes": None}, "jacobian"),
    ("rae", {"regulariser": "l2"}, "decoder"),
    ("beta_tc_vae", {"estimator": "stratified", "num_rows": 100}, "total_correlation"),
    ("dip_vae", {"variant": "i"}, "dip"),
]


@pytest.mark.parametrize(("name", "options", "term"), VARIANTS)
def test_variants_have_their_terms(name, options, term):
    _, objective = small(name, **options)

    @jax.jit
    def look(rng):
        params, state = objective.init(rng, batch_of(name))
        return objective.apply(params, state, rng, batch_of(name), 0)[1][2]

    assert float(jnp.abs(look(KEY(0))[term]).min()) > 0


REFUSED = [
    (lambda: presets.sparse_ae((5,), sparsity="l0"), "l1, kl, top_k"),
    (lambda: presets.rae((5,), regulariser="spectral"), "gradient or l2"),
    (lambda: presets.ciwae((5,), mixing=2.0), r"\[0, 1\]"),
    (lambda: presets.iwae((5,), num_samples=0), "at least 1"),
    (lambda: presets.vamp_vae((5,), num_pseudo_inputs=0), "at least 1"),
    (lambda: presets.hyperspherical_vae((5,), latent_size=1), "at least 2, got 1"),
    (lambda: presets.conditional_vae((5,))[1].init(KEY(0), Batch(jnp.ones((2, 5)))), "needs labels"),
    (lambda: presets.hierarchical_vae((5,), top_size=0), "top_size"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_keywords_get_one_line(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_travel_to_the_model_that_reads_them(tmp_path):
    y = np.arange(60) % 3
    np.savez(tmp_path / "rows.npz", x_train=RNG.normal(size=(60, 4)) + y[:, None], y_train=y)
    settings = TrainSettings(
        data=str(tmp_path / "rows.npz"), model="conditional_vae", epochs=1, options={"latent_size": 2}
    )
    folder = train(settings, tmp_path / "run")
    assert json.loads((folder / "config.json").read_text())["options"]["num_classes"] == 3
    assert np.load(folder / "samples.npz")["images"].shape == (64, 4)
    np.savez(tmp_path / "bare.npz", x_train=RNG.normal(size=(60, 4)))
    with pytest.raises(ValueError, match="the data has none"):
        train(settings._replace(data=str(tmp_path / "bare.npz")), tmp_path / "other")


PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_page_on_models_names_every_preset_and_its_python_runs():
    assert not [name for name in PRESETS if f"`{name}" not in PAGE]
    scope: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, scope)  # one scope: later blocks go on from earlier ones


def test_a_masked_autoencoder_reads_the_visible_patches_alone():
    """What is hidden changes no prediction; without a condition all of it is seen."""
    model, _, state, _ = trained("masked_ae")
    params, x = state.params["model"], np.asarray(batch_of("masked_ae").x)
    seen = presets.visible_patches(2, 0.5)(KEY(0), Batch(jnp.asarray(x)))
    assert seen.condition["visible"].shape == (ROWS, 2)
    decoded = jax.jit(lambda x: model.apply(params, (), None, x, seen.condition)[0].prediction)
    junk = np.where(np.asarray(seen.mask) > 0, 9.0, x).astype(np.float32)
    assert (junk != x).any()
    np.testing.assert_array_equal(decoded(x), decoded(junk))
    assert model.encode(params, (), x).latent.shape == (ROWS, 4, SIZE)
    with pytest.raises(ValueError, match="single patch"):
        presets.visible_patches(4, 0.5)(KEY(0), Batch(jnp.asarray(x)))
    with pytest.raises(ValueError, match="an image's shape"):
        presets.masked_ae((5,))


def test_patches_are_cut_and_joined_without_loss():
    x = jnp.arange(2 * 5 * 4 * 3.0).reshape(2, 5, 4, 3)
    tokens = patches._to_patches(x, 2, (3, 2))
    assert tokens.shape == (2, 6, 12)
    np.testing.assert_array_equal(tokens[0, 1], x[0, :2, 2:4].ravel())
    np.testing.assert_array_equal(patches._from_patches(tokens, 2, (3, 2), (5, 4, 3)), x)


def test_piwae_gives_each_player_its_own_bound():
    """The encoder's gradient is that of MIWAE's halved, the decoder's that of IWAE's."""
    gradients = {}
    for name, options in (
        ("piwae", {"num_samples": 2, "num_averages": 2}),
        ("miwae", {"num_samples": 2, "num_averages": 2}),
        ("iwae", {"num_samples": 4}),
    ):
        _, objective = small(name, **options)
        params, state = jax.jit(objective.init)(KEY(0), batch_of(name))

        def loss(p, objective=objective, state=state):
            return objective.apply(p, state, KEY(1), batch_of("vae"), 0)[0].mean()

        gradients[name] = jax.jit(jax.grad(loss))(params)["model"]
    for part, source in (("encoder", "miwae"), ("decoder", "iwae")):
        for found, expected in zip(
            jax.tree.leaves(gradients["piwae"][part]), jax.tree.leaves(gradients[source][part]), strict=True
        ):
            np.testing.assert_allclose(found, expected / 2, rtol=1e-4, atol=1e-6)


def test_sigma_vae_learns_the_root_mean_squared_error():
    """With a model that cannot do better, the scale goes to the data's deviation."""
    _, objective = presets.sigma_vae((COLUMNS,), latent_size=1, encoder=linear(2), decoder=linear(COLUMNS))
    optimizer, x = optax.adam(3e-2), jnp.asarray(3 * np.random.default_rng(1).normal(size=(256, COLUMNS)), jnp.float32)
    step = build_step(objective, optimizer)

    @jax.jit
    def fitted(rng):
        state = init_state(objective, optimizer, rng, x)
        return jax.lax.scan(lambda s, _: step(s, x), state, length=600)

    state, metrics = fitted(KEY(0))
    raw = state.params["model"]["decoder"]["log_variance"]
    scale = np.exp(10 * np.tanh(raw / 10) / 2)
    per_element = metrics["nll"][-50:].mean() / COLUMNS
    # at the optimal scale the likelihood's quadratic part is one half for each element
    np.testing.assert_allclose(per_element - 0.5 - np.log(scale) - np.log(2 * np.pi) / 2, 0, atol=0.03)
