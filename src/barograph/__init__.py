"""barograph: monitoring for machine-learning models in production."""

import importlib
from types import ModuleType

from barograph.clock import Clock
from barograph.monitor import Monitor
from barograph.profile import Profile
from barograph.reference import Reference, ReferenceFileError
from barograph.schema import Column, Schema, SchemaViolation, Violation

__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    """`barograph.integrations`, imported when it is first named: what it stands on may not be installed."""
    if name == "integrations":
        return importlib.import_module("barograph.integrations")
    raise AttributeError(f"barograph has no {name!r}")


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
