"""One train step on several devices: a sharded batch under `jit`, a `pmap`, and the start of several hosts."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxae.numerics import along_replicas, as_batch, is_traced
from jaxae.numerics.arguments import check_arguments
from jaxae.types import Batch, PyTree, TrainState

ROWS = "rows"

Step = Callable[[TrainState, Batch | PyTree], tuple[TrainState, dict[str, Array]]]


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of one axis over the devices: batches are split along it, everything else is replicated.

    Args:
      devices: the devices of the mesh; None takes all that JAX sees, those of other hosts included.

    Returns:
      A `Mesh` with one axis, "rows".

    Raises:
      ValueError: an empty sequence.

    Example:
      >>> import jax
      >>> from jaxae import parallel
      >>> parallel.make_mesh().size == jax.device_count()
      True
    """
    devices = list(jax.devices() if devices is None else devices)
    if not devices:
        raise ValueError("make_mesh needs at least one device, got an empty sequence")
    return Mesh(np.array(devices), (ROWS,))


def jit_step(step: Step, mesh: Mesh) -> Step:
    """Compile a train step for a mesh: rows are split over its devices, the state is replicated.

    The batch stays one global batch, so the losses, gradients, codebook statistics and noise are those of one device,
    to rounding. Prefer it to `pmap_step`.

    Args:
      step: train step from `build_step` without `axis_name`.
      mesh: mesh from `make_mesh`; rows are split over all of its axes.

    Returns:
      `(state, batch) -> (state, metrics)`, compiled. The batch is the global one. With several hosts each passes the
      same rows and sends only its share to its devices, or passes an array that already spans the hosts. `train.fit`
      takes the result as its step, on one host or on several.

    Raises:
      ValueError: (from the compiled step) rows are no multiple of the number of devices.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import parallel, presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> optimizer, x = optax.adam(1e-3), jnp.ones((8, 5))
      >>> state = train.init_state(objective, optimizer, jax.random.key(0), x)
      >>> step = parallel.jit_step(train.build_step(objective, optimizer), parallel.make_mesh(jax.devices()[:1]))
      >>> state, metrics = step(state, x)
      >>> int(state.step)
      1
    """
    axis_name = getattr(step, "axis_name", None)
    if axis_name is not None:
        raise ValueError(f"jit_step takes a step without axis_name, got {axis_name!r}; with one, use pmap_step")
    everywhere = NamedSharding(mesh, PartitionSpec())
    rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    compiled = jax.jit(step, in_shardings=(everywhere, rows), out_shardings=everywhere)

    def run(state, batch):
        batch = as_batch(batch)
        _require_divisible(batch, mesh.size, "jit_step")
        return compiled(_put(state, everywhere), _put(batch, rows))

    # `train.fit` compiles a chunk of steps around this one: its arguments have to span the hosts before
    run.place = lambda tree: _put(tree, everywhere)  # pyright: ignore[reportFunctionMemberAccess]
    return run


def pmap_step(step: Step, devices: Sequence[Any] | None = None, axis_name: str | None = None) -> Step:
    """Compile a train step with `jax.pmap`, taking and returning what `jit_step` does.

    The caller does not stack the state: a plain state goes in, a plain state (present on every device) comes out. The
    batch is the global `[B, ...]` and is split over the devices here. So the two steps are interchangeable, and
    checkpoints of one can be restored for the other.

    Whatever reads a batch as a whole (a codebook's statistics, the entropy of its use, total correlation, the rank of a
    loss) reads the rows of all replicas; networks with batch statistics are refused, `jit_step` trains them.

    Replicas draw different noise: models that sample agree with one device in distribution, others to rounding. JAX
    keeps `pmap` in maintenance; `jit_step` does the same job with fewer conditions.

    Args:
      step: from `build_step(..., axis_name=...)`.
      devices: the devices to use; None takes all of this host.
      axis_name: name of the step's mapped axis; None takes the name given to `build_step`. Needed for a step that was
        not built by `build_step`.

    Returns:
      `(state, batch) -> (state, metrics)`, compiled.

    Raises:
      ValueError: the step has no axis name; (from the compiled step) rows are no multiple of the number of devices,
        or the state is stacked.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from jaxae import parallel, presets, train
      >>> _, objective = presets.ae((5,), latent_size=2)
      >>> optimizer, x = optax.adam(1e-3), jnp.ones((8, 5))
      >>> state = train.init_state(objective, optimizer, jax.random.key(0), x)
      >>> step = parallel.pmap_step(train.build_step(objective, optimizer, axis_name="i"), jax.devices()[:1])
      >>> state, metrics = step(state, x)
      >>> int(state.step)
      1
    """
    axis_name = getattr(step, "axis_name", None) if axis_name is None else axis_name
    if axis_name is None:
        raise ValueError(
            "pmap_step needs a step that knows its axis, or replicas would part: build_step(..., axis_name='devices')"
        )
    devices = list(jax.local_devices() if devices is None else devices)

    def bound(state, batch):
        with along_replicas(axis_name):
            return step(state, batch)

    everywhere = NamedSharding(Mesh(np.array(devices), (axis_name,)), PartitionSpec())
    mapped = jax.pmap(bound, axis_name=axis_name, in_axes=(None, 0), out_axes=None, devices=devices)

    def run(state, batch):
        if getattr(getattr(state, "step", None), "ndim", 0) != 0:
            raise ValueError(f"pmap_step takes a plain state, not one stacked per device (step {state.step.shape})")
        batch = as_batch(batch)
        _require_divisible(batch, len(devices), "pmap_step")
        # before jax 0.10 a state that is tied to one device, as a restored one is, would be refused
        return mapped(
            jax.device_put(state, everywhere),
            jax.tree.map(lambda leaf: leaf.reshape(len(devices), -1, *leaf.shape[1:]), batch),
        )

    return run


def start_multi_host(
    coordinator_address: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Connect this process with the others, before JAX is used; then `make_mesh()` spans all devices.

    Args:
      coordinator_address: "host:port" of process 0; None, with the other two, on clusters that JAX recognises (Cloud
        TPU, Slurm, Open MPI).
      num_processes: number of processes.
      process_id: number of this process, 0 to num_processes - 1.

    Raises:
      ValueError: only some of the three are given, or the number is out of its range.
      RuntimeError: JAX has computed something already.

    Example:
      ```python
      parallel.start_multi_host("10.0.0.1:1234", num_processes=2, process_id=0)
      step = parallel.jit_step(train.build_step(objective, optimizer), parallel.make_mesh())
      ```
    """
    given = (coordinator_address, num_processes, process_id)
    if any(value is None for value in given) and any(value is not None for value in given):
        raise ValueError(f"give coordinator_address, num_processes and process_id, or none of them; got {given}")
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise ValueError(f"process_id must be in 0..{num_processes - 1}, got {process_id}")
    jax.distributed.initialize(coordinator_address, num_processes, process_id)


def _require_divisible(batch, count, name):
    for leaf in jax.tree.leaves(batch):
        num_rows = leaf.shape[0] if leaf.ndim else 0
        if num_rows == 0 or num_rows % count:
            near = max(count, num_rows // count * count)
            raise ValueError(
                f"{name}: a batch of {num_rows} rows cannot be split evenly over {count} devices: "
                f"take {near} or {near + count} rows"
            )


def _put(tree, sharding):
    return jax.tree.map(lambda leaf: _put_leaf(leaf, sharding), tree)


def _put_leaf(leaf, sharding):
    if jax.process_count() == 1 or is_traced(leaf) or (isinstance(leaf, jax.Array) and not leaf.is_fully_addressable):
        return jax.device_put(leaf, sharding)
    # every host has the whole array: each puts only its own shards on its devices, nothing is exchanged
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        bits = _put_leaf(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])


check_arguments(__name__)
