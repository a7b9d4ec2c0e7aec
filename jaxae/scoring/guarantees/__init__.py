"""What can be proven of a λ: bounds on its errors, p-values, discoveries."""

from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.guarantees import bounds, conformal, discoveries
from jaxae.scoring.guarantees.calibrate import Guarantees, calibrate

__all__ = ["Guarantees", "bounds", "calibrate", "conformal", "discoveries"]

check_arguments(__name__)
