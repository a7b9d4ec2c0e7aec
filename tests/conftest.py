"""Strict surroundings for every test: eight devices, no silent broadcasting, annotated shapes checked."""

import jax
import jaxtyping

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("jaxae", "beartype.beartype")
