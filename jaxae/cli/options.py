"""Options that commands of the command line share, and what their texts stand for."""

import json
import pathlib

import click


def certify(default):
    """The option `--certify`, of this default."""
    return click.option(
        "--certify",
        type=float,
        default=default,
        metavar="SHARE",
        help="Set this share of dev aside to bound the misses of the threshold chosen.",
    )


def _options(*options):
    def add(function):
        for option in reversed(options):
            function = option(function)
        return function

    return add


DATA = click.option(
    "--data",
    default="fashion-sample",
    metavar="SPEC",
    help="fashion-sample, a .npz, .csv or .parquet file, a folder of images, or tfds:NAME.",
)
COLUMN = click.option("--label-column", metavar="NAME", help="The label's column in a .csv or .parquet file.")
RUN_FLAGS = _options(
    click.option("--out", type=click.Path(path_type=pathlib.Path), help="Run folder.  [default: a new one in runs/]"),
    click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint."),
    click.option("--overwrite", is_flag=True, help="Replace the run in --out."),
)
RULE = _options(
    click.option("--cost", default="10:1", metavar="MISS:FALSE_ALARM", help="What the two errors cost."),
    click.option("--anomaly-rate", type=float, default=0.05, metavar="P", help="The deployment's share of anomalies."),
    click.option("--max-false-alarm-rate", type=float, metavar="A", help="Rule: flag at most this share of normals."),
    click.option("--min-recall", type=float, metavar="R", help="Rule: find at least this share of anomalies."),
    click.option("--best-f1", is_flag=True, help="Rule: the highest F1 at the deployment's anomaly rate."),
    click.option(
        "--rule",
        metavar="NAME[=VALUE]",
        help="Any other rule: precision=P, f_beta=B, youden, quantile=Q, mad=K, iqr=K, mixture, extreme_value=A.",
    ),
    click.option(
        "--confidence",
        type=float,
        metavar="C",
        help="Keep --max-false-alarm-rate with this confidence, not on average; also of the bounds.  [default: 0.95]",
    ),
)
TRAINING = _options(
    click.option("--epochs", type=click.IntRange(1), help="Passes over the training rows.  [default: by their number]"),
    click.option("--seed", type=click.IntRange(0), default=0, help="Of splits, initialisation, order and noise."),
    click.option(
        "--set",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="A keyword of the model's preset, e.g. --set latent_size=16. May be repeated.",
    ),
    click.option("--tensorboard", is_flag=True, help="Write TensorBoard events too (needs jaxae[tensorboard])."),
)

SET_PRIOR = click.option(
    "--set",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="A keyword of the prior, e.g. --set width=192. May be repeated.",
)
DRAWS = _options(
    click.option(
        "--uniform",
        "--own-prior",
        "uniform",
        is_flag=True,
        help="Draw from the model's own prior (of codes: all alike), though another was trained.",
    ),
    click.option(
        "--label",
        "--labels",
        "labels",
        metavar="NAME[,NAME]",
        help="Draw these classes in turn, by name or number: of conditional_vae, or of a prior by class.",
    ),
    click.option("--temperature", type=float, default=1.0, metavar="T", help="Below 1: probable codes more often."),
    click.option("--top-k", type=int, metavar="K", help="Of each code's values keep the K most probable."),
    click.option("--top-p", type=float, metavar="P", help="Of each code's values keep the fewest of this mass."),
    click.option("--score", is_flag=True, help="Fréchet distance to the test part, by a classifier trained for it."),
    click.option("--noise", is_flag=True, help="Draw from the likelihood too, instead of showing its mean."),
)


def names_of(text):
    """`a,b` as a tuple; None stays None."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def cost_of(text):
    """`10:1` as two floats."""
    try:
        miss, false_alarm = (float(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"--cost {text!r}: give MISS:FALSE_ALARM, two numbers such as 10:1") from None
    return miss, false_alarm


def rule_of(options):
    """The one rule among the options, which it takes out of them."""
    rate, recall, best_f1, other = (
        options.pop(name) for name in ("max_false_alarm_rate", "min_recall", "best_f1", "rule")
    )
    given = {
        "--max-false-alarm-rate": None if rate is None else ("false_alarm_rate", rate),
        "--min-recall": None if recall is None else ("recall", recall),
        "--best-f1": ("best_f1", None) if best_f1 else None,
        "--rule": None if other is None else _named_rule(other),
    }
    chosen = {flag: rule for flag, rule in given.items() if rule is not None}
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} exclude each other: one rule chooses the threshold")
    return next(iter(chosen.values()), None)


def _named_rule(text):
    name, found, value = text.partition("=")
    try:
        return name, float(value) if found else None
    except ValueError:
        raise ValueError(f"--rule {text!r}: give NAME or NAME=NUMBER, such as mad=3") from None


def assignments_of(texts):
    """`KEY=VALUE` texts as a dict; values are JSON where they can be."""
    options = {}
    for text in texts:
        key, found, value = text.partition("=")
        if not found or not key:
            raise ValueError(f"--set {text!r}: give KEY=VALUE, such as latent_size=16")
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options
