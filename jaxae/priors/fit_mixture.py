"""A mixture of normals fitted to latents by expectation maximisation, to sample from a trained decoder."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.priors.full_mixture import full_mixture
from jaxae.priors.mixture import mixture


def fit_mixture(
    latents: Array,
    num_components: int,
    rng: Array,
    covariance: str = "diagonal",
    num_steps: int = 100,
    floor: float = 1e-6,
    weight: Array | None = None,
) -> dict:
    """The parameters of `mixture(K)` or `full_mixture(K)` by expectation maximisation, in one compiled loop.

    E: `r_nk` proportional to `w_k N(z_n; k)`. M: weights, means and covariances are the averages under `r`, and
    `floor` is added to the variances. It starts with K rows drawn by k-means++ as means and the covariance of all rows.

    Args:
      latents: `[N, ..., D]`; for "full" the axes after the first are flattened.
      num_components: number of components K, between 1 and N.
      rng: key of the initial means.
      covariance: form of the covariances, "diagonal" or "full".
      num_steps: number of EM steps, fixed, so that the fit compiles and maps over keys for restarts.
      floor: number added to each variance, in the latents' unit squared.
      weight: `[N]`, weight of each row, 0 where a row only pads; None weighs all rows 1.

    Returns:
      The parameters of the prior, a dict.

    Raises:
      ValueError: an unknown covariance, K outside 1..N, or num_steps below 1.

    Source: Dempster, Laird and Rubin 1977; Bishop 2006, section 9.2.2; k-means++: Arthur and Vassilvitskii 2007.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import priors
      >>> latents = jnp.concatenate([jnp.zeros((9, 2)), jnp.full((3, 2), 8.0)])
      >>> params = priors.fit_mixture(latents, 2, jax.random.key(0), floor=0.01)
      >>> sorted(round(float(w), 2) for w in jax.nn.softmax(params["logits"]))
      [0.25, 0.75]
    """
    if covariance not in ("diagonal", "full"):
        raise ValueError(f"fit_mixture: the covariance is diagonal or full, not {covariance!r}")
    if not 1 <= num_components <= len(latents) or num_steps < 1:
        raise ValueError(
            f"fit_mixture: {len(latents)} rows take 1 to {len(latents)} components and at least 1 step; "
            f"got {num_components} and {num_steps}"
        )
    full = covariance == "full"
    prior = full_mixture(1) if full else mixture(1)
    z = latents.reshape(len(latents), -1).astype(jnp.float32)
    weight = jnp.ones(len(z)) if weight is None else weight.astype(jnp.float32)

    def maximised(shares):
        """M step: parameters from responsibilities `shares [N, K]`, each row's sum its weight."""
        # an empty component keeps a tiny mass instead of dividing by 0
        mass = jnp.maximum(shares.sum(0), 1e-10)
        # M step: means, then covariances, as averages under the responsibilities
        mean = shares.T @ z / mass[:, None]

        def covariance_of(column, centre, total):
            centred = z - centre[None]
            if full:
                return jnp.einsum("n,ni,nj->ij", column, centred, centred) / total + floor * jnp.eye(z.shape[1])
            return column @ centred**2 / total + floor

        variance = jax.vmap(covariance_of, (1, 0, 0))(shares, mean, mass)
        params = {"logits": jnp.log(mass / weight.sum()), "mean": mean}
        if full:
            return {**params, "factor": jnp.linalg.cholesky(variance)}
        # the inverse of `bounded_log_variance`, which the prior applies to its parameters
        return {**params, "log_variance": 10 * jnp.arctanh(jnp.clip(jnp.log(variance) / 10, -0.9999, 0.9999))}

    def expected(params):
        # each component as a mixture of one, so that the prior's own density is used
        single_components = {name: leaf[:, None] for name, leaf in params.items()} | {
            "logits": jnp.zeros((num_components, 1))
        }
        log_densities = jax.vmap(lambda p: prior.log_prob(p, z))(single_components)
        # E step: responsibilities are a softmax of log weight + log density
        return jax.nn.softmax(log_densities.T + params["logits"][None], -1) * weight[:, None]

    # equal responsibilities give the mean and covariance of all rows, to start from
    initial = maximised(jnp.tile(weight[:, None] / num_components, (1, num_components)))
    start = {**initial, "mean": _seeds(z, weight, num_components, rng)}
    params = jax.lax.fori_loop(0, num_steps, lambda i, p: maximised(expected(p)), start)
    if not full:
        example_shape = latents.shape[1:]
        params = {name: a if name == "logits" else a.reshape(-1, *example_shape) for name, a in params.items()}
    return params


def _seeds(z: Array, weight: Array, num_components: int, rng: Array) -> Array:
    """k-means++: each row is drawn in proportion to its squared distance from the nearest row drawn before."""
    keys = jax.random.split(rng, num_components)
    first_row = z[jax.random.categorical(keys[0], jnp.log(weight))]

    def draw(k, carry):
        means, squared_distance = carry
        row = z[jax.random.categorical(keys[k], jnp.log(squared_distance * weight + 1e-30 * weight))]
        return means.at[k].set(row), jnp.minimum(squared_distance, ((z - row[None]) ** 2).sum(-1))

    means = jnp.tile(first_row[None], (num_components, 1))
    return jax.lax.fori_loop(1, num_components, draw, (means, ((z - first_row[None]) ** 2).sum(-1)))[0]
