"""What a run folder consists of: each file with who writes and who reads it, and which command serves whose run."""

from typing import Any, NamedTuple

RUNS = ("detect", "open-set", "train")
STANDARDISATION = "standardise.npz"


class Entry(NamedTuple):
    """A file or folder of a run. `--overwrite` removes every entry there is, and nothing else.

    Attributes:
      name: its name in the run folder.
      writers: commands that write it.
      readers: commands that read it.
      shown: whether the report shows what it holds.
      what: what it holds.
    """

    name: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    shown: bool
    what: str


_LATER = ("calibrate", "score", "sample", "train-prior")
_EVERY = (*RUNS, *_LATER, "report", "info")
_AFTER = ("sample", "train-prior", "report")
ENTRIES = (
    Entry("config.json", RUNS, _EVERY, True, "the settings"),
    Entry("deal.json", RUNS, _EVERY, True, "the source, the schema of its examples, the size of each part"),
    Entry(
        "deal.npz", RUNS, (*RUNS, "calibrate", "score", "sample", "train-prior"), False, "rows of each part, digests"
    ),
    Entry(STANDARDISATION, RUNS, ("sample", "train-prior"), False, "mean and scale of a table's columns"),
    Entry("checkpoints", RUNS, (*RUNS, "sample", "train-prior"), False, "the last states and the best one"),
    Entry("metrics.jsonl", RUNS, ("train", "report"), True, "the metrics of the training, a line each chunk"),
    Entry("tensorboard", RUNS, (), False, "events for TensorBoard"),
    Entry("metrics.json", RUNS, ("report", "info"), True, "the figures of merit"),
    Entry("detector", ("detect", "open-set"), ("calibrate", "score", "report", "info"), False, "the saved detector"),
    Entry("scores.csv", ("detect", "open-set"), ("report",), True, "score and decision of each test row"),
    Entry("dev.npz", ("detect", "open-set"), ("report",), True, "scores of dev and calibration, the costs"),
    Entry("examples.npz", ("detect", "train"), ("report",), True, "rows with their reconstructions and error maps"),
    Entry("walks.npz", ("train",), ("report",), True, "traversals and interpolations of the latent space"),
    Entry("samples.npz", ("train", "train-prior", "sample"), ("report",), True, "images drawn from the model"),
    Entry("samples.json", ("sample",), (), False, "the drawn images compared with the test part"),
    Entry("samples.csv", ("sample",), (), False, "rows drawn from the model of a table"),
    Entry(
        "prior", ("train-prior",), ("sample", "report", "info"), False, "a prior trained afterwards: a run of its own"
    ),
    Entry("figures", (*RUNS, *_AFTER), ("report",), True, "the report's figures"),
    Entry("report.html", (*RUNS, "train-prior", "report"), (), False, "the report, one page"),
)
"""Every file of a run folder."""

SERVES = {
    "calibrate": ("detect", "open-set"),
    "score": ("detect", "open-set"),
    "sample": ("train", "detect"),
    "train-prior": ("train",),
    "report": RUNS,
    "info": (*RUNS, "train-prior"),
}
"""Command to the commands whose runs it can be given."""


def require_served(command: str, folder: Any, config: dict) -> None:
    """Refuse the run of a command that this one cannot serve.

    Args:
      command: what was called.
      folder: the run folder, for the message.
      config: what its `config.json` says.

    Raises:
      ValueError: in one line, with the commands whose runs can be given.

    Example:
      >>> from jaxae.runs.contents import require_served
      >>> require_served("train-prior", "runs/a", {"command": "open-set"})
      Traceback (most recent call last):
      ValueError: runs/a is a run of `jaxae open-set`, which `jaxae train-prior` cannot read: give one of `jaxae train`
    """
    wrote, served = config["command"], SERVES[command]
    if wrote in served:
        return
    if wrote == "train-prior":
        raise ValueError(f"{folder} is the prior of a run: give the run's own folder, which lies above it")
    names = " or ".join(f"`jaxae {name}`" for name in served)
    raise ValueError(f"{folder} is a run of `jaxae {wrote}`, which `jaxae {command}` cannot read: give one of {names}")
