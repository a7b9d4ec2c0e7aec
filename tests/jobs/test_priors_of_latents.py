"""`jaxae train-prior` and `jaxae sample` on runs with continuous latents, as a user meets them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxae import priors
from jaxae.jobs.trained import open_run, read_trained, recipe_of


def trained(run):
    """The model of a run, read back."""
    config, deal = open_run("sample", run)
    return read_trained(run, config, deal, recipe_of(run, config, deal)).model


@pytest.fixture(scope="module")
def rae(images, tmp_path_factory, jaxae):
    out = tmp_path_factory.mktemp("runs") / "rae"
    jaxae("train", "--data", images, "--model", "rae", "--set", "latent_size=3", "--epochs", 80, "--out", out)
    (out / "examples.npz").unlink()  # or each report draws them anew
    return out


def images_of(path):
    with np.load(path, allow_pickle=False) as file:
        return file["images"]


def brighter_right(images):
    return images[:, :, 3:].mean((1, 2, 3)) > images[:, :, :3].mean((1, 2, 3))


def halves(images):
    """The larger of the two means of each image, and the smaller one."""
    means = np.stack([images[:, :, :3].mean((1, 2, 3)), images[:, :, 3:].mean((1, 2, 3))])
    return means.max(0).mean(), means.min(0).mean()


def test_a_mixture_makes_a_generator_of_a_model_without_a_prior(rae, tmp_path, jaxae, refused):
    assert "`jaxae train-prior" in refused("sample", rae)
    printed = jaxae("train-prior", rae, "--set", "num_components=2").output
    assert "mixture prior over 3 latents" in printed
    figures = json.loads((rae / "prior" / "metrics.json").read_text())
    assert figures["nats"] < figures["nats_normal"]  # two clusters are no one normal
    assert images_of(rae / "samples.npz").shape == (64, 6, 6, 1)
    result = jaxae("sample", rae, "-n", 40, "--out", tmp_path / "g.png")
    assert "latents from the mixture prior" in result.output
    drawn = images_of(tmp_path / "g.npz")
    bright, dark = halves(drawn)
    assert bright > 0.7 > 0.3 > dark
    assert 0.2 < brighter_right(drawn).mean() < 0.8
    assert "no prior of its own" in refused("sample", rae, "--own-prior")
    assert "rae reads none" in refused("sample", rae, "--labels", "left")
    assert "already holds a run of `jaxae train-prior`" in refused("train-prior", rae)
    assert "has no option width" in refused("train-prior", rae, "--set", "width=3", "--overwrite")
    assert "take 1 to 198 components" in refused("train-prior", rae, "--set", "num_components=999", "--overwrite")
    assert "take conditional_vae" in refused("train-prior", rae, "--by-class", "--overwrite")


def test_a_flow_takes_its_place_and_is_read_back_as_it_was(rae, tmp_path, jaxae):
    small = ("--prior", "flow", "--set", "width=16", "--set", "num_layers=4", "--epochs", 1500)
    jaxae("train-prior", rae, *small, "--overwrite")
    figures = json.loads((rae / "prior" / "metrics.json").read_text())
    assert figures["nats"] < figures["nats_normal"]
    assert "flow prior" in jaxae("sample", rae, "-n", 64, "--out", tmp_path / "g.png").output
    np.testing.assert_allclose(images_of(tmp_path / "g.npz"), images_of(rae / "samples.npz"), atol=1e-6)


def test_a_variational_model_keeps_its_own_prior_beside_another(images, tmp_path, jaxae, refused):
    run = tmp_path / "vae"
    jaxae("train", "--data", images, "--set", "latent_size=2", "--epochs", 2, "--out", run)
    figures = json.loads(jaxae("info", run).output)["metrics"]["posterior"]
    assert (figures["latents"], figures["collapsed_scales"]) == (2, [])
    own = ("sample", run, "-n", 8, "--own-prior", "--out", tmp_path / "own.png")
    jaxae(*own)
    before = images_of(tmp_path / "own.npz")
    jaxae("train-prior", run)
    assert "prior" not in jaxae(*own).output.replace(str(run), "")
    np.testing.assert_array_equal(images_of(tmp_path / "own.npz"), before)
    latents = trained(run).encode(np.zeros((300, 6, 6, 1), np.uint8), seed=0).latent
    assert latents.shape == (300, 2)
    assert (latents.std(0) > 0.01).all()  # draws of the posterior, not its mean
    assert "there is no prior 'masked' to train over the latents of vae" in refused(
        "train-prior", run, "--prior", "masked"
    )


def test_a_conditional_model_draws_the_classes_asked_for(images, tmp_path, jaxae, refused):
    run = tmp_path / "conditional"
    more = ("--set", "latent_size=2", "--epochs", 300)
    jaxae("train", "--data", images, "--model", "conditional_vae", *more, "--out", run)
    for labels, right in {"left": [0], "1": [1], "right,left": [1, 0]}.items():
        jaxae("sample", run, "-n", 40, "--labels", labels, "--out", tmp_path / "g.png")
        assert (brighter_right(images_of(tmp_path / "g.npz")) == (np.resize(right, 40) == 1)).mean() > 0.9
    jaxae("sample", run, "-n", 40, "--out", tmp_path / "g.png")
    assert (brighter_right(images_of(tmp_path / "g.npz")) == np.resize([False, True], 40)).mean() > 0.9
    assert "there is no class 'top', '2'; there are left, right" in refused("sample", run, "--labels", "top,2,left")
    assert "`jaxae sample" in refused("train-prior", run)


def test_a_standardised_prior_is_a_density_of_what_it_was_given():
    mean, scale = jnp.array([5.0, -1.0]), jnp.array([2.0, 0.1])
    prior = priors.standardised(priors.full_mixture(1), mean, scale)
    z = mean[None] + scale[None] * jax.random.normal(jax.random.key(0), (7, 2))
    params = prior.init(jax.random.key(1), z)
    centre = mean + scale * params["prior"]["mean"][0]
    expected = norm.logpdf(np.asarray(z), np.asarray(centre), np.asarray(scale)).sum(-1)
    np.testing.assert_allclose(prior.log_prob(params, z), expected, rtol=1e-4)
    drawn = prior.sample(params, jax.random.key(2), jax.ShapeDtypeStruct((4000, 2), jnp.float32))
    np.testing.assert_allclose(drawn.mean(0), centre, atol=0.1)
    np.testing.assert_allclose(drawn.std(0), scale, rtol=0.1)
    moved = jax.grad(lambda p: prior.log_prob(p, z).sum())(params)
    assert float(jnp.abs(moved["mean"]).max()) == 0 == float(jnp.abs(moved["scale"]).max())
