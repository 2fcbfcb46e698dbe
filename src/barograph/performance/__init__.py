"""Whether the answers were right: metrics of an outcome profile, each with its interval, and its curves.

A metric is a function of a profile and an entry in METRICS. An interval holds the value of the rows' population in 95 of 100
such profiles: Jeffreys for shares, Wilson for F1, DeLong for ROC AUC, the delta method on the counts for what is made of
several of them, the normal one for means. Rows are taken to be independent.

intervals.py: estimates.  curves.py: by threshold, and calibration.  measures.py: the metrics, and METRICS.  formula.py: an
owner's own.
"""

from barograph.performance.curves import Calibration, Thresholds, by_threshold, calibration
from barograph.performance.formula import Formula, FormulaError, with_formulas
from barograph.performance.intervals import Estimate, jeffreys, wilson
from barograph.performance.measures import METRICS, Metric, by_class, confusion, metrics, residual_quantiles

__all__ = [
    "METRICS",
    "Calibration",
    "Estimate",
    "Formula",
    "FormulaError",
    "Metric",
    "Thresholds",
    "by_class",
    "by_threshold",
    "calibration",
    "confusion",
    "jeffreys",
    "metrics",
    "residual_quantiles",
    "wilson",
    "with_formulas",
]
