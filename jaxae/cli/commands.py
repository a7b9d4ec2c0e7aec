"""The commands: `jaxae detect | open-set | calibrate | train | train-prior | score | sample | report | info`.

Thin: each command turns its options into one call. What is heavy is imported inside the commands, so that `--help`
answers at once. Errors of the user's making are one line and exit code 2.
"""

import errno
import json
import os
import pathlib
import shlex
import sys
import warnings

import click

from jaxae import __version__, settings
from jaxae.cli.options import options_of, settings_of
from jaxae.cli.stopping import Stopped, stopping


class _Path(click.Path):
    """A path; an empty text is none, though Python would take it for the current folder."""

    def __init__(self):
        super().__init__(path_type=pathlib.Path)

    def convert(self, value, param, ctx):
        if value == "":
            self.fail("an empty text is no path", param, ctx)
        if isinstance(value, str) and not _is_unicode(value):  # checkpoints cannot be written there
            self.fail(f"{value!r} holds bytes that are no UTF-8: give the folder another name", param, ctx)
        return super().convert(value, param, ctx)


def _is_unicode(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


RUN_FLAGS = (
    click.option("--out", type=_Path(), help="Run folder.  [default: a new one in runs/]"),
    click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint."),
    click.option("--overwrite", is_flag=True, help="Replace the run in --out."),
)
RUN = click.argument("run", type=_Path())


# characters of an error's line, whatever was given
MOST_SAID = 480


class _Ended(Exception):
    """A signal has ended the command; click would print an empty line for a KeyboardInterrupt."""


class _OneLineErrors(click.Group):
    """A group whose commands end in one line, not a traceback, where the input is at fault."""

    def main(self, args=None, *more, standalone_mode=True, **extra):
        if not standalone_mode:
            return super().main(args, *more, standalone_mode=False, **extra)
        arguments = [str(argument) for argument in (sys.argv[1:] if args is None else args)]
        extra["obj"] = run = {"folder": None}

        def again(before="stopped"):
            return f"{before}; {_how_to_go_on(arguments, run['folder'])}"

        with stopping(again) as say:
            try:
                status = super().main(args, *more, standalone_mode=False, **extra)
                sys.exit(status if isinstance(status, int) else 0)
            except click.exceptions.NoArgsIsHelpError as error:
                click.echo(error.ctx.get_help())
                sys.exit(0)
            except click.ClickException as error:
                _fail(error.format_message())
            except ValueError as error:
                _fail(str(error))
            except OSError as error:
                if _is_full_disk(error):
                    _fail(again(f"the disk is full ({error}): free some space"))
                _fail(str(error))
            except (_Ended, KeyboardInterrupt, click.Abort) as error:
                say()
                cause = error.__cause__ or error
                sys.exit(128 + (cause.number if isinstance(cause, Stopped) else 2))

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Ended from error


def _how_to_go_on(arguments, folder):
    """What continues a command that was broken off: with a run folder, where there is one, or the command again."""
    if folder is None or not (folder / "config.json").is_file():
        return "nothing is kept for later: run the command again"
    kept = [argument for argument in arguments if argument not in ("--resume", "--overwrite")]
    if "--out" not in kept and not any(argument.startswith("--out=") for argument in kept):
        kept += [] if kept[0] == "train-prior" else ["--out", str(folder)]
    return f"`{shlex.join(['jaxae', *kept, '--resume'])}` continues"


def _run_folder(command, out, resume):
    """The folder of a run that starts or goes on, by which it can be continued; None where it is to be refused."""
    from jaxae import runs

    folder = runs.next_free("runs", command) if out is None and not resume else out
    click.get_current_context().obj["folder"] = folder
    return folder


def _is_full_disk(error):
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fail(message):
    line = " ".join(str(message).split())
    if len(line) > MOST_SAID:
        line = f"{line[: MOST_SAID // 2]} ... {line[-MOST_SAID // 2 :]}"
    click.echo(f"jaxae: {line}", err=True)
    sys.exit(2)


def _command(**more):
    return main.command(context_settings={"show_default": True}, **more)


def _run_flags(function):
    for option in reversed(RUN_FLAGS):
        function = option(function)
    return function


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jaxae")
def main():
    """Autoencoders in JAX: from raw data to a trusted decision.

    \b
    Examples:
      jaxae detect                                      the main job on the bundled sample
      jaxae detect --data parts.csv --label-column ok --normal yes --cost 50:1
      jaxae score --detector runs/detect-1/detector --data new.csv --out scores.csv
      jaxae train --model vae && jaxae sample runs/train-1 -n 64
    """
    _use_compilation_cache()
    warnings.showwarning = _note


def _note(message, category, filename, lineno, file=None, line=None):
    click.echo(f"note: {message}", err=True)


def _use_compilation_cache():
    # a second run need not compile what the first one did; the variable is JAX's own and wins
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(base, "jaxae", "xla")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


@_command()
@options_of(settings.DetectSettings)
@_run_flags
def detect(out, resume, overwrite, **values):
    """Train on normal examples, choose the threshold, test once, report.

    Without a rule flag the threshold λ has the least expected cost on the labelled dev set; without labels it
    flags at most 5 % of normal examples on average. --confidence makes that a bound, --certify bounds the misses.

    \b
    Examples:
      jaxae detect
      jaxae detect --data images/ --normal good --max-false-alarm-rate 0.01
      jaxae detect --data claims.parquet --label-column fraud --normal 0 --cost 200:1 --anomaly-rate 0.002
      jaxae detect --data images/ --normal good --max-false-alarm-rate 0.05 --confidence 0.95
      jaxae detect --data logs.npz --contamination 0.02 --robust refined
    """
    from jaxae import jobs

    made = settings_of(settings.DetectSettings, values)
    jobs.detect(made, _run_folder("detect", out, resume), resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@options_of(settings.OpenSetSettings)
@click.option(
    "--wrong-class-cost", type=float, default=1.0, metavar="C", help="Cost of a known example that gets another class."
)
@_run_flags
def open_set(out, resume, overwrite, **values):
    """Learn the known classes, choose the threshold, answer with a class or "unknown", test once.

    \b
    Example:
      jaxae open-set --known "Sandal,Sneaker,Ankle boot"
    """
    from jaxae import jobs

    made = settings_of(settings.OpenSetSettings, values)
    jobs.open_set(made, _run_folder("open-set", out, resume), resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@options_of(settings.TrainSettings)
@_run_flags
def train(out, resume, overwrite, **values):
    """Train a model on the train part of the data and keep it with its loss curve.

    \b
    Examples:
      jaxae train --model vae --epochs 50 --out runs/vae
      jaxae train --data tfds:mnist --model vq_vae --set num_codes=256
    """
    from jaxae import jobs

    made = settings_of(settings.TrainSettings, values)
    jobs.train(made, _run_folder("train", out, resume), resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@RUN
@options_of(settings.CalibrateSettings)
@click.option("--out", type=_Path(), required=True, help="Folder of the new detector.")
def calibrate(run, out, **values):
    """Choose another threshold for a detector that is there, with bounds on its errors; nothing is trained.

    Half of dev is set aside to bound the misses (--certify). Rows that taught the model certify nothing.

    \b
    Examples:
      jaxae calibrate runs/detect-1 --cost 100:1 --out detectors/careful
      jaxae calibrate runs/detect-1 --data new.npz --max-false-alarm-rate 0.05 --confidence 0.95 --out detectors/new
    """
    from jaxae import jobs

    jobs.calibrate(run, settings_of(settings.CalibrateSettings, values), out, echo=click.echo)


@_command()
@click.option("--detector", required=True, type=_Path(), help="Folder of a saved detector, or a run.")
@options_of(settings.ScoreSettings)
@click.option("--out", type=_Path(), default="scores.csv", help="The table to write.")
@click.option("--overwrite", is_flag=True, help="Replace --out if it exists.")
def score(detector, out, overwrite, **values):
    """Score all rows of the data with a saved detector; --part chooses some of them.

    \b
    Examples:
      jaxae score --detector runs/detect-1/detector --data new.npz --out scores.csv
      jaxae score --detector runs/detect-1 --data fashion-sample --part test
    """
    from jaxae import jobs

    jobs.score(detector, settings_of(settings.ScoreSettings, values), out, overwrite=overwrite, echo=click.echo)


@_command()
@RUN
@options_of(settings.SampleSettings)
@click.option("--out", type=_Path(), help="The picture.  [default: RUN/figures/samples.png]")
def sample(run, out, **values):
    """Draw new examples from a trained model: a grid of images and their .npz, or a table of rows.

    Codes and latents come from the prior of `jaxae train-prior`. Where there is none, codes are drawn all alike and
    latents from the model's own prior.

    \b
    Examples:
      jaxae sample runs/train-1 -n 64
      jaxae sample runs/train-1 --label Sneaker --temperature 0.9 --out sneakers.png
    """
    from jaxae import jobs

    click.echo(jobs.sample(run, settings_of(settings.SampleSettings, values), out, echo=click.echo))


@_command()
@RUN
@options_of(settings.TrainPriorSettings)
@click.option("--resume", is_flag=True, help="Continue the run's prior from its last checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace the run's prior.")
def train_prior(run, resume, overwrite, **values):
    """Train a prior over the codes or latents of a run's model; `jaxae sample` then draws from it.

    \b
    Examples:
      jaxae train --model vq_vae --out runs/vq && jaxae train-prior runs/vq && jaxae sample runs/vq -n 64
      jaxae train --model rae --out runs/rae && jaxae train-prior runs/rae --set num_components=20
    """
    from jaxae import jobs

    made = settings_of(settings.TrainPriorSettings, values)
    click.get_current_context().obj["folder"] = run / "prior"
    jobs.train_prior(run, made, resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@RUN
def report(run):
    """Write a run's figures and report.html anew from its files.

    \b
    Example:
      jaxae report runs/detect-1
    """
    from jaxae import report as room
    from jaxae import runs

    runs.require_served("report", run, runs.read_config(run))
    click.echo(room.render(run))


@_command()
@click.argument("path", type=_Path())
def info(path):
    """Tell what a run or a saved detector is: settings, deal, figures, card, as JSON.

    \b
    Examples:
      jaxae info runs/detect-1
      jaxae info runs/detect-1/detector
    """
    from jaxae import runs
    from jaxae.runs import kinds
    from jaxae.runs.reading import read_json

    if (path / "card.json").is_file():
        from jaxae.scoring import load_detector

        click.echo(json.dumps(load_detector(path).card, indent=2))
        return
    facts = {"config": runs.read_config(path)}
    runs.require_served("info", path, facts["config"])
    named = {"deal": ("deal.json", kinds.DEAL_SHOWN), "metrics": ("metrics.json", kinds.METRICS)}
    for name, (file, kind) in {**named, "prior": ("prior/metrics.json", kinds.METRICS)}.items():
        if (path / file).is_file():
            facts[name] = read_json(path / file, kind)
    click.echo(json.dumps(facts, indent=2))
