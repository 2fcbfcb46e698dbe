"""Integrations with other libraries, one small module each; each is imported when it is first named."""

import importlib
from types import ModuleType

_MODULES = ("fastapi",)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return [*_MODULES]
