"""The commands: `jaxae detect | open-set | calibrate | train | train-prior | score | sample | report | info`.

Thin: each command turns its options into one call. What is heavy is imported inside the commands, so that `--help`
answers at once. Errors of the user's making are one line and exit code 2.
"""

import errno
import json
import os
import pathlib
import sys
import warnings

import click

from jaxae import __version__
from jaxae.cli.options import (
    COLUMN,
    DATA,
    DRAWS,
    RULE,
    RUN_FLAGS,
    SET_PRIOR,
    TRAINING,
    assignments_of,
    certify,
    cost_of,
    names_of,
    rule_of,
)


class _OneLineErrors(click.Group):
    """A group whose commands end in one line, not a traceback, where the input is at fault."""

    def main(self, *args, standalone_mode=True, **extra):
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            status = super().main(*args, standalone_mode=False, **extra)
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
                _fail(f"the disk is full ({error}): free some space, then run again with --resume")
            _fail(str(error))
        except (KeyboardInterrupt, click.Abort):
            click.echo("stopped; the same command with --out and --resume continues", err=True)
            sys.exit(130)


def _is_full_disk(error):
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fail(message):
    click.echo("jaxae: " + " ".join(str(message).split()), err=True)
    sys.exit(2)


def _command(**settings):
    return main.command(context_settings={"show_default": True}, **settings)


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
@DATA
@COLUMN
@click.option("--normal", metavar="LABEL[,LABEL]", help="The normal class or classes.  [default: the data's own]")
@click.option("--model", default=None, metavar="NAME", help="Preset: ae, denoising_ae, vae, vq_vae.")
@click.option(
    "--view",
    type=click.Choice(["pixels", "edges"]),
    default="pixels",
    help="What of an image is learnt: edges tell shapes apart better, pixels show more.",
)
@RULE
@certify(0.0)
@click.option(
    "--contamination", type=float, default=0.0, metavar="F", help="Training rows hold this share of unmarked anomalies."
)
@click.option(
    "--robust",
    default="trimmed",
    metavar="NAME",
    help="What is done about them: trimmed, exposure, soft_exposure, decomposition, neighbours, refined.",
)
@click.option("--known-anomalies", type=int, default=0, metavar="N", help="Teach the model N anomalies of dev.")
@click.option("--group-duplicates", is_flag=True, help="Keep equal rows in one split.")
@TRAINING
@RUN_FLAGS
def detect(model, cost, normal, options, out, resume, overwrite, **rest):
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
    from jaxae.jobs import detect as job

    settings = job.Settings(
        normal=names_of(normal),
        cost=cost_of(cost),
        rule=rule_of(rest),
        options=assignments_of(options),
        **({} if model is None else {"model": model}),
        **rest,
    )
    job.detect(settings, out=out, resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@DATA
@COLUMN
@click.option(
    "--known", required=True, metavar="LABEL,LABEL[,...]", help="The classes to learn; every other is unknown."
)
@click.option("--score", default="knn", metavar="NAME", help="Confidence: max_softmax, max_logit, energy, knn, ...")
@click.option(
    "--auxiliary",
    type=click.Choice(["spliced", "turned", "none"]),
    default="spliced",
    help="What a classifier of images learns besides.",
)
@click.option("--wrong-class-cost", type=float, default=1.0, metavar="C", help="What a wrong class costs.")
@RULE
@click.option("--group-duplicates", is_flag=True, help="Keep equal rows in one split.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training rows.  [default: by their number]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of splits, initialisation, order and augmentation.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events too (needs jaxae[tensorboard]).")
@RUN_FLAGS
def open_set(known, cost, wrong_class_cost, out, resume, overwrite, **rest):
    """Learn the known classes, choose the threshold, answer with a class or "unknown", test once.

    --cost is what an unknown example costs that is given a class, and a known one that is called unknown.

    \b
    Example:
      jaxae open-set --known "Sandal,Sneaker,Ankle boot"
    """
    from jaxae.jobs import open_set as job

    rule = rule_of(rest)
    settings = job.Settings(known=names_of(known) or (), cost=(*cost_of(cost), wrong_class_cost), rule=rule, **rest)
    job.open_set(settings, out=out, resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@DATA
@COLUMN
@click.option("--normal", metavar="LABEL[,LABEL]", help="Train on these classes alone.  [default: on all rows]")
@click.option("--model", default="vae", metavar="NAME", help="Preset: ae, denoising_ae, vae, vq_vae.")
@TRAINING
@RUN_FLAGS
def train(model, normal, options, out, resume, overwrite, **rest):
    """Train a model on the train part of the data and keep it with its loss curve.

    \b
    Examples:
      jaxae train --model vae --epochs 50 --out runs/vae
      jaxae train --data tfds:mnist --model vq_vae --set num_codes=256
    """
    from jaxae.jobs import train as training

    settings = training.Settings(model=model, normal=names_of(normal), options=assignments_of(options), **rest)
    training.train(settings, out=out, resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option("--data", metavar="SPEC", help="Rows it has not seen.  [default: those that the run held out]")
@COLUMN
@click.option("--normal", metavar="LABEL[,LABEL]", help="The normal class or classes.  [default: the run's]")
@RULE
@certify(0.5)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the deal of other rows.")
@click.option("--out", type=click.Path(path_type=pathlib.Path), required=True, help="Folder of the new detector.")
def calibrate(run, normal, cost, out, **rest):
    """Choose another threshold for a detector that is there, with bounds on its errors; nothing is trained.

    Half of dev is set aside to bound the misses (--certify).

    \b
    Examples:
      jaxae calibrate runs/detect-1 --cost 100:1 --out detectors/careful
      jaxae calibrate runs/detect-1 --data new.npz --max-false-alarm-rate 0.05 --confidence 0.95 --out detectors/new
    """
    from jaxae.jobs import calibrate as job

    settings = job.Settings(normal=names_of(normal), cost=cost_of(cost), rule=rule_of(rest), **rest)
    job.calibrate(run, settings, out, echo=click.echo)


@_command()
@click.option("--detector", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of a saved detector.")
@DATA
@COLUMN
@click.option("--out", type=click.Path(path_type=pathlib.Path), default="scores.csv", help="The table to write.")
@click.option("--overwrite", is_flag=True, help="Replace --out if it exists.")
def score(detector, data, label_column, out, overwrite):
    """Score the test part of the data (or all its rows, where there is one part) with a saved detector.

    \b
    Example:
      jaxae score --detector runs/detect-1/detector --data new.npz --out scores.csv
    """
    from jaxae.jobs import detect as job

    job.score(detector, data, out, label_column=label_column, overwrite=overwrite, echo=click.echo)


@_command()
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option("-n", "--number", type=click.IntRange(1, 100_000), default=64, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the draw.")
@DRAWS
@click.option("--out", type=click.Path(path_type=pathlib.Path), help="The picture.  [default: RUN/figures/samples.png]")
def sample(run, labels, out, **rest):
    """Draw new examples from a trained model: a grid of images and their .npz, or a table of rows.

    Codes and latents come from the prior of `jaxae train-prior`. Where there is none, codes are drawn all alike and
    latents from the model's own prior.

    \b
    Examples:
      jaxae sample runs/train-1 -n 64
      jaxae sample runs/train-1 --label Sneaker --temperature 0.9 --out sneakers.png
    """
    from jaxae.jobs import sample as job

    click.echo(job.sample(run, job.Settings(labels=names_of(labels), **rest), out, echo=click.echo))


@_command()
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--prior",
    metavar="NAME",
    help="Of codes: autoregressive, masked, unigram; of latents: mixture, flow.  [default: the first]",
)
@click.option("--by-class", is_flag=True, help="Learn the codes of each class, for `jaxae sample --label`.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training rows.  [default: by their number]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of initialisation, order and masks.")
@SET_PRIOR
@click.option("--resume", is_flag=True, help="Continue the run's prior from its last checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace the run's prior.")
def train_prior(run, options, resume, overwrite, **rest):
    """Train a prior over the codes or latents of a run's model; `jaxae sample` then draws from it.

    \b
    Examples:
      jaxae train --model vq_vae --out runs/vq && jaxae train-prior runs/vq && jaxae sample runs/vq -n 64
      jaxae train --model rae --out runs/rae && jaxae train-prior runs/rae --set num_components=20
    """
    from jaxae.jobs import train_prior as job

    settings = job.Settings(options=assignments_of(options), **rest)
    job.train_prior(run, settings, resume=resume, overwrite=overwrite, echo=click.echo)


@_command()
@click.argument("run", type=click.Path(path_type=pathlib.Path))
def report(run):
    """Write a run's figures and report.html anew from its files.

    \b
    Example:
      jaxae report runs/detect-1
    """
    from jaxae import report as room
    from jaxae.runs.folder import read_config

    read_config(run)
    click.echo(room.render(run))


@_command()
@click.argument("path", type=click.Path(path_type=pathlib.Path))
def info(path):
    """Tell what a run or a saved detector is: settings, figures, card, as JSON.

    \b
    Examples:
      jaxae info runs/detect-1
      jaxae info runs/detect-1/detector
    """
    from jaxae import runs

    if (path / "card.json").is_file():
        from jaxae.scoring import load_detector

        click.echo(json.dumps(load_detector(path).card, indent=2))
        return
    facts = {"config": runs.read_config(path)}
    if (path / "metrics.json").is_file():
        facts["metrics"] = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    if (path / "prior" / "metrics.json").is_file():
        facts["prior"] = json.loads((path / "prior" / "metrics.json").read_text(encoding="utf-8"))
    click.echo(json.dumps(facts, indent=2))
