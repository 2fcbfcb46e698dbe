"""barograph: monitoring for machine-learning models in production."""

from barograph.clock import Clock
from barograph.monitor import Monitor
from barograph.profile import Profile
from barograph.reference import Reference, ReferenceFileError
from barograph.schema import Column, Schema, SchemaViolation, Violation

__version__ = "0.1.0"

__all__ = [
    "Clock",
    "Column",
    "Monitor",
    "Profile",
    "Reference",
    "ReferenceFileError",
    "Schema",
    "SchemaViolation",
    "Violation",
]
