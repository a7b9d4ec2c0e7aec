"""Every contract check can fail: a part that breaks one property is refused, by the name of that property."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import bottlenecks, likelihoods, networks, objectives, presets, priors, testing, transforms
from jaxae.model import autoencoder
from jaxae.numerics import weight_of
from jaxae.scoring import reconstruction, thresholds
from jaxae.types import Batch, Network, Objective, Scorer, StatefulNetwork, Threshold

KEY = jax.random.key


def refused(check, message, *arguments, **options):
    with pytest.raises(AssertionError, match=message) as error:
        check(*arguments, **options)
    assert "\n" not in str(error.value)


# ---- bottlenecks ----------------------------------------------------------------------------------------------


def coded(change):
    """A vector quantizer whose code and state are changed by `change(code, state, rng, h)`."""
    base = bottlenecks.vector_quantizer(8)

    def apply(params, state, rng, h, condition=None):
        code, new = base.apply(params, state, rng, h, condition)
        return change(code, new, rng, h)

    return base._replace(apply=apply)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (coded(lambda c, s, r, h: (c._replace(penalty=c.penalty.sum()), s)), "penalty: the shape must be"),
        (coded(lambda c, s, r, h: (c._replace(rate=c.rate * jnp.inf), s)), "rate.*values must be finite"),
        (coded(lambda c, s, r, h: (c._replace(latent=c.latent[:-1]), s)), "latent: 6 rows are needed"),
        (coded(lambda c, s, r, h: (c._replace(symbols=c.symbols.astype(jnp.int16)), s)), "symbols: int32"),
        (coded(lambda c, s, r, h: (c._replace(symbols=c.symbols + 8), s)), "below num_codes 8"),
        (coded(lambda c, s, r, h: (c._replace(symbols=(c.symbols + 1) % 8), s)), "lookup must give the latent"),
        (coded(lambda c, s, r, h: (c._replace(terms={"half": c.penalty / 2}), s)), "add up to the penalty"),
        (coded(lambda c, s, r, h: (c, jax.tree.map(lambda a: a + 1, s))), "state must come back"),
        (coded(lambda c, s, r, h: (c, {**s, "more": h})), "structure must be"),
        (
            coded(lambda c, s, r, h: (c, jax.tree.map(lambda a: a.astype(jnp.float16), s))),
            "dtype must be",
        ),
        (coded(lambda c, s, r, h: (c._replace(latent=c.latent - h.mean()), s)), "must not depend on its batch"),
        (coded(lambda c, s, r, h: (jax.lax.stop_gradient(c), s)), "gets no gradient"),
        (bottlenecks.vector_quantizer(8)._replace(num_codes=None), "must say num_codes"),
        (bottlenecks.vector_quantizer(8)._replace(sample=lambda p, s, r, h, c=None: jnp.zeros(h.shape)), "ignores its"),
        (bottlenecks.vector_quantizer(8)._replace(sample=lambda p, s, r, h, c=None: jnp.zeros(3)), "sample: shape"),
    ],
)
def test_a_broken_bottleneck_is_refused(layer, message):
    refused(testing.check_bottleneck, message, layer)


def test_a_bottleneck_that_draws_in_python_is_refused():
    draw = itertools.count()
    impure = coded(lambda c, s, r, h: (c._replace(rate=c.rate + next(draw)), s))
    refused(testing.check_bottleneck, "not pure|deterministic", impure)


def test_a_bottleneck_that_draws_without_a_key_is_refused():
    def noisy(code, state, rng, h):
        # the state is the only thing that tells one call from the next
        return code._replace(latent=code.latent + jax.random.normal(KEY(0), ()) * h.sum()), state

    refused(testing.check_bottleneck, "must not depend on its batch", coded(noisy))


def test_a_parameter_that_learns_nothing_is_refused():
    base = bottlenecks.identity()
    idle = base._replace(init=lambda rng, h, condition=None: ({"idle": jnp.ones(2)}, ()))
    refused(testing.check_bottleneck, "gets no gradient", idle)


# ---- networks -------------------------------------------------------------------------------------------------

MLP = networks.mlp(4, 3)
NORM = networks.with_state(MLP)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Network(MLP.init, lambda p, x, condition=None: MLP.apply(p, x) - x.mean()), "must not depend on its batch"),
        (Network(MLP.init, lambda p, x, condition=None: MLP.apply(p, x).mean(0)), "output: 5 rows"),
        (Network(MLP.init, lambda p, x, condition=None: MLP.apply(p, x) / 0), "finite"),
        (Network(lambda r, x, condition=None: MLP.init(KEY(3), x), MLP.apply), "init ignores its seed"),
        (Network(MLP.init, lambda p, x, condition=None: MLP.apply(jax.lax.stop_gradient(p), x)), "gets no gradient"),
        (
            StatefulNetwork(
                lambda r, x, condition=None: (MLP.init(r, x), jnp.zeros(())),
                lambda p, s, r, x, condition=None: (MLP.apply(p, x), s + 1),
            ),
            "state must come back",
        ),
        (
            StatefulNetwork(
                lambda r, x, condition=None: (MLP.init(r, x), jnp.zeros((), jnp.int32)),
                lambda p, s, r, x, condition=None: (MLP.apply(p, x), s if r is None else s + 0.5),
            ),
            "dtype must be",
        ),
    ],
)
def test_a_broken_network_is_refused(network, message):
    refused(testing.check_network, message, network)


# ---- priors, likelihoods, transforms --------------------------------------------------------------------------

NORMAL = priors.standard_normal()


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (NORMAL._replace(log_prob=lambda p, z, condition=None: NORMAL.log_prob(p, z) + 0.1), "integrate to 1"),
        (NORMAL._replace(log_prob=lambda p, z, condition=None: NORMAL.log_prob(p, z).sum()), "shape must be"),
        (NORMAL._replace(sample=lambda p, r, z, condition=None: 2 * NORMAL.sample(p, r, z)), "follow log_prob"),
        (NORMAL._replace(sample=lambda p, r, z, condition=None: NORMAL.sample(p, KEY(0), z)), "ignores its seed"),
        (NORMAL._replace(sample=lambda p, r, z, condition=None: NORMAL.sample(p, r, z)[:3]), "sample: shape"),
        (NORMAL._replace(kl=lambda p, q, condition=None: NORMAL.kl(p, q) + 0.5), "mean of log q - log p"),
    ],
)
def test_a_broken_prior_is_refused(prior, message):
    refused(testing.check_prior, message, prior)


def test_a_broken_prior_of_symbols_is_refused():
    base = priors.unigram(3)
    broken = base._replace(log_prob=lambda p, s, condition=None: base.log_prob(p, s) / 2)
    refused(testing.check_prior, "integrate to 1", broken, num_codes=3)


BITS, GREY = likelihoods.bernoulli(), likelihoods.gaussian()


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        (BITS._replace(log_prob=lambda x, p: BITS.log_prob(x, p).sum(-1)), "log_prob: the shape"),
        (BITS._replace(log_prob=lambda x, p: BITS.log_prob(x, p) - 0.1), "p.0. . p.1. must be 1"),
        (BITS._replace(mean=lambda p: jax.nn.sigmoid(p) / 2), "mean"),
        (BITS._replace(sample=lambda r, p: BITS.sample(KEY(0), p)), "ignores its seed"),
        (GREY._replace(log_prob=lambda x, p: GREY.log_prob(x, p).astype(p.dtype)), "must be float32"),
        (GREY._replace(log_prob=lambda x, p: -jnp.exp(jnp.abs(x - p).astype(jnp.float32))), "far out"),
    ],
)
def test_a_broken_likelihood_is_refused(likelihood, message):
    refused(testing.check_likelihood, message, likelihood)


NOISE = transforms.gaussian_noise(0.3)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda r, b: NOISE(r, b)._replace(weight=None), "structure must be"),
        (lambda r, b: NOISE(KEY(0) if r is None else r, b), "nothing may be corrupted"),
        (lambda r, b: NOISE(None if r is None else KEY(1), b), "ignores its seed"),
        (lambda r, b: NOISE(r, b)._replace(target=NOISE(r, b).x), "must be the clean x"),
        (lambda r, b: b._replace(x=b.x[1:]), "4 rows"),
        (lambda r, b: b._replace(x=b.x / 0), "finite"),
        (lambda r, b: b._replace(x=b.x + np.random.default_rng().normal()), "deterministic|not pure"),
    ],
)
def test_a_broken_transform_is_refused(transform, message):
    refused(testing.check_transform, message, transform)


# ---- objectives and presets -----------------------------------------------------------------------------------

MODEL = autoencoder(networks.mlp(2), bottlenecks.identity(), networks.mlp(5), likelihoods.gaussian())
ELBO = objectives.elbo(MODEL)


# what numpy.random would give, a new number at every trace
DRAWN = itertools.count()


def scored(change, base=ELBO):
    """The objective whose loss, metrics and state are changed by `change(loss, metrics, state, batch, rng)`."""

    def apply(params, state, rng, batch, step):
        loss, (output, new, metrics) = base.apply(params, state, rng, batch, step)
        loss, metrics, new = change(loss, metrics, new, batch, rng)
        return loss, (output, new, metrics)

    return Objective(base.init, apply)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (scored(lambda loss, m, s, b, r: (loss.mean(), m, s)), "loss: the shape must be"),
        (scored(lambda loss, m, s, b, r: (loss, {"nll": loss.mean()}, s)), "metric 'nll': the shape"),
        (scored(lambda loss, m, s, b, r: (loss / 0, m, s)), "finite"),
        (scored(lambda loss, m, s, b, r: (loss, m, {**s, "more": loss})), "structure"),
        (scored(lambda loss, m, s, b, r: (jax.lax.stop_gradient(loss), m, s)), "gets no gradient"),
        (scored(lambda loss, m, s, b, r: (loss + loss.mean(), m, s)), "must count for nothing"),
        (
            scored(lambda loss, m, s, b, r: (loss + next(DRAWN), m, s)),
            "not pure|differ",
        ),
        (Objective(ELBO.init, ELBO.apply, ("encoder",)), "frozen encoder must get no gradient"),
    ],
)
def test_a_broken_objective_is_refused(objective, message):
    refused(testing.check_objective, message, objective)


def test_a_mean_over_the_rows_that_count_is_accepted():
    def charge(loss, metrics, state, batch, rng):
        weight = weight_of(batch, loss)
        return loss + (loss * weight).sum() / weight.sum(), metrics, state

    testing.check_objective(scored(charge))


def test_a_broken_preset_is_refused():
    refused(testing.check_preset, "must refuse the shape", lambda shape: presets.ae((7,)))

    def stuck(shape, **options):
        model, objective = presets.ae(shape)
        return model, scored(lambda loss, m, s, b, r: (2 * jax.lax.stop_gradient(loss) - loss, m, s), objective)

    refused(testing.check_preset, "the loss must fall", stuck)

    def of_floats(shape, **options):
        model, _ = presets.ae(shape)
        # bytes are not scaled
        return model, objectives.prepared(objectives.elbo(model), lambda r, b: b._replace(x=b.x.astype(jnp.float32)))

    refused(testing.check_preset, "bytes must be read", of_floats)


# ---- scorers and thresholds -----------------------------------------------------------------------------------

ROWS = jax.random.normal(KEY(0), (16, 5))
NORM_SCORE = Scorer(lambda p, s, r: {"one": jnp.ones(())}, lambda f, r, b: f["one"] * (b.x**2).sum(-1))


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (NORM_SCORE._replace(apply=lambda f, r, b: -(b.x**2).sum(-1)), "higher is more anomalous"),
        (
            NORM_SCORE._replace(apply=lambda f, r, b: ((b.x - b.x.mean(0)[None]) ** 2).sum(-1)),
            "depend on its batch|finite",
        ),
        (NORM_SCORE._replace(apply=lambda f, r, b: (b.x**2).sum()), "shape"),
        (NORM_SCORE._replace(apply=lambda f, r, b: jnp.zeros(b.x.shape[0])), "decide nothing"),
        (NORM_SCORE._replace(apply=lambda f, r, b: jnp.log((b.x > 9).sum(-1).astype(jnp.float32))), "finite"),
        (NORM_SCORE._replace(map=lambda f, r, b: b.x[1:]), "map: 16 rows"),
        (NORM_SCORE._replace(fit=lambda p, s, r: {"one": 1.0}), "an array is needed"),
    ],
)
def test_a_broken_scorer_is_refused(scorer, message):
    refused(testing.check_scorer, message, scorer, {}, {}, Batch(ROWS), anomalies=5 * ROWS)


def test_a_score_that_ignores_its_key_is_refused():
    refused(testing.check_scorer, "ignores its key", NORM_SCORE, {}, {}, Batch(ROWS), needs_key=True)
    params, state = MODEL.init(KEY(1), ROWS)
    testing.check_scorer(reconstruction(MODEL), params, state, Batch(ROWS), anomalies=5 * ROWS)


RULE = thresholds.quantile(0.9)


def judged(change):
    return Threshold(RULE.fit, lambda f, s: change(RULE.apply(f, s)), RULE.reads)


def unchecked(calibration, dev=None, labels=None, weight=None):
    return {**RULE.fit(jnp.arange(9.0)), "threshold": jnp.quantile(jnp.asarray(calibration), 0.9)}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (judged(lambda v: v._replace(is_anomaly=v.score <= v.threshold)), "is_anomaly must be score >= threshold"),
        (judged(lambda v: v._replace(is_anomaly=v.is_anomaly.astype(jnp.int32))), "must be bool"),
        (judged(lambda v: v._replace(threshold=v.threshold[0])), "threshold: the shape"),
        (judged(lambda v: v._replace(threshold=v.score, is_anomaly=v.score >= v.score)), "one λ holds"),
        (judged(lambda v: v._replace(p_value=1 - v.p_value)), "p_value must be"),
        (RULE._replace(reads="dev"), "must not depend on calibration"),
        (RULE._replace(reads="scores"), "reads must be one of"),
        (RULE._replace(fit=unchecked), "must raise a ValueError"),
        (
            RULE._replace(fit=lambda c, dev=None, labels=None, weight=None: {**RULE.fit(c), "threshold": c[0]}),
            "order of the scores",
        ),
        (
            RULE._replace(fit=lambda c, dev=None, labels=None, weight=None: {**RULE.fit(c), "threshold": jnp.ones(())}),
            "must follow calibration",
        ),
    ],
)
def test_a_broken_threshold_is_refused(rule, message):
    refused(testing.check_threshold, message, rule)
