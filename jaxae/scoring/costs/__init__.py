"""Expected costs of decisions at the deployment's anomaly rate."""

from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.costs.bands import CostBands, cost_bands
from jaxae.scoring.costs.expected import (
    CostCurve,
    expected_cost,
    expected_cost_curve,
    optimal_thresholds,
    regret,
    require_costs,
)
from jaxae.scoring.costs.per_example import example_cost_curve, expected_cost_per_example
from jaxae.scoring.costs.reject import bayes_action, three_way, three_way_action
from jaxae.scoring.costs.summary import summary

__all__ = [
    "CostBands",
    "CostCurve",
    "bayes_action",
    "cost_bands",
    "example_cost_curve",
    "expected_cost",
    "expected_cost_curve",
    "expected_cost_per_example",
    "optimal_thresholds",
    "regret",
    "require_costs",
    "summary",
    "three_way",
    "three_way_action",
]

check_arguments(__name__)
