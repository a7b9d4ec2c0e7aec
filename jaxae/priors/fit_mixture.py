"""A mixture of normals fitted to latents by expectation maximisation: a decoder that samples, after the training."""

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
    `floor` is added to the variances. It starts at K rows drawn by k-means++, all with the covariance of all rows.

    Args:
      latents: `[N, ..., D]`; for "full" the axes after the first are one row.
      num_components: K, between 1 and N.
      rng: of the first means.
      covariance: "diagonal" or "full".
      num_steps: of EM; a fixed number, so that it compiles, and maps over keys for restarts.
      floor: added to each variance, in the latents' unit squared.
      weight: `[N]`, 0 where a row only pads.

    Returns:
      The dict of parameters that the prior reads.

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
        """Parameters for `shares [N, K]`, each row's sum its weight."""
        mass = jnp.maximum(shares.sum(0), 1e-10)
        mean = shares.T @ z / mass[:, None]

        def spread(column, centre, total):
            away = z - centre[None]
            if full:
                return jnp.einsum("n,ni,nj->ij", column, away, away) / total + floor * jnp.eye(z.shape[1])
            return column @ away**2 / total + floor

        variance = jax.vmap(spread, (1, 0, 0))(shares, mean, mass)
        params = {"logits": jnp.log(mass / weight.sum()), "mean": mean}
        if full:
            return {**params, "factor": jnp.linalg.cholesky(variance)}
        # what `bounded_log_variance` turns back into the log-variance
        return {**params, "log_variance": 10 * jnp.arctanh(jnp.clip(jnp.log(variance) / 10, -0.9999, 0.9999))}

    def expected(params):
        alone = {name: leaf[:, None] for name, leaf in params.items()} | {"logits": jnp.zeros((num_components, 1))}
        each = jax.vmap(lambda p: prior.log_prob(p, z))(alone)
        return jax.nn.softmax(each.T + params["logits"][None], -1) * weight[:, None]

    first = maximised(jnp.tile(weight[:, None] / num_components, (1, num_components)))
    start = {**first, "mean": _seeds(z, weight, num_components, rng)}
    params = jax.lax.fori_loop(0, num_steps, lambda i, p: maximised(expected(p)), start)
    if not full:
        like = latents.shape[1:]
        params = {name: a if name == "logits" else a.reshape(-1, *like) for name, a in params.items()}
    return params


def _seeds(z: Array, weight: Array, num_components: int, rng: Array) -> Array:
    """k-means++: each next row is drawn in proportion to its squared distance from the nearest one so far."""
    keys = jax.random.split(rng, num_components)
    first = z[jax.random.categorical(keys[0], jnp.log(weight))]

    def draw(k, carry):
        means, nearest = carry
        row = z[jax.random.categorical(keys[k], jnp.log(nearest * weight + 1e-30 * weight))]
        return means.at[k].set(row), jnp.minimum(nearest, ((z - row[None]) ** 2).sum(-1))

    means = jnp.tile(first[None], (num_components, 1))
    return jax.lax.fori_loop(1, num_components, draw, (means, ((z - first[None]) ** 2).sum(-1)))[0]
