"""What runs here, so that it can be compared: Python, packages, the model's file, its configuration."""

import hashlib
import importlib.metadata
import json
import platform
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

FRAMEWORKS = (
    "scikit-learn", "xgboost", "lightgbm", "catboost", "torch", "tensorflow", "keras", "jax", "onnxruntime",
    "transformers", "statsmodels", "numpy", "pandas", "polars", "scipy",
)  # fmt: skip
_IMPORT_NAMES = {"scikit-learn": "sklearn"}


def environment() -> dict[str, Any]:
    """What runs here: Python, platform, and the versions of the framework packages that are loaded."""
    loaded = [p for p in FRAMEWORKS if _IMPORT_NAMES.get(p, p) in sys.modules]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": {package: version for package in loaded if (version := package_version(package))},
    }


def package_version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def digest(artifact: str | Path | bytes | None) -> str:
    """First 16 hex digits of the SHA-256 of an artifact."""
    if artifact is None:
        return ""
    if isinstance(artifact, bytes):
        return hashlib.sha256(artifact).hexdigest()[:16]
    try:
        with Path(artifact).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ValueError(
            f"artifact: cannot read {str(artifact)!r} ({error.strerror}); give the model's file"
        ) from error


def config_hash(config: Any) -> str:
    """First 16 hex digits of the SHA-256 of a configuration: values only, in the order of their names."""
    if config is None:
        return ""
    plain = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    plain = plain.model_dump() if hasattr(plain, "model_dump") else plain
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]
