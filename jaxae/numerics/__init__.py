"""Numerical building blocks that several rooms share."""

from jaxae.numerics import filters, interpolation, neighbours
from jaxae.numerics.arguments import check_arguments
from jaxae.numerics.batch import (
    as_batch,
    counted_target,
    row_counts,
    rows_weighing,
    target_of,
    weight_of,
    without_padding_rows,
)
from jaxae.numerics.bisection import bisected
from jaxae.numerics.gradients import straight_through
from jaxae.numerics.normal import LOG_2PI, bounded_log_variance, normal_log_prob
from jaxae.numerics.precision import in_float32, ranked
from jaxae.numerics.reductions import mean_per_example, sum_per_example, weighted_mean
from jaxae.numerics.replicas import along_replicas, gathered, of_whole_batch, on_all_rows, over_replicas, replica_axis
from jaxae.numerics.values import (
    as_classes,
    as_number,
    as_weights,
    as_whole,
    at_step,
    first_nonfinite,
    is_traced,
    real_array,
    require_count,
    require_within,
    split_keys,
)

__all__ = [
    "LOG_2PI",
    "along_replicas",
    "as_batch",
    "as_classes",
    "as_number",
    "as_weights",
    "as_whole",
    "at_step",
    "bisected",
    "bounded_log_variance",
    "counted_target",
    "filters",
    "first_nonfinite",
    "gathered",
    "in_float32",
    "interpolation",
    "is_traced",
    "mean_per_example",
    "neighbours",
    "normal_log_prob",
    "of_whole_batch",
    "on_all_rows",
    "over_replicas",
    "ranked",
    "real_array",
    "replica_axis",
    "require_count",
    "require_within",
    "row_counts",
    "rows_weighing",
    "split_keys",
    "straight_through",
    "sum_per_example",
    "target_of",
    "weight_of",
    "weighted_mean",
    "without_padding_rows",
]

check_arguments(__name__)
