"""Warnings of what is wrong though nothing failed: collapsed scales, greys under a Bernoulli, a critic that won."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

from jaxae import likelihoods, recipes
from jaxae.cli import main
from jaxae.jobs import diagnosis, fitting
from jaxae.jobs.trained import as_trained
from jaxae.types import Batch, TrainState


def said(function, *arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments)
    return [str(each.message) for each in caught], result


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    x = np.random.default_rng(0).integers(0, 256, (90, 4, 4, 1), np.uint8)
    x[:, 0] = 0
    np.savez(path, x_train=x[:70], x_test=x[70:])
    return path


def trained(data, out, *more):
    result = CliRunner().invoke(main, ["train", "--data", str(data), "--out", str(out), "--epochs", "2", *more])
    assert result.exit_code == 0, result.output
    return result.stderr, json.loads((out / "metrics.json").read_text())


def test_collapsed_scales_are_named_and_latents_in_use_counted():
    recipe = recipes.build("vae", (5,), 100, options={"latent_size": 4})
    x = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    params, state = recipe.model.init(jax.random.key(0), x)
    path, bias = next((p, v) for p, v in jax.tree_util.tree_leaves_with_path(params["encoder"]) if v.shape == (8,))
    narrow = bias.at[jnp.array([5, 7])].set(-1e6)  # the log-variances of dimensions 1 and 3
    params["encoder"] = jax.tree_util.tree_map_with_path(lambda p, v: narrow if p == path else v, params["encoder"])
    best = TrainState(np.int32(0), {"model": params}, {"model": state}, None, jax.random.key(0))
    figures = diagnosis.posterior_figures(as_trained(recipe, best, (5,)), Batch(x))
    assert figures is not None
    assert (figures["latents"], figures["active"], figures["collapsed_scales"]) == (4, 4, [1, 3])
    posterior = recipe.model.encode(params, state, jnp.asarray(x)).posterior
    variance = np.exp(np.asarray(posterior.log_variance, np.float64))
    kl = 0.5 * (variance + np.asarray(posterior.mean) ** 2 - 1 - np.log(variance))
    np.testing.assert_allclose(figures["kl"], kl.sum(1).mean(), rtol=1e-5)
    (line,), _ = said(diagnosis.warn, figures, {})
    assert "collapsed in 2 of 4 dimensions (1, 3)" in line
    assert said(diagnosis.warn, {**figures, "collapsed_scales": []}, {"critic_accuracy": 0.9})[0] == []


def test_grey_values_under_a_bernoulli_are_said_with_their_share():
    bernoulli, x = likelihoods.bernoulli(), np.array([0, 0.5, 1, 0.25], np.float32)
    (line,), _ = said(likelihoods.warn_of_grey, bernoulli, x)
    assert "50.0 %" in line
    assert "continuous_bernoulli" in line
    (line,), _ = said(likelihoods.warn_of_grey, bernoulli, x - 0.5)
    assert "50.0 % of the values lie outside 0..1 (from -0.5 to 0.5)" in line
    assert "gaussian" in line
    assert said(likelihoods.warn_of_grey, bernoulli, np.round(x))[0] == []
    assert said(likelihoods.warn_of_grey, likelihoods.continuous_bernoulli(), x)[0] == []


@pytest.mark.filterwarnings("always")
def test_training_says_both_and_reports_the_critic(data, tmp_path, monkeypatch):
    (line,), _ = said(diagnosis.warn, None, {"critic_accuracy": 0.995})
    assert "right on 99.5 % of held-out latents" in line
    monkeypatch.setattr(diagnosis, "WON", 0.0)
    monkeypatch.setattr(fitting, "CHUNKS", 1)
    options = ("--model", "adversarial_ae", "--set", "latent_size=2", "--set")
    note, metrics = trained(data, tmp_path / "aae", *options, "likelihood=bernoulli")
    assert 0 <= metrics["validation"]["critic_accuracy"] <= 1
    assert metrics["validation"]["critic"] > 0
    assert "posterior" not in metrics
    assert "note: the critic is right on" in note
    with np.load(data, allow_pickle=False) as file:
        share = 100 * float(((file["x_train"] > 0) & (file["x_train"] < 255)).mean())
    assert float(note.split("note: ")[1].split(" %")[0]) == pytest.approx(share, abs=0.5)  # some rows are held out
    assert note.count("Bernoulli") == 1
    result = CliRunner().invoke(main, ["train", "--data", str(data), *options, "likelihood=poisson"])
    assert "there is no likelihood of adversarial_ae 'poisson' by name" in result.stderr
